"""Places of a history's rows in Redis, as pure functions of its `HistoryLayout`.

One packed little-endian float64 column a series, cut into chunks of whole rows: row i of a series
of width w lies in chunk i // c at byte 8·w·(i mod c), with c = `layout.chunk_rows(series)`. Writing
a row twice puts the same bytes at the same place. `step` is not stored: it follows from the row
number, but for the last row's, which is kept beside.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.store.history.layout import Columns, HistoryKind, HistoryLayout, HistoryMeta

VECTORS: Final = frozenset({"x"})
"""Series that are a list a row, also where the list has one number."""
_DTYPE: Final = np.dtype("<f8")
_NUMBER: Final = 8


def chunk_name(kind: HistoryKind, series: str) -> str:
    """Return a chunk's key behind the job's id, up to its number."""
    return f"{kind}:{series}:"


def chunk_names(layout: HistoryLayout, kind: HistoryKind, num_rows: int) -> Iterator[str]:
    """Yield the name of every chunk of a history with so many rows."""
    for series in layout.widths:
        for chunk in range(-(-num_rows // layout.chunk_rows(series))):
            yield f"{chunk_name(kind, series)}{chunk}"


@dataclass(frozen=True)
class Piece:
    """Bytes for one chunk. `full` is the chunk's size when all rows that are expected are there."""

    name: str
    offset: int
    full: int
    data: bytes


@dataclass(frozen=True)
class Batch:
    """Rows `first_row … stop_row − 1`, cut for their chunks."""

    first_row: int
    stop_row: int
    last_step: int
    first_nonfinite_step: int | None
    pieces: tuple[Piece, ...]


def pack(layout: HistoryLayout, kind: HistoryKind, first_row: int, columns: Columns) -> Batch:
    """Cut `columns` (`step` and every series of the layout, at least one row) for their chunks.

    Raises `ValueError` when they do not fit the layout (`check`).
    """
    check(layout, kind, first_row, columns)
    steps = columns["step"]
    return Batch(
        first_row,
        first_row + len(steps),
        int(steps[-1]),
        first_nonfinite(columns),
        tuple(
            piece
            for series in layout.widths
            for piece in _pieces(layout, kind, series, first_row, columns[series])
        ),
    )


def check(layout: HistoryLayout, kind: HistoryKind, first_row: int, columns: Columns) -> None:
    """Raise `ValueError` when columns do not fit the layout: other series, lengths or widths, or a
    step off the grid before the last row."""
    if columns.keys() != {"step", *layout.widths}:
        raise ValueError(f"{kind} rows have {sorted(columns)}, not step and {list(layout.widths)}")
    steps = columns["step"]
    num_rows = len(steps)
    if any(len(column) != num_rows for column in columns.values()):
        raise ValueError(f"{kind} columns of unequal length, with {num_rows} steps")
    if num_rows == 0 or first_row < 0:
        raise ValueError(f"{num_rows} rows from row {first_row} on")
    rows = np.arange(first_row, first_row + num_rows - 1)
    if not np.array_equal(steps[:-1], layout.first_step + rows * layout.every):
        raise ValueError(f"{kind} rows from {first_row} on have steps that the layout does not")
    for series, width in layout.widths.items():
        if columns[series].size != num_rows * width:
            found = columns[series].size // num_rows
            raise ValueError(f"{kind} series {series} has {found} numbers a row, not {width}")


def first_nonfinite(columns: Columns) -> int | None:
    """Return the step of the first row whose loss is not finite."""
    finite = np.isfinite(columns["loss"])
    return None if finite.all() else int(columns["step"][finite.argmin()])


def _pieces(
    layout: HistoryLayout,
    kind: HistoryKind,
    series: str,
    first_row: int,
    values: NDArray[np.float64],
) -> Iterator[Piece]:
    width = layout.widths[series]
    table = np.ascontiguousarray(values, dtype=_DTYPE).reshape(len(values), -1)
    chunk_rows = layout.chunk_rows(series)
    row = first_row
    while row < first_row + len(table):
        chunk, inside = divmod(row, chunk_rows)
        stop = min(first_row + len(table), (chunk + 1) * chunk_rows)
        expected = chunk_rows
        if layout.expected_rows is not None:
            expected = min(chunk_rows, layout.expected_rows - chunk * chunk_rows)
        if expected < stop - chunk * chunk_rows:  # more rows than were announced
            expected = chunk_rows
        yield Piece(
            f"{chunk_name(kind, series)}{chunk}",
            inside * width * _NUMBER,
            expected * width * _NUMBER,
            table[row - first_row : stop - first_row].tobytes(),
        )
        row = stop


@dataclass(frozen=True)
class Span:
    """Bytes `start … end` (inclusive, as GETRANGE counts) of a chunk."""

    name: str
    start: int
    end: int


def spans(
    layout: HistoryLayout, kind: HistoryKind, series: str, first_row: int, num_rows: int
) -> list[Span]:
    """Return the spans to read for rows `first_row … first_row + num_rows − 1` of one series."""
    size = layout.widths[series] * _NUMBER
    chunk_rows = layout.chunk_rows(series)
    found = []
    row, stop = first_row, first_row + num_rows
    while row < stop:
        chunk, inside = divmod(row, chunk_rows)
        end = min(stop - chunk * chunk_rows, chunk_rows)
        found.append(Span(f"{chunk_name(kind, series)}{chunk}", inside * size, end * size - 1))
        row = (chunk + 1) * chunk_rows
    return found


def unpack(
    layout: HistoryLayout, series: str, num_rows: int, parts: Sequence[bytes]
) -> NDArray[np.float64] | None:
    """Return the column in `parts`: (rows,), or (rows, width) where it is a list a row; read-only.

    None when bytes are missing: the job has been deleted under the reader's hands.
    """
    data = parts[0] if len(parts) == 1 else b"".join(parts)
    width = layout.widths[series]
    if len(data) != num_rows * width * _NUMBER:
        return None
    column: NDArray[np.float64] = np.frombuffer(data, dtype=_DTYPE)
    return column.reshape(num_rows, width) if width > 1 or series in VECTORS else column


def steps_of(meta: HistoryMeta, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the steps of these rows, all of them below `meta.num_rows`."""
    steps = (meta.layout.first_step + rows * meta.layout.every).astype(np.float64)
    if meta.last_step is not None:
        steps[rows == meta.num_rows - 1] = meta.last_step
    return steps


def row_after(meta: HistoryMeta, step: int) -> int:
    """Return the first row with a larger step than `step`; `meta.num_rows` when there is none."""
    if meta.last_step is None or step >= meta.last_step:
        return meta.num_rows
    row = (step - meta.layout.first_step) // meta.layout.every + 1
    return min(max(row, 0), meta.num_rows - 1)
