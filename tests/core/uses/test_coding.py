"""Rows as numbers: cell by cell as it is said here, whatever the columns; mistakes are named."""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInputError
from core.specs.sizes.uploads import ColumnFacts, UploadFacts
from core.uploads.tables.cells import wide_bools
from core.uses.cells import Feature
from core.uses.coding import Coder
from core.uses.dataset import check_columns, code_columns

KINDS = ("setosa", "versicolor", "virginica")
MIXED = (
    Feature("size", fill=4.5),
    Feature("colour", "category", categories=("blue", "red"), one_hot=True),
    Feature("grade", "category", categories=("1", "2", "3")),
    Feature("ok", "bool"),
    Feature("day", "date"),
    Feature("image", "integer", shape=(2, 2)),
)
GOOD = {
    "size": 2, "colour": "red", "grade": 3, "ok": True, "day": "1970-01-02",
    "image": [[1, 2], [3, 4]],
}  # fmt: skip
NUMBERS = [2.0, 0.0, 1.0, 0.0, 2.0, 1.0, 86_400.0, 1.0, 2.0, 3.0, 4.0]


def coder(
    features: tuple[Feature, ...] = MIXED,
    *,
    targets: tuple[str, ...] = ("kind",),
    classes: tuple[str, ...] | None = KINDS,
    kind: Any = "classes",
    num_targets: int = 3,
) -> Coder:
    return Coder(features, targets, kind, classes, num_targets)


def codes_of(call: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidInputError) as refused:
        call()
    return [(each.param, each.code) for each in refused.value.errors]


def test_named_and_listed_rows_are_the_same_numbers() -> None:
    named = coder().rows([GOOD, dict(reversed(GOOD.items()))])
    listed = coder().rows([list(GOOD.values())] * 2)
    for coded in (named, listed):
        assert coded.matrix.tolist() == [NUMBERS, NUMBERS]
        assert (coded.labels, coded.unseen) == (None, {})


def test_images_of_any_size_are_scaled_where_those_of_training_were() -> None:
    (image, fixed) = (Feature("image", "integer", (2, 3, 2), scaled=each) for each in (True, False))
    right = np.arange(12.0).reshape(2, 3, 2)
    large = right.repeat(4, axis=1).repeat(4, axis=2)
    small = np.stack([np.full((1, 1), 5.0), np.full((1, 1), 7.0)])
    posted = [{"image": each.tolist()} for each in (right, right.reshape(-1), large, small)]
    coded = coder((image,)).rows(posted).matrix.reshape(4, 2, 3, 2)
    assert coded[0].tolist() == coded[1].tolist() == right.tolist()
    assert coded[2].mean() == pytest.approx(right.mean())
    assert (coded[3] == small).all()
    wrong = [large[:1], large[0], large[:, :0], np.zeros((2, 2, 2, 2))]
    for each in wrong:
        row = [{"image": each.tolist()}]
        assert codes_of(lambda row=row: coder((image,)).rows(row)) == [
            ("features[0].image", "wrong_shape")
        ]
    for row in ([posted[2]], [posted[3]]):
        assert codes_of(lambda row=row: coder((fixed,)).rows(row)) == [
            ("features[0].image", "wrong_shape")
        ]


@pytest.mark.parametrize("scaled", [False, True])
def test_a_grey_image_may_come_without_its_one_channel(scaled: bool) -> None:
    image = Feature("image", "integer", (1, 2, 3), scaled=scaled)
    plain = [[1, 2, 3], [4, 5, 6]]
    coded = coder((image,)).rows([{"image": plain}, {"image": [plain]}])
    assert coded.matrix.tolist() == [[1, 2, 3, 4, 5, 6]] * 2
    colours = Feature("image", "integer", (3, 2, 3), scaled=scaled)
    with pytest.raises(InvalidInputError, match=r"the shape \[2, 3\] was given"):
        coder((colours,)).rows([{"image": plain}])


