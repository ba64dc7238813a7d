"""The Lua scripts: every change of a job is one of them.

Each is `lua/<name>.lua` behind `lua/lib.lua`, behind tables generated from `core.jobs` (and the
number of `core.formats`), so that the moves are restated nowhere. They name their keys themselves,
below the namespace that they are given: for one server, not for Redis Cluster.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from core.formats import STORE
from core.jobs import HELD, MOST_ENTRIES, MOVES, TERMINAL


@dataclass(frozen=True)
class Script:
    """Source, and the SHA-1 by which a server that has loaded it knows it."""

    source: str
    sha: str


def compose(body: str) -> Script:
    """The script made of the generated tables, the library and `body`."""
    library = files("core.store").joinpath("lua", "lib.lua").read_text("utf-8")
    source = f"{_tables()}\n{library}\n{body}"
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


@cache
def scripts() -> Mapping[str, Script]:
    """All of them by name; read once a process, at first use."""
    return {
        entry.name.removesuffix(".lua"): compose(entry.read_text("utf-8"))
        for entry in files("core.store").joinpath("lua").iterdir()
        if entry.name.endswith(".lua") and entry.name != "lib.lua"
    }


def _tables() -> str:
    moves = ", ".join(f"{status} = {_set(targets)}" for status, targets in MOVES.items())
    return (
        f"local MOVES = {{{moves}}}\nlocal TERMINAL = {_set(TERMINAL)}\nlocal HELD = {_set(HELD)}\n"
        f"local MOST_ENTRIES = {MOST_ENTRIES}\nlocal FORMAT = {STORE}\n"
    )


def _set(names: Iterable[str]) -> str:
    return "{" + ", ".join(f"{name} = true" for name in sorted(names)) + "}"
