"""A reply is made after its description."""

import math
from dataclasses import dataclass

import pytest
from pydantic import ConfigDict, Field

from api.http.schemas import LEFT_OUT, Number, View
from tests.api.actors import Json


@dataclass(frozen=True)
class Part:
    name: str
    secret: str = "not shown"


@dataclass(frozen=True)
class Whole:
    id: str
    loss: float
    parts: tuple[Part, ...]
    known: Json


class PartView(View):
    name: str


class Known(View):
    model_config = ConfigDict(extra="allow")
    step: int


class WholeView(View):
    loss: Number
    id: str
    known: Known | None
    extra: list[str] = Field(default=[])
    parts: list[PartView]
    length: int


WHOLE = Whole("a", math.nan, (Part("x"), Part("y")), {"step": 1, "more": [math.inf]})


def test_fields_come_in_their_order_from_the_source_or_as_computed() -> None:
    made = WholeView.build(WHOLE, length=2, extra=["z"])
    assert list(made) == ["loss", "id", "known", "extra", "parts", "length"]
    assert made == {
        "loss": "NaN",
        "id": "a",
        "known": {"step": 1, "more": ["Infinity"]},
        "extra": ["z"],
        "parts": [{"name": "x"}, {"name": "y"}],
        "length": 2,
    }
    assert WHOLE.known["more"] == [math.inf]


def test_a_mapping_is_a_source_too() -> None:
    source = {"loss": 1.0, "id": "b", "known": None, "parts": [Part("x")], "others": 1}
    made = WholeView.build(source, length=0, extra=LEFT_OUT)
    assert made == {"loss": 1.0, "id": "b", "known": None, "parts": [{"name": "x"}], "length": 0}


def test_what_is_computed_whole_keeps_the_order_of_the_fields() -> None:
    class Links(View):
        self: str
        next: str

    for made in (Links.build(self="a", next="b"), Links.build(next="b", self="a")):
        assert list(made.items()) == [("self", "a"), ("next", "b")]


def test_what_the_description_has_not_is_no_reply() -> None:
    with pytest.raises(TypeError, match="lenght"):
        WholeView.build(WHOLE, lenght=2, extra=[])
    with pytest.raises(AttributeError, match="length"):
        WholeView.build(WHOLE, extra=[])
