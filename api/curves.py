"""One column of many runs' histories, for a picture."""

import asyncio
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.errors import NotFoundError
from core.store.history.layout import HistoryKind
from core.store.protocols.api import ApiStore
from core.studies import run_id

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]

MOST_ROWS: Final = 4_000
"""Of a run. A picture has 900 columns; of a longer history rows in equal distances are read."""
_AT_ONCE: Final = 16


async def read_curves(
    store: ApiStore, study_id: str, runs: Sequence[int], kind: HistoryKind, column: str
) -> dict[int, Curve]:
    """By the run's number its steps and values; runs without rows are left out."""
    found: dict[int, Curve] = {}
    for start in range(0, len(runs), _AT_ONCE):
        some = runs[start : start + _AT_ONCE]
        curves = await asyncio.gather(
            *(_read(store, run_id(study_id, run), kind, column) for run in some)
        )
        found |= {run: curve for run, curve in zip(some, curves, strict=True) if curve is not None}
    return found


async def _read(store: ApiStore, name: str, kind: HistoryKind, column: str) -> Curve | None:
    series = ("step", column)
    try:
        meta = await store.history_meta(name, kind)
        if not meta.num_rows or column not in meta.layout.widths:
            return None
        if meta.num_rows <= MOST_ROWS:
            columns = await store.history_rows(name, kind, meta, series, 0, meta.num_rows)
        else:  # both ends among them: the last row may be the only one that is not finite
            rows = np.linspace(0, meta.num_rows - 1, MOST_ROWS).astype(np.int64)
            columns = await store.history_pick(name, kind, meta, series, rows)
    except NotFoundError:
        return None
    return columns["step"], columns[column]
