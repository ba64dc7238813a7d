"""The stored form of a checked file: one safetensors file, in which each column lies by itself.

A job's start reads the columns that it needs from a memory map, or by ranges from an object store;
no text is parsed again. Of weights the stored form is the uploaded file itself.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from core.specs.base import Json
from core.uploads.contents import Column, Contents
from core.uploads.layout import CONTENTS_KEY, NUMPY_NAMES

BLOCK_BYTES: Final = 2**20
"""Bytes of a block of rows that `matrix` turns round: they stay in a core's cache."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Read = Callable[[int, int], bytes]
"""A function from a start and a length to at least one byte, and at most so many."""


class StoredFile:
    """A stored form, open for reading. (Not one of weights: read that with safetensors.)

    Attributes:
        contents: what the check found (it stands in the file too).
    """

    def __init__(self, read: Read, mapped: NDArray[np.uint8] | None = None) -> None:
        length = int.from_bytes(_exactly(read, 0, 8), "little")
        header: Json = json.loads(_exactly(read, 8, length))
        stored: Json = json.loads(header.pop("__metadata__")[CONTENTS_KEY])
        self._read = read
        self._mapped = mapped
        self._header = header
        self._start = 8 + length
        stored["num_bytes"] = self._start + max(
            (entry["data_offsets"][1] for entry in header.values()), default=0
        )
        self.contents = Contents.from_json(stored)
        self._places = {column.name: i for i, column in enumerate(self.contents.columns)}

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a file of this machine; arrays are then views of a memory map, read-only.

        Raises:
            OSError, ValueError: it cannot be read, or is empty.
        """
        mapped = np.memmap(path, np.uint8, "r")
        return cls(lambda start, length: mapped[start : start + length].tobytes(), mapped)

    @classmethod
    def from_ranges(cls, read: Read) -> Self:
        """Open by a function that reads `length` bytes from `start` on (`JobArtifacts.read_range`
        with a name, say); it may return fewer, but at least one."""
        return cls(read)

    def column(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Return rows `start` to `stop` (all) of a column, as `Dtype` says that it is stored, with
        the column's shape after the first axis. A column of texts: an array of objects `str`.

        Raises:
            KeyError: there is no such column.
        """
        place = self._places[name]
        if self.contents.kind == "text":
            lines = self.text().decode().splitlines()
            return np.array(lines[start:stop], dtype=object)
        if f"{place}.ends" in self._header:
            return self._texts(place, start, stop)
        return self._rows(str(place), start, stop)

    def columns(self, names: Iterable[str]) -> dict[str, NDArray[Any]]:
        """Return these columns, each whole."""
        return {name: self.column(name) for name in names}

    def matrix(
        self, names: Sequence[str], dtype: DTypeLike = np.float32, rows: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Return columns of shape () as the columns of one new matrix, row by row in memory;
        `rows` picks rows by index, in this order. Missing values are NaN (codes of categories and
        of bools included).

        Raises:
            KeyError: there is no such column.
            ValueError: it is text, or its rows are arrays.
        """
        for name in names:
            column = self.contents.columns[self._places[name]]
            if column.dtype == "text" or column.shape:
                raise ValueError(f"column {name!r} is {column.dtype} of shape {column.shape}")
        sources = [(self.column(name), self._marks_missing(name)) for name in names]
        num_rows = (self.contents.num_rows or 0) if rows is None else len(rows)
        found = np.empty((num_rows, len(names)), dtype)
        size = max(1, BLOCK_BYTES // max(found.itemsize * len(names), 1))
        for start in range(0, num_rows, size):
            block = found[start : start + size]
            chosen = slice(start, start + size) if rows is None else rows[start : start + size]
            for place, (source, marked) in enumerate(sources):
                values = source[chosen]
                block[:, place] = np.where(values < 0, np.nan, values) if marked else values
        return found

    def text(self) -> bytes:
        """Return the UTF-8 bytes of a text, without a byte order mark, else as they were."""
        return self._rows("0", 0, None).tobytes()

    def preview(self, num_rows: int) -> list[Json]:
        """Return the first rows as JSON has them: column -> value; categories as their names, dates
        as ISO 8601 texts, missing values as None, images and arrays as nested lists; of a text its
        lines."""
        num_rows = min(num_rows, self.contents.num_rows or 0)
        if self.contents.kind == "text":
            return [{"text": line} for line in self._first_lines(num_rows)]
        shown = {c.name: self._shown(c, num_rows) for c in self.contents.columns}
        return [{name: values[row] for name, values in shown.items()} for row in range(num_rows)]

    def _marks_missing(self, name: str) -> bool:
        column = self.contents.columns[self._places[name]]
        return column.dtype in {"bool", "category"} and column.num_missing > 0

    def _rows(self, tensor: str, start: int, stop: int | None) -> NDArray[Any]:
        entry = self._header[tensor]
        dtype = np.dtype(NUMPY_NAMES[entry["dtype"]])
        shape = tuple(entry["shape"])
        begin = self._start + int(entry["data_offsets"][0])
        start, stop, _ = slice(start, stop).indices(shape[0])
        count = max(0, stop - start)
        width = dtype.itemsize * int(np.prod(shape[1:], dtype=object))
        shape = (count, *shape[1:])
        if not count * width:
            return np.empty(shape, dtype)
        if self._mapped is not None:
            first = begin + start * width
            return self._mapped[first : first + count * width].view(dtype).reshape(shape)
        data = _exactly(self._read, begin + start * width, count * width)
        return np.frombuffer(data, dtype).reshape(shape)

    def _texts(self, place: int, start: int, stop: int | None) -> NDArray[Any]:
        start, stop, _ = slice(start, stop).indices(self.contents.num_rows or 0)
        ends = self._rows(f"{place}.ends", max(0, start - 1), stop)
        first = 0 if start == 0 else int(ends[0])
        ends = ends if start == 0 else ends[1:]
        last = int(ends[-1]) if len(ends) else first
        data = self._rows(str(place), first, last).tobytes()
        begins = [0, *(ends[:-1] - first).tolist()]
        found = np.empty(len(ends), dtype=object)
        for row, (begin, end) in enumerate(zip(begins, (ends - first).tolist(), strict=False)):
            found[row] = data[begin:end].decode()
        return found

    def _first_lines(self, count: int) -> Iterator[str]:
        data, end = b"", 0
        while data.count(b"\n") < count and end < self._header["0"]["shape"][0]:
            data += self._rows("0", end, end + BLOCK_BYTES).tobytes()
            end += BLOCK_BYTES
        yield from data.decode(errors="ignore").split("\n")[:count]

    def _shown(self, column: Column, num_rows: int) -> list[Any]:
        values = self.column(column.name, 0, num_rows)
        if column.dtype == "text":
            return [text or None for text in values.tolist()]
        if column.shape:
            return [_without_nan(each) for each in values.tolist()]
        if column.dtype == "category":
            names = [*(column.categories or ()), None]
            return [names[code] for code in values.tolist()]
        if column.dtype == "bool":
            return [None if value < 0 else bool(value) for value in values.tolist()]
        numbers = [_without_nan(each) for each in values.tolist()]
        if column.dtype == "integer":
            return [None if each is None else int(each) for each in numbers]
        if column.dtype == "date":
            return [None if each is None else _iso(each) for each in numbers]
        return numbers


def read_columns(path: Path, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Return whole columns of a stored form on this machine: views of a memory map, read-only."""
    return StoredFile.open(path).columns(names)


def _exactly(read: Read, start: int, length: int) -> bytes:
    found = bytearray()
    while len(found) < length:
        piece = read(start + len(found), length - len(found))
        if not piece:
            raise EOFError(f"the stored form ends before byte {start + length}")
        found += piece
    return bytes(found)


def _without_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nan(each) for each in value]
    return None if value != value else value  # noqa: PLR0124


def _iso(seconds: float) -> str:
    try:
        moment = _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        return f"{seconds} s since 1970"
    return moment.isoformat().replace("+00:00", "Z")
