"""The schema that may come with a file, and overrides what would be inferred."""

import difflib
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast, get_args

import orjson

from core.errors import FieldError, InvalidInputError
from core.specs.base import Json
from core.uploads.contents import DTYPES, Dtype

MISSING: Final = (
    *("NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NAN", "-nan", "-NaN"),
    *("null", "NULL", "Null"),
)
"""Cells that stand for a missing value, beside the empty cell, in a column of any kind."""

_OPTIONS: Final = frozenset({"columns", "decimal", "delimiter", "header", "missing"})
Decimal = Literal[".", ","]
"""The sign between a number's whole part and its fraction."""
_DELIMITERS: Final = frozenset(" !#$%&*,/:;@^_|~\t")
MOST_BYTES: Final = 4 * 2**20


@dataclass(frozen=True)
class Schema:
    """Statements of the caller about a file.

    Attributes:
        dtypes: column -> kind; the others are inferred.
        delimiter: between the cells of a CSV file.
        header: whether the first row of a CSV file names the columns; else they are `column_1`, ….
            None: it does, and is refused where it looks like a row of numbers.
        missing: cells that stand for a missing value, instead of `MISSING`; the empty cell always
            does. In files that are no text they are compared with the value's text ("inf").
        decimal: what numbers of a CSV file have before their fraction.
    """

    dtypes: dict[str, Dtype] = field(default_factory=dict)
    delimiter: str = ","
    header: bool | None = None
    missing: tuple[str, ...] | None = None
    decimal: Decimal = "."

    def to_json(self) -> Json:
        """Return the schema in its long form, which `parse_schema` reads."""
        shown: Json = {"columns": self.dtypes, "delimiter": self.delimiter}
        if self.header is not None:
            shown["header"] = self.header
        if self.missing is not None:
            shown["missing"] = list(self.missing)
        if self.decimal != ".":
            shown["decimal"] = self.decimal
        return shown


def parse_schema(text: str | bytes | None) -> Schema:
    """Read the `schema` of a request; None is the empty one.

    The short form names kinds of columns: `{"zip": "category"}`. The long form is `{"columns":
    {"zip": "category"}, "delimiter": ";", "decimal": ",", "header": false, "missing": ["?"]}`, each
    key optional; `columns` may also be a list of objects with `name` and `dtype`, as a dataset
    shows them. An object whose values are all kinds of columns is of the short form.

    Raises:
        InvalidInputError: it is no JSON of this shape; `param` begins with "schema". Whether the
            file has these columns, the check of the file says (`unknown_column`).
    """
    if text is None:
        return Schema()
    if len(text) > MOST_BYTES:
        raise _mistake("schema", "too_long", f"schema has more than {MOST_BYTES:,} bytes.")
    try:
        given = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise _mistake("schema", "json_invalid", f"schema is not valid JSON: {error}.") from None
    if isinstance(given, list):
        given = {"columns": given}
    if not isinstance(given, dict):
        raise _mistake(
            "schema",
            "wrong_type",
            f'schema must be an object such as {{"zip": "category"}}, not {_shown(given)}.',
        )
    short = all(value in DTYPES for value in given.values() if isinstance(value, str))
    short = short and all(isinstance(value, str) for value in given.values())
    if short or not given.keys() & _OPTIONS:
        given = {"columns": given}
    faults: list[FieldError] = []
    found = Schema(
        dtypes=_dtypes(given.get("columns", {}), faults),
        delimiter=_delimiter(given.get("delimiter", ","), faults),
        header=_header(given.get("header"), faults),
        missing=_missing(given.get("missing"), faults),
        decimal=_decimal(given.get("decimal", "."), faults),
    )
    for key in given.keys() - _OPTIONS:
        allowed = "columns, decimal, delimiter, header or missing"
        faults.append(
            FieldError(f"schema.{key}", "extra_forbidden", f"schema.{key} is not one of {allowed}.")
        )
    if faults:
        raise InvalidInputError(sorted(faults, key=lambda fault: fault.param))
    return found


def _dtypes(given: Any, faults: list[FieldError]) -> dict[str, Dtype]:
    if isinstance(given, list):
        pairs = [
            (each["name"], each["dtype"])
            for each in given
            if isinstance(each, dict) and each.keys() >= {"name", "dtype"}
        ]
        if len(pairs) < len(given) or not all(isinstance(name, str) for name, _ in pairs):
            faults.append(
                FieldError(
                    "schema.columns",
                    "wrong_type",
                    'schema.columns, where it is a list, must have objects such as {"name": "zip",'
                    ' "dtype": "category"}.',
                )
            )
            return {}
    elif isinstance(given, dict):
        pairs = list(given.items())
    else:
        faults.append(
            FieldError(
                "schema.columns",
                "wrong_type",
                f'schema.columns must be an object such as {{"zip": "category"}}, not'
                f" {_shown(given)}.",
            )
        )
        return {}
    found: dict[str, Dtype] = {}
    for name, dtype in pairs:
        param = f"schema.columns.{name}"[:200]
        kind = next((each for each in get_args(Dtype) if each == dtype), None)
        if kind is None:
            faults.append(FieldError(param, "unknown_dtype", _unknown(param, dtype)))
        elif name in found:
            faults.append(FieldError(param, "duplicate_column", f"{param} is given twice."))
        else:
            found[name] = kind
    return found


def _unknown(param: str, dtype: Any) -> str:
    near = difflib.get_close_matches(str(dtype), DTYPES, n=1, cutoff=0.7)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"{param}: {_shown(dtype)} is no kind of column{hint}; it is one of {', '.join(DTYPES)}."


def _delimiter(given: Any, faults: list[FieldError]) -> str:
    if isinstance(given, str) and given in _DELIMITERS and len(given) == 1:
        return given
    faults.append(
        FieldError(
            "schema.delimiter",
            "wrong_value",
            'schema.delimiter must be one character such as ",", ";", "|" or a tab ("\\t"), not'
            f" {_shown(given)}.",
        )
    )
    return ","


def _decimal(given: Any, faults: list[FieldError]) -> Decimal:
    found = next((sign for sign in get_args(Decimal) if sign == given), None)
    if found is not None:
        return cast("Decimal", found)
    faults.append(
        FieldError(
            "schema.decimal",
            "wrong_value",
            f'schema.decimal must be "." or ",", as in 1.5 or 1,5, not {_shown(given)}.',
        )
    )
    return "."


def _header(given: Any, faults: list[FieldError]) -> bool | None:
    if given is None or isinstance(given, bool):
        return given
    faults.append(
        FieldError(
            "schema.header",
            "wrong_type",
            f"schema.header must be true or false, not {_shown(given)}.",
        )
    )
    return None


def _missing(given: Any, faults: list[FieldError]) -> tuple[str, ...] | None:
    if given is None:
        return None
    short = isinstance(given, list) and len(given) <= 100
    if short and all(isinstance(each, str) and len(each) <= 200 for each in given):
        return tuple(given)
    faults.append(
        FieldError(
            "schema.missing",
            "wrong_type",
            'schema.missing must be a list of at most 100 short texts, such as ["?", "-999"], not'
            f" {_shown(given)}.",
        )
    )
    return None


def _shown(value: Any) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= 60 else text[:57] + "..."


def _mistake(param: str, code: str, message: str) -> InvalidInputError:
    return InvalidInputError([FieldError(param, code, message)])
