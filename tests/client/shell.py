"""The command `thalweg` as a process in a folder."""

import json
import os
import pty
import select
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

THALWEG: Final = str(Path(sys.executable).parent / "thalweg")


class Shell:
    """Runs the command in a folder, with the address of the service in the environment."""

    def __init__(self, address: str, folder: Path) -> None:
        self.folder = folder
        self.environment = {"PATH": os.environ["PATH"], "THALWEG_URL": address, "COLUMNS": "150"}

    def run(
        self, *words: str, status: int = 0, given: str | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [THALWEG, *words], cwd=self.folder, env=self.environment | environment, input=given,
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == status, (words, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done

    def json(self, *words: str, **options: Any) -> Any:
        return json.loads(self.run(*words, "--json", **options).stdout)

    def on_a_terminal(self, *words: str, **environment: str) -> str:
        """What the command writes to a terminal."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [THALWEG, *words], cwd=self.folder, stdin=theirs, stdout=theirs, stderr=theirs,
            env=self.environment | {"TERM": "xterm-256color"} | environment,
        )  # fmt: skip
        os.close(theirs)
        found = b""
        while select.select([ours], [], [], 60)[0]:
            try:
                found += os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
        os.close(ours)
        assert process.wait(120) == 0, found
        return found.decode()
