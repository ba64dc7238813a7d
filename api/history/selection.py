"""Selection of the rows of a history that answer a question."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from api.history.downsample import (
    METHOD,
    Extremes,
    Stretches,
    choose_rows,
    merged,
    num_points_left,
)
from api.http.encoding import to_json
from core.errors import FieldError, InvalidInputError
from core.jobs import TERMINAL
from core.specs.job import JobSpec
from core.specs.losses import METRICS
from core.specs.sizes.extent import epochs_at
from core.specs.studies.runs import run_spec
from core.store.history.chunks import row_after, steps_of
from core.store.history.layout import Columns, HistoryKind, HistoryMeta
from core.store.history.samples import SERIES
from core.store.protocols.api import ApiStore
from core.studies import study_of

MAX_NUMBERS: Final = 2_000_000
"""Numbers in one reply: a page of a wide series may hold fewer rows than were asked for."""

BLOCK_ROWS: Final = 2**17
MOST_PICKED: Final = 20_000
"""Rows that are asked for one by one; from so many on, reading all and taking some is faster."""
_Look = TypeVar("_Look", Extremes, Stretches)

_POSSIBLE: Final[dict[HistoryKind, tuple[str, ...]]] = {
    "train": ("loss", "lr", "grad_norm", "grad_cosine", "x"),
    "eval": ("loss", *(name for name, facts in METRICS.items() if facts.goal is not None)),
}
"""Every series that a history may have (`core.specs.sizes.extent.history_widths`)."""
DERIVED: Final = ("time_s", "epoch")
"""Series that every history has, made from the steps of its rows for those who name them."""


@dataclass(frozen=True)
class Question:
    """`series`: None for all. Rows beyond `after`, up to and with `until`; None: no bound.
    `points`: the most rows of a downsampled view; None for a page."""

    kind: HistoryKind
    series: tuple[str, ...] | None
    after: float | None
    limit: int
    points: int | None
    until: float | None = None


@dataclass(frozen=True)
class Answer:
    """Rows of a history: equally long columns, `step` (int64) or `time_s` first, `x` with a row's
    list each. Of samples of a process NaN is what is not known.

    `whose`: the fields that name the job or the run. `has_next`: more of the rows that were asked
    for are there.
    """

    whose: Mapping[str, str | int]
    kind: HistoryKind | Literal["system"]
    columns: Mapping[str, NDArray[Any]]
    total: int
    method: Literal["exact", "minmax"]
    reaches_end: bool
    has_next: bool
    terminal: bool
    first_nonfinite_step: int | None

    @property
    def complete(self) -> bool:
        """True when no row can come after these."""
        return self.terminal and self.reaches_end

    @property
    def returned(self) -> int:
        return len(self._axis)

    @property
    def next_after(self) -> float | None:
        """The last row's step, or time."""
        return self._axis[-1].item() if len(self._axis) else None

    @property
    def _axis(self) -> NDArray[Any]:
        return next(iter(self.columns.values()))


