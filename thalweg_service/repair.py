"""`thalweg repair`: the damaged end of the embedded server's append-only file is cut off.

The checker is the server's own program under another name. Nothing is changed before a copy of all
the files has been made and somebody has agreed.
"""

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from thalweg_service.append_only_file import FOLDER
from thalweg_service.server_binary import find_server

_MANIFEST: Final = re.compile(r"^file (\S+) seq \d+ type ([bhi])", re.MULTILINE)
_ANALYZED: Final = re.compile(r"size=(\d+), ok_up_to=(\d+)")
_RESTORE: Final = "restore a backup (docs/operators.md, “Backup and restore”)"


class RepairError(Exception):
    """The reason why nothing was repaired, in one line; nothing has been changed."""


@dataclass(frozen=True)
class Damage:
    """The damage of the last file: from byte `sound_bytes` of `size_bytes` on."""

    path: Path
    size_bytes: int
    sound_bytes: int

    @property
    def lost_bytes(self) -> int:
        return self.size_bytes - self.sound_bytes


def repair(data_dir: Path, *, agree: Callable[[Damage], bool], say: Callable[[str], None]) -> None:
    """Check the append-only file below `data_dir`, and cut a damaged end off once `agree` says so.

    Raises `RepairError`; also `EmbeddedServerError` when there is no server whose program checks.
    """
    data_dir = data_dir.expanduser().absolute()
    server = data_dir / "redis"
    with _stopped(data_dir, server):
        base, appended = _files(server / FOLDER)
        checker = _Checker(find_server())
        for path in base:
            if not checker.is_sound_base(path):
                raise RepairError(f"{path} is damaged, which cannot be mended: {_RESTORE}.")
        for path in appended[:-1]:
            if checker.damage(path) is not None:
                raise RepairError(
                    f"{path} is damaged, and is not the last file, so that what follows does not"
                    f" fit: {_RESTORE}."
                )
        damage = checker.damage(appended[-1]) if appended else None
        if damage is None:
            say("The append-only file is sound; nothing was changed.")
            return
        if not agree(damage):
            raise RepairError("Nothing was changed.")
        kept = _copied(server / FOLDER)
        checker.cut(damage)
        say(
            f"{damage.lost_bytes} bytes at the end of {damage.path.name} were cut off. The files as"
            f" they were lie in {kept}. Start `thalweg serve` again."
        )


@contextlib.contextmanager
def _stopped(data_dir: Path, server: Path) -> Iterator[None]:
    """Keep `thalweg serve` and its server away meanwhile."""
    if not server.is_dir():
        raise RepairError(
            f"{server} is not there: name the data folder of `thalweg serve` with --data-dir."
        )
    with contextlib.ExitStack() as stack:
        for path in (data_dir / "serve.lock", server / "lock"):
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                stack.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                message = f"A service is running on {data_dir}: stop it first."
                raise RepairError(message) from error
            except OSError as error:
                raise RepairError(f"{path} cannot be opened: {error.strerror}.") from error
        yield


def _files(folder: Path) -> tuple[list[Path], list[Path]]:
    """List the base files and the appended ones, in order, as the manifest names them."""
    try:
        (manifest,) = folder.glob("*.manifest")
        found = _MANIFEST.findall(manifest.read_text())
    except (OSError, ValueError) as error:
        raise RepairError(f"{folder} has no manifest that can be read: {_RESTORE}.") from error
    files = [(folder / name, kind) for name, kind in found]
    for path, kind in files:
        if kind != "h" and not path.is_file():
            raise RepairError(f"{path} is missing: {_RESTORE}.")
    return [path for path, kind in files if kind == "b"], [p for p, kind in files if kind == "i"]


class _Checker:
    """The server's program under the names by which it checks files."""

    def __init__(self, binary: Path) -> None:
        self._binary = binary
        self._family = "redis" if binary.name.startswith("redis") else "valkey"

    def is_sound_base(self, path: Path) -> bool:
        return self._run("check-rdb", str(path))[0] == 0

    def damage(self, path: Path) -> Damage | None:
        """Tell where the damage of an appended file begins; None: it has none."""
        if not path.stat().st_size:
            return None
        status, said = self._run("check-aof", str(path))
        if status == 0:
            return None
        found = _ANALYZED.search(said)
        if found is None:
            raise RepairError(f"The checker cannot read {path}: {said.strip()[-200:]}")
        return Damage(path, int(found[1]), int(found[2]))

    def cut(self, damage: Damage) -> None:
        status, said = self._run("check-aof", "--fix", str(damage.path), answer="y\n")
        if status != 0 or self.damage(damage.path) is not None:
            raise RepairError(f"{damage.path} could not be mended: {said.strip()[-200:]}")

    def _run(self, name: str, *arguments: str, answer: str = "") -> tuple[int, str]:
        done = subprocess.run(
            [f"{self._family}-{name}", *arguments],
            executable=self._binary,
            input=answer,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        return done.returncode, done.stdout + done.stderr


def _copied(folder: Path) -> Path:
    """Copy the files to a folder beside them, and return it."""
    kept = folder.with_name(time.strftime(f"{FOLDER}-%Y%m%dT%H%M%SZ", time.gmtime()))
    try:
        shutil.copytree(folder, kept)
    except (OSError, shutil.Error) as error:
        shutil.rmtree(kept, ignore_errors=True)
        raise RepairError(f"The files could not be copied before: {error}.") from error
    return kept
