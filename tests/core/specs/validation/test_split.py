"""A split that cannot be made is refused where it is posted, in words: the field, the value and the
way out; one that can be is resolved, and posted again repeats."""

import json
from dataclasses import replace
from typing import Any, Final

import pytest

from core.errors import FieldError, InvalidInputError
from core.specs.data import split_rows
from core.specs.job import JobSpec, Supervised
from core.specs.parsing.job import parse_job
from core.specs.sizes.cost import estimate
from core.specs.sizes.extent import extent_of
from core.specs.sizes.shapes import data_shape
from core.specs.sizes.uploads import ColumnFacts, UploadFacts, spec_text
from core.specs.validation.limits import Limits
from tests.core.specs.example_uploads import EXAMPLE_ID, table

Json = dict[str, Any]


def counted(name: str, dtype: str, cells: tuple[Any, ...], *counts: int) -> ColumnFacts:
    facts = ColumnFacts(name, dtype, num_missing=100 - sum(counts), counts=counts)
    if dtype == "category":
        return replace(facts, categories=cells, num_categories=len(cells))
    return replace(facts, values=cells) if dtype == "integer" else facts


FILE: Final = table(
    ColumnFacts("size", "number"),
    ColumnFacts("amount", "number"),
    counted("fold", "integer", (0, 1, 2), 50, 30, 20),
    counted("set", "category", ("test", "train", "val"), 20, 60, 15),
    counted("held", "bool", (), 90, 10),
    counted("kind", "category", ("a", "b", "c"), 60, 39, 1),
    ColumnFacts("old", "category", num_categories=2, categories=("x", "y")),
    ColumnFacts("price", "number"),
    counted("grade", "category", ("low", "high"), 40, 60),
)
IRIS: Final[Json] = {"kind": "builtin", "name": "iris"}
DIABETES: Final[Json] = {"kind": "builtin", "name": "diabetes"}
PRICES: Final[Json] = {
    "kind": "dataset", "id": EXAMPLE_ID, "target": "price", "features": ["size"],
}  # fmt: skip
PARITY: Final[Json] = {
    "kind": "synthetic", "generator": {"kind": "parity", "num_samples": 50}, "seed": 3,
}  # fmt: skip
BLOBS: Final[Json] = {
    "kind": "synthetic", "generator": {"kind": "blobs", "num_samples": 31, "num_classes": 4},
}  # fmt: skip
TINY: Final[Json] = {
    "kind": "inline", "features": [[0.0], [1.0], [2.0], [3.0], [4.0]], "targets": [0, 0, 0, 0, 1],
}  # fmt: skip


def parsed(data: Json, facts: UploadFacts = FILE, **changes: Any) -> JobSpec:
    problem = {"kind": "supervised", "data": data, "model": {"kind": "linear"}}
    body = {"problem": problem, "optimizer": {"kind": "adam"}, **changes}
    return parse_job(json.dumps(body).encode(), Limits(), {EXAMPLE_ID: facts})


def mistakes(data: Json, **changes: Any) -> list[FieldError]:
    with pytest.raises(InvalidInputError) as caught:
        parsed(data, **changes)
    return list(caught.value.errors)


def sizes(spec: JobSpec) -> tuple[int, int, int]:
    assert isinstance(spec.problem, Supervised)
    data = spec.problem.data
    return split_rows(data, data_shape(data).num_rows)


@pytest.mark.parametrize(
    ("data", "split", "expected"),
    [
        (IRIS, {"kind": "fraction"}, (120, 30, 0)),
        (IRIS, {"kind": "fraction", "eval": 0.2, "test": 0.1, "stratify": True}, (105, 30, 15)),
        (IRIS, {"kind": "tail", "eval": 0.1, "test": 0.2}, (105, 15, 30)),
        (IRIS, {"kind": "folds", "num": 7, "fold": 6, "stratify": True}, (129, 21, 0)),
        (BLOBS, {"kind": "folds", "num": 4, "fold": 0}, (23, 8, 0)),
        (PARITY, {"kind": "fraction", "stratify": True}, (40, 10, 0)),
        ({**TINY, "targets": [0, 1, 0, 0, 0]}, {"kind": "tail", "eval": 0.2, "test": 0.2},
         (3, 1, 1)),
        (PRICES, {"kind": "column", "name": "fold", "eval": [1], "test": [2]}, (50, 30, 20)),
        (PRICES, {"kind": "column", "name": "fold", "eval": [1.0]}, (70, 30, 0)),
        (PRICES, {"kind": "column", "name": "set", "eval": ["val"], "test": ["test"]},
         (65, 15, 20)),  # 5 rows say nothing
        (PRICES, {"kind": "column", "name": "held", "test": [True]}, (90, 0, 10)),
        (PRICES, {"kind": "folds"}, (80, 20, 0)),
    ],
)  # fmt: skip
def test_a_split_is_resolved_and_counted(
    data: Json, split: Json, expected: tuple[int, int, int]
) -> None:
    spec = parsed({**data, "split": split})
    assert sizes(spec) == expected
    size = extent_of(spec)
    assert (size.train_rows, size.eval_rows, size.test_rows) == expected
    assert isinstance(spec.problem, Supervised)
    assert (spec.problem.data.eval_fraction, spec.problem.data.split_seed) == (None, None)
    again = parse_job(spec_text(spec).encode(), Limits(), {EXAMPLE_ID: FILE})
    assert again == spec