def test_truth_values_may_be_written_as_in_an_upload_that_declares_them() -> None:
    words = ["true", "yes", "1", "false", "no", "0", "maybe"]
    for word in words:
        read = wide_bools(pa.array([word]))
        if read is None:
            change = {**GOOD, "ok": word}
            refused = codes_of(lambda change=change: coder().rows([change]))
            assert refused == [("features[0].ok", "wrong_type")]
            continue
        (truth,) = read.tolist()
        for cell in (word, word.upper()):
            coded = coder((Feature("ok", "bool"),)).rows([{"ok": cell}])
            assert coded.matrix.tolist() == [[float(truth)]], cell


@pytest.mark.parametrize("given", [None, [], "x", {}, True, [[[1]]], 10**400, math.nan])
@pytest.mark.parametrize("name", list(GOOD))
def test_a_cell_of_any_kind_beside_good_ones_is_taken_or_refused_by_name(
    name: str, given: Any
) -> None:
    named: set[str | None] = set()
    try:
        coded = coder().rows([GOOD, {**GOOD, name: given}, GOOD])
    except InvalidInputError as refused:
        named = {each.param for each in refused.errors}
    if not named:
        assert coded.matrix[[0, 2]].tolist() == [NUMBERS, NUMBERS]
    assert named <= {f"features[1].{name}"}


def test_gaps_are_filled_and_unknown_categories_go_to_the_place_kept_for_them() -> None:
    row = {**GOOD, "size": None, "colour": "green", "grade": 9, "ok": "false"}
    coded = coder().rows([row])
    assert coded.matrix[0].tolist() == [4.5, 0.0, 0.0, 1.0, 3.0, 0.0, *NUMBERS[6:]]
    assert coded.unseen == {"colour": ["green"], "grade": ["9"]}


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"size": "2"}, "features[1].size", "wrong_type"),
        ({"size": math.nan}, "features[1].size", "wrong_type"),
        ({"size": 10**400}, "features[1].size", "wrong_type"),
        ({"size": True}, "features[1].size", "wrong_type"),
        ({"size": [1]}, "features[1].size", "wrong_type"),
        ({"colour": None}, "features[1].colour", "missing_value"),
        ({"colour": {"a": 1}}, "features[1].colour", "wrong_type"),
        ({"ok": 2}, "features[1].ok", "wrong_type"),
        ({"day": "tomorrow"}, "features[1].day", "wrong_type"),
        ({"image": [1, 2, 3]}, "features[1].image", "wrong_shape"),
        ({"image": [[1, "x"], [3, 4]]}, "features[1].image", "wrong_shape"),
        ({"Size": 1}, "features[1].Size", "unknown_column"),
    ],
)
def test_a_cell_that_is_wrong_is_named(change: dict[str, Any], param: str, code: str) -> None:
    assert codes_of(lambda: coder().rows([GOOD, {**GOOD, **change}])) == [(param, code)]


@given(st.sets(st.sampled_from(sorted(GOOD)), min_size=1))
def test_every_column_that_is_missing_is_named(missing: set[str]) -> None:
    row = {name: value for name, value in GOOD.items() if name not in missing}
    found = codes_of(lambda: coder().rows([GOOD, row]))
    assert sorted(found) == [(f"features[1].{name}", "missing_column") for name in sorted(missing)]


@pytest.mark.parametrize("rows", [[{}], [{}, {}], [{}, GOOD], [GOOD, {}]])
def test_rows_without_any_cell_miss_every_column(rows: list[dict[str, Any]]) -> None:
    empty = [number for number, row in enumerate(rows) if not row]
    wanted = [(f"features[{at}].{name}", "missing_column") for at in empty for name in GOOD]
    assert codes_of(lambda: coder().rows(rows)) == wanted


def test_a_data_set_whose_numbers_are_texts_is_told_how_to_write_them() -> None:
    texts = ColumnFacts("size", "category", num_categories=2, categories=("10%", "20%"))
    with pytest.raises(InvalidInputError) as refused:
        check_columns(coder(), stored(size=(texts, [0, 1], "int16"))[0], others=False)
    (mistake,) = refused.value.errors
    assert mistake.param == "dataset.size"
    assert "if these are percentages, write the number alone (10 for 10%)" in mistake.message


