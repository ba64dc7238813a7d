"""The check that the packages `api`, `core` and `worker` are Thalweg's own.

These are general names. Another distribution in the same environment, or a folder that comes first
on Python's path, may have one of them too, and then either silently takes the other's files.

Nothing of them is imported here.
"""

import importlib.util
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path
from typing import Final

DISTRIBUTION: Final = "thalweg-service"
NAMES: Final = ("api", "core", "worker")
"""Packages of ours with a general name. (`thalweg_service` is nobody else's.)"""
ROOT: Final = Path(__file__).resolve().parent.parent
"""Folder in which all of them lie, beside this package: site-packages, or a checkout."""
_WAY_OUT: Final = (
    "Give Thalweg an environment of its own (python3 -m venv thalweg; thalweg/bin/pip install …;"
    " thalweg/bin/thalweg serve), and keep PYTHONPATH empty there."
)


def foreign(root: Path = ROOT) -> str | None:
    """Say in one line which package is not Thalweg's own, and whose it is; None: all of them are.

    `root`: where Thalweg is installed.
    """
    for name in NAMES:
        if (found := _place_of(name)) != root / name:
            return _said(name, found, _owners(name) if found is None else _owners(name, found))
    for path, owner in _damaged(root):
        found = None if owner is None else root / path
        return _said(path.split("/")[0], found, [] if owner is None else [owner])
    return None


def _said(name: str, found: Path | None, owners: list[str]) -> str:
    if found is None:
        return f"The package {name!r} is not there, or not whole: install Thalweg again. {_WAY_OUT}"
    whose = f"belongs to {' and '.join(owners)}" if owners else "is not Thalweg's own"
    return f"The package {name!r} that Python finds ({found}) {whose}. {_WAY_OUT}"


def _place_of(name: str) -> Path | None:
    """Return the folder, or the file, that Python would import the package from."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        return None
    places = list(spec.submodule_search_locations or [])
    place = places[0] if places else spec.origin
    return None if place is None else Path(place).resolve()


def _owners(name: str, found: Path | None = None) -> list[str]:
    """Name the distributions that have installed a package of this name there, but for ours."""
    owners = []
    for each in distributions():
        if each.metadata["Name"] == DISTRIBUTION:
            continue
        paths = [path for path in each.files or () if path.parts[0] in (name, f"{name}.py")]
        if paths and (found is None or _lies_in(each, paths[0].parts[0], found)):
            owners.append(f"{each.metadata['Name']} {each.version}")
    return sorted(owners)


def _lies_in(of: Distribution, name: str, found: Path) -> bool:
    return Path(str(of.locate_file(name))).resolve() == found


def _damaged(root: Path) -> Iterator[tuple[str, str | None]]:
    """Yield files of ours that are missing (None), and those that are not as they were installed
    and that another distribution has too, with its name. A file that was changed by hand is nobody
    else's."""
    try:
        ours = distribution(DISTRIBUTION).files or ()
    except PackageNotFoundError:
        return
    changed = set()
    for path in ours:
        if path.parts[0] in NAMES and path.size is not None:
            if not (root / path).is_file():
                yield str(path), None
            elif (root / path).stat().st_size != path.size:
                changed.add(str(path))
    if changed:
        for each in distributions():
            if each.metadata["Name"] != DISTRIBUTION:
                for path in each.files or ():
                    if str(path) in changed:
                        yield str(path), f"{each.metadata['Name']} {each.version}"
