"""A schema overrides what is inferred; one that is none says what is wrong with it."""

import json

import pytest

from core.errors import InvalidInputError
from core.uploads.schema import Schema, parse_schema


@pytest.mark.parametrize(
    ("text", "schema"),
    [
        (None, Schema()),
        ("{}", Schema()),
        ('{"a": "number"}', Schema({"a": "number"})),
        ('{"columns": {"a": "date"}}', Schema({"a": "date"})),
        ('{"columns": "text"}', Schema({"columns": "text"})),
        (
            '{"missing": "number", "header": "bool"}',
            Schema({"missing": "number", "header": "bool"}),
        ),
        ('{"delimiter": "\\t"}', Schema(delimiter="\t")),
        ('{"decimal": ",", "delimiter": ";"}', Schema(delimiter=";", decimal=",")),
        ('{"decimal": "."}', Schema()),
        ('{"decimal": "number"}', Schema({"decimal": "number"})),
        ('{"header": false, "missing": ["?"]}', Schema(header=False, missing=("?",))),
        (
            '{"columns": [{"name": "a", "dtype": "text", "shape": []}], "delimiter": ";"}',
            Schema({"a": "text"}, ";"),
        ),
    ],
)
def test_forms(text: str | None, schema: Schema) -> None:
    assert parse_schema(text) == schema
    assert parse_schema(json.dumps(schema.to_json())) == schema


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("{", ["schema"]),
        ("3", ["schema"]),
        ('{"a": "numbr"}', ["schema.columns.a"]),
        ('{"a": 3, "b": "x"}', ["schema.columns.a", "schema.columns.b"]),
        ('{"columns": 3}', ["schema.columns"]),
        ('{"columns": [{"name": "a"}]}', ["schema.columns"]),
        ('[{"name": "a", "dtype": "text"}, {"name": "a", "dtype": "date"}]', ["schema.columns.a"]),
        ('{"delimiter": ",,"}', ["schema.delimiter"]),
        ('{"delimiter": "\\""}', ["schema.delimiter"]),
        ('{"decimal": ";"}', ["schema.decimal"]),
        ('{"decimal": null}', ["schema.decimal"]),
        ('{"header": "no", "missing": 3}', ["schema.header", "schema.missing"]),
        ('{"missing": [3]}', ["schema.missing"]),
        ('{"header": true, "skip": 3}', ["schema.skip"]),
        (" " * 5_000_000, ["schema"]),
    ],
)
def test_what_is_none_is_refused(text: str, params: list[str]) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_schema(text)
    assert [error.param for error in caught.value.errors] == params
    assert all(error.message.startswith(error.param) for error in caught.value.errors)


def test_a_near_kind_is_named() -> None:
    with pytest.raises(InvalidInputError, match="did you mean number"):
        parse_schema('{"a": "numbr"}')
