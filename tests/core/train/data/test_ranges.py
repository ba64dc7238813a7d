"""Numbers that the precision of a job cannot hold: what can be computed is, and is finite; of the
rest the request, or the start of the job, names the number, its place and the way out."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from core.errors import InvalidInputError, JobFailure
from core.specs.formulas.precisions import LARGEST_INPUT, LARGEST_TARGET
from core.specs.job import DataProblem, JobSpec
from core.specs.parsing.job import parse_job
from core.specs.validation.limits import Limits
from core.train.data.build import build_data
from core.train.data.dataset import Dataset
from core.train.data.uploaded import uploads_from
from tests.core.train.data.uploads import stored

Json = dict[str, Any]
DTYPES = {"float32": torch.float32, "bfloat16": torch.float32, "float64": torch.float64}
ROWS = 10
PROBLEMS: dict[str, Json] = {
    "supervised": {},
    "reconstruction": {"model": {"kind": "autoencoder", "hidden": [2], "latent": 1}},
    "forecast": {"window": 2, "horizon": 1},
}
PLACES = ["features", "targets"]
TOO_LARGE = 1e300


def posted(kind: str, data: Json, precision: str) -> JobSpec:
    problem = {"kind": kind, "model": {"kind": "linear"}, **PROBLEMS[kind], "data": data}
    body = {"problem": problem, "optimizer": {"kind": "adam"}, "precision": precision}
    return parse_job(json.dumps(body).encode(), Limits())


def rows_of(spec: JobSpec) -> Dataset:
    assert isinstance(spec.problem, DataProblem)
    return build_data(spec.problem, torch.device("cpu"), DTYPES[spec.precision or ""])


def inline(place: str, value: float, row: int = 4, **options: Any) -> Json:
    data: Json = {
        "kind": "inline",
        "features": [[float(i), i / 2] for i in range(ROWS)],
        "targets": [i / 4 for i in range(ROWS)],
        **options,
    }
    if place == "features":
        data["features"][row][1] = value
    else:
        data["targets"][row] = value
    return data


def numbers_of(found: Dataset) -> list[torch.Tensor]:
    parts = [found.rows(part) for part in ("train", "eval", "test")]
    return [each for part in parts if part is not None for each in part]


CASES = [
    (kind, place, precision, standardize, scale)
    for kind, place, precision, standardize, scale in product(
        PROBLEMS, PLACES, DTYPES, (True, False), (True, False)
    )
    if kind != "reconstruction" or (place == "features" and not scale)
]


@pytest.mark.parametrize(("kind", "place", "precision", "standardize", "scale"), CASES)
def test_what_the_precision_holds_is_trained_on_and_the_rest_is_refused_with_its_place(
    kind: str, place: str, precision: str, standardize: bool, scale: bool
) -> None:
    data = inline(place, TOO_LARGE, standardize=standardize, scale_targets=scale)
    if kind == "reconstruction":
        del data["targets"]
    raw = not standardize if place == "features" else not scale
    if kind == "forecast" and place == "targets":  # which the windows hold, too
        raw = raw or not standardize
    if precision == "float64" or not raw:
        assert all(
            each.isfinite().all() for each in numbers_of(rows_of(posted(kind, data, precision)))
        )
        return
    with pytest.raises(InvalidInputError) as caught:
        posted(kind, data, precision)
    (error,) = caught.value.errors
    where = "4.1" if place == "features" else "4"
    assert (error.param, error.code) == (f"problem.data.{place}.{where}", "not_finite")
    option = "standardize" if place == "features" else "scale_targets"
    assert all(each in error.message for each in ("1e+300", precision, "float64", option))


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("place", PLACES)
def test_the_largest_number_of_a_precision_is_taken_and_the_next_one_refused(
    place: str, precision: str
) -> None:
    largest = (LARGEST_INPUT if place == "features" else LARGEST_TARGET)[precision]
    spec = posted("supervised", inline(place, -largest, standardize=False), precision)
    for each in numbers_of(rows_of(spec)):
        assert each.isfinite().all()
        if precision == "bfloat16" and place == "features":
            assert each.bfloat16().isfinite().all()
    if precision != "float64":
        with pytest.raises(InvalidInputError, match=precision):
            posted("supervised", inline(place, -1.01 * largest, standardize=False), precision)


@pytest.mark.parametrize("kind", ["supervised", "forecast"])
@pytest.mark.parametrize(("place", "part"), list(product(PLACES, ["eval", "test"])))
def test_a_number_that_is_too_large_by_the_scale_of_the_rows_for_training_ends_the_job_in_words(
    kind: str, place: str, part: str
) -> None:
    split = {"kind": "tail", "eval": 0.3, "test": 0.3}
    row = 5 if part == "eval" else 9
    data = inline(place, 1e30, row, split=split, scale_targets=True)
    column = [[1e-12 * i, 1e-12 * i] for i in range(ROWS)]
    data["features"] = [mine if i != row else data["features"][i] for i, mine in enumerate(column)]
    data["targets"] = [1e-12 * i if i != row else data["targets"][i] for i in range(ROWS)]
    spec = posted(kind, data, "float32")
    with pytest.raises(JobFailure) as caught:
        rows_of(spec)
    assert caught.value.failure_code == "data_unavailable"
    message = str(caught.value)
    assert f"in row {row} (counted from 0)" in message
    assert all(each in message for each in ("1e+30", "float32", "float64", "rows for training"))
    assert all(each.isfinite().all() for each in numbers_of(rows_of(posted(kind, data, "float64"))))


@pytest.mark.parametrize("kind", ["supervised", "forecast", "reconstruction"])
def test_numbers_whose_difference_from_the_mean_overflows_are_standardized(kind: str) -> None:
    """1.7e308 − (−0.57e308) is no float64, and its share of the deviation is 1.4."""
    data = inline("features", 1.7e308, scale_targets=kind != "reconstruction")
    for i in range(4, ROWS):
        data["features"][i] = [float(i), 1.7e308 if i % 3 == 0 else -1.7e308]
        data["targets"][i] = 1.7e308 if i % 3 == 0 else -1.7e308
    if kind == "reconstruction":
        del data["targets"]
    for each in numbers_of(rows_of(posted(kind, data, "float64"))):
        assert each.isfinite().all()
        assert each.abs().max() < 12


@pytest.mark.parametrize(("place", "missing"), list(product(["x", "y"], ["refuse", "drop"])))
def test_a_column_of_a_file_is_refused_unless_its_row_may_be_left_out(
    place: str, missing: str, tmp_path: Path
) -> None:
    lines = [[f"{i}.5", f"{i}.25"] for i in range(ROWS)]
    lines[6]["xy".index(place)] = "-1e300"
    if missing == "drop":
        lines[2][0] = ""
    text = "\n".join(["x,y", *map(",".join, lines)]) + "\n"
    file = stored(tmp_path, text.encode())
    data = {"target": "y", "missing": missing, "standardize": False}
    if missing == "refuse":
        field = "features" if place == "x" else "target"
        with pytest.raises(InvalidInputError) as caught:
            file.spec(data)
        (error,) = caught.value.errors
        assert error.param == f"problem.data.{field}"
        assert all(each in error.message for each in (f'"{place}"', "-1e+300 in row 6", "float64"))
    else:
        with (
            uploads_from(file.store),
            pytest.raises(JobFailure, match=f"'{place}' is -1e.300 in row 6 "),
        ):
            rows_of(file.spec(data))
    scaled = {**data, "standardize": True, "scale_targets": True}
    wide = {"precision": "float64"}
    with uploads_from(file.store):
        for spec in (file.spec(scaled), file.spec(data, **wide)):
            assert all(each.isfinite().all() for each in numbers_of(rows_of(spec)))


def test_one_mistake_tells_how_many_numbers_are_too_large() -> None:
    data = inline("features", TOO_LARGE, standardize=False)
    data["features"] = [[TOO_LARGE, 1.0]] * ROWS
    with pytest.raises(InvalidInputError) as caught:
        posted("supervised", data, "float32")
    (error,) = caught.value.errors
    assert error.param == "problem.data.features.0.0"
    assert "9 more" in error.message


def test_a_change_of_rows_that_is_too_large_is_refused() -> None:
    data = inline("features", 1.0, augment=[{"kind": "noise", "std": TOO_LARGE}])
    with pytest.raises(InvalidInputError, match=r"augment.0.std: 1e\+300 .*float32"):
        posted("supervised", data, "float32")
