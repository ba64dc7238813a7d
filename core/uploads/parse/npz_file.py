"""NPZ files: NumPy arrays in a zip, each row of which belongs to the same row of the others."""

import io
import operator
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from math import isnan
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import pyarrow as pa
from numpy.lib import format as npy
from numpy.typing import NDArray

from core.uploads.contents import (
    MOST_CATEGORIES,
    MOST_COLUMNS,
    Column,
    Contents,
    Dtype,
    RefusedFile,
    quoted,
)
from core.uploads.layout import Tensor, write_stored
from core.uploads.parse.zipped import Archive
from core.uploads.schema import Schema
from core.uploads.tables.columns import ColumnBuilder
from core.uploads.tables.spill import Spill
from core.uploads.tables.spilled import smallest_integer

PIECE_BYTES: Final = 2**20
MOST_ROW_BYTES: Final = 64 * 2**20
_FLOATS: Final[dict[int, np.dtype[Any]]] = {
    2: np.dtype("<f4"),
    4: np.dtype("<f4"),
    8: np.dtype("<f8"),
}


@dataclass(frozen=True)
class Array:
    """An array of the file, by its header."""

    name: str
    info: zipfile.ZipInfo
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool

    @property
    def row_bytes(self) -> int:
        """Bytes of one row in the file."""
        return int(np.prod(self.shape[1:], dtype=object)) * self.dtype.itemsize


def store_arrays(path: Path, schema: Schema, work: Path, target: Path) -> Contents:
    """Check the arrays and write their stored form at `target`.

    Raises:
        RefusedFile: the file breaks a rule.
    """
    with closing(Archive(path)) as archive, closing(Spill(work / "spill")) as spill:
        return _store(archive, spill, schema, work, target)


def _store(archive: Archive, spill: Spill, schema: Schema, work: Path, target: Path) -> Contents:
    arrays = [_array(archive, info) for info in archive.files]
    _check(arrays, schema)
    num_rows = arrays[0].shape[0]
    columns: list[Column] = []
    tensors: list[Tensor] = []
    for place, array in enumerate(arrays):
        given = schema.dtypes.get(array.name)
        if array.dtype.kind == "U" or given is not None:
            column, some = _as_column(archive, array, place, spill, given)
        else:
            column, some = _as_array(archive, array, place, work)
        columns.append(column)
        tensors += some
    return write_stored(target, Contents("arrays", num_rows, tuple(columns), 0), tensors)


def _array(archive: Archive, info: zipfile.ZipInfo) -> Array:
    name = info.filename.removesuffix(".npy")
    with archive.opened(info) as file:
        shape, fortran, dtype = _header(archive, file, info, name)
    if dtype.hasobject:
        raise RefusedFile(
            "objects_in_file",
            f"Array {quoted(name)} holds Python objects, which are pickled and could run code. Save"
            " it with a plain type, such as float32 or int64.",
            column=name,
        )
    if dtype.kind not in "fiubU" or (dtype.itemsize > 8 and dtype.kind != "U") or dtype.shape:
        raise RefusedFile(
            "unsupported_type",
            f"Array {quoted(name)} is of the type {dtype}; arrays are numbers, bools or texts."
            " Split or convert it.",
            column=name,
        )
    return Array(name, info, dtype, shape, fortran)


def _header(
    archive: Archive, file: IO[bytes], info: zipfile.ZipInfo, name: str
) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    head = io.BytesIO(archive.read_from(file, info, npy.MAGIC_LEN + 4 + 10_000))
    try:
        version = npy.read_magic(head)
        if version not in {(1, 0), (2, 0), (3, 0)}:
            raise ValueError(f"version {version} of its format is not known")
        reads = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        return reads(head)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        why = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise RefusedFile(
            "cannot_be_read",
            f"Entry {quoted(info.filename)} is no array of NumPy's: {why}. Save the file with"
            " numpy.savez.",
            column=name,
            entry=info.filename,
        ) from None


