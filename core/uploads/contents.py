"""The contents of an uploaded file: what a check of it found, or why it is refused.

A record of a dataset holds `Contents` as JSON; widths and the validation of a job follow from it
alone, so nobody opens the file for them.
"""

import json
from dataclasses import asdict, dataclass
from typing import Final, Literal, Self, get_args

from core.errors import ThalwegError
from core.specs.base import Json
from core.specs.columns.times import Times

Kind = Literal["table", "arrays", "text", "images", "weights"]
Dtype = Literal["number", "integer", "bool", "category", "date", "text"]
"""Kinds of columns. In the stored form:

- `number`: float64 (float32 where the file says so), NaN where missing, never infinite
- `integer`: the smallest of int8 to int64; float64 with NaN where some are missing
- `bool`: int8, 0 or 1, -1 where missing
- `category`: int16, the place in `Column.categories`, -1 where missing
- `date`: float64, seconds since 1970-01-01 00:00 UTC, NaN where missing
- `text`: UTF-8; a missing one is the empty text
"""

MEDIA_TYPES: Final[dict[str, Kind]] = {
    "text/csv": "table",
    "application/vnd.apache.parquet": "table",
    "application/x-ndjson": "table",
    "application/x-npz": "arrays",
    "text/plain": "text",
    "application/zip": "images",
    "application/x-safetensors": "weights",
}
"""Media types that can be uploaded, and the kind of contents that each has."""

DTYPES: Final[tuple[Dtype, ...]] = get_args(Dtype)
"""Kinds of columns that a schema may name."""

MOST_CATEGORIES: Final = 1_000
"""Most categories of a column; with more it is text."""

MOST_COLUMNS: Final = 20_000
"""Most columns of a table, arrays of an NPZ, or tensors of a file of weights."""