def test_a_column_of_another_name_is_asked_after() -> None:
    row = {("Colour" if name == "colour" else name): value for name, value in GOOD.items()}
    with pytest.raises(InvalidInputError) as refused:
        coder().rows([row])
    words = [each.message for each in refused.value.errors]
    assert '"Colour" meant' in words[0]
    assert 'did you mean "colour"?' in words[1]


@pytest.mark.parametrize("row", ["x", 5, None, [], [1] * 7, {"kind": 1}])
def test_a_row_that_is_none_is_named(row: Any) -> None:
    assert all(param.startswith("features[1]") for param, _ in codes_of(
        lambda: coder().rows([list(GOOD.values()), row])
    ))  # fmt: skip


@given(st.lists(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3), min_size=1, max_size=5))
def test_rows_of_numbers_are_taken_as_they_are(rows: list[list[float]]) -> None:
    plain = coder(tuple(map(Feature, "abc")))
    np.testing.assert_array_equal(plain.rows(rows).matrix, rows)
    mistakes = codes_of(lambda: plain.rows([*rows, rows[0][:2]]))
    assert mistakes == [(f"features[{len(rows)}]", "wrong_width")]
    mistakes = codes_of(lambda: plain.rows([*rows, [0.0, math.inf, False]]))
    assert mistakes == [(f"features[{len(rows)}].{c}", "wrong_type") for c in "bc"]


def test_targets_are_ids_by_name_or_number_and_come_with_rows_or_beside_them() -> None:
    of = coder(tuple(map(Feature, "ab")))
    assert of.rows([[1, 2]] * 3, ["virginica", 1, None]).labels.tolist() == [2, 1, -1]  # type: ignore[union-attr]
    named = of.rows([{"a": 1, "b": 2, "kind": "setosa"}])
    assert named.labels is not None
    assert named.labels.tolist() == [0]
    assert codes_of(lambda: of.rows([[1, 2]], ["rose"])) == [("targets[0]", "unknown_class")]
    assert codes_of(lambda: of.rows([[1, 2]], [3])) == [("targets[0]", "unknown_class")]
    assert codes_of(lambda: of.rows([[1, 2]], [0, 0])) == [("targets", "unequal_lengths")]
    rows = [{"a": 1, "b": 2, "kind": "setosa"}, {"a": 1, "b": 2}]
    assert codes_of(lambda: of.rows(rows)) == [("features[1]", "missing_column")]
    values = coder(of.features, targets=(), classes=None, kind="values", num_targets=2)
    assert values.rows([[1, 2]], [[3, 4]]).labels.tolist() == [[3.0, 4.0]]  # type: ignore[union-attr]
    assert codes_of(lambda: values.rows([[1, 2]], [5])) == [("targets[0]", "wrong_type")]
    digits = coder(of.features, targets=(), classes=("0", "1"))
    assert digits.rows([[1, 2]] * 2, [1, "0"]).labels.tolist() == [1, 0]  # type: ignore[union-attr]


def test_a_target_that_is_ignored_is_none() -> None:
    metadata = {"feature_names": '["a"]', "class_names": '["1", "2"]',
                "preprocessing": json.dumps({"features": [], "targets": ["y"]})}  # fmt: skip
    of = Coder.of(metadata, "classes", 2, -100)
    assert of.rows([[1]] * 2, [-100, 2]).labels.tolist() == [-1, 1]  # type: ignore[union-attr]
    column = ColumnFacts("y", "integer", values=(-100, 1))
    facts = UploadFacts("ready", "table", "f", 2, (ColumnFacts("a", "number"), column))
    check_columns(of, facts, others=False)
    values = {"a": np.ones(2), "y": np.array([1, -100])}
    labels = code_columns(of, values.__getitem__, facts).labels
    assert labels is not None
    assert labels.tolist() == [0, -1]
    plain = Coder.of(metadata, "classes", 2)
    assert codes_of(lambda: check_columns(plain, facts, others=False)) == [
        ("dataset.y", "unknown_class")
    ]