def _check(arrays: list[Array], schema: Schema) -> None:
    if not arrays:
        raise RefusedFile("no_rows", "The file has no arrays. Save some with numpy.savez.")
    if len(arrays) > MOST_COLUMNS:
        raise RefusedFile(
            "too_many_columns",
            f"The file has {len(arrays):,} arrays, and at most {MOST_COLUMNS:,} are read.",
        )
    first = arrays[0]
    for array in arrays:
        if not array.shape:
            raise RefusedFile(
                "unequal_lengths",
                f"Array {quoted(array.name)} is a single number. Give every array one row a"
                " sample.",
                column=array.name,
            )
        if array.shape[0] != first.shape[0]:
            raise RefusedFile(
                "unequal_lengths",
                f"Array {quoted(array.name)} has {array.shape[0]:,} rows, and"
                f" {quoted(first.name)} has {first.shape[0]:,}. Give every array one row a sample.",
                column=array.name,
            )
        _check_size(array)
    if not first.shape[0]:
        raise RefusedFile("no_rows", "The arrays of the file have no rows. Save one row a sample.")
    names = {array.name for array in arrays}
    for name in schema.dtypes:
        if name not in names:
            raise RefusedFile(
                "unknown_column",
                f"The schema names a column {quoted(name)}, and the file has none of this name. Its"
                f" arrays are {', '.join(map(quoted, sorted(names)[:20]))}.",
                column=name,
            )


def _check_size(array: Array) -> None:
    promised = array.shape[0] * array.row_bytes
    if promised > array.info.file_size:
        raise RefusedFile(
            "cut_file",
            f"Array {quoted(array.name)} should have {promised:,} bytes by its header"
            f" {array.shape}, and its entry has {array.info.file_size:,}. Save the file again.",
            column=array.name,
        )
    if array.row_bytes > MOST_ROW_BYTES:
        raise RefusedFile(
            "too_long",
            f"A row of array {quoted(array.name)}, of the shape {array.shape}, has"
            f" {array.row_bytes:,} bytes, and at most {MOST_ROW_BYTES:,} are read. Give every array"
            " one row a sample.",
            column=array.name,
        )
    if not all(array.shape[1:]):
        raise RefusedFile(
            "no_rows",
            f"Array {quoted(array.name)} of the shape {array.shape} has no numbers.",
            column=array.name,
        )


