"""Rows of many runs in one value: the histories of a study's short runs lie so.

A value holds rows of one history after another, each as packed little-endian float64 columns, one
series after another in the order of its layout. It is never changed. A history lies in a few such
segments, or in chunks of its own (`core.store.history.chunks`). Redis takes many short histories so
in a fifth of the time that they take in chunks, and each segment costs some 50 bytes beside its
numbers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.store.history.chunks import Span, check
from core.store.history.layout import HistoryLayout, RunRows, Segment

MAX_BYTES: Final = 2**20 - 256
"""Bytes of a value: a little less than a size class of the allocator (jemalloc's are a fifth
apart)."""
MAX_HISTORY_BYTES: Final = MAX_BYTES // 10
"""Bytes of a history in bundles, so that little of the last size class stays empty."""
_NUMBER: Final = 8


@dataclass(frozen=True)
class Bundle:
    """Rows of histories of one kind to be written as one value, with the byte at which each
    begins."""

    parts: tuple[RunRows, ...]
    offsets: tuple[int, ...]
    data: memoryview


def num_bytes(layout: HistoryLayout, num_rows: int) -> int:
    """Return the size of so many rows in a bundle."""
    return _NUMBER * num_rows * sum(layout.widths.values())


def bundles(parts: Sequence[RunRows]) -> Iterator[Bundle]:
    """Pack rows that are to lie together, those of a kind in common values. Raises `ValueError` as
    `history.pack`."""
    by_kind: dict[str, list[RunRows]] = {}
    for rows in parts:
        check(rows.layout, rows.kind, rows.first_row, rows.columns)
        by_kind.setdefault(rows.kind, []).append(rows)
    for alike in by_kind.values():
        ends = [0]
        for rows in alike:
            ends.append(ends[-1] + num_bytes(rows.layout, len(rows.columns["step"])))
        data = _numbers(alike, ends[-1]).data.cast("B")
        first = 0
        for stop in range(1, len(alike) + 1):
            if stop == len(alike) or ends[stop + 1] - ends[first] > MAX_BYTES:
                offsets = tuple(end - ends[first] for end in ends[first:stop])
                some = tuple(alike[first:stop])
                yield Bundle(some, offsets, data[ends[first] : ends[stop]])
                first = stop


def _numbers(parts: Sequence[RunRows], num_bytes: int) -> NDArray[np.float64]:
    """Write all numbers one after another."""
    numbers = np.empty(num_bytes // _NUMBER, dtype="<f8")
    at = 0
    for rows in parts:
        for series in rows.layout.widths:
            column = rows.columns[series].reshape(-1)
            numbers[at : at + len(column)] = column
            at += len(column)
    return numbers


def segment_spans(
    layout: HistoryLayout,
    segments: Sequence[Segment],
    series: str,
    first_row: int,
    num_rows: int,
) -> list[Span]:
    """Return the spans to read for rows `first_row … first_row + num_rows − 1` of a series."""
    width = _NUMBER * layout.widths[series]
    found = []
    base = 0
    for segment in segments:
        begin = max(first_row - base, 0)
        end = min(first_row + num_rows - base, segment.num_rows)
        if begin < end:
            start = series_start(layout, segment, series)
            found.append(Span(segment.name, start + begin * width, start + end * width - 1))
        base += segment.num_rows
    return found


def series_start(layout: HistoryLayout, segment: Segment, series: str) -> int:
    """Return the byte at which a segment's rows of a series begin."""
    names = list(layout.widths)
    before = sum(layout.widths[name] for name in names[: names.index(series)])
    return segment.offset + _NUMBER * segment.num_rows * before
