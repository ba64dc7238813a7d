"""Parquet files with plain columns: their types are the file's."""

import operator
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.uploads.contents import MOST_COLUMNS, RefusedFile, quoted
from core.uploads.parse.zipped import refuse_expansion
from core.uploads.schema import Schema
from core.uploads.tables.cells import NO_INT
from core.uploads.tables.columns import ColumnBuilder
from core.uploads.tables.looks import Rows
from core.uploads.tables.spilled import TEXTS, Form
from core.uploads.tables.table import Builders, TableSource, unique

_ERRORS: Final = (pa.ArrowException, OSError, ValueError)
_MAGIC: Final = b"PAR1"
CELLS: Final = 2**20
"""Cells that are read at a time, about."""
_UNITS: Final = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


class ParquetFile(TableSource):
    """A Parquet file whose columns are numbers, bools, dates and texts."""

    def __init__(self, path: Path, schema: Schema) -> None:
        self._schema = schema
        try:
            # Without pre_buffer a row group is not read whole before its first rows are there.
            self._file = pq.ParquetFile(
                path,
                pre_buffer=False,
                buffer_size=2**20,
                memory_map=False,
                page_checksum_verification=True,
            )
        except _ERRORS as error:
            raise _damaged(path, error) from None
        self._path = path
        fields = self._file.schema_arrow
        refuse_expansion(path.stat().st_size, 8 * self._file.metadata.num_rows * len(fields))
        if len(fields) > MOST_COLUMNS:
            raise RefusedFile(
                "too_many_columns",
                f"The file has {len(fields):,} columns, and a table at most {MOST_COLUMNS:,}.",
            )
        unique(fields.names)
        for field in fields:
            _form(field.name, field.type)

    def parse(self, builders: Builders) -> None:
        """Read the file and give its values to the builders."""
        names = self._file.schema_arrow.names
        found = [builders.add(name) for name in names]
        wanted = [each for each in found if each is not None]
        size = max(1, min(65_536, CELLS // max(len(wanted), 1)))
        begin = 1
        for batch in self._batches(size, [each.name for each in wanted]):
            rows = partial(operator.add, begin)
            for builder, column in zip(wanted, batch.columns, strict=True):
                self._add(builder, column, rows)
            begin += batch.num_rows

    def _batches(self, size: int, names: list[str]) -> Iterator[Any]:
        batches = self._file.iter_batches(size, columns=names, use_threads=False)
        while True:
            try:
                batch = next(batches)
                batch.validate(full=True)  # texts are UTF-8, say
            except StopIteration:
                return
            except MemoryError:
                raise
            except _ERRORS as error:
                raise _damaged(self._path, error) from None
            yield batch

    def _add(self, builder: ColumnBuilder, column: Any, rows: Rows) -> None:
        if self._schema.missing is not None:
            texts = pa.array(self._schema.missing, pa.string())
            column = (
                pc.if_else(
                    pc.fill_null(pc.is_in(_as_texts(column), value_set=texts), False),
                    pa.nulls(len(column), column.type),
                    column,
                )
                if not pa.types.is_dictionary(column.type)
                else column
            )
        form = _form(builder.name, column.type)
        if builder.given is not None or (builder.form in TEXTS and form is not Form.CODES):
            builder.add_cells(_as_texts(column), rows)
        elif form is Form.CODES:
            builder.add_texts(_as_texts(column))
        elif form is Form.UNKNOWN:
            builder.add_missing(len(column))
        else:
            _refuse_unsigned(builder.name, column, rows)
            builder.add_values(form, _values(form, column), rows)


def _refuse_unsigned(name: str, column: Any, rows: Rows) -> None:
    if column.type != pa.uint64() or (pc.max(column).as_py() or 0) < 2**63:
        return
    place = int(pc.index(column, pc.max(column)).as_py())
    raise RefusedFile(
        "unsupported_type",
        f"Row {rows(place)}, column {quoted(name)}: {column[place]} is beyond int64. Declare the"
        f' column in the schema, {{{quoted(name)}: "text"}} or {{{quoted(name)}: "number"}}.',
        row=rows(place),
        column=name,
    )


def _values(form: Form, column: Any) -> Any:
    match form:
        case Form.INTS:
            whole = pc.fill_null(pc.cast(column, pa.int64()), NO_INT)
            return whole.to_numpy(zero_copy_only=False)
        case Form.BOOLS:
            return pc.fill_null(pc.cast(column, pa.int8()), -1).to_numpy(zero_copy_only=False)
        case Form.DATES:
            return _seconds(column)
        case _:
            return np.asarray(
                pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False), np.float64
            )


def _seconds(column: Any) -> Any:
    kind = column.type
    if pa.types.is_timestamp(kind):
        ticks, per_second = pc.cast(column, pa.int64()), _UNITS[kind.unit]
    elif pa.types.is_date32(kind):
        ticks, per_second = pc.cast(pc.cast(column, pa.int32()), pa.int64()), 1 / 86_400
    else:
        ticks, per_second = pc.cast(column, pa.int64()), 1e3
    found = pc.fill_null(ticks, 0).to_numpy(zero_copy_only=False) / per_second
    found[pc.is_null(ticks).to_numpy(zero_copy_only=False)] = np.nan
    return found


def _as_texts(column: Any) -> Any:
    """Return the values as texts; missing ones, empty texts and NaN are null."""
    kind = column.type
    if pa.types.is_floating(kind):
        column = pc.if_else(pc.is_nan(column), pa.nulls(len(column), kind), column)
    if pa.types.is_float16(kind):
        column = pc.cast(column, pa.float32())
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
    texts = pc.cast(column, pa.string())
    return pc.if_else(pc.equal(texts, ""), pa.nulls(len(texts), pa.string()), texts)


def _form(name: str, kind: Any) -> Form:
    """Return the form of a column's type. Raises `RefusedFile` for types that are not plain."""
    types = pa.types
    if types.is_dictionary(kind):
        return _form(name, kind.value_type)
    for form, some in (
        (Form.UNKNOWN, (types.is_null,)),
        (Form.BOOLS, (types.is_boolean,)),
        (Form.INTS, (types.is_integer,)),
        (Form.FLOATS, (types.is_floating, types.is_decimal)),
        (Form.DATES, (types.is_timestamp, types.is_date)),
        (Form.CODES, (types.is_string, types.is_large_string, types.is_string_view)),
    ):
        if any(each(kind) for each in some):
            return form
    nested = types.is_nested(kind)
    raise RefusedFile(
        "nested_column" if nested else "unsupported_type",
        f"Column {quoted(name)} is of the type {kind}; columns are numbers, bools, dates and texts."
        + (
            " Give each part a column of its own, or upload arrays as NPZ."
            if nested
            else " Convert it, or leave it out."
        ),
        column=name,
    )


def _damaged(path: Path, error: BaseException) -> RefusedFile:
    with path.open("rb") as file:
        begins = file.read(4) == _MAGIC
        file.seek(max(0, path.stat().st_size - 4))
        ends = file.read() == _MAGIC
    if begins and not ends:
        return RefusedFile(
            "cut_file",
            "The file begins as a Parquet file and ends too early. Upload it again, whole.",
        )
    text = str(error).splitlines()[0][:200].rstrip(".") if str(error) else type(error).__name__
    return RefusedFile(
        "cannot_be_read", f"The file is no Parquet file, or is damaged: {text}. Write it again."
    )
