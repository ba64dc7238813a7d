"""`scale_targets`: training is on standardized values; metrics are of the values as they came."""

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch
from safetensors import safe_open
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_squared_error, root_mean_squared_error
from sklearn.preprocessing import StandardScaler

from core.errors import FieldError, InvalidInputError
from core.specs.job import JobSpec
from core.specs.parsing.job import parse_job
from core.specs.validation.limits import Limits
from core.train.data.build import load
from core.train.data.dataset import Dataset, standardization
from core.train.determinism import generator
from tests.core.train.fused.harness import train_population
from tests.core.train.harness import JOB, train

Json = dict[str, Any]
SPLIT: Final[Json] = {"kind": "fraction", "eval": 0.2, "test": 0.2}
DIABETES: Final[Json] = {"kind": "builtin", "name": "diabetes", "split": SPLIT}


def job(data: Json, **changes: Any) -> JobSpec:
    model = changes.pop("model", {"kind": "linear"})
    problem = {"kind": "supervised", "data": {"scale_targets": True, **data}, "model": model}
    if "loss" in changes:
        problem["loss"] = {"kind": changes.pop("loss")}
    body = {
        "problem": problem,
        "optimizer": {"kind": "lbfgs", "lr": 1.0},
        "precision": "float64",
        "device": "cpu",
        "budget": {"max_steps": 30},
        **changes,
    }
    return parse_job(json.dumps(body).encode(), Limits())


def rows(spec: JobSpec) -> Dataset:
    problem: Any = spec.problem
    return load(problem.data, "values", torch.device("cpu"), torch.float64)


def test_targets_are_standardized_by_the_training_rows_alone() -> None:
    raw, found = rows(job({**DIABETES, "scale_targets": False})), rows(job(DIABETES))
    scaler = StandardScaler().fit(raw.train_targets.numpy())
    for part in ("train", "eval", "test"):
        theirs, ours = raw.rows(part), found.rows(part)
        assert theirs is not None
        assert ours is not None
        expected = scaler.transform(theirs[1].numpy())
        np.testing.assert_allclose(ours[1].numpy(), expected, atol=1e-12)
        np.testing.assert_allclose(found.in_units(ours[1]), theirs[1], rtol=1e-12)
        assert torch.equal(ours[0], theirs[0])


def test_losses_are_of_scaled_values_and_metrics_of_the_values_themselves(tmp_path: Path) -> None:
    """A linear model's least squares are the same whatever the scale: scikit-learn's."""
    done = train(job(DIABETES), tmp_path)
    x, y = load_diabetes(return_X_y=True)
    drawn = torch.randperm(len(y), generator=generator(0, "split")).numpy()
    held, tested, kept = drawn[:88], drawn[88:176], drawn[176:]
    fitted = LinearRegression().fit(x[kept], y[kept])
    scale = y[kept].std()
    assert done.ending.result["final_loss"] == pytest.approx(
        mean_squared_error(y[kept], fitted.predict(x[kept])) / scale**2, rel=1e-8
    )
    found = {"eval": done.ending.result["eval"], "test": done.ending.result["test"]["final"]}
    for part, index in (("eval", held), ("test", tested)):
        predicted = fitted.predict(x[index])
        rmse = root_mean_squared_error(y[index], predicted)
        mse = mean_squared_error(y[index], predicted)
        assert found[part]["rmse"] == pytest.approx(rmse, rel=1e-5)
        assert found[part]["loss"] == pytest.approx(mse / scale**2, rel=1e-5)

    with safe_open(str(tmp_path / JOB / "final.safetensors"), "numpy") as file:
        about = json.loads(file.metadata()["target_standardization"])
        weight, bias = file.get_tensor("output.weight"), file.get_tensor("output.bias")
        features = json.loads(file.metadata()["standardization"])
    assert about == {
        "mean": [pytest.approx(y[kept].mean())],
        "scale": [pytest.approx(scale)],
    }
    inputs = (x[tested] - features["mean"]) / features["scale"]
    ours = (inputs @ weight.T + bias) * about["scale"] + about["mean"]
    np.testing.assert_allclose(ours[:, 0], fitted.predict(x[tested]), rtol=1e-4)


def test_several_targets_are_scaled_each_by_itself() -> None:
    data = {"kind": "inline", "features": [[0], [1], [2], [3]], "eval_fraction": 0.0,
            "targets": [[0, 100], [2, 100], [4, 100], [6, 100]]}  # fmt: skip
    found = rows(job(data))
    scale = np.std([0, 2, 4, 6])
    assert found.train_targets.tolist() == [[(y - 3) / scale, 0.0] for y in (0, 2, 4, 6)]
    assert found.target_mean is not None
    assert found.target_mean.tolist() == [3.0, 100.0]  # a constant one is its value, and 1


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_runs_of_a_stack_have_the_metrics_of_each_alone(precision: str, tmp_path: Path) -> None:
    specs = [
        job(DIABETES, optimizer={"kind": "adam", "lr": lr}, batch_size=64, precision=precision,
            model={"kind": "mlp", "hidden": [5]})
        for lr in (0.01, 0.1, 0.2)
    ]  # fmt: skip
    found = train_population(specs)
    tolerance = 1e-9 if precision == "float64" else 1e-4
    for number, spec in enumerate(specs):
        assert found.endings[number].fused
        ours = found.endings[number].ending.result
        alone = train(spec, tmp_path / str(number)).ending.result
        assert ours["eval"] == pytest.approx(alone["eval"], rel=tolerance)
        assert ours["test"]["final"] == pytest.approx(alone["test"]["final"], rel=tolerance)


def mistake(spec: Any) -> FieldError:
    with pytest.raises(InvalidInputError) as caught:
        spec()
    (found,) = caught.value.errors
    return found


@pytest.mark.parametrize("data", [
    {"kind": "builtin", "name": "iris"},
    {"kind": "synthetic", "generator": {"kind": "parity"}},
    {"kind": "inline", "features": [[0], [1], [2]], "targets": [0, 1, 1]},
])  # fmt: skip
def test_classes_cannot_be_scaled(data: Json) -> None:
    found = mistake(lambda: job(data))
    assert found.param == "problem.data.scale_targets"
    assert "cross_entropy wants classes: leave it out" in found.message


def test_whole_numbers_that_are_values_can() -> None:
    data = {"kind": "inline", "features": [[0], [1], [2]], "targets": [0, 1, 1]}
    assert rows(job(data, loss="mse")).target_scale is not None


def test_numbers_whose_squares_are_beyond_float64_are_standardized_too() -> None:
    values = np.array([[1e300, 5.0], [-1e300, 6.0], [1.7e308, 7.0], [1.6e308, 9.0]])
    mean, scale = standardization(values)
    expected_mean, expected_scale = standardization(values / [1e10, 1.0])
    np.testing.assert_allclose(mean, expected_mean * [1e10, 1.0], rtol=1e-12)
    np.testing.assert_allclose(scale, expected_scale * [1e10, 1.0], rtol=1e-12)
    assert np.isfinite((values - mean) / scale).all()