LABELS = [("no", "yes"), ("1", "2"), ("-1", "1"), ("false", "true"), ("0", "1")]


def labelled(names: tuple[str, str]) -> Coder:
    """A coder of rows with two labels, each of these two values."""
    about = {"features": [], "targets": ["l", "m"], "labels": [names, names]}
    metadata = {"feature_names": '["a"]', "preprocessing": json.dumps(about)}
    return Coder.of(metadata, "labels", 2)


@pytest.mark.parametrize("names", LABELS)
def test_labels_are_told_by_their_names(names: tuple[str, str]) -> None:
    of, (low, high) = labelled(names), names
    named = of.rows([{"a": 1, "l": high, "m": low}, {"a": 1, "l": low, "m": high}])
    assert named.labels is not None
    assert named.labels.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    with pytest.raises(InvalidInputError, match=f'"l": "{low}", "{high}"'):
        of.rows([[1]], [[low, "perhaps"]])
    if low.isalpha():
        assert of.rows([[1]], [[1, False]]).labels.tolist() == [[1.0, 0.0]]  # type: ignore[union-attr]
    else:
        beside = int(high) + 1
        assert codes_of(lambda: of.rows([[1]], [[low, beside]])) == [("targets[0]", "wrong_type")]


@pytest.mark.parametrize("names", LABELS)
@pytest.mark.parametrize("there", [(0,), (1,), (0, 1)])
def test_labels_of_a_data_set_are_their_names_whichever_it_has(
    names: tuple[str, str], there: tuple[int, ...]
) -> None:
    """Their codes in the file follow from the values that the file has."""
    held = tuple(names[number] for number in there)
    if names == ("false", "true"):
        column, cells = ColumnFacts("l", "bool"), list(there)
    elif names[0].isalpha():
        column, cells = ColumnFacts("l", "category", categories=held), list(range(len(held)))
    else:
        cells = [int(each) for each in held]
        column = ColumnFacts("l", "integer", values=tuple(cells))
    columns = (ColumnFacts("a", "number"), column, replace(column, name="m"))
    facts = UploadFacts("ready", "table", "f", len(cells), columns)
    values = {"a": np.ones(len(cells)), "l": np.array(cells), "m": np.array(cells[::-1])}
    of = labelled(names)
    check_columns(of, facts, others=False)
    labels = code_columns(of, values.__getitem__, facts).labels
    assert labels is not None
    assert labels.tolist() == [list(each) for each in zip(there, there[::-1], strict=True)]


def test_the_coder_is_read_from_the_metadata_of_weights() -> None:
    about = {
        "features": [
            {"name": "size", "dtype": "number", "shape": [], "categories": None, "fill": 1.5},
            {"name": "c", "dtype": "category", "shape": [], "categories": ["x"], "fill": None},
        ],
        "targets": ["y"],
        "categorical": "ordinal",
    }
    metadata = {"feature_names": '["size", "c"]', "preprocessing": json.dumps(about)}
    found = Coder.of(metadata, "values", 1)
    assert (found.num_inputs, found.targets, found.classes) == (2, ("y",), None)
    assert found.rows([[None, "z"]]).matrix.tolist() == [[1.5, 1.0]]
    plain = Coder.of({"feature_names": '["x1"]', "class_names": '["a", "b"]'}, "classes", 2)
    assert (plain.names, plain.classes) == (["x1"], ("a", "b"))


STORED: dict[str, tuple[ColumnFacts, list[Any], str]] = {
    "size": (ColumnFacts("size", "number", num_missing=1), [2.0, math.nan], "float64"),
    "colour": (
        ColumnFacts("colour", "category", categories=("green", "red"), num_categories=2),
        [1, 0],
        "int16",
    ),
    "grade": (ColumnFacts("grade", "integer"), [3, 9], "int8"),
    "ok": (ColumnFacts("ok", "bool"), [1, 0], "int8"),
    "day": (ColumnFacts("day", "date"), [86_400.0, 0.0], "float64"),
    "image": (
        ColumnFacts("image", "integer", shape=(2, 2)), [[[1, 2], [3, 4]], [[-1, -2], [0, 0]]],
        "int8",
    ),
}  # fmt: skip


