"""Layouts of histories in the store, and what is known of a history without reading its rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from core.jobs import Status
from core.specs.job import JobSpec
from core.specs.sizes.extent import Extent, extent_of, first_steps, rows_of, start_of, steps_of

Columns = dict[str, NDArray[np.float64]]
HistoryKind = Literal["train", "eval"]
Rows = tuple[HistoryKind, int, Columns]
"""Rows to write: of which history, from which row on, `step` and every series of the layout."""
RowCounts = Mapping[int, Mapping[HistoryKind, int]]
"""Rows of each kind of histories of runs."""

CHUNK_NUMBERS: Final = 8190
"""float64 numbers in a full chunk: 65,520 bytes, so that value and header fit the allocator's size
class of 64 KiB (65,536 bytes of value would take 80 KiB under jemalloc)."""


@dataclass(frozen=True)
class HistoryLayout:
    """The layout of a job's rows in Redis: one packed float64 column a series, in chunks
    (`core.store.history.chunks`). The series `x` is read back as a list a row, whatever its width.

    Row i holds step `first_step + i·every`; only the last row may fall between (its step is kept
    beside; where there is one row only it may have any step). `widths` maps each series but `step`
    to its numbers a row (1, or dim for `x`), in order. `expected_rows` pre-sizes the chunks (an
    upper bound; None when unknown).
    """

    every: int
    widths: dict[str, int]
    expected_rows: int | None
    first_step: int = 0
    chunk_numbers: int = CHUNK_NUMBERS

    def step_of(self, row: int) -> int:
        """Return the step of a row that is not the last."""
        return self.first_step + row * self.every

    def chunk_rows(self, series: str) -> int:
        """Return the number of rows in a full chunk of this series; a chunk holds whole rows."""
        return max(1, self.chunk_numbers // self.widths[series])


@dataclass(frozen=True)
class Segment:
    """Rows of a history that lie in one value with other runs' (`core.store.history.bundles`).

    The value's name, the byte at which they begin there, and how many they are.
    """

    name: str
    offset: int
    num_rows: int


@dataclass(frozen=True)
class HistoryMeta:
    """Facts about a history that are known without reading its rows, all of one moment.

    `status` is the job's or run's: once it is terminal, no row comes after these. `last_step` is
    the last row's step (None without rows). `first_nonfinite_step` is of `loss`. `segments` hold
    all rows, one after another; none where the rows lie in chunks of their own. `rewinds`: the row
    that it went back to, each time that `on_divergence` took rows back and others came.
    """

    status: Status
    layout: HistoryLayout
    num_rows: int
    last_step: int | None
    first_nonfinite_step: int | None
    segments: tuple[Segment, ...] = ()
    rewinds: tuple[int, ...] = ()


# Layouts of a job's or run's histories, from its resolved spec.
_NEVER: Final = 2**53
"""A distance between evaluations that no run reaches: the last row alone."""


def layouts_of(spec: JobSpec, size: Extent | None = None) -> dict[HistoryKind, HistoryLayout]:
    """Return a layout for each kind of history that the job will have. `size`: of the spec, where
    it is known."""
    size = size or extent_of(spec)
    rows = rows_of(spec.record, size, steps_of(spec.budget, size), start_of(spec))
    widths, first = size.widths, first_steps(spec)
    every: dict[HistoryKind, int] = {
        "train": spec.record.every,
        "eval": spec.record.eval_every or _NEVER,
    }
    return {
        kind: HistoryLayout(every[kind], dict(widths[kind]), rows[kind], first[kind])
        for kind in every
        if widths[kind]
    }


@dataclass(frozen=True)
class RunRows:
    """Rows of one run's history, from `first_row` on. `truncate`: it is first cut down to there,
    `is_rewind`: since what came after was taken back (`HistoryMeta.rewinds`). `bundled`: they lie
    with other runs' rows, as do all before them (`core.store.history.bundles`)."""

    index: int
    kind: HistoryKind
    layout: HistoryLayout
    first_row: int
    columns: Columns
    truncate: bool = False
    bundled: bool = False
    is_rewind: bool = False
