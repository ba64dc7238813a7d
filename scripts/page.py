"""Build the page: `web/` with its packages becomes `api/page/built/`, which the API serves.

Nothing is done where neither the sources nor the service's document have changed. Node is the
machine's where that is new enough, else one from a Python wheel. Where there is no Node, or no
package registry, the service works without the page, and says so at its address.

    python scripts/page.py            build it, where it is stale; says why where it cannot be built
    python scripts/page.py --check    exit 1 where types, rules or formatting of the sources fail
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
WEB: Final = ROOT / "web"
BUILT: Final = ROOT / "api" / "page" / "built"
STAMP: Final = BUILT / ".stamp"
PACKAGES: Final = WEB / "node_modules"
PACKAGES_STAMP: Final = PACKAGES / ".stamp"
WHEEL: Final = WEB / "requirements.txt"
OLDEST_NODE: Final = (20, 19)


class CannotBuildError(Exception):
    """The page cannot be built here; the text says why."""


def sources() -> Iterator[Path]:
    """Yield the files that the page is made of, the service's document included."""
    for path in sorted(WEB.rglob("*")):
        is_made = PACKAGES in path.parents or path.name.endswith(".gen.ts")
        if path.is_file() and not is_made:
            yield path


def digest(paths: Iterator[Path]) -> str:
    """Return what names the content of these files."""
    found = hashlib.sha256()
    for path in paths:
        found.update(f"{path.relative_to(WEB)}\0".encode())
        found.update(path.read_bytes())
    return found.hexdigest()


def says(stamp: Path, value: str) -> bool:
    """Tell whether a stamp holds this value."""
    return stamp.is_file() and stamp.read_text() == value


def is_new_enough(node: str) -> bool:
    """Tell whether this Node can build the page."""
    try:
        done = subprocess.run([node, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    found = re.match(r"v(\d+)\.(\d+)", done.stdout)
    return found is not None and (int(found[1]), int(found[2])) >= OLDEST_NODE


def environment(*, may_install: bool = True) -> dict[str, str]:
    """Return an environment whose PATH begins with a Node that will do.

    Raises `CannotBuildError`."""
    own = Path(sys.executable).parent
    for node in (shutil.which("node"), str(own / "node")):
        if node and shutil.which("npm", path=str(Path(node).parent)) and is_new_enough(node):
            return {**os.environ, "PATH": f"{Path(node).parent}:{os.environ['PATH']}"}
    if not may_install:
        raise CannotBuildError("there is no Node of 20.19 or newer")
    print("No Node of 20.19 or newer here: installing one from a Python wheel", file=sys.stderr)
    install = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    if subprocess.run([*install, "--requirement", str(WHEEL)], check=False).returncode:
        raise CannotBuildError("there is no Node of 20.19 or newer, and no wheel of it to be had")
    return {**os.environ, "PATH": f"{own}:{os.environ['PATH']}"}


def run(env: dict[str, str], *command: str) -> None:
    """Run a command in `web/`. Raises `CannotBuildError` with what it said, where it fails."""
    done = subprocess.run(command, cwd=WEB, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr).strip()[-2000:]
        raise CannotBuildError(f"`{' '.join(command)}` in web/ failed:\n{said}")


def install_packages(env: dict[str, str]) -> None:
    """Install what `package-lock.json` names, unless these very versions are there."""
    wanted = digest(iter([WEB / "package.json", WEB / "package-lock.json", WEB / ".npmrc"]))
    if not says(PACKAGES_STAMP, wanted):
        run(env, "npm", "ci")
        PACKAGES_STAMP.write_text(wanted)


def make_types(env: dict[str, str]) -> None:
    """Write the types of the API, from the service's document."""
    types = WEB / "src" / "api" / "schema.gen.ts"
    document = WEB / "openapi.json"
    if not types.is_file() or types.stat().st_mtime < document.stat().st_mtime:
        run(env, "npm", "run", "types")


def build() -> None:
    """Build the page, where it is stale. Raises `CannotBuildError`."""
    wanted = digest(sources())
    if says(STAMP, wanted):
        return
    env = environment()
    install_packages(env)
    make_types(env)
    run(env, "npm", "run", "build")
    STAMP.write_text(wanted)


def check() -> None:
    """Check the sources. Raises `CannotBuildError` with what is wrong."""
    env = environment()
    install_packages(env)
    make_types(env)
    run(env, "npm", "run", "check")


def main(arguments: list[str]) -> int:
    """Build the page, or check its sources; return the exit status. That it cannot be built here is
    said, and no failure."""
    is_check = "--check" in arguments
    try:
        check() if is_check else build()
    except CannotBuildError as error:
        print(f"The page is not built: {error}" if not is_check else error, file=sys.stderr)
        return 1 if is_check else 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