@dataclass(frozen=True)
class Column:
    """A column of a table, an array of an NPZ file, or a tensor of a file of weights.

    Attributes:
        name: as the file has it.
        dtype: one of `DTYPES`; of weights torch's name of the type ("float32", "bfloat16").
        shape: of one row's value: () for a number, (1, 8, 8) for an image (channels first); of
            weights the tensor's shape.
        num_missing: rows without a value.
        categories: of a `category`, sorted; else None.
        values: the distinct values of an `integer` with shape (), sorted, without missing
            ones, where there are at most `MOST_CATEGORIES`; else None.
        counts: the rows of each of `categories` or `values`, or of false and of true; None where
            there are none of these, of columns that an earlier version has checked, and in a stored
            form, whose header is written first.
        largest, largest_row: of a `number` the first of the greatest size, with its row counted
            from 0; None of others, without any, and wherever `counts` are None.
        times: of a `date` with shape () the order of its times; None wherever `counts` are.
        sample: of a `text` that no schema declares, and whose texts stand for dates or numbers
            (`core.specs.columns.written`), some of them; else None.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] = ()
    num_missing: int = 0
    categories: tuple[str, ...] | None = None
    values: tuple[int, ...] | None = None
    counts: tuple[int, ...] | None = None
    largest: float | None = None
    largest_row: int | None = None
    times: Times | None = None
    sample: tuple[str, ...] | None = None

    def to_json(self) -> Json:
        """Return the column as JSON has it."""
        return {
            "name": self.name,
            "dtype": self.dtype,
            "shape": list(self.shape),
            "num_missing": self.num_missing,
            "categories": None if self.categories is None else list(self.categories),
            "values": None if self.values is None else list(self.values),
            "counts": None if self.counts is None else list(self.counts),
            "largest": self.largest,
            "largest_row": self.largest_row,
            **({} if self.times is None else {"times": asdict(self.times)}),
            **({} if self.sample is None else {"sample": list(self.sample)}),
        }

    @classmethod
    def from_json(cls, stored: Json) -> Self:
        """Read what `to_json` returned."""
        given: Json = {name: tuple(v) if isinstance(v, list) else v for name, v in stored.items()}
        if given.get("times") is not None:
            given["times"] = Times(**given["times"])
        return cls(**given)


@dataclass(frozen=True)
class Contents:
    """Contents of a checked file.

    Attributes:
        kind: of contents. `images` have the columns "image" (an `integer` of 0 to 255 with shape
            (channels, height, width)) and "class" (a `category`: the folders' names). `text` has
            the one column "text".
        num_rows: rows of a table or of each array, images, lines of a text; None for weights.
        columns: in the order of the file.
        num_bytes: of the stored form, which a job reads.
        num_characters: of a text; else None.
        num_distinct_characters: of a text, the vocabulary of a tokenizer of characters; else None.
        num_text_bytes: of a text in UTF-8; else None, and of texts that an earlier version checked.
    """

    kind: Kind
    num_rows: int | None
    columns: tuple[Column, ...]
    num_bytes: int
    num_characters: int | None = None
    num_distinct_characters: int | None = None
    num_text_bytes: int | None = None

    def column(self, name: str) -> Column | None:
        """Return the column of this name, or None."""
        return next((each for each in self.columns if each.name == name), None)

    def to_json(self) -> Json:
        """Return the contents as JSON has them."""
        return {
            "kind": self.kind,
            "num_rows": self.num_rows,
            "columns": [column.to_json() for column in self.columns],
            "num_bytes": self.num_bytes,
            "num_characters": self.num_characters,
            "num_distinct_characters": self.num_distinct_characters,
            "num_text_bytes": self.num_text_bytes,
        }

    @classmethod
    def from_json(cls, stored: Json) -> Self:
        """Read what `to_json` returned."""
        columns = tuple(map(Column.from_json, stored["columns"]))
        return cls(**{**stored, "columns": columns})


class RefusedFile(ThalwegError):
    """A file that breaks a rule; the message names the place, the value and the way out.

    Attributes:
        refusal_code: one of `REFUSALS`.
        row: where the mistake stands, counted as a spreadsheet counts: the first row (a CSV's
            header) is row 1; of an NDJSON file or a text the line; of arrays the row from 1.
        column: name of the column, array or tensor.
        entry: name of the entry of a zip.
    """

    code = "refused_file"

    def __init__(
        self,
        refusal_code: str,
        message: str,
        *,
        row: int | None = None,
        column: str | None = None,
        entry: str | None = None,
    ) -> None:
        super().__init__(message)
        if refusal_code not in REFUSALS:
            raise ValueError(f"unpublished code of a refusal {refusal_code!r}")
        self.refusal_code = refusal_code
        self.message = message
        self.row = row
        self.column = column
        self.entry = entry

    def to_json(self) -> Json:
        """Return the refusal as JSON has it: a dataset's `error`."""
        return {
            "code": self.refusal_code,
            "message": self.message,
            "row": self.row,
            "column": self.column,
            "entry": self.entry,
        }

    @classmethod
    def from_json(cls, stored: Json) -> Self:
        """Read what `to_json` returned."""
        code, message = stored["code"], stored["message"]
        return cls(code, message, row=stored["row"], column=stored["column"], entry=stored["entry"])


def quoted(text: str) -> str:
    """Return a name or a cell as messages show it: in quotes, and shortened."""
    return json.dumps(text if len(text) <= 80 else text[:77] + "...", ensure_ascii=False)


REFUSALS: Final[dict[str, str]] = {
    "unsupported_media_type": "The media type is none that can be uploaded.",
    "cannot_be_read": "The file is not of its media type, or is damaged.",
    "cut_file": "The file ends too early.",
    "empty_file": "The file has no bytes.",
    "no_rows": "The file has no rows.",
    "stopped": "The check was stopped before its end.",
    "memory_limit": "The check needed more memory than it may have.",
    "time_limit": "The check needed more time than it may have.",
    "size_limit": "The stored form would be larger than it may be.",
    "wrong_encoding": "A text is not UTF-8, or holds a NUL byte.",
    "no_header": "The first row of a CSV file does not name the columns.",
    "two_headers": "A CSV file has a second row of names or units.",
    "wrong_delimiter": "The cells are not separated by commas.",
    "duplicate_column": "Two columns have the same name.",
    "too_many_columns": "The file has more columns than it may have.",
    "too_many_categories": "The categories of all columns together are too many.",
    "too_long": "A row, a cell or a name is longer than it may be.",
    "unequal_rows": "A row has more or fewer cells than the header.",
    "unclosed_quote": "A quote is opened and never closed.",
    "mixed_column": "A few cells of a column are of another kind than the others.",
    "decimal_comma": "The numbers of a column have commas, or points where the schema says commas.",
    "wrong_value": "A cell is not of the kind that the schema gives its column.",
    "not_finite": "A number is infinite, or beyond the range of float64.",
    "unknown_column": "The schema names a column that the file has not.",
    "wrong_schema": "The schema says what this kind of file cannot have.",
    "nested_column": "A column holds lists or objects.",
    "unsupported_type": "A column, an array or a tensor is of a type that cannot be used.",
    "objects_in_file": "A file holds pickled objects, which could run code.",
    "unequal_lengths": "The arrays of a file have unequal numbers of rows.",
    "unsafe_name": "An entry of a zip has a name that leaves its folder.",
    "unsafe_entry": "An entry of a zip is a link, encrypted, or no plain file.",
    "duplicate_entry": "Two entries of a zip have the same name.",
    "too_many_entries": "A zip has more entries than it may have.",
    "zip_bomb": "The file expands to much more than it may.",
    "no_classes": "The images of a zip do not lie in one folder a class.",
    "not_an_image": "An entry of a zip is no PNG or JPEG image.",
    "image_too_large": "An image has more pixels than it may have.",
    "unlike_images": "An image has another size or mode than the others.",
    "unsupported_mode": "An image has a mode that cannot be used.",
}
"""Codes of refusals, and what each says."""
