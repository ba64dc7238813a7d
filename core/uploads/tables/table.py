"""A table: its rows come in blocks, its columns' kinds are inferred, and all are stored."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from core.uploads.contents import (
    MOST_COLUMNS,
    Column,
    Contents,
    RefusedFile,
    quoted,
)
from core.uploads.layout import Tensor, write_stored
from core.uploads.schema import Schema
from core.uploads.tables.columns import ColumnBuilder
from core.uploads.tables.spill import Spill

MOST_NAME_CHARACTERS: Final = 200
MOST_BYTES_OF_CATEGORIES: Final = 2**20
"""Most bytes of all columns' categories together: they stand in the dataset's record."""


class TableSource(ABC):
    """A file of rows.

    Attributes:
        row_after_header: the first row of cells, once the file was parsed, where it may be a second
            header.
    """

    row_after_header: int | None = None

    @abstractmethod
    def parse(self, builders: "Builders") -> None:
        """Read the whole file and give its cells to the builders. A column that has none is passed
        over.

        Raises:
            RefusedFile: the file breaks a rule.
        """


class Builders:
    """The columns of a table that is being parsed, in the order in which the file names them.

    Args:
        only: names of the columns that are parsed; None: all. (The others keep their places.)
    """

    def __init__(self, schema: Schema, spill: Spill, only: frozenset[str] | None = None) -> None:
        self._schema = schema
        self._spill = spill
        self._only = only
        self._places: dict[str, int] = {}
        self.found: dict[str, ColumnBuilder] = {}

    def add(self, name: str) -> ColumnBuilder | None:
        """Return the builder of a column, which may be new; None: it is passed over.

        Raises:
            RefusedFile: there are too many columns, or the name is too long.
        """
        if name not in self._places:
            self._check(name)
            self._places[name] = len(self._places)
            if self._only is None or name in self._only:
                place = self._places[name]
                given = self._schema.dtypes.get(name)
                as_text = self._only is not None
                self.found[name] = ColumnBuilder(
                    name, place, self._spill, given, as_text, self._schema.decimal
                )
        return self.found.get(name)

    def _check(self, name: str) -> None:
        if len(self._places) == MOST_COLUMNS:
            raise RefusedFile(
                "too_many_columns",
                f"The file has more than {MOST_COLUMNS:,} columns. Upload values with so many"
                " features as an array of an NPZ file.",
                column=name[:MOST_NAME_CHARACTERS],
            )
        if len(name) > MOST_NAME_CHARACTERS:
            raise RefusedFile(
                "too_long",
                f"The name of column {len(self._places) + 1}, {quoted(name)}, has {len(name):,}"
                f" characters; at most {MOST_NAME_CHARACTERS} are read. Shorten it; if the first"
                " row is one of cells, add a row of names.",
                row=1,
                column=name[:MOST_NAME_CHARACTERS],
            )


def unique(names: Sequence[str], row: int | None = None) -> None:
    """Check that no two columns have the same name. Raises `RefusedFile`."""
    seen: set[str] = set()
    for place, name in enumerate(names, 1):
        if name in seen:
            raise RefusedFile(
                "duplicate_column",
                f"Two columns are named {quoted(name)}, number {names.index(name) + 1} and number"
                f" {place}. Rename one of them.",
                row=row,
                column=name[:MOST_NAME_CHARACTERS],
            )
        seen.add(name)


def store_table(source: TableSource, schema: Schema, work: Path, target: Path) -> Contents:
    """Parse a table and write its stored form at `target`; `work` is a folder for what is
    temporary. The file is read a second time for columns that turned out to be text late.

    Raises:
        RefusedFile: the file breaks a rule.
    """
    with closing(Spill(work / "spill")) as spill:
        columns = _parsed(source, schema, spill)
        finished = [column.finish() for column in columns]
        _check_categories([column for column, _ in finished])
        tensors: list[Tensor] = [tensor for _, some in finished for tensor in some]
        shown = tuple(column for column, _ in finished)
        contents = Contents("table", columns[0].num_rows, shown, 0)
        return write_stored(target, contents, tensors)


def _parsed(source: TableSource, schema: Schema, spill: Spill) -> list[ColumnBuilder]:
    """Return the columns, all of their cells in the spill."""
    first = Builders(schema, spill)
    source.parse(first)
    columns = list(first.found.values())
    _check_schema(schema, first)
    if not columns:
        raise RefusedFile("no_rows", "The file has no columns. Give each row a value or more.")
    if not columns[0].num_rows:
        raise RefusedFile(
            "no_rows", "The file names columns and has no rows. Add the rows below the names."
        )
    if source.row_after_header is not None:
        _refuse_two_headers(columns, source.row_after_header)
    for column in columns:
        column.settle()
    if late := frozenset(column.name for column in columns if column.again):
        second = Builders(schema, spill, late)
        source.parse(second)
        columns = [second.found.get(column.name, column) for column in columns]
    return columns


def _check_schema(schema: Schema, builders: Builders) -> None:
    for name in schema.dtypes:
        if name not in builders.found:
            have = ", ".join(map(quoted, list(builders.found)[:20]))
            raise RefusedFile(
                "unknown_column",
                f"The schema names a column {quoted(name)}, and the file has none of this name. Its"
                f" columns are {have}{' …' if len(builders.found) > 20 else ''}.",
                column=name[:MOST_NAME_CHARACTERS],
            )


def _refuse_two_headers(columns: Sequence[ColumnBuilder], row: int) -> None:
    """Refuse a table whose first row after the header has no numbers, though all rows after it have
    them in some column: names or units."""
    odd = [(c, cell) for c in columns if (cell := c.looks.odd_at(row)) is not None]
    if not odd or any(c.begins_with_a_value(row) for c in columns):
        return
    if len(odd) < len(columns) and not any(c.looks.numbers + c.looks.dates > 1 for c, _ in odd):
        return
    column, cell = odd[0]
    name = quoted(column.name)
    raise RefusedFile(
        "two_headers",
        f"Row {row} looks like a second header: in column {name} it has {quoted(cell)}, and all"
        " rows below have numbers or dates. Remove that row, or declare the column in the schema,"
        f' {{{name}: "text"}}.',
        row=row,
        column=column.name,
    )


def _check_categories(columns: Sequence[Column]) -> None:
    total = 0
    for column in columns:
        total += sum(len(each.encode()) for each in column.categories or ())
        if total > MOST_BYTES_OF_CATEGORIES:
            raise RefusedFile(
                "too_many_categories",
                f"With column {quoted(column.name)} the categories of all columns take more than"
                f" {MOST_BYTES_OF_CATEGORIES:,} bytes. Declare columns that are no categories as"
                f' text in the schema, {{{quoted(column.name)}: "text"}}.',
                column=column.name,
            )