def _rows(archive: Archive, array: Array, work: Path | None = None) -> Iterator[NDArray[Any]]:
    """Yield the array some rows at a time, whatever its order in memory."""
    if array.fortran and len(array.shape) > 1:
        yield from _rows_of_columns(archive, array, work)
        return
    size = max(1, PIECE_BYTES // array.row_bytes)
    rest, left = bytearray(), array.shape[0]
    skip = _data_start(archive, array)
    for piece in archive.pieces(array.info):
        rest += piece[skip:]
        skip = max(0, skip - len(piece))
        count = min(left, len(rest) // array.row_bytes)
        for at in range(0, count, size):
            some = bytes(rest[at * array.row_bytes : min(at + size, count) * array.row_bytes])
            yield np.frombuffer(some, array.dtype).reshape(-1, *array.shape[1:])
        del rest[: count * array.row_bytes]
        left -= count
    if left or rest:
        raise RefusedFile(
            "cut_file" if left else "cannot_be_read",
            f"Array {quoted(array.name)} has not as many rows as its header says,"
            f" {array.shape[0]:,}. Save the file again.",
            column=array.name,
        )


def _data_start(archive: Archive, array: Array) -> int:
    with archive.opened(array.info) as file:
        head = archive.read_from(file, array.info, 12)
    if head[6] == 1:
        return 10 + int.from_bytes(head[8:10], "little")
    return 12 + int.from_bytes(head[8:12], "little")


def _rows_of_columns(archive: Archive, array: Array, work: Path | None) -> Iterator[NDArray[Any]]:
    assert work is not None
    path = work / "columns"
    skip = _data_start(archive, array)
    with path.open("wb") as file:
        for piece in archive.pieces(array.info):
            file.write(piece[skip:])
            skip = max(0, skip - len(piece))
    whole = np.memmap(path, array.dtype, "r", shape=array.shape, order="F")
    size = max(1, PIECE_BYTES // max(array.row_bytes, 1))
    for at in range(0, array.shape[0], size):
        yield np.ascontiguousarray(whole[at : at + size])
    path.unlink()


def _as_array(
    archive: Archive, array: Array, place: int, work: Path
) -> tuple[Column, list[Tensor]]:
    """Read an array of numbers once, to check it; it is read again as it is stored."""
    missing, values, begin = 0, set[int](), 1
    low = high = 0
    few = len(array.shape) == 1
    for rows in _rows(archive, array, work):
        if array.dtype.kind == "f":
            flat = rows.reshape(len(rows), -1)
            _refuse_infinite(array, flat, begin)
            missing += int(np.isnan(flat).any(axis=1).sum())
        elif array.dtype.kind in "iu":
            low, high = min(low, int(rows.min())), max(high, int(rows.max()))
        if few and array.dtype.kind in "iu":
            values.update(np.unique(rows).astype(object).tolist())
            few = len(values) <= MOST_CATEGORIES
        begin += len(rows)
    if high > np.iinfo(np.int64).max:
        raise RefusedFile(
            "unsupported_type",
            f"Array {quoted(array.name)} has {high}, which is beyond int64. Convert it.",
            column=array.name,
        )
    dtype: Dtype = {"f": "number", "b": "bool"}.get(array.dtype.kind, "integer")  # type: ignore[assignment]
    kind = _stored_kind(array.dtype, low, high)
    known = few and array.dtype.kind in "iu"
    column = Column(
        array.name,
        dtype,
        array.shape[1:],
        missing,
        values=tuple(sorted(map(int, values))) if known else None,
    )

    def pieces() -> Iterator[NDArray[Any]]:
        return (rows.astype(kind) for rows in _rows(archive, array, work))

    return column, [Tensor(str(place), kind, array.shape, pieces)]


def _stored_kind(dtype: np.dtype[Any], low: int, high: int) -> np.dtype[Any]:
    if dtype.kind == "f":
        return np.dtype(_FLOATS[dtype.itemsize])
    if dtype.kind == "b":
        return np.dtype(np.int8)
    if dtype == np.uint8:
        return np.dtype(np.uint8)
    return smallest_integer(low, high)


def _refuse_infinite(array: Array, flat: NDArray[Any], begin: int) -> None:
    infinite = np.isinf(flat).any(axis=1)
    if not infinite.any():
        return
    row = begin + int(infinite.argmax())
    raise RefusedFile(
        "not_finite",
        f"Row {row} of array {quoted(array.name)} has an infinite number, and nothing can be"
        " trained on it. Write NaN where a value is missing.",
        row=row,
        column=array.name,
    )


def _as_column(
    archive: Archive, array: Array, place: int, spill: Spill, given: Dtype | None
) -> tuple[Column, list[Tensor]]:
    """Read an array of texts, or one whose kind the schema gives, as a column of a table."""
    if len(array.shape) > 1:
        raise RefusedFile(
            "wrong_schema" if given is not None else "unsupported_type",
            f"Array {quoted(array.name)} has the shape {array.shape}; "
            + (
                "the schema can give a kind to arrays of one axis only."
                if given is not None
                else "arrays of texts have one axis."
            ),
            column=array.name,
        )
    builder = ColumnBuilder(array.name, place, spill, given, as_text=given is None)
    begin = 1
    for rows in _rows(archive, array):
        cells = pa.array(_texts(rows), pa.string())
        builder.add_cells(cells, partial(operator.add, begin))
        begin += len(rows)
    return builder.finish()


def _texts(rows: NDArray[Any]) -> list[str | None]:
    if rows.dtype.kind == "U":
        return [each or None for each in rows.tolist()]
    if rows.dtype.kind == "f":
        return [None if isnan(each) else repr(each) for each in rows.astype(float).tolist()]
    return [str(each).lower() for each in rows.tolist()]
