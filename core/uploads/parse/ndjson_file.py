"""NDJSON files: an object a line. Their values say themselves what they are."""

import json
import math
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import orjson
import pyarrow as pa

from core.uploads.contents import MOST_COLUMNS, RefusedFile, quoted
from core.uploads.parse.encoding import CheckedText
from core.uploads.schema import MISSING, Schema
from core.uploads.tables.cells import NO_INT
from core.uploads.tables.columns import ColumnBuilder
from core.uploads.tables.spilled import TEXTS, Form
from core.uploads.tables.table import MOST_NAME_CHARACTERS, Builders, TableSource

LINES: Final = 4096
"""Most lines that are parsed at a time."""
MOST_LINE_BYTES: Final = 2**20
MOST_BYTES: Final = 2**20
_NOT_FINITE: Final = re.compile(rb"[:,\[]\s*-?(NaN|Infinity)\b")
_LARGE: Final = re.compile(rb'"([^"]*)"\s*:\s*(-?\d{19,})\s*[,}]')
_JSON_NAMES: Final = {str: "text", bool: "bool", int: "number", float: "number"}


class NdjsonFile(TableSource):
    """A file with one JSON object a line. A key that a line has not is a missing value; a text is
    never taken for a number, and for a date where all of a column's texts are dates."""

    def __init__(self, path: Path, schema: Schema) -> None:
        self._path = path
        self._schema = schema
        self._missing = frozenset({"", *(MISSING if schema.missing is None else schema.missing)})

    def parse(self, builders: Builders) -> None:
        """Read the file and give its values to the builders."""
        num_rows = 0
        with self._path.open("rb") as file:
            for lines in _blocks(file):
                found = [_object(line, number) for number, line in lines]
                if not found:
                    continue
                numbers = [number for number, _ in lines]
                self._add(builders, found, numbers, num_rows)
                num_rows += len(found)

    def _add(
        self,
        builders: Builders,
        found: list[dict[str, Any]],
        numbers: list[int],
        num_rows: int,
    ) -> None:
        for place, each in enumerate(found):
            if each.keys() - builders.found.keys():
                for name in each:
                    _add_column(builders, name, numbers[place])
        for builder in builders.found.values():
            if builder.num_rows < num_rows:  # a key that came late
                builder.add_missing(num_rows - builder.num_rows)
            values = [each.get(builder.name) for each in found]
            self._add_values(builder, values, numbers)

    def _add_values(self, builder: ColumnBuilder, values: list[Any], numbers: list[int]) -> None:
        kinds = set(map(type, values))
        if str in kinds:
            values = (
                [None if v in self._missing else v for v in values]
                if (kinds <= {str, int, float, bool, type(None)})
                else values
            )
            kinds = set(map(type, values))
        kinds.discard(type(None))
        if kinds & {list, dict}:
            self._refuse_nested(builder, values, numbers)
        if not kinds:
            builder.add_missing(len(values))
        elif builder.given is not None or builder.again or builder.form in TEXTS:
            if builder.given is None and not builder.as_text and kinds != {str}:
                _refuse_mixed(builder, values, numbers)
            texts = [None if v is None else v if isinstance(v, str) else _text(v) for v in values]
            builder.add_cells(pa.array(texts, pa.string()), numbers.__getitem__)
        elif kinds == {str}:
            if builder.form not in {Form.UNKNOWN, Form.DATES}:
                _refuse_mixed(builder, values, numbers)
            builder.add_cells(pa.array(values, pa.string()), numbers.__getitem__, numbers=False)
        elif kinds == {bool}:
            builder.add_values(
                Form.BOOLS,
                np.array([-1 if v is None else v for v in values], np.int8),
                numbers.__getitem__,
            )
        elif kinds <= {int, float}:
            _add_numbers(builder, values, kinds, numbers)
        else:
            _refuse_mixed(builder, values, numbers)

    def _refuse_nested(self, builder: ColumnBuilder, values: list[Any], numbers: list[int]) -> None:
        place = next(i for i, value in enumerate(values) if isinstance(value, (list, dict)))
        what = "a list" if isinstance(values[place], list) else "an object"
        raise RefusedFile(
            "nested_column",
            f"Line {numbers[place]}, column {quoted(builder.name)}: the value is {what}. Give each"
            " of its parts a key of its own, or upload arrays as NPZ.",
            row=numbers[place],
            column=builder.name,
        )


def _add_numbers(
    builder: ColumnBuilder, values: list[Any], kinds: set[type], numbers: list[int]
) -> None:
    if kinds == {int} and builder.form is not Form.FLOATS:
        whole = np.array([NO_INT if v is None else v for v in values], np.int64)
        builder.add_values(Form.INTS, whole, numbers.__getitem__)
    else:
        given = np.array([np.nan if v is None else float(v) for v in values])
        builder.add_values(Form.FLOATS, given, numbers.__getitem__)


