"""CSV files, read by Arrow as texts; `ColumnBuilder` says what the texts are."""

import codecs
import csv
import io
import json
import mmap
import re
from bisect import bisect_right
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv

from core.uploads.contents import MOST_COLUMNS, RefusedFile, quoted
from core.uploads.parse.encoding import CheckedText
from core.uploads.schema import MISSING, Schema
from core.uploads.tables.cells import FOREIGN, NUMBERS
from core.uploads.tables.table import Builders, TableSource, unique

BLOCK_BYTES: Final = 2**20
"""Bytes that are parsed at a time; a row is at most so long."""
_OTHERS: Final = ";\t|,"


class CsvFile(TableSource):
    """A CSV file: cells with commas between (or what the schema says), quoted where need be by
    `"`, which is doubled within; the first row names the columns. Blank lines are passed over."""

    def __init__(self, path: Path, schema: Schema) -> None:
        self._path = path
        self._schema = schema
        self._delimiter = schema.delimiter
        with path.open("rb") as file:
            head = CheckedText(file).read(BLOCK_BYTES)
        if not head.strip():
            raise RefusedFile("empty_file", "The file has no rows: its first should name columns.")
        self._names, self._has_header = self._read_header(head)

    def parse(self, builders: Builders) -> None:
        """Read the file and give its cells to the builders."""
        columns = [builders.add(name) for name in self._names]
        wanted = [(i, column) for i, column in enumerate(columns) if column is not None]
        with self._path.open("rb") as file:
            text = CsvText(file, self._delimiter)
            rows = _RowNumbers(text)
            try:
                self._parse(text, wanted, rows)
            except pa.ArrowInvalid as error:
                raise self._refusal(rows, text, str(error)) from None
            if text.num_quotes % 2 and (line := open_quote(self._path, self._delimiter)):
                raise _unclosed(line)
            self._refuse_cut(text, rows)
            self.row_after_header = rows.row(2) if self._has_header else None

    def _parse(self, text: CheckedText, wanted: list[tuple[int, Any]], rows: "_RowNumbers") -> None:
        missing = MISSING if self._schema.missing is None else self._schema.missing
        names = [str(place) for place in range(len(self._names))]
        chosen = [str(place) for place, _ in wanted]
        reader = arrow_csv.open_csv(
            pa.PythonFile(text, mode="r"),
            read_options=arrow_csv.ReadOptions(
                use_threads=False, block_size=BLOCK_BYTES, column_names=names
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=self._delimiter,
                newlines_in_values=True,
                invalid_row_handler=rows.note_unequal,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                include_columns=chosen,
                null_values=["", *missing],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
                check_utf8=False,  # `CheckedText` did
            ),
        )
        skipped = 1 if self._has_header else 0
        for batch in reader:
            begin = rows.next_row
            rows.next_row += batch.num_rows
            cells = batch.slice(skipped) if skipped else batch
            begin, skipped = begin + skipped, 0
            for (_, builder), column in zip(wanted, cells.columns, strict=True):
                builder.add_cells(column, lambda place, begin=begin: rows.row(begin + place))

    def _read_header(self, head: bytes) -> tuple[list[str], bool]:
        """Return the names of the columns, and whether the first row is they."""
        num = head.lstrip(b"\r\n").partition(b"\n")[0].count(self._delimiter.encode()) + 1
        if num > 4 * MOST_COLUMNS:
            self._refuse_width(num)
        lines = csv.reader(
            io.StringIO(head.decode(errors="ignore"), newline=""), delimiter=self._delimiter
        )
        csv.field_size_limit(BLOCK_BYTES)
        try:
            cells = next(line for line in lines if line)
            second = next((line for line in lines if line), [])
        except csv.Error:
            cells, second = [], []
        except StopIteration:
            cells, second = [""], []
        names = [name.strip() for name in cells or [""]]
        if self._schema.header is not True:
            _refuse_no_names(head, names)
        if len(names) > MOST_COLUMNS:
            self._refuse_width(len(names))
        self._refuse_delimiter(names, second)
        if self._schema.header is False:
            return [f"column_{place}" for place in range(1, len(names) + 1)], False
        if self._schema.header is None:
            self._refuse_no_header(names)
        names = [name or f"column_{place}" for place, name in enumerate(names, 1)]
        unique(names, row=1)
        return names, True

    def _refuse_width(self, num: int) -> None:
        raise RefusedFile(
            "too_many_columns",
            f"The first row has more than {num - 1:,} cells, and a table at most"
            f" {MOST_COLUMNS:,} columns. Upload values with so many features as an array of an NPZ"
            " file.",
            row=1,
        )

    def _refuse_delimiter(self, names: list[str], second: list[str]) -> None:
        if len(names) != 1:
            return
        below = self._delimiter.join(second)
        for other in _OTHERS.replace(self._delimiter, ""):
            count = names[0].count(other)
            if count and (not second or below.count(other) >= count):
                commas = any(re.match(FOREIGN["."], cell.strip()) for cell in below.split(other))
                decimal = ', "decimal": ","' if commas and other != "," else ""
                shown = {"\t": "tabs", ";": "semicolons", "|": "bars", ",": "commas"}[other]
                raise RefusedFile(
                    "wrong_delimiter",
                    f"The first row, {quoted(names[0])}, is one cell: its parts seem to be"
                    f" separated by {shown}. Send the schema"
                    f' {{"delimiter": {quoted(other)}{decimal}}}, or save the file with'
                    f" {_called(self._delimiter)} between the cells.",
                    row=1,
                )

    def _refuse_no_header(self, names: list[str]) -> None:
        number = re.compile(NUMBERS[self._schema.decimal])
        numbers = [name for name in names if number.match(name)]
        counted = [str(start + i) for start in (0, 1) for i in range(len(names))]
        counting = names in (counted[: len(names)], counted[len(names) :])
        after_index = not names[0] and names[1:] == counted[: len(names) - 1]
        fractions = [name for name in numbers if not name.lstrip("+-").isdigit()]
        if counting or after_index or not (fractions or len(numbers) == len(names)):
            return
        raise RefusedFile(
            "no_header",
            "The first row should name the columns, and has the number"
            f" {(fractions or numbers)[0]}."
            ' Add a row of names; or send the schema {"header": false}, and the columns are named'
            ' column_1, column_2, …; or {"header": true}, if these are names.',
            row=1,
        )

    def _refusal(self, rows: "_RowNumbers", text: CheckedText, message: str) -> RefusedFile:
        """Return the refusal for what Arrow could not parse."""
        if rows.unequal is not None:
            number, has, cells = rows.unequal
            swallowed = "\n" in cells or text.num_quotes % 2
            if swallowed and (line := open_quote(self._path, self._delimiter)):
                return _unclosed(line)
            row = rows.row(number)
            return RefusedFile(
                "unequal_rows",
                f"Row {row} has {has:,} cell{'s' * (has != 1)}, and the first row has"
                f" {len(self._names):,}: {quoted(cells)}. Give every row as many cells; one that"
                f" holds {_called(self._delimiter)} must be quoted.",
                row=row,
            )
        if "straddling" in message or "cannot infer" in message:
            if line := open_quote(self._path, self._delimiter):
                return _unclosed(line)
            row = long_line(self._path) or rows.row(rows.next_row)
            return RefusedFile(
                "too_long",
                f"Row {row} is longer than {BLOCK_BYTES:,} bytes. Shorten its cells.",
                row=row,
            )
        return RefusedFile("cannot_be_read", f"The file is no CSV file: {message[:200]}")

    def _refuse_cut(self, text: CheckedText, rows: "_RowNumbers") -> None:
        if text.tail.endswith(self._delimiter.encode()) and len(self._names) > 1:
            row = rows.row(rows.next_row - 1)
            raise RefusedFile(
                "cut_file",
                f"Row {row}, the last one, ends after {quoted(self._delimiter)} without a line end:"
                " the file may be cut. If its last cell is missing, end the row with a line end.",
                row=row,
                column=self._names[-1],
            )


