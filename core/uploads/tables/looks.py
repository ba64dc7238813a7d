"""Looks of the cells of a column of texts: a column of numbers with a few mistakes is no
column of texts."""

from collections.abc import Callable
from typing import Final

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from core.uploads.contents import RefusedFile, quoted
from core.uploads.schema import Decimal
from core.uploads.tables import cells as read

FEW: Final = 0.1
"""Share of a column's cells below which those of another kind are taken for mistakes."""
ENOUGH: Final = 10_000
"""Cells after which a column of texts is no longer searched for numbers."""

Rows = Callable[[int], int]
"""A function from a cell's place in a block to its row in the file."""


class Looks:
    """Counts of what a column's cells look like, and the first one that is no number, or no date.

    Attributes:
        numbers, dates, others: cells that look like numbers, like dates, like neither.
        foreign: of the others those that look like numbers written otherwise (`FOREIGN`).
        zeros: some number has a zero in front, so that its digits are a name.
    """

    def __init__(self, decimal: Decimal = ".") -> None:
        self._decimal = decimal
        self.numbers = self.dates = self.others = self.foreign = 0
        self.zeros = False
        self._first_no_number: tuple[int, str] | None = None
        self._first_no_date: tuple[int, str] | None = None
        self._first_foreign: tuple[int, str] | None = None
        self._enough = False

    def count(self, cells: read.Strings, rows: Rows) -> None:
        """Count more cells."""
        if self._enough:
            return
        numbers, dates = (
            read.matching(cells, read.NUMBERS[self._decimal]),
            read.matching(cells, read.DATE),
        )
        missing = pc.is_null(cells).to_numpy(zero_copy_only=False)
        self._first_no_number = self._first_no_number or _first(cells, ~numbers & ~missing, rows)
        self._first_no_date = self._first_no_date or _first(cells, ~dates & ~missing, rows)
        if self.foreign == self.others:
            foreign = read.matching(cells, read.FOREIGN[self._decimal])
            self._first_foreign = self._first_foreign or _first(cells, foreign, rows)
            self.foreign += int(foreign.sum())
        self.numbers += int(numbers.sum())
        self.dates += int(dates.sum())
        self.others += int((~numbers & ~dates & ~missing).sum())
        self._enough = self.others > max(ENOUGH, self.numbers + self.dates)

    @property
    def _of_each_kind(self) -> tuple[tuple[str, int, tuple[int, str] | None], ...]:
        return (
            ("number", self.numbers, self._first_no_number),
            ("date", self.dates, self._first_no_date),
        )

    @property
    def _total(self) -> int:
        return self.numbers + self.dates + self.others

    def mistake(self, name: str) -> RefusedFile | None:
        """Return the refusal of a column that is one of numbers, or of dates, but for exactly one
        cell, or for less than a tenth of them; else None."""
        for kind, count, first in self._of_each_kind:
            odd = self._total - count
            few = odd == 1 or odd < FEW * self._total
            if count < 2 or first is None or not few or (kind == "number" and self.zeros):
                continue
            row, cell = first
            column = quoted(name)
            return RefusedFile(
                "mixed_column",
                f"Row {row}, column {column}: {quoted(cell)} is no {kind}, and {count:,} of the"
                f" column's {self._total:,} cells are. Correct the cell; or, where it means that"
                f' the value is missing, send the schema {{"missing": [{quoted(cell)}]}}; or'
                f' declare the column, {{{column}: "category"}} or {{{column}: "text"}}.',
                row=row,
                column=name,
            )
        return None

    def wrong_decimal(self, name: str) -> RefusedFile | None:
        """Return the refusal of a column whose cells are all numbers, some with a comma where the
        decimal sign is a point, or the other way round; else None."""
        if self._first_foreign is None or self.dates or self.foreign < self.others:
            return None
        row, cell = self._first_foreign
        column = quoted(name)
        if self._decimal == ".":
            why = (
                "a number with a comma, and numbers have a point, and nothing between thousands."
                " Write 1.5 for 1,5 and 1234 for 1,234; or, where commas stand before fractions,"
                ' send the schema {"decimal": ","}'
            )
        else:
            why = (
                "a number with a point, and by the schema numbers have a comma, and nothing between"
                " thousands. Write 1,5 for 1.5 and 1234 for 1.234; or leave `decimal` out"
            )
        return RefusedFile(
            "decimal_comma",
            f"Row {row}, column {column}: {quoted(cell)} seems to be {why}; or declare the column,"
            f' {{{column}: "category"}} or {{{column}: "text"}}.',
            row=row,
            column=name,
        )

    def odd_at(self, row: int) -> str | None:
        """Return the cell of this row, where all other cells are numbers, or all are dates."""
        for _, count, first in self._of_each_kind:
            if count > 0 and count == self._total - 1 and first is not None and first[0] == row:
                return first[1]
        return None

    def begin_with_a_value(self, row: int) -> bool:
        """Tell whether the first cell, which stands in this row, looks like a number or a date."""
        return any(
            count > 0 and (first is None or first[0] != row)
            for _, count, first in self._of_each_kind
        )


def _first(cells: read.Strings, chosen: NDArray[np.bool_], rows: Rows) -> tuple[int, str] | None:
    if not chosen.any():
        return None
    place = int(chosen.argmax())
    return rows(place), str(cells[place].as_py())
