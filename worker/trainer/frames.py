"""Frames: a JSON header and raw columns of numbers in a row of bytes.

A frame is two little-endian unsigned 32-bit lengths, the header and the numbers:

    length of the header | length of the numbers | header | numbers

The header holds what its writer puts in, and when there are columns, their names and shapes in the
order of the numbers. Nothing is pickled: a trainer cannot make its worker run code.
"""

import json
import math
import struct
from collections.abc import Iterator
from io import BufferedIOBase
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.messages.parts import Columns
from core.specs.base import Json

_LENGTHS: Final = struct.Struct("<II")
_MAX_HEADER_BYTES: Final = 64 * 2**20
LARGE_BYTES: Final = 2**16
"""Bytes from which on a copy costs more than another write to the pipe."""


def pack(header: Json, columns: Columns) -> bytes:
    """Return the frame's bytes. Columns are written as little-endian float64, the header as JSON
    with NaN and infinities as Python writes them (both ends are Python)."""
    return b"".join(_parts(header, columns))


def pieces(header: Json, columns: Columns) -> Iterator[bytes | memoryview]:
    """Yield the bytes of `pack` in order: a small frame's as one, large columns without a copy."""
    parts = list(_parts(header, columns))
    if sum(map(len, parts)) < LARGE_BYTES:
        yield b"".join(parts)
    else:
        yield from parts


def _parts(header: Json, columns: Columns) -> Iterator[bytes | memoryview]:
    numbers: list[memoryview] = []
    if columns:
        shapes = [[name, list(column.shape)] for name, column in columns.items()]
        header = {**header, "columns": shapes}
        numbers = [
            np.ascontiguousarray(column, dtype="<f8").reshape(-1).view(np.uint8).data
            for column in columns.values()
        ]
    text = json.dumps(header, separators=(",", ":")).encode()
    yield _LENGTHS.pack(len(text), sum(map(len, numbers))) + text
    yield from numbers


def read(stream: BufferedIOBase) -> tuple[Json, Columns] | None:
    """Read the next frame's header and columns; None at the stream's end. Raises `ValueError` for
    bytes that are no frame."""
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    header_length, numbers_length = _LENGTHS.unpack(lengths)
    if header_length > _MAX_HEADER_BYTES:
        raise ValueError(f"a frame's header of {header_length} bytes")
    text = stream.read(header_length)
    numbers = _read_numbers(stream, numbers_length)
    if len(text) < header_length or numbers is None:
        return None
    header: dict[str, Any] = json.loads(text)
    return header, _columns(header.pop("columns", []), numbers)


def _read_numbers(stream: BufferedIOBase, length: int) -> NDArray[np.uint8] | None:
    """Read so many bytes; None when the stream ends before. NumPy asks for huge pages where they
    are many: first touching 100 MB of small ones takes 70 ms."""
    numbers = np.empty(length, np.uint8)
    view = numbers.data
    filled = 0
    while filled < length:
        count = stream.readinto(view[filled:])
        if not count:
            return None
        filled += count
    numbers.flags.writeable = False
    return numbers


def _columns(shapes: list[tuple[str, list[int]]], numbers: NDArray[np.uint8]) -> Columns:
    columns: Columns = {}
    start = 0
    for name, shape in shapes:
        count = math.prod(shape)
        column = np.frombuffer(numbers, dtype="<f8", count=count, offset=start)
        columns[name] = column.reshape(shape)
        start += 8 * count
    return columns