def _refuse_no_names(head: bytes, names: list[str]) -> None:
    """Refuse a first row that is none of cells: an object of NDJSON, or what tells Excel the
    delimiter."""
    first = head.removeprefix(codecs.BOM_UTF8).lstrip().partition(b"\n")[0].rstrip(b"\r")
    if first.startswith((b"{", b"[")):
        with suppress(ValueError, RecursionError):
            json.loads(first)
            raise RefusedFile(
                "no_header",
                f"The first row, {quoted(first.decode(errors='replace'))}, is JSON and names no"
                " columns. Send objects, one a line, with the Content-Type application/x-ndjson.",
                row=1,
            )
    if names[0].startswith("sep=") and len(first) == len("sep=;"):
        raise RefusedFile(
            "no_header",
            f"The first row, {quoted(first.decode(errors='replace'))}, tells Excel the delimiter"
            " and names no columns. Remove it, and send the delimiter in the schema,"
            f' {{"delimiter": {quoted(chr(first[-1]))}}}.',
            row=1,
        )


class CsvText(CheckedText):
    """The bytes of a CSV file, in which what follows a closing quote is looked at.

    Quotes come in pairs, a doubled one within a cell being a pair of its own. Where a quote stands
    within a cell that is not quoted (5" pipe) they do not, and nothing more is looked at.
    """

    def __init__(self, file: BinaryIO, delimiter: str) -> None:
        super().__init__(file)
        self._before = np.frombuffer(f'{delimiter}\n\r"'.encode(), np.uint8)
        self._paired = True
        self._last = b"\n"
        self._closes = False

    def read(self, size: int = -1) -> bytes:
        """Read as `CheckedText.read` does. Raises `RefusedFile` too for a cell such as "x"y."""
        lines, quotes = self.num_lines, self.num_quotes
        data = super().read(size)
        if self._paired and data and (self.num_quotes > quotes or self._closes):
            self._check_pairs(data, lines, quotes % 2)
        self._last = data[-1:] or self._last
        return data

    def _check_pairs(self, data: bytes, lines: int, opened: int) -> None:
        """Check the quotes of a piece of the file, before which a cell was opened or not."""
        around = np.frombuffer(self._last + data, np.uint8)
        at = np.flatnonzero(around[1:] == ord('"'))  # counted in `data`
        opening, closing = at[opened::2], at[1 - opened :: 2]
        fine = np.isin(around[opening], self._before)
        stray = int(opening[int(fine.argmin())]) if not fine.all() else len(data)
        self._paired = bool(fine.all())
        if self._closes:
            closing = np.concatenate([[-1], closing])
        ends_here = closing[closing + 1 < min(stray, len(data))]
        self._closes = bool(len(closing)) and int(closing[-1]) == len(data) - 1
        wrong = ends_here[~np.isin(around[ends_here + 2], self._before)]
        if len(wrong):
            row = lines + data[: int(wrong[0]) + 1].count(b"\n") + 1
            begin = max(0, int(wrong[0]) - 20)
            near = data[begin : int(wrong[0]) + 20].decode("utf-8", "replace")
            raise RefusedFile(
                "unclosed_quote",
                f'On line {row}, near {quoted(near)}, a closing quote (") has more of the cell'
                " after it. Close each quote at the end of its cell; within quotes a quote is"
                ' written twice ("").',
                row=row,
            )