async def answer(
    store: ApiStore, name: str, question: Question, whose: Mapping[str, str | int] | None = None
) -> Answer:
    """Answer a question about the history `name`: of a job, or of a run (`core.studies.run_id`),
    which needs `whose`.

    Raises `NotFoundError`, and `InvalidInputError` for a series that there is not.
    """
    meta = await store.history_meta(name, question.kind)
    names = wanted_series(question, meta)
    first = 0 if question.after is None else row_after(meta, int(question.after))
    stop = meta.num_rows if question.until is None else row_after(meta, int(question.until))
    stop = max(first, stop)
    derived = [each for each in DERIVED if each in (question.series or ())]
    width = 1 + len(derived) + sum(meta.layout.widths[name] for name in names)
    most = max(1, MAX_NUMBERS // width)
    method: Literal["exact", "minmax"] = "exact"
    if question.points is None or stop - first <= min(question.points, most):
        asked = question.limit if question.points is None else stop - first
        rows = min(asked, most, stop - first)
        columns = await store.history_rows(name, question.kind, meta, ("step", *names), first, rows)
        end = first + len(columns["step"])
    else:
        source = _Source(store, name, question.kind, meta, first, stop)
        columns = await _view(source, min(question.points, most), names)
        method, end = METHOD, stop
    steps = columns["step"]
    more = {each: await derived_series(each, store, name, meta, steps) for each in derived}
    whose = whose or {"job_id": name}
    found = answer_of(whose, question.kind, meta, [*names, *derived], columns | more, end, method)
    return replace(found, has_next=end < stop)


def answer_of(
    whose: Mapping[str, str | int],
    kind: HistoryKind,
    meta: HistoryMeta,
    names: Sequence[str],
    columns: Columns,
    end: int,
    method: Literal["exact", "minmax"] = "exact",
) -> Answer:
    """Make the answer of `columns`, which have `step` and the series `names`. `end`: the row after
    the last of them."""
    return Answer(
        whose=whose,
        kind=kind,
        columns={"step": columns["step"].astype(np.int64)}
        | {series: columns[series] for series in names},
        total=meta.num_rows,
        method=method,
        reaches_end=end >= meta.num_rows,
        has_next=end < meta.num_rows,
        terminal=meta.status in TERMINAL,
        first_nonfinite_step=meta.first_nonfinite_step,
    )


async def answer_system(store: ApiStore, job_id: str, question: Question) -> Answer:
    """Answer a question about the samples of a job's process. Raises as `answer`."""
    status = await store.status(job_id)
    found = await store.samples(job_id)
    axis, *others = SERIES
    names = others if question.series is None else _chosen_samples(question.series, others)
    total = len(found[axis])
    method: Literal["exact", "minmax"] = "exact"
    bounds = (
        -np.inf if question.after is None else question.after,
        np.inf if question.until is None else question.until,
    )
    first, stop = (int(each) for each in np.searchsorted(found[axis], bounds, side="right"))
    if question.points is not None and stop - first > question.points:
        inside = [found[name][first:stop] for name in names]
        known = [column for column in inside if np.isfinite(column).all()]
        rows = first + choose_rows(known or [found[axis][first:stop]], question.points)
        method, end = METHOD, stop
    else:
        end = stop if question.points is not None else min(stop, first + question.limit)
        rows = np.arange(first, end)
    return Answer(
        whose={"job_id": job_id},
        kind="system",
        columns={name: found[name][rows] for name in (axis, *names)},
        total=total,
        method=method,
        reaches_end=end >= total,
        has_next=end < stop,
        terminal=status in TERMINAL,
        first_nonfinite_step=None,
    )


def _chosen_samples(series: Sequence[str], known: Sequence[str]) -> list[str]:
    unknown = [name for name in series if name not in SERIES]
    if unknown:
        there = ", ".join(SERIES)
        raise InvalidInputError(
            [
                FieldError(
                    "series",
                    "unknown_series",
                    f"series: {name[:80]!r} is none of the system's: {there}.",
                )
                for name in unknown[:100]
            ]
        )
    return [name for name in known if name in series]


async def derived_series(
    series: str,
    store: ApiStore,
    name: str,
    meta: HistoryMeta,
    steps: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Make a series of `DERIVED` for rows with these steps."""
    if series == "epoch":
        found = epochs_at(await _spec(store, name), steps.astype(np.int64))
        if found is None:
            why = "epoch is of passes over rows of data, and a function has none"
            raise InvalidInputError([FieldError("series", "unsupported", f"series: {why}.")])
        return found
    line = await store.history_times(name)
    first = np.arange(min(1, meta.num_rows))
    if not line.covers(steps_of(meta, first)):
        why = "time_s was not recorded where this began (by an older version): leave it out"
        raise InvalidInputError([FieldError("series", "not_recorded", f"series: {why}.")])
    return line.at(steps)


async def _spec(store: ApiStore, name: str) -> JobSpec:
    study_id = study_of(name)
    if study_id is None:
        job = await store.get(name)
        return await asyncio.to_thread(JobSpec.model_validate_json, to_json(job.spec))
    study = await store.studies.get(study_id)
    (run,) = await store.studies.runs(study_id, [int(name.removeprefix(f"{study_id}:"))])
    return await asyncio.to_thread(run_spec, study.spec, run.params, run.repeat, study.format)


def no_rows(question: Question, whose: Mapping[str, str | int], *, terminal: bool) -> Answer:
    """Answer for a run of which nothing is stored: no rows of the series that were asked for, among
    those that it may have.

    Raises `InvalidInputError` for one that no history has.
    """
    names = [] if question.series is None else possible_series(question.series, question.kind)
    names += [each for each in DERIVED if each in (question.series or ())]
    return Answer(
        whose=whose,
        kind=question.kind,
        columns={"step": np.zeros(0, np.int64)} | dict.fromkeys(names, np.zeros(0)),
        total=0,
        method="exact",
        reaches_end=True,
        has_next=False,
        terminal=terminal,
        first_nonfinite_step=None,
    )


async def _view(source: "_Source", num_points: int, names: Sequence[str]) -> Columns:
    """Read at most `num_points` rows that keep the extremes, and every row that is not finite."""
    meta = source.meta
    # `x` is a list a row, also of one number.
    thin = [each for each in names if each != "x" and meta.layout.widths[each] == 1] or ["loss"]
    if source.num_rows <= BLOCK_ROWS:
        whole = await source.rows(thin, source.first, source.num_rows)
        chosen = await asyncio.to_thread(choose_rows, [whole[each] for each in thin], num_points)
        columns = {each: column[chosen] for each, column in whole.items()}
        rows = source.first + chosen
    else:
        rows = await _choose_by_blocks(source, thin, num_points)
        columns = await source.at(rows, thin)
    wide = [each for each in names if each not in columns]
    if wide:
        columns |= await source.store.history_pick(source.name, source.kind, meta, wide, rows)
    return {"step": steps_of(meta, rows), **columns}


@dataclass(frozen=True)
class _Source:
    """The rows of a history of which a view is made, from `first` on and before `stop`. Many are
    read by blocks, one series at a time: whole, the rows of a million steps are 24 MB."""

    store: ApiStore
    name: str
    kind: HistoryKind
    meta: HistoryMeta
    first: int
    stop: int

    @property
    def num_rows(self) -> int:
        return self.stop - self.first

    async def rows(self, series: Sequence[str], first: int, count: int) -> Columns:
        return await self.store.history_rows(self.name, self.kind, self.meta, series, first, count)

    async def blocks(self, series: str) -> AsyncIterator[tuple[int, NDArray[np.float64]]]:
        """Yield the first row of each block, and its values."""
        for first in range(self.first, self.stop, BLOCK_ROWS):
            count = min(BLOCK_ROWS, self.stop - first)
            yield first, (await self.rows([series], first, count))[series]

    async def look(self, found: _Look, series: str) -> _Look:
        """Have all the blocks of a series looked at."""
        async for first, values in self.blocks(series):
            await asyncio.to_thread(found.add, first, values)
        return found

    async def at(self, rows: NDArray[np.int64], series: Sequence[str]) -> Columns:
        """Read chosen rows: few by themselves, many out of their blocks."""
        if len(rows) <= MOST_PICKED:
            return await self.store.history_pick(self.name, self.kind, self.meta, series, rows)
        columns: Columns = {}
        for each in series:
            parts = []
            async for first, values in self.blocks(each):
                inside = rows[(rows >= first) & (rows < first + len(values))]
                parts.append(values[inside - first])
            columns[each] = np.concatenate(parts)
        return columns


async def _choose_by_blocks(
    source: _Source, thin: Sequence[str], num_points: int
) -> NDArray[np.int64]:
    """Do what `choose_rows` does, a block at a time."""
    first, *others = thin
    found = [await source.look(Extremes(), other) for other in others]
    num_finite = source.num_rows
    if first != "loss" or source.meta.first_nonfinite_step is not None:
        num_finite = (await source.look(Extremes(), first)).num_finite
    stretches = Stretches(num_finite, num_points_left(found, num_points))
    await source.look(stretches, first)
    return merged(stretches.rows(), found, num_points)


def wanted_series(question: Question, meta: HistoryMeta) -> list[str]:
    """List the series to read besides `step`, in the history's own order.

    Raises `InvalidInputError` naming those that there are.
    """
    known = list(meta.layout.widths)
    return known if question.series is None else _chosen(question.series, known)


def possible_series(series: Sequence[str], kind: HistoryKind) -> list[str]:
    """List those of `series` that any history of this kind may have. Raises `InvalidInputError`
    for others."""
    return _chosen(series, _POSSIBLE[kind])


def _chosen(series: Sequence[str], known: Sequence[str]) -> list[str]:
    mistakes = [
        FieldError(
            "series",
            "unknown_series",
            f"series: {name[:80]!r} is none of this history's: step, {', '.join(known)}; and"
            f" {', '.join(DERIVED)}.",
        )
        for name in dict.fromkeys(series)
        if name not in ("step", *DERIVED, *known)
    ]
    if mistakes:
        raise InvalidInputError(mistakes[:100])
    return [name for name in known if name in series]
