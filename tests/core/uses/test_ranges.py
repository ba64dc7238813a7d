"""Numbers of posted rows that the precision of a model cannot hold: each is refused with its row,
its column, its value and the way out, in every form that rows come in."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.errors import FieldError, InvalidInputError
from core.settings import Settings
from core.specs.formulas.precisions import LARGEST_INPUT
from core.specs.parsing.job import parse_job
from core.specs.sizes.uploads import ColumnFacts, UploadFacts
from core.specs.validation.limits import Limits
from core.uses.dataset import check_columns
from core.uses.model import ModelFacts
from core.uses.posted import Posted, code_posted, coder_of

Json = dict[str, Any]
PRECISIONS = ["float32", "bfloat16", "float64"]
MEANS, SCALES = [5.0, -3.0], [1e-3, 1e3]
PLAIN: Json = {}
STANDARDIZED = {"standardization": {"mean": MEANS, "scale": SCALES}}
TABLE = {
    "preprocessing": {
        "features": [
            {"name": name, "dtype": "number", "shape": [], "categories": None, "fill": None}
            for name in ("a", "b")
        ],
        "targets": ["y"],
        "missing": "refuse",
        "categorical": "one_hot",
    }
}
ARRAYS = {
    "preprocessing": {
        "features": [
            {"name": "pixels", "dtype": "number", "shape": [2], "categories": None, "fill": None}
        ],
        "targets": ["y"],
        "missing": "refuse",
        "categorical": "one_hot",
    }
}


def facts_of(precision: str, kind: str = "supervised", **parts: Any) -> ModelFacts:
    data = {"kind": "inline", "features": [[float(i), i / 2] for i in range(20)],
            "targets": [i / 4 for i in range(20)], "scale_targets": True}  # fmt: skip
    problem = {"kind": kind, "data": data, "model": {"kind": "linear"}, **parts}
    body = {"problem": problem, "optimizer": {"kind": "adam"}, "precision": precision}
    return ModelFacts.of(parse_job(json.dumps(body).encode(), Limits.of(Settings())))


def metadata_of(*parts: Json, names: tuple[str, ...] = ("x1", "x2")) -> dict[str, str]:
    found: Json = {"feature_names": list(names)}
    for part in parts:
        found |= part
    return {name: json.dumps(part) for name, part in found.items()}


def coded(
    metadata: dict[str, str], facts: ModelFacts, rows: list[Any], labels: Any = None, **kw: Any
) -> Posted:
    return code_posted(coder_of(metadata, facts), facts, rows, labels, kw.get("windows", "last"))


def mistakes(*args: Any, **kw: Any) -> list[FieldError]:
    with pytest.raises(InvalidInputError) as caught:
        coded(*args, **kw)
    return caught.value.errors


FORMS: dict[str, tuple[Json, Any, str]] = {
    "lists": (PLAIN, lambda row: row, "x2"),
    "columns": (TABLE, lambda row: row, "b"),
    "objects": (TABLE, lambda row: dict(zip("ab", row, strict=True)), "b"),
    "arrays": (ARRAYS, lambda row: {"pixels": row}, "pixels"),
    "flat arrays": (ARRAYS, lambda row: row, "pixels"),
}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("scaling", [PLAIN, STANDARDIZED], ids=["plain", "standardized"])
@pytest.mark.parametrize("form", FORMS)
def test_a_number_of_a_row_is_taken_up_to_what_the_precision_holds(
    form: str, scaling: Json, precision: str
) -> None:
    about, shape, column = FORMS[form]
    metadata, facts = metadata_of(about, scaling), facts_of(precision)
    scale = SCALES[1] if scaling else 1.0
    largest = LARGEST_INPUT[precision] / (1 if precision == "float64" else 1 / scale)
    rows = [shape([1.0, 2.0]), shape([1.0, 0.99 * largest])]
    assert coded(metadata, facts, rows).num_rows == 2
    if precision == "float64":
        return
    (error,) = mistakes(metadata, facts, [rows[0], shape([1.0, -1.01 * largest])])
    assert (error.param, error.code) == (f"features[1].{column}", "not_finite")
    value = f"{-1.01 * largest:g}"
    assert all(each in error.message for each in (value, precision, "float64", "smaller"))


def test_a_number_that_overflows_once_it_is_standardized_is_refused_in_float64_too() -> None:
    facts, metadata = facts_of("float64"), metadata_of(STANDARDIZED)
    (error,) = mistakes(metadata, facts, [[1e306, 1.0]])
    assert error.param == "features[0].x1"
    assert "float64" in error.message
    assert "precision" in error.message
    assert coded(metadata, facts, [[1.0, 1.7e308]]).num_rows == 1


@pytest.mark.parametrize("windows", ["last", "all"])
def test_a_row_of_a_series_is_looked_at_by_its_own_scale(windows: str) -> None:
    facts = facts_of("float32", "forecast", window=2, horizon=1)
    names = tuple(f"{name}[{time}]" for time in (-1, 0) for name in ("x1", "x2", "y1"))
    scaling = {"standardization": {"mean": [0, 0, 0] * 2, "scale": [1, 1e10, 1e-10] * 2}}
    metadata = metadata_of(scaling, names=names)
    fine = [[1.0, 1e45, 1e20]] * 3
    assert coded(metadata, facts, fine, windows=windows).num_rows == (1 if windows == "last" else 2)
    bad = [*fine, [1e39, 1.0, 1e30]]
    found = mistakes(metadata, facts, bad, windows=windows)
    assert [each.param for each in found] == ["features[3].x1", "features[3].y1"]


@pytest.mark.parametrize("is_named", [False, True])
@pytest.mark.parametrize("far", range(5))
def test_a_number_of_a_row_that_the_model_does_not_see_may_be_of_any_size(
    far: int, is_named: bool
) -> None:
    facts = facts_of("float32", "forecast", window=2, horizon=1)
    names = tuple(f"{name}[{time}]" for time in (-1, 0) for name in ("x1", "y1"))
    rows: list[Any] = [[1.0, 1e300 if row == far else 2.0] for row in range(5)]
    if is_named:
        rows = [dict(zip(("x1", "y1"), row, strict=True)) for row in rows]
    metadata = metadata_of(names=names)
    for windows in ("last", "all"):
        if windows == "last" and far < 3:
            assert coded(metadata, facts, rows).arrays["matrix"].tolist() == [[1.0, 2.0]] * 2
        else:
            found = mistakes(metadata, facts, rows, windows=windows)
            assert [each.param for each in found] == [f"features[{far}].y1"]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("in_rows", [True, False])
def test_a_target_is_looked_at_by_its_own_scale(in_rows: bool, precision: str) -> None:
    scaling = {"target_standardization": {"mean": [1.0], "scale": [1e5]}}
    facts, metadata = facts_of(precision), metadata_of(TABLE, scaling)

    def posted(*targets: float) -> tuple[list[Any], Any]:
        rows: list[Json] = [{"a": 1.0, "b": 2.0} for _ in targets]
        if in_rows:
            rows = [{**row, "y": y} for row, y in zip(rows, targets, strict=True)]
        return rows, None if in_rows else list(targets)

    found = coded(metadata, facts, *posted(1.0, 1e43)).arrays["labels"]
    assert np.isfinite(found).all()
    if precision != "float64":
        (error,) = mistakes(metadata, facts, *posted(1.0, 1e44))
        assert (error.param, error.code) == ("targets[1]", "not_finite")
        assert all(each in error.message for each in ("1e+44", precision, "leave the targets out"))


def columns(a: float | None, b: float | None, pixels: float | None = None) -> UploadFacts:
    found = [ColumnFacts("a", "number", largest=a, largest_row=2),
             ColumnFacts("b", "number", largest=b, largest_row=7)]  # fmt: skip
    if pixels is not None:
        found = [ColumnFacts("pixels", "number", (2,), largest=pixels, largest_row=1)]
    return UploadFacts("ready", "table", "file", 9, tuple(found))


def test_a_column_is_looked_at_by_its_largest_number_where_that_is_known() -> None:
    facts = facts_of("float32")
    coder = coder_of(metadata_of(TABLE, STANDARDIZED), facts)
    for fine in (columns(None, None), columns(1.0, 1e40), columns(0.0, -1e41)):
        check_columns(coder, fine, others=False)
    with pytest.raises(InvalidInputError) as caught:
        check_columns(coder, columns(-1e36, 1e300), others=False)
    first, second = caught.value.errors
    assert (first.param, first.code) == ("dataset.a", "not_finite")
    assert all(each in first.message for each in ('"a" in row 2', "-1e+36", "float32", "float64"))
    assert all(each in second.message for each in ('"b" in row 7', "1e+300"))
    check_columns(coder, columns(-1e36, 1e300), others=False, is_last=True)

    coder = coder_of(metadata_of(ARRAYS, STANDARDIZED), facts)
    check_columns(coder, columns(None, None, 1e38), others=False)  # the second pixel may be that
    with pytest.raises(InvalidInputError, match=r'"pixels" in row 1 .*1e\+50'):
        check_columns(coder, columns(None, None, 1e50), others=False)


@pytest.mark.parametrize("largest", [1e30, -1e300])
def test_a_column_of_targets_is_looked_at_too(largest: float) -> None:
    coder = coder_of(metadata_of(TABLE), facts_of("float32"))
    found = columns(1.0, 1.0)
    target = ColumnFacts("y", "number", largest=largest, largest_row=4)
    found = replace(found, columns=(*found.columns, target))
    if abs(largest) < 3e38:
        check_columns(coder, found, others=False)
        return
    with pytest.raises(InvalidInputError, match=r'"y" in row 4 .*-1e\+300.*leave the column out'):
        check_columns(coder, found, others=False)
