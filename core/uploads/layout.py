"""The layout of a stored form: a safetensors file with the contents in its metadata.

Column `i` is the tensor named `i`, its rows the first axis. A column of texts has the UTF-8 bytes
of all rows there and, in `i.ends`, where each row's end. Tensors of wide numbers lie first, so
that each begins at a multiple of its numbers' size.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.specs.base import Json
from core.uploads.contents import Column, Contents
from core.uploads.times import Steps

CONTENTS_KEY: Final = "thalweg.contents"

NUMPY_NAMES: Final = {
    "F64": "<f8",
    "F32": "<f4",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U8": "|u1",
}
"""safetensors' names of the types that a stored form has, and NumPy's."""
_NAMES: Final = {np.dtype(name).str: code for code, name in NUMPY_NAMES.items()}


@dataclass(frozen=True)
class Tensor:
    """A tensor that is to be written; `pieces` yields its bytes in order."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    pieces: Callable[[], Iterable[NDArray[Any] | bytes]]

    @property
    def num_bytes(self) -> int:
        """Bytes of the tensor."""
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize


def write_stored(path: Path, contents: Contents, tensors: Iterable[Tensor]) -> Contents:
    """Write a stored form; return the contents with its size, the columns' counts, largest
    numbers and order of times.

    Raises:
        ValueError: a tensor's pieces are not as many bytes as its shape says.
        OSError: the disk is full, or the file larger than it may be.
    """
    tallies: dict[str, _Tally | _Largest | Steps] = {}
    for place, column in enumerate(contents.columns):
        if _Tally.fits(column):
            tallies[str(place)] = _Tally(column)
        elif column.dtype == "number":
            tallies[str(place)] = _Largest()
        elif column.dtype == "date" and column.shape == ():
            tallies[str(place)] = Steps()
    ordered = sorted(tensors, key=lambda tensor: -tensor.dtype.itemsize)
    header: Json = {"__metadata__": {CONTENTS_KEY: json.dumps(contents.to_json())}}
    end = 0
    for tensor in ordered:
        start, end = end, end + tensor.num_bytes
        header[tensor.name] = {
            "dtype": _NAMES[tensor.dtype.str],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in ordered:
            tally = tallies.get(tensor.name)
            pieces = tensor.pieces() if tally is None else map(tally.add, tensor.pieces())
            written = sum(file.write(_bytes(piece)) for piece in pieces)
            if written != tensor.num_bytes:
                raise ValueError(f"{tensor.name}: {written} bytes for {tensor.num_bytes}")
    columns = tuple(
        replace(column, **tallies[name].found) if (name := str(place)) in tallies else column
        for place, column in enumerate(contents.columns)
    )
    return replace(contents, num_bytes=8 + len(text) + end, columns=columns)


class _Tally:
    """Counts the rows of each value of a column while it is written."""

    def __init__(self, column: Column) -> None:
        known = column.values
        if known is None:
            known = tuple(range(2 if column.categories is None else len(column.categories)))
        self._known = np.array(known, dtype=np.int64)
        self._found = np.zeros(len(known), dtype=np.int64)

    def add(self, piece: NDArray[Any] | bytes) -> NDArray[Any] | bytes:
        """Count the values of a piece, and return it."""
        values = np.asarray(piece)
        present = values[~np.isnan(values)] if values.dtype.kind == "f" else values
        places = np.searchsorted(self._known, present.astype(np.int64))
        # What is missing, -1 where it is a code, is none of them.
        places = places[self._known[np.minimum(places, len(self._known) - 1)] == present]
        self._found += np.bincount(places, minlength=len(self._known))
        return piece

    @property
    def found(self) -> Json:
        """The column's fields that follow."""
        return {"counts": tuple(self._found.tolist())}

    @classmethod
    def fits(cls, column: Column) -> bool:
        """Tell whether the column has few values, which are known."""
        known = column.categories if column.values is None else column.values
        return column.shape == () and (column.dtype == "bool" or bool(known))


class _Largest:
    """Finds the number of the greatest size in a column while it is written."""

    def __init__(self) -> None:
        self._num_rows = 0
        self._value: float | None = None
        self._row: int | None = None

    def add(self, piece: NDArray[Any] | bytes) -> NDArray[Any] | bytes:
        """Look at the numbers of a piece (rows × …), and return it."""
        values = np.asarray(piece)
        if not values.size:
            return piece
        rows = values.reshape(len(values), -1)
        low, high = np.fmin.reduce(rows, axis=None), np.fmax.reduce(rows, axis=None)
        most = float(max(-low, high))  # NaN where all are missing
        if most > (-1.0 if self._value is None else abs(self._value)):
            place = int((np.abs(rows) == most).argmax())
            self._value = float(rows.flat[place])
            self._row = self._num_rows + place // rows.shape[1]
        self._num_rows += len(values)
        return piece

    @property
    def found(self) -> Json:
        """The column's fields that follow."""
        return {"largest": self._value, "largest_row": self._row}


def _bytes(piece: NDArray[Any] | bytes) -> Any:
    return piece if isinstance(piece, bytes) else np.ascontiguousarray(piece).data