def test_the_short_form_is_written_out_and_stays_what_it_was() -> None:
    spec = parsed(IRIS)
    assert isinstance(spec.problem, Supervised)
    data = spec.problem.data
    assert (data.eval_fraction, data.split_seed, data.split) == (0.2, 0, None)
    assert parsed(json.loads(data.model_dump_json())) == spec


def test_the_column_of_a_split_is_no_feature_unless_it_is_another() -> None:
    data = {"kind": "dataset", "id": EXAMPLE_ID, "target": "price", "missing": "most_frequent"}
    everything = parsed(data)
    split = {"kind": "column", "name": "set", "eval": ["val"]}
    without = parsed({**data, "split": split})
    shapes = [extent_of(spec).shape for spec in (everything, without)]
    assert [shape and shape.num_features for shape in shapes] == [1 + 1 + 1 + 4 + 1 + 4 + 3 + 3, 14]


def test_a_share_for_the_test_leaves_fewer_rows_to_train_with() -> None:
    split = {"kind": "fraction", "eval": 0.3, "test": 0.3}
    assert parsed({**IRIS, "split": split}, batch_size=60).batch_size == 60
    (mistake,) = mistakes({**IRIS, "split": split}, batch_size=61)
    assert "45 for evaluation and 45 for the test" in mistake.message


def test_the_memory_of_a_large_test_is_counted() -> None:
    model = {"kind": "mlp", "hidden": [500]}
    digits = {"kind": "builtin", "name": "digits", "split": {"kind": "tail", "eval": 0.01}}
    problem = {"kind": "supervised", "data": digits, "model": model}
    small = estimate(parsed(IRIS, problem=problem, batch_size=8)).memory_bytes
    digits["split"] = {"kind": "tail", "eval": 0.01, "test": 0.9}
    large = estimate(parsed(IRIS, problem=problem, batch_size=8)).memory_bytes
    assert large > small + 4 * 1500 * 500


