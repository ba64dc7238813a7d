"""Columns that train, and hardly mean what they seem to, are warned of with a way out."""

import json
from dataclasses import replace
from typing import Any, Final

import pytest

from core.errors import FieldError, InvalidInputError
from core.specs.columns.times import Times
from core.specs.parsing.job import parse_job
from core.specs.sizes.uploads import ColumnFacts, UploadFacts, Uploads
from core.specs.studies.parse import parse_study
from core.specs.validation.limits import Limits
from core.specs.validation.uploads.doubts import MOST, doubts_of_columns
from core.specs.validation.warnings.job import warnings_of_job
from tests.core.specs.example_uploads import EXAMPLE_ID, column, table

Json = dict[str, Any]
DAY: Final = 86_400.0
EVEN: Final = Times(99, DAY, 0, None, 0, None, 0, None, 0.0)


def texts(name: str, *found: str, **facts: Any) -> ColumnFacts:
    return ColumnFacts(name, "category", num_categories=len(found), categories=found, **facts)


def dates(name: str = "day", **times: Any) -> ColumnFacts:
    return ColumnFacts(name, "date", times=replace(EVEN, **times))


def spec(facts: UploadFacts, kind: str = "supervised", **data: Any) -> bytes:
    problem: Json = {
        "kind": kind,
        "data": {"kind": "dataset", "id": EXAMPLE_ID, "target": "price", **data},
        "model": {"kind": "linear"},
    }
    if kind == "forecast":
        problem |= {"window": 4, "horizon": 2}
    return json.dumps({"problem": problem, "optimizer": {"kind": "adam"}}).encode()


def warned(facts: UploadFacts, kind: str = "supervised", **data: Any) -> list[FieldError]:
    uploads: Uploads = {EXAMPLE_ID: facts}
    return warnings_of_job(parse_job(spec(facts, kind, **data), Limits(), uploads), None, uploads)


DOUBTFUL: Final = [
    (texts("a", "31.12.2024", "01.02.2024"), "looks_like_dates", "write dates as 2024-12-31"),
    (texts("a", "12:30", "14:00"), "looks_like_numbers", "750 for 12:30"),
    (texts("a", "10%", "20%"), "looks_like_numbers", "10 for 10%"),
    (texts("a", "$10", "$1,234"), "looks_like_numbers", "1234.5 for $1,234.50"),
    (texts("a", "1,234", "5,678"), "looks_like_numbers", "1234.5 for 1,234.5"),
    (texts("a", "1 kg", "2 kg", "500 g"), "looks_like_numbers", "in one unit"),
    (texts("a", "1.5", "2.5"), "looks_like_numbers", 'the schema {"a": "number"}'),
    (texts("a", "2024-12-31", "2024-12-30"), "looks_like_dates", 'the schema {"a": "date"}'),
    (texts("a", "No", "Yes", "yes"), "categories_alike", '"Yes" and "yes"'),
    (texts("a", *(f"user {i}" for i in range(95))), "nearly_unique", "leave it out"),
    (texts("a", *map(str, range(95))), "nearly_unique", 'send the schema {"a": "number"}'),
]


@pytest.mark.parametrize(("doubtful", "code", "way_out"), DOUBTFUL)
def test_a_doubtful_column_is_named_with_a_text_and_a_way_out(
    doubtful: ColumnFacts, code: str, way_out: str
) -> None:
    facts = table(doubtful, column("price"))
    (of_data,) = doubts_of_columns(facts)
    assert (of_data.param, of_data.code) == ("a", code)
    (of_job,) = warned(facts)
    assert (of_job.param, of_job.code) == ("problem.data.features", code)
    assert doubtful.categories is not None
    for message in (of_data.message, of_job.message):
        assert way_out in message
        assert '"a" has ' in message
        assert any(json.dumps(each) in message for each in doubtful.categories)
    assert warned(facts, features=["a"]) == [of_job]


def test_what_is_not_used_or_was_declared_is_not_warned_of() -> None:
    money = texts("a", "$10", "$20")
    facts = table(money, column("b"), column("price"))
    assert warned(facts, features=["b"]) == []
    declared = table(replace(money, declared=True), column("price"))
    assert warned(declared) == doubts_of_columns(declared) == []
    names = texts("a", *(f"user {i}" for i in range(95)), declared=True)
    assert warned(table(names, column("price"))) == []
    alike = texts("a", "No", "no", declared=True)  # declared, and two categories all the same
    assert [each.code for each in warned(table(alike, column("price")))] == ["categories_alike"]


def test_plain_categories_are_not_warned_of() -> None:
    facts = table(
        texts("smoker", "no", "yes"),
        texts("district", *(f"district {i}" for i in range(19))),
        texts("zip", "00501", "01001"),
        texts("city", *(f"city {i}" for i in range(80))),
        column("price"),
    )
    assert warned(facts) == doubts_of_columns(facts) == []