class _RowNumbers:
    """Numbers of rows as a spreadsheet shows them: Arrow passes blank lines over."""

    def __init__(self, text: CheckedText) -> None:
        self._text = text
        self.next_row = 1
        self.unequal: tuple[int, int, str] | None = None

    def row(self, number: int) -> int:
        """Return the row of the file from its number among those that are not blank."""
        blank = self._text.blank_lines
        # Before the blank line at place i there are blank[i] - 1 - i rows that are not blank.
        return number + bisect_right(range(len(blank)), number - 1, key=lambda i: blank[i] - 1 - i)

    def note_unequal(self, row: Any) -> str:
        """Keep what Arrow says of a row that has too many or too few cells; stop there."""
        self.unequal = (row.number, row.actual_columns, row.text)
        return "error"


def open_quote(path: Path, delimiter: str) -> int:
    """Return the line on which a quote is opened that is never closed; 0: there is none."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        begins = {ord(delimiter), ord("\n"), ord("\r")}
        opened, at = -1, data.find(b'"')
        while at >= 0:
            step = 1
            if opened < 0:
                bom = data[:3] == codecs.BOM_UTF8
                if at == 3 * bom or data[at - 1] in begins:
                    opened = at
            elif data[at + 1 : at + 2] == b'"':
                step = 2
            else:
                opened = -1
            at = data.find(b'"', at + step)
        if opened < 0:
            return 0
        return 1 + sum(
            data[start : min(start + 2**20, opened)].count(b"\n")
            for start in range(0, opened, 2**20)
        )


def long_line(path: Path) -> int:
    """Return the first line that is longer than a block; 0: there is none."""
    with path.open("rb") as file:
        number = 1
        while line := file.readline(BLOCK_BYTES):
            if not line.endswith(b"\n") and len(line) == BLOCK_BYTES:
                return number
            number += 1
    return 0


def _unclosed(line: int) -> RefusedFile:
    return RefusedFile(
        "unclosed_quote",
        f'On line {line} a quote (") is opened that is never closed. Close it; within a quoted cell'
        ' a quote is written twice ("").',
        row=line,
    )


def _called(delimiter: str) -> str:
    return {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}.get(
        delimiter, quoted(delimiter)
    )