SPLIT: Final = "problem.data.split"
REFUSED: Final[dict[str, tuple[Json, Json, str, str]]] = {
    "shares of one": (IRIS, {"kind": "fraction", "eval": 0.5, "test": 0.5}, SPLIT,
        "eval 0.5 and test 0.5 together leave none of the 150 rows for training"),
    "shares beyond one": (IRIS, {"kind": "tail", "eval": 0.9, "test": 0.9}, SPLIT, "less than 1"),
    "no row for the test": (IRIS, {"kind": "tail", "test": 0.001}, f"{SPLIT}.test",
        "comes to none of the 150 rows, so that nothing would be tested; give 0.0067 or 0"),
    "no row for evaluation": (IRIS, {"kind": "fraction", "eval": 0.001}, f"{SPLIT}.eval",
        "nothing would be evaluated"),
    "a fold too many": (IRIS, {"kind": "folds", "num": 5, "fold": 5}, f"{SPLIT}.fold",
        "must be less than num = 5, as folds count from 0; 5 was given"),
    "more folds than rows": (TINY, {"kind": "folds", "num": 6}, f"{SPLIT}.num",
        "at most the number of rows, 5; 6 was given"),
    "one fold": (IRIS, {"kind": "folds", "num": 1}, f"{SPLIT}.num", "2"),
    "a class with one row": (TINY, {"kind": "fraction", "eval": 0.4, "stratify": True},
        f"{SPLIT}.stratify", "class 1 has 1 row, and there are 2 parts (train, eval)"),
    "folds of a class with one row": (TINY, {"kind": "folds", "num": 2, "stratify": True},
        f"{SPLIT}.stratify", "class 1 has one row"),
    "more folds than a class has": (IRIS, {"kind": "folds", "num": 51, "stratify": True},
        f"{SPLIT}.stratify", "as many rows as there are folds (51; the largest has 50)"),
    "a category with one row": ({**PRICES, "target": "kind"},
        {"kind": "fraction", "stratify": True}, f"{SPLIT}.stratify", 'class "c" has 1 row'),
    "values stratified": (DIABETES, {"kind": "fraction", "stratify": True}, f"{SPLIT}.stratify",
        "the targets are values: leave it out"),
    "prices stratified": (PRICES, {"kind": "folds", "stratify": True}, f"{SPLIT}.stratify",
        "the targets are values"),
    "classes not counted": ({**PRICES, "target": "old"}, {"kind": "folds", "stratify": True},
        f"{SPLIT}.stratify", "upload the file again"),
    "a column of builtin data": (IRIS, {"kind": "column", "name": "fold"}, f"{SPLIT}.kind",
        "builtin data can be split by fraction, tail or folds"),
    "a column of rows": (TINY, {"kind": "column", "name": "fold"}, f"{SPLIT}.kind", "inline data"),
    "no such column": (PRICES, {"kind": "column", "name": "Fold "}, f"{SPLIT}.name",
        'no column "Fold " (did you mean "fold"?)'),
    "a column of numbers": (PRICES, {"kind": "column", "name": "amount", "eval": [1]},
        f"{SPLIT}.name", '"amount" is of the kind number'),
    "a column not counted": (PRICES, {"kind": "column", "name": "old", "eval": ["x"]},
        f"{SPLIT}.name", "upload the file again"),
    "the target": ({**PRICES, "target": "fold"}, {"kind": "column", "name": "fold", "eval": [1]},
        f"{SPLIT}.name", "stands in problem.data.target too"),
    "a feature": ({**PRICES, "features": ["size", "fold"]},
        {"kind": "column", "name": "fold", "eval": [1]}, f"{SPLIT}.name",
        "stands in problem.data.features too"),
    "a value that is not there": (PRICES, {"kind": "column", "name": "set", "eval": ["dev"]},
        f"{SPLIT}.eval", 'no value "dev"; its values: "test", "train", "val"'),
    "a word for a number": (PRICES, {"kind": "column", "name": "fold", "test": ["1"]},
        f"{SPLIT}.test", 'no value "1"; its values: 0, 1, 2'),
    "true for one": (PRICES, {"kind": "column", "name": "fold", "test": [True]}, f"{SPLIT}.test",
        "no value true"),
    "a half": (PRICES, {"kind": "column", "name": "fold", "test": [0.5]}, f"{SPLIT}.test.0", "0.5"),
    "nothing": (PRICES, {"kind": "column", "name": "fold", "test": [None]}, f"{SPLIT}.test.0",
        "null"),
    "a value twice": (PRICES, {"kind": "column", "name": "fold", "eval": [1, 1]}, f"{SPLIT}.eval",
        "1 is named twice"),
    "a value in both": (PRICES, {"kind": "column", "name": "fold", "eval": [1], "test": [1]},
        f"{SPLIT}.test", "1 stands in eval too"),
    "every value": (PRICES, {"kind": "column", "name": "fold", "eval": [0, 1], "test": [2]}, SPLIT,
        "leave none of the 100 rows for training"),
    "an unknown kind": (IRIS, {"kind": "random"}, f"{SPLIT}.kind", "fraction"),
    "an unknown field": (IRIS, {"kind": "tail", "seed": 1}, f"{SPLIT}.seed", "tail"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_split_that_cannot_be_made_is_refused_in_words(case: str) -> None:
    data, split, param, words = REFUSED[case]
    (mistake,) = mistakes({**data, "split": split})
    assert mistake.param == param
    assert words in mistake.message


@pytest.mark.parametrize("short", [{"eval_fraction": 0.2}, {"split_seed": 0}])
def test_a_split_and_its_short_form_exclude_each_other(short: Json) -> None:
    (mistake,) = mistakes({**IRIS, **short, "split": {"kind": "folds"}})
    assert (mistake.param, mistake.code) == (SPLIT, "conflict")
    assert next(iter(short)) in mistake.message
    nothing = dict.fromkeys(short)
    assert sizes(parsed({**IRIS, **nothing, "split": {"kind": "folds"}})) == (120, 30, 0)


def test_rows_that_are_named_step_by_step_are_of_those_for_training() -> None:
    order = {"kind": "explicit", "steps": [[0], [90]]}
    data = {**IRIS, "order": order, "split": {"kind": "tail", "eval": 0.2, "test": 0.2}}
    (mistake,) = mistakes(data)
    assert mistake.param == "problem.data.order.steps.1"
    assert "0 … 89" in mistake.message
