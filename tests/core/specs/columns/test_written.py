"""Texts of a column that stand for dates or numbers are told from names."""

import pytest

from core.specs.columns.written import Meaning, alike, written


@pytest.mark.parametrize(
    ("texts", "meaning"),
    [
        (["31.12.2024", "01.02.2024"], "date"),
        (["2024/12/31", "2024/1/2"], "date"),
        (["12/31/24", "1/2/24"], "date"),
        (["31.12.2024 12:30", "30.12.2024 01:00:59"], "date"),
        (["31 Dec 2024", "1 January 2023"], "date"),
        (["Dec 31, 2024", "Jan 1, 2023"], "date"),
        (["31-Dec-24", "01-Jan-25"], "date"),
        (["2024-01", "2024-02"], "date"),
        (["Q1 2024", "2024-Q2"], "date"),
        (["2024年12月31日", "2024年1月1日"], "date"),
        (["2024-12-31", "2024-12-30"], "date"),
        (["12:30", "14:45"], "time"),
        (["9:30 am", "5:00 pm"], "time"),
        (["10%", "20 %", "5,5%"], "percent"),
        (["$10", "$1,234.50"], "money"),
        (["10 €", "-20 €"], "money"),
        (["USD 10", "USD 20k"], "money"),
        (["($1,234)", "$5"], "money"),
        (["1,234", "5,678"], "number"),
        (["1,5", "2"], "number"),
        (["1.234,5", "2"], "number"),
        (["1\u202f234", "2"], "number"),
        (["1'234", "2"], "number"),
        (["\u22121,5", "2"], "number"),
        (["1.5", "1e5"], "number"),
        (["10 kg", "20 kg", "500 g"], "quantity"),
        (["16GB", "32GB", "64"], "quantity"),
        (["20 °C", "21 °C", "22 °C"], "quantity"),
    ],
)
def test_texts_that_stand_for_something(texts: list[str], meaning: Meaning) -> None:
    found = written(texts)
    assert found is not None
    assert found.meaning == meaning
    assert found.example in texts


@pytest.mark.parametrize(
    "texts",
    [
        [],
        ["10%"],  # one text tells nothing
        ["a", "b"],
        ["yes", "no"],
        ["0", "1", "2", "3+"],  # whole numbers may be names
        ["007", "008"],
        ["12345678901234567890", "12345678901234567891"],
        ["1st", "2nd", "3rd"],
        ["2D", "3D", "4D"],
        ["12A", "12B", "13A", "13B"],
        ["18-25", "26-35"],
        ["2019-20", "2020-21"],
        ["<=50K", ">50K"],
        ["1.2.3", "1.10.0"],
        ["192.168.0.1", "10.0.0.1"],
        ["555-1234", "555-2345"],
        ["99.99.2024", "45.12.2024"],
        ["A", "B", "10%"],
        ["12:30", "10%", "10%x"],
        ["%", "$", "kg"],
        ["1,5" + "5" * 40, "2,5" + "5" * 40],
    ],
)
def test_names_stand_for_themselves(texts: list[str]) -> None:
    assert written(texts) is None


def test_a_few_texts_may_stand_for_nothing() -> None:
    assert written(["10%", "20%", "unknown"]) == ("percent", "10%", False, "unknown")
    many = [f"{number}%" for number in range(90)]
    assert written([*many, *(f"odd {number}" for number in range(9))]) is not None
    assert written([*many, *(f"odd {number}" for number in range(20))]) is None


@pytest.mark.parametrize("nothing", ["-", "?", "--", "None", "unknown", "n.a.", "n/a", "*"])
def test_a_sign_of_a_missing_number_is_told_from_a_name(nothing: str) -> None:
    for cells, meaning in ((["1", "2"], "number"), (["1.5", "2"], "number")):
        assert written([*cells, nothing]) == (meaning, cells[0], True, nothing)
    assert written(["2024-01-01", nothing, "2024-01-02"]) == ("date", "2024-01-01", True, nothing)
    assert written(["007", "008", nothing]) is None
    assert written(["a", "b", nothing]) is None


@pytest.mark.parametrize(
    ("texts", "readable"),
    [
        (["1.5", "2.5"], True),
        (["2024-12-31", "2024-12-30"], True),
        (["1,5", "2,5"], False),
        (["2024-12", "2024-11"], False),
    ],
)
def test_what_a_schema_alone_would_have_read(texts: list[str], readable: bool) -> None:
    found = written(texts)
    assert found is not None
    assert found.readable is readable


@pytest.mark.parametrize(
    ("texts", "pair"),
    [
        (("Yes", "no", "yes"), ("Yes", "yes")),
        (("New  York", "new york"), ("New  York", "new york")),
        (("\uff21", "A"), ("\uff21", "A")),  # full width
        (("Straße", "STRASSE"), ("Straße", "STRASSE")),
        (("a", "b"), None),
        (("a-b", "ab"), None),
        ((), None),
    ],
)
def test_texts_that_are_written_almost_alike(
    texts: tuple[str, ...], pair: tuple[str, str] | None
) -> None:
    assert alike(texts) == pair
