"""Data sets that a body names: their records are read before the body is parsed."""

import asyncio
import re
from collections.abc import Iterable
from typing import Final

from core.errors import DataGoneError, NotFoundError
from core.ids import DATA_PREFIX, pattern_of
from core.specs.base import Json
from core.specs.sizes.uploads import UploadFacts, Uploads
from core.store.protocols.api import ApiDatasets

_ID: Final = re.compile(rf'"({pattern_of(DATA_PREFIX)[1:-1]})"'.encode())
MOST_LOOKED_UP: Final = 1_000
"""Data sets of one body, at most; the others are taken for unknown."""


async def named_data(body: bytes, datasets: ApiDatasets) -> Uploads:
    """Look up the data sets whose ids stand in a body; those that do not exist are left out."""
    if b"data_" not in body:
        return {}
    names = list(dict.fromkeys(found.decode() for found in _ID.findall(body)))[:MOST_LOOKED_UP]
    found = await asyncio.gather(*(_facts(datasets, name) for name in names))
    return {name: facts for name, facts in zip(names, found, strict=True) if facts is not None}


async def _facts(datasets: ApiDatasets, name: str) -> UploadFacts | None:
    try:
        return (await datasets.get(name)).facts
    except NotFoundError:
        return None


def data_used(problems: Iterable[object]) -> tuple[str, ...]:
    """List the ids of the data sets that stand in (parts of) problems, as JSON."""
    found: dict[str, None] = {}
    rest = list(problems)
    while rest:
        part = rest.pop()
        if isinstance(part, dict):
            rest += part.values()
        elif isinstance(part, (list, tuple)):
            rest += part
        elif isinstance(part, str) and _ID.fullmatch(f'"{part}"'.encode()):
            found[part] = None
    return tuple(sorted(found))


def _names_of(spec: Json) -> list[str]:
    """Return the data sets of a job's spec: its rows, and its first weights."""
    problem = spec.get("problem") or {}
    data, model = problem.get("data") or {}, problem.get("model") or {}
    rows = data["id"] if data.get("kind") == "dataset" else None
    return [name for name in (rows, model.get("initial_weights")) if name is not None]


async def check_data(spec: Json, datasets: ApiDatasets) -> None:
    """Check that the data sets of a job's spec are still there.

    Raises:
        DataGoneError: one is not.
    """
    for name in _names_of(spec):
        try:
            await datasets.stamp(name)
        except NotFoundError:
            raise DataGoneError(name) from None


async def data_of(spec: Json, datasets: ApiDatasets) -> Uploads:
    """Look up the data sets of a job's spec. Raises what `check_data` raises."""
    found: dict[str, UploadFacts] = {}
    for name in _names_of(spec):
        facts = await _facts(datasets, name)
        if facts is None:
            raise DataGoneError(name)
        found[name] = facts
    return found