def _add_column(builders: Builders, name: str, number: int) -> None:
    if not name.strip():
        raise RefusedFile("no_header", f"Line {number} has an empty key. Name it.", row=number)
    builders.add(name)


def _refuse_mixed(builder: ColumnBuilder, values: list[Any], numbers: list[int]) -> None:
    before = {
        Form.CODES: "text",
        Form.STRINGS: "text",
        Form.DATES: "text",
        Form.BOOLS: "bool",
        Form.INTS: "number",
        Form.FLOATS: "number",
    }.get(builder.form)
    for number, value in zip(numbers, values, strict=True):
        if value is None:
            continue
        kind = _JSON_NAMES[type(value)]
        before = before or kind
        if kind != before:
            raise RefusedFile(
                "mixed_column",
                f"Line {number}, column {quoted(builder.name)}: {_text(value)} is a {kind}, where"
                f" the lines before have a {before}. Write all values of a key alike, or declare"
                f' the column in the schema, {{{quoted(builder.name)}: "text"}}.',
                row=number,
                column=builder.name,
            )


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()[:200]


def _blocks(file: BinaryIO) -> Iterator[list[tuple[int, bytes]]]:
    """Yield the lines that are not blank, with their numbers, some at a time."""
    block: list[tuple[int, bytes]] = []
    num_bytes = 0
    for number, line in enumerate(_lines(file), 1):
        if line and not line.isspace():
            block.append((number, line))
            num_bytes += len(line)
        if len(block) == LINES or num_bytes > MOST_BYTES:
            yield block
            block, num_bytes = [], 0
    if block:
        yield block


def _lines(file: BinaryIO) -> Iterator[bytes]:
    text = CheckedText(file)
    rest = b""
    num_lines = 0
    while data := text.read(2**20):
        *whole, rest = (rest + data).split(b"\n")
        num_lines += len(whole)
        yield from whole
        if len(rest) > MOST_LINE_BYTES:
            raise RefusedFile(
                "too_long",
                f"Line {num_lines + 1} is longer than {MOST_LINE_BYTES:,} bytes. An NDJSON file has"
                " one object a line.",
                row=num_lines + 1,
            )
    if rest:
        yield rest


def _object(line: bytes, number: int) -> dict[str, Any]:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        if _NOT_FINITE.search(line) or "infinity" in str(error):
            raise _not_finite(line, number) from None
        raise RefusedFile(
            "cannot_be_read",
            f"Line {number} is no JSON: {error}. The line is {quoted(line[:80].decode())}.",
            row=number,
        ) from None
    if not isinstance(found, dict):
        raise RefusedFile(
            "cannot_be_read",
            f'Line {number} is no JSON object: it is {_text(found)[:80]}. Write one as {{"x": 1}}.',
            row=number,
        )
    if line.count(b'":') > len(found):
        _refuse_duplicates(line, number)
    for name, digits in _LARGE.findall(line):
        if not -(2**63) < int(digits[:400]) < 2**63:
            column = name.decode()[:200]
            raise RefusedFile(
                "not_finite",
                f"Line {number}, column {quoted(column)}: {digits.decode()[:40]} is a whole number"
                " beyond 64 bits, which would not be kept exactly. Write it as a text, or with an"
                " exponent.",
                row=number,
                column=column,
            )
    if len(found) > MOST_COLUMNS:
        raise RefusedFile(
            "too_many_columns",
            f"Line {number} has {len(found):,} keys; a table has at most {MOST_COLUMNS:,} columns.",
            row=number,
        )
    return found


def _not_finite(line: bytes, number: int) -> RefusedFile:
    """Return the refusal of a line with a number that is not finite, and of which key it is."""
    where, column = f"Line {number}", None
    with suppress(ValueError, RecursionError):
        found = json.loads(line)
        for name, value in found.items() if isinstance(found, dict) else ():
            if isinstance(value, float) and not math.isfinite(value):
                column = name[:MOST_NAME_CHARACTERS]
                where += f", column {quoted(column)}"
                break
    return RefusedFile(
        "not_finite",
        f"{where} has NaN, Infinity, or a number beyond float64, which JSON has not. Write null for"
        " a missing value.",
        row=number,
        column=column,
    )


def _refuse_duplicates(line: bytes, number: int) -> None:
    """Refuse an object that has a key twice."""

    def check(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise RefusedFile(
                    "duplicate_column",
                    f"Line {number} has the key {quoted(name)} twice. Rename one of them.",
                    row=number,
                    column=name[:200],
                )
            seen.add(name)

    json.loads(line, object_pairs_hook=check)