def stored(**changes: Any) -> tuple[UploadFacts, Any]:
    """A data set with two rows, and what reads it; None leaves a column out."""
    columns = {**STORED, **changes}
    there = {name: each for name, each in columns.items() if each is not None}
    facts = UploadFacts("ready", "table", "f", 2, tuple(each[0] for each in there.values()))
    return facts, lambda name: np.array(there[name][1], dtype=there[name][2])


def test_columns_of_a_data_set_are_the_numbers_that_its_rows_are() -> None:
    facts, read = stored()
    check_columns(coder(), facts, others=False)
    coded = code_columns(coder(), read, facts)
    second = [4.5, 0.0, 0.0, 1.0, 3.0, 0.0, 0.0, -1.0, -2.0, 0.0, 0.0]
    assert coded.matrix.tolist() == [NUMBERS, second]
    assert coded.unseen == {"colour": ["green"], "grade": ["9"]}
    kind = ColumnFacts("kind", "category", categories=("virginica",), num_missing=1)
    facts, read = stored(kind=(kind, [-1, 0], "int16"))
    assert code_columns(coder(), read, facts).labels.tolist() == [-1, 2]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"ok": None}, ("dataset.ok", "missing_column")),
        ({"more": STORED["ok"]}, ("dataset.ok", "unknown_column")),
        ({"day": (ColumnFacts("day", "text"), [], "object")}, ("dataset.day", "wrong_type")),
        ({"image": (ColumnFacts("image", "integer", shape=(4,)), [], "int8")},
         ("dataset.image", "wrong_type")),
        ({"ok": (ColumnFacts("ok", "bool", num_missing=1), [], "int8")},
         ("dataset.ok", "missing_value")),
        ({"kind": (ColumnFacts("kind", "category", categories=("rose", "setosa")), [], "int16")},
         ("dataset.kind", "unknown_class")),
    ],
)  # fmt: skip
def test_a_data_set_that_does_not_fit_is_refused(
    changes: dict[str, Any], expected: tuple[str, str]
) -> None:
    if "more" in changes:
        changes = {"more": (ColumnFacts("more", "bool"), [1, 0], "int8")}
        expected = ("dataset.more", "unknown_column")
        check_columns(coder(), stored(**changes)[0], others=True)
    assert codes_of(lambda: check_columns(coder(), stored(**changes)[0], others=False)) == [
        expected
    ]


@pytest.mark.parametrize(
    ("shape", "image_size", "words"),
    [
        ((1, 8, 8), None, "3 channels"),
        ((1, 8, 8), (4, 4), "3 channels"),
        ((3, 8, 8), None, "image_size"),
        ((8, 8), None, "in this shape"),
    ],
)
def test_the_way_out_of_another_shape_is_no_schema(
    shape: tuple[int, ...], image_size: tuple[int, int] | None, words: str
) -> None:
    of = replace(coder((Feature("image", "integer", (3, 4, 4)),)), image_size=image_size)
    facts = UploadFacts("ready", "images", "file", 2, (ColumnFacts("image", "integer", shape),))
    with pytest.raises(InvalidInputError) as refused:
        check_columns(of, facts, others=True)
    (mistake,) = refused.value.errors
    assert mistake.param == "dataset.image"
    assert words in mistake.message
    assert "schema" not in mistake.message


def test_a_row_of_an_unknown_class_is_named() -> None:
    kind = ColumnFacts("kind", "category", categories=("rose", "setosa"))
    facts, read = stored(kind=(kind, [1, 0], "int16"))
    with pytest.raises(InvalidInputError, match=r'"rose" in row 1'):
        code_columns(coder(), read, facts)
