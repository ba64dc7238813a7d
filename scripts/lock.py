"""Write, or check, the exact versions in requirements/ from what .venv holds.

The files are layers: `api.txt` is the closure of the project's own dependencies and holds no
torch, `worker.txt` adds the `worker` extra, `dev.txt` adds everything else. Each is cut from the
metadata of the installed packages, so it names versions only, never where they came from.

    python scripts/lock.py            write them (what `make lock` does after an upgrade)
    python scripts/lock.py --check    exit 1 when they differ from what is installed
"""

import sys
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PROJECT = "thalweg"
FOLDER = Path(__file__).resolve().parent.parent / "requirements"
LAYERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("api", ()),
    ("worker", ("worker",)),
    ("dev", ("worker", "embedded", "demo", "dev")),
)
HEADER = "# Exact versions, written by `make lock`. Do not edit by hand.\n"


def closure(extras: Iterable[str]) -> dict[str, str]:
    """Every package that the project with these extras needs here: canonical name -> version."""
    found: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [(PROJECT, frozenset(extras))]
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        package = distribution(name)
        # A local part such as "+cpu" says which build was at hand, not which version.
        found[name] = Version(package.version).public
        for text in package.requires or ():
            requirement = Requirement(text)
            marker = requirement.marker
            if marker and not any(marker.evaluate({"extra": e}) for e in wanted | {""}):
                continue
            waiting.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    del found[PROJECT]
    return found


def layers() -> dict[Path, str]:
    """The text of each file."""
    texts: dict[Path, str] = {}
    below: dict[str, str] = {}
    base = ""
    for layer, extras in LAYERS:
        pins = closure(extras)
        lines = [f"{name}=={pins[name]}\n" for name in sorted(pins.keys() - below.keys())]
        texts[FOLDER / f"{layer}.txt"] = HEADER + base + "".join(lines)
        below, base = pins, f"-r {layer}.txt\n"
    return texts


def main(arguments: list[str]) -> int:
    """Write the files, or with --check compare them; the exit status."""
    stale = [
        path for path, text in layers().items() if not path.exists() or path.read_text() != text
    ]
    if "--check" in arguments:
        for path in stale:
            print(f"{path.name} differs from what .venv holds: run `make lock`", file=sys.stderr)
        return 1 if stale else 0
    FOLDER.mkdir(exist_ok=True)
    for path, text in layers().items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
