"""Columns while they are parsed: their kinds are inferred over the whole file."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from core.uploads.contents import MOST_CATEGORIES, Column, Dtype, RefusedFile, quoted
from core.uploads.layout import Tensor
from core.uploads.schema import Decimal
from core.uploads.tables import cells as read
from core.uploads.tables.looks import Looks, Rows
from core.uploads.tables.spill import Spill
from core.uploads.tables.spilled import (
    MOST_CATEGORY_CHARACTERS,
    NUMBERS,
    TEXTS,
    Form,
    SpilledColumn,
)

_KINDS: Final = {
    Form.INTS: "number",
    Form.FLOATS: "number",
    Form.BOOLS: "bool",
    Form.DATES: "date",
    Form.CODES: "text",
    Form.STRINGS: "text",
}


class ColumnBuilder:
    """A column of a table that is being parsed.

    Args:
        place: of the column in the file.
        given: its kind by the schema; None: inferred.
        as_text: the column is category or text, by its type or by what an earlier pass found.
        decimal: the sign before the fraction of a number that is a text.

    Attributes:
        as_text: as given.
        again: its kind turned out to be text only after cells had been read as something else: the
            file must be read once more, with `as_text`.
        looks: of a column of texts.
    """

    def __init__(
        self,
        name: str,
        place: int,
        spill: Spill,
        given: Dtype | None = None,
        as_text: bool = False,
        decimal: Decimal = ".",
    ) -> None:
        self.name = name
        self.given = given
        self.again = False
        self.looks = Looks(decimal)
        self._decimal: Decimal = decimal
        self._cells = SpilledColumn(
            name, place, spill, Form.CODES if as_text or _is_text(given) else Form.UNKNOWN
        )
        self.as_text = as_text
        self._looking = not as_text and given is None
        self._numbers = True
        self._passed = 0
        self._large = False
        self._fractions = False
        self._first_missing = False

    @property
    def num_rows(self) -> int:
        """Rows so far."""
        return self._cells.num_rows + self._passed

    @property
    def form(self) -> Form:
        """Form of the cells so far."""
        return self._cells.form

    @property
    def kind(self) -> str | None:
        """Kind of the cells so far, in words; None: all are missing."""
        return _KINDS.get(self.form)

    # --- what the readers of files call -------------------------------------------------------

    def add_missing(self, count: int) -> None:
        """Append cells that are missing."""
        self._first_missing = self._first_missing or (count > 0 and not self.num_rows)
        if self.again:
            self._passed += count
        else:
            self._cells.put_missing(count)

    def add_cells(self, cells: read.Strings, rows: Rows, numbers: bool = True) -> None:
        """Append cells of text, nulls being missing ones.

        Args:
            numbers: whether a text may stand for a number or a bool; in JSON it may not.

        Raises:
            RefusedFile: a cell is not of the kind that the schema gives, or not finite.
        """
        self._numbers = numbers
        if cells.null_count == len(cells):
            self.add_missing(len(cells))
            return
        if not self.num_rows:
            self._first_missing = not cells[0].is_valid
        if self.given is not None:
            self._add_given(read.trimmed(cells), rows)
        elif self.again or self.form in TEXTS:
            self._add_texts(read.trimmed(cells), rows)
        elif not self._add_alike(cells):
            self._add_unlike(read.trimmed(cells), rows, numbers)

    def add_texts(self, cells: read.Strings) -> None:
        """Append cells that are texts by the file's own word."""
        self._cells.put_texts(cells)

    def add_values(self, form: Form, values: NDArray[Any], rows: Rows) -> None:
        """Append values of a file that says their kind itself, missing ones as `Form` has them.

        Raises:
            RefusedFile: they are not of the kind of those before, or not finite.
        """
        if self.form not in {Form.UNKNOWN, form} and not {self.form, form} <= NUMBERS:
            self.refuse_other_kind(f"a {_KINDS[form]}", rows(0))
        if form is Form.FLOATS:
            self._refuse_infinite(values, rows, None)
        self._cells.put(form, values)

    def refuse_other_kind(self, what: str, row: int) -> None:
        """Refuse a value in a row that is not of the kind of those before. Raises `RefusedFile`."""
        raise RefusedFile(
            "mixed_column",
            f"Row {row}, column {quoted(self.name)}: {what}, where the rows before have a"
            f" {self.kind}. Write all values of a column alike, or declare it in the schema,"
            f' {{{quoted(self.name)}: "text"}}.',
            row=row,
            column=self.name,
        )

    # --- cells of text -----------------------------------------------------------------------

    def _add_alike(self, cells: read.Strings) -> bool:
        """Append cells that are of the column's kind so far; say whether they were. (Most blocks
        of most files end here.)"""
        if self.form is Form.FLOATS and self._fractions:
            values = read.floats(cells, self._decimal)
            if values is None or np.isinf(values).any():
                return False
            self._cells.put(Form.FLOATS, values)
            return True
        if self.form is Form.INTS:
            whole = read.ints(cells)
            if whole is not None:
                self._cells.put(Form.INTS, whole)
            return whole is not None
        return False

    def _add_unlike(self, cells: read.Strings, rows: Rows, numbers: bool) -> None:
        """Append cells whose kind is not known yet, or may be another one than before."""
        form, values = self._kind_of(cells, rows, numbers)
        if values is not None:
            same = self.form in {Form.UNKNOWN, form} or {self.form, form} <= NUMBERS
            if same:
                self._cells.put(form, values)
                return
        self._turn_to_text()
        self._add_texts(cells, rows)

    def _kind_of(
        self, cells: read.Strings, rows: Rows, numbers: bool
    ) -> tuple[Form, NDArray[Any] | None]:
        if numbers:
            if self.form is not Form.FLOATS and (whole := read.ints(cells)) is not None:
                return Form.INTS, whole
            if (values := read.floats(cells, self._decimal)) is not None:
                if not self._looks_like_numbers(cells):
                    return Form.STRINGS, None
                self._refuse_infinite(values, rows, cells)
                return Form.FLOATS, values
            if (truths := read.bools(cells)) is not None:
                return Form.BOOLS, truths
        if (seconds := read.dates(cells)) is not None:
            return Form.DATES, seconds
        return Form.STRINGS, None

    def _looks_like_numbers(self, cells: read.Strings) -> bool:
        """Tell whether cells that can be read as float64 are meant so: whole numbers with a zero in
        front are not, unless the column has fractions; those beyond int64 are noted."""
        whole = read.matching(cells, read.WHOLE)
        if self._fractions or int(whole.sum()) < len(cells) - cells.null_count:
            self._fractions = True
            return True
        self._large = True
        self.looks.zeros = self.looks.zeros or read.zeros_in_front(cells)
        return not self.looks.zeros

    def _turn_to_text(self) -> None:
        """Go on as a column of texts; cells that were read as something else are needed again."""
        present = self._cells.num_rows - self._cells.num_missing
        if present:
            self.again = True
            self.looks.numbers += present * (self.form in NUMBERS)
            self.looks.dates += present * (self.form is Form.DATES)
            self.looks.others += present * (self.form is Form.BOOLS)

    def _add_texts(self, cells: read.Strings, rows: Rows) -> None:
        if self._looking:
            self.looks.count(cells, rows)
        if self.again:  # the next pass has them all
            self._passed += len(cells)
            return
        self._cells.put_texts(cells)
        if self.given == "category" and self.form is Form.STRINGS:
            self._refuse_categories(cells, rows)

    # --- cells whose kind the schema gives ----------------------------------------------------

    def _add_given(self, cells: read.Strings, rows: Rows) -> None:
        match self.given:
            case "category" | "text":
                self._add_texts(cells, rows)
            case "number":
                values = self._given(cells, rows, self._floats, "a number")
                self._refuse_infinite(values, rows, cells)
                self._cells.put(Form.FLOATS, values)
            case "integer":
                whole = self._given(cells, rows, self._whole, "a whole number")
                self._cells.put(Form.INTS, whole)
            case "bool":
                truths = self._given(
                    cells, rows, read.wide_bools, "true or false, yes or no, 1 or 0"
                )
                self._cells.put(Form.BOOLS, truths)
            case "date":
                seconds = self._given(cells, rows, read.dates, "an ISO 8601 date (2024-01-31)")
                self._cells.put(Form.DATES, seconds)
            case None:
                raise AssertionError("its kind is inferred")

    def _floats(self, cells: read.Strings) -> NDArray[np.float64] | None:
        return read.floats(cells, self._decimal)

    def _whole(self, cells: read.Strings) -> NDArray[np.int64] | None:
        return read.whole(cells, self._decimal)

    def _given(
        self,
        cells: read.Strings,
        rows: Rows,
        reads: Callable[[read.Strings], NDArray[Any] | None],
        a_value: str,
    ) -> NDArray[Any]:
        values = reads(cells)
        if values is not None:
            return values
        place, cell = next(
            (i, cell)
            for i, cell in read.present(cells)
            if reads(pa.array([cell], pa.string())) is None
        )
        other = ""
        if self._numbers and self.given in {"number", "integer"}:
            (foreign,) = read.matching(pa.array([cell], pa.string()), read.FOREIGN[self._decimal])
            sign = "," if self._decimal == "." else "."
            other = f', send {{"decimal": "{sign}"}} in the schema' if foreign else ""
        raise RefusedFile(
            "wrong_value",
            f"Row {rows(place)}, column {quoted(self.name)}: {quoted(cell)} is not {a_value}, as"
            f" the schema says of this column ({self.given}). Correct the cell{other}, list it"
            " under `missing` in the schema, or give the column another kind.",
            row=rows(place),
            column=self.name,
        )

    # --- refusals ----------------------------------------------------------------------------

    def _refuse_infinite(self, values: NDArray[Any], rows: Rows, cells: read.Strings) -> None:
        infinite = np.isinf(values)
        if not infinite.any():
            return
        place = int(infinite.argmax())
        cell = str(values[place]) if cells is None else str(cells[place].as_py())
        raise RefusedFile(
            "not_finite",
            f"Row {rows(place)}, column {quoted(self.name)}: {quoted(cell)} is infinite or beyond"
            " the range of float64, and nothing can be trained on it. Leave the cell empty, or list"
            " it under `missing` in the schema.",
            row=rows(place),
            column=self.name,
        )

    def _refuse_categories(self, cells: read.Strings, rows: Rows) -> None:
        where = f"Column {quoted(self.name)}"
        why = f"it has more than {MOST_CATEGORIES:,} distinct values"
        row = None
        for place, cell in read.present(cells):
            if len(cell) > MOST_CATEGORY_CHARACTERS:
                row = rows(place)
                where = f"Row {row}, column {quoted(self.name)}"
                why = f"{quoted(cell)} is longer than {MOST_CATEGORY_CHARACTERS} characters"
                break
        raise RefusedFile(
            "too_many_categories",
            f"{where} cannot be a category, as the schema says: {why}. Make it text, or group its"
            " values.",
            row=row,
            column=self.name,
        )

    def begins_with_a_value(self, row: int) -> bool:
        """Tell whether the first row, whose number is given, has a number, date or bool here."""
        if self._first_missing or self.form is Form.UNKNOWN:
            return False
        if self.form not in TEXTS and not self.again:
            return True
        return self.looks.begin_with_a_value(row)

    def settle(self) -> None:
        """Set `again` where the last row shows that the column is text after all: whole numbers
        beyond what is exact, which are names of something, not quantities.

        Raises:
            RefusedFile: the column is one of numbers or dates but for a few cells.
        """
        if self.given is not None:
            return
        if self._looking:
            comma = self.looks.wrong_decimal(self.name) if self._numbers else None
            if (mistake := comma or self.looks.mistake(self.name)) is not None:
                raise mistake
        self.again |= self._cells.inexact or (self._large and not self._fractions)
        if self.again:
            self._cells.drop()

    def finish(self) -> tuple[Column, list[Tensor]]:
        """Return the column, and what of it is to be stored."""
        return self._cells.finish(self.given)


def _is_text(given: Dtype | None) -> bool:
    return given in {"category", "text"}
