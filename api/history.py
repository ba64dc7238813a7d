"""Which rows of a history answer a question, and how they are written."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from api.downsample import METHOD, choose_rows
from core.errors import FieldError, InvalidInputError
from core.jobs import TERMINAL
from core.store.base import ApiStore, Columns, HistoryKind, HistoryMeta
from core.store.history import row_after, steps_of

MAX_NUMBERS: Final = 2_000_000
"""Numbers in one reply: a page of a wide series may hold fewer rows than were asked for."""


@dataclass(frozen=True)
class Question:
    """`series`: None for all. `points`: the most rows of a downsampled view; None for a page."""

    kind: HistoryKind
    series: tuple[str, ...] | None
    after: int | None
    limit: int
    points: int | None


@dataclass(frozen=True)
class Answer:
    """Rows of a history: equally long columns, `step` (int64) first, `x` with a row's list each."""

    job_id: str
    kind: HistoryKind
    columns: Mapping[str, NDArray[Any]]
    total: int
    method: Literal["exact", "minmax"]
    reaches_end: bool
    terminal: bool
    first_nonfinite_step: int | None

    @property
    def complete(self) -> bool:
        """No row can come after these."""
        return self.terminal and self.reaches_end

    @property
    def returned(self) -> int:
        return len(self.columns["step"])

    @property
    def next_after(self) -> int | None:
        steps = self.columns["step"]
        return int(steps[-1]) if len(steps) else None


async def answer(store: ApiStore, job_id: str, question: Question) -> Answer:
    """Raises `NotFoundError`, and `InvalidInputError` for a series that there is not."""
    # The status first: once it is terminal, no row comes after the ones that are counted next.
    terminal = await store.status(job_id) in TERMINAL
    meta = await store.history_meta(job_id, question.kind)
    names = wanted_series(question, meta)
    first = 0 if question.after is None else row_after(meta, question.after)
    width = 1 + sum(meta.layout.widths[name] for name in names)
    most = max(1, MAX_NUMBERS // width)
    method: Literal["exact", "minmax"] = "exact"
    if question.points is None or meta.num_rows <= min(question.points, most):
        asked = question.limit if question.points is None else meta.num_rows
        rows = max(0, min(asked, most, meta.num_rows - first))
        columns = await store.history_rows(
            job_id, question.kind, meta, ("step", *names), first, rows
        )
        end = first + len(columns["step"])
    else:
        columns = await _view(store, job_id, question, meta, names, most)
        method, end = METHOD, meta.num_rows
    return Answer(
        job_id=job_id,
        kind=question.kind,
        columns={"step": columns["step"].astype(np.int64)}
        | {name: columns[name] for name in names},
        total=meta.num_rows,
        method=method,
        reaches_end=end >= meta.num_rows,
        terminal=terminal,
        first_nonfinite_step=meta.first_nonfinite_step,
    )


async def _view(
    store: ApiStore,
    job_id: str,
    question: Question,
    meta: HistoryMeta,
    names: Sequence[str],
    most: int,
) -> Columns:
    """At most `points` rows that keep the extremes, and every row that is not finite."""
    assert question.points is not None
    thin = [name for name in names if meta.layout.widths[name] == 1] or ["loss"]
    whole = await store.history_rows(job_id, question.kind, meta, thin, 0, meta.num_rows)
    rows = await asyncio.to_thread(
        choose_rows, [whole[name] for name in thin], min(question.points, most)
    )
    columns = {name: column[rows] for name, column in whole.items()}
    wide = [name for name in names if name not in columns]
    if wide:
        columns |= await store.history_pick(job_id, question.kind, meta, wide, rows)
    return {"step": steps_of(meta, rows), **columns}


def wanted_series(question: Question, meta: HistoryMeta) -> list[str]:
    """The series to read besides `step`, in the history's own order.

    Raises `InvalidInputError` naming those that there are.
    """
    known = list(meta.layout.widths)
    if question.series is None:
        return known
    mistakes = [
        FieldError(
            "series",
            "unknown_series",
            f"series: {name[:80]!r} is none of this history's: step, {', '.join(known)}.",
        )
        for name in dict.fromkeys(question.series)
        if name != "step" and name not in known
    ]
    if mistakes:
        raise InvalidInputError(mistakes[:100])
    return [name for name in known if name in question.series]
