"""Whole histories of many runs in one value: those of runs that ended soon.

A value holds one history after another, each as packed little-endian float64 columns, one series
after another in the order of its layout. It is never changed. Redis takes many short histories so
in a fifth of the time that they take as chunks of their own, and each costs 20 bytes beside its
numbers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from core.store.history import Span, check
from core.store.layout import Bundled, HistoryLayout
from core.store.studies_base import RunRows

MAX_BYTES: Final = 2**20 - 256
"""Of a value: a little less than a size class of the allocator (jemalloc's are a fifth apart)."""
MAX_HISTORY_BYTES: Final = MAX_BYTES // 10
"""Of a history in it, so that little of the last size class stays empty."""
_NUMBER: Final = 8


@dataclass(frozen=True)
class Bundle:
    """Histories of one kind to be written as one value, with the byte at which each begins."""

    histories: tuple[RunRows, ...]
    offsets: tuple[int, ...]
    data: bytes


def num_bytes(layout: HistoryLayout, num_rows: int) -> int:
    """Of a whole history."""
    return _NUMBER * num_rows * sum(layout.widths.values())


def fits(rows: RunRows) -> bool:
    """Whether these rows may lie in a bundle."""
    count = len(rows.columns["step"])
    return rows.whole and 0 < num_bytes(rows.layout, count) <= MAX_HISTORY_BYTES


def bundles(histories: Sequence[RunRows]) -> Iterator[Bundle]:
    """Histories that fit, those of a kind together. Raises `ValueError` as `history.pack`."""
    by_kind: dict[str, list[RunRows]] = {}
    for rows in histories:
        check(rows.layout, rows.kind, rows.first_row, rows.columns)
        by_kind.setdefault(rows.kind, []).append(rows)
    for alike in by_kind.values():
        ends = [0]
        for rows in alike:
            ends.append(ends[-1] + num_bytes(rows.layout, len(rows.columns["step"])))
        first = 0
        for stop in range(1, len(alike) + 1):
            if stop == len(alike) or ends[stop + 1] - ends[first] > MAX_BYTES:
                offsets = tuple(end - ends[first] for end in ends[first:stop])
                some = tuple(alike[first:stop])
                yield Bundle(some, offsets, _data(some))
                first = stop


def _data(histories: Sequence[RunRows]) -> bytes:
    return b"".join(
        np.ascontiguousarray(rows.columns[series], dtype="<f8").data
        for rows in histories
        for series in rows.layout.widths
    )


def bundle_span(
    layout: HistoryLayout, bundled: Bundled, series: str, first_row: int, num_rows: int
) -> Span:
    """What to read for rows `first_row … first_row + num_rows − 1` (at least one) of a series."""
    start, width = series_start(layout, bundled, series), _NUMBER * layout.widths[series]
    first = start + first_row * width
    return Span(bundled.name, first, first + num_rows * width - 1)


def series_start(layout: HistoryLayout, bundled: Bundled, series: str) -> int:
    """The byte at which a series begins."""
    names = list(layout.widths)
    before = sum(layout.widths[name] for name in names[: names.index(series)])
    return bundled.offset + _NUMBER * bundled.num_rows * before