def test_a_target_of_texts_is_taken_for_classes() -> None:
    facts = table(column("size"), texts("price", "$10", "$20", "$30"))
    (found,) = warned(facts)
    assert (found.param, found.code) == ("problem.data.target", "looks_like_numbers")
    assert "taken for 3 classes" in found.message
    names = texts("price", *(f"name {i}" for i in range(95)))  # a class each is asked for
    assert warned(table(column("size"), names)) == []


@pytest.mark.parametrize(
    ("kind", "data", "wanted"),
    [
        ("supervised", {}, "text_feature"),
        ("supervised", {"target": "a", "features": ["price"]}, "text_target"),
    ],
)
def test_a_refused_text_says_how_to_write_it(kind: str, data: Json, wanted: str) -> None:
    text = ColumnFacts("a", "text", sample=("$1", "$2"))
    facts = table(text, column("price"))
    assert "taken for text" in doubts_of_columns(facts)[0].message
    with pytest.raises(InvalidInputError) as refused:
        warned(facts, kind, **data)
    (found,) = refused.value.errors
    assert found.code == wanted
    assert '"a" has "$1": if these are amounts of money, write the number alone' in found.message


@pytest.mark.parametrize(("kind", "loss"), [("supervised", "mse"), ("forecast", "mse")])
def test_a_refused_target_of_categories_says_how_to_write_it(kind: str, loss: str) -> None:
    facts = table(column("size"), texts("price", "10%", "20%"))
    body = json.loads(spec(facts, kind))
    body["problem"]["loss"] = {"kind": loss}
    with pytest.raises(InvalidInputError) as refused:
        parse_job(json.dumps(body).encode(), Limits(), {EXAMPLE_ID: facts})
    (found,) = refused.value.errors
    assert "if these are percentages, write the number alone (10 for 10%)" in found.message


UNORDERED: Final[list[tuple[Json, str, str]]] = [
    ({"num_back": 99, "first_back": 1}, "times_out_of_order", "the latest come first"),
    ({"num_back": 1, "first_back": 7}, "times_out_of_order", "1 of 99 steps leads back in time"),
    ({"num_same": 3, "first_same": 8}, "times_repeat", "3 of 99 steps lead to the same time"),
    (
        {"num_uneven": 2, "first_uneven": 31, "uneven_s": 3 * DAY},
        "uneven_times",
        "usual 1 day, the first by 3 days to row 31 (counted from 0)",
    ),
]


@pytest.mark.parametrize(("times", "code", "words"), UNORDERED)
@pytest.mark.parametrize("features", [None, [], ["day"]])
def test_a_series_out_of_order_is_warned_of(
    times: Json, code: str, words: str, features: list[str] | None
) -> None:
    facts = table(dates(**times), column("price"))
    (found,) = warned(facts, "forecast", features=features)
    assert (found.param, found.code) == ("problem.data.id", code)
    assert 'by the column "day"' in found.message
    assert words in found.message


def test_the_order_matters_where_the_end_is_held_out_and_nowhere_else() -> None:
    tail: Json = {"split": {"kind": "tail", "eval": 0.2}}
    for times, code, _ in UNORDERED:
        facts = table(dates(**times), column("price"))
        assert warned(facts) == []
        found = warned(facts, **tail)
        ordered = code != "times_out_of_order"
        assert [each.param for each in found] == ([] if ordered else ["problem.data.split"])


def test_one_column_of_times_in_order_is_enough() -> None:
    wrong = UNORDERED[0][0]
    assert warned(table(dates(), column("price")), "forecast") == []
    born = dates("born", **wrong)
    assert warned(table(born, dates(), column("price")), "forecast") == []
    (found,) = warned(table(born, dates(**wrong), column("price")), "forecast")
    assert 'by the column "born"' in found.message
    old = ColumnFacts("day", "date")  # of a file that an earlier version has checked
    assert warned(table(old, column("price")), "forecast") == []


def test_of_many_columns_the_first_are_named() -> None:
    many = [texts(f"a{i}", "$1", "$2") for i in range(MOST + 5)]
    found = warned(table(*many, column("price")))
    assert len(found) == MOST + 1
    assert (found[-1].code, found[-1].message) == ("more_warnings", "and 5 more of this kind")


def test_a_study_warns_as_its_runs_would() -> None:
    facts = table(texts("a", "$10", "$20"), column("price"))
    sweep = {"optimizer.lr": {"values": [0.1, 0.2]}}
    body = json.dumps({"base": json.loads(spec(facts)), "sweep": sweep}).encode()
    found = parse_study(body, Limits(), {EXAMPLE_ID: facts}).warnings
    assert [each.code for each in found] == ["looks_like_numbers"]


def test_facts_are_read_as_they_were_written() -> None:
    facts = table(dates(num_back=1, first_back=3), texts("a", "x", "y", declared=True),
                  ColumnFacts("b", "text", sample=("$1", "$2")))  # fmt: skip
    assert UploadFacts.from_json(json.loads(json.dumps(facts.to_json()))) == facts
