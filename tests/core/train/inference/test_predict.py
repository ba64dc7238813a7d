"""Predictions: of the rows of an evaluation they give the training's own figures, whatever the
targets; what comes out of a class, a label or a value is told by hand."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from core.artifacts.build import open_artifacts
from core.artifacts.weights import WeightsPlace
from core.errors import InvalidInputError
from core.ids import new_id
from core.messages.reports import Ending
from core.settings import Settings
from core.specs.job import JobSpec
from core.specs.parsing.job import parse_job
from core.specs.splits.kinds import FractionSplit
from core.specs.splits.rows import EVAL
from core.specs.validation.limits import Limits
from core.train.data.split import draw_split
from core.train.inference.model import TrainedModel
from core.train.inference.predict import check_range, not_finite, predict_rows
from core.train.loop import run
from core.uses.coding import Coded
from core.uses.model import ModelFacts

import torch  # isort: skip

Json = dict[str, Any]
RNG = np.random.default_rng(5)
X = RNG.normal(size=(60, 3)) * [1.0, 10.0, 0.1]
SCORES = X @ RNG.normal(size=(3, 3))
CLASSES: list[Any] = SCORES.argmax(1).tolist()
LABELS: list[Any] = (SCORES > 0).astype(float).tolist()
VALUES: list[Any] = (100 + 50 * SCORES[:, :2]).tolist()


class Never:
    stop_requested = None
    dropped = ()
    keep = 0


def trained(
    folder: Path, targets: list[Any] | None, **changes: Any
) -> tuple[JobSpec, Ending, TrainedModel]:
    """A small model that was trained on rows of these targets, read back from its file."""
    problem = {
        "kind": "supervised",
        "data": {"kind": "inline", "features": X.tolist(),
                 **({} if targets is None else {"targets": targets}),
                 "split": {"kind": "fraction", "eval": 0.4, "seed": 3},
                 **changes.pop("data", {})},
        "model": {"kind": "mlp", "hidden": [6], "activation": "tanh",
                  **changes.pop("model", {})},
        **changes.pop("problem", {}),
    }  # fmt: skip
    body = {
        "problem": problem,
        "optimizer": {"kind": "adam", "lr": 0.05},
        "batch_size": "full",
        "budget": {"max_steps": 15},
        **changes,
    }
    spec = parse_job(json.dumps(body).encode(), Limits.of(Settings()))
    store, job_id = open_artifacts(str(folder)), new_id("job")
    ending = run(spec, artifacts=store.job(job_id), emit=lambda event: None, control=Never())
    place = WeightsPlace(job_id, "final.safetensors", "file", "final", 15)
    facts = ModelFacts.model_validate_json(json.dumps(ModelFacts.of(spec).to_json()))
    return spec, ending, TrainedModel.load(store, place, facts, torch.device("cpu"))


def held_out(spec: JobSpec, targets: list[Any]) -> NDArray[np.int64]:
    split = spec.problem.data.chosen_split  # type: ignore[union-attr]
    assert isinstance(split, FractionSplit)
    codes = draw_split(split, len(X), np.array(targets, dtype=np.float64).reshape(len(X), -1))
    return np.flatnonzero(codes == EVAL)


MANY = {"record": {"metrics": ["accuracy", "f1", "auroc"]}}
CASES: dict[str, tuple[list[Any], Json]] = {
    "classes": (CLASSES, MANY),
    "weighted": (CLASSES,
                 {"problem": {"loss": {"kind": "cross_entropy", "class_weights": [1, 2, 3]}}}),
    "margin": (CLASSES, {"problem": {"loss": {"kind": "multi_margin"}}}),
    "two_classes": ([int(c > 0) for c in CLASSES],
                    {"problem": {"loss": {"kind": "binary_cross_entropy"}}, **MANY}),
    "labels": (LABELS, {"problem": {"loss": {"kind": "binary_cross_entropy"}}, **MANY}),
    "values": (VALUES, {"record": {"metrics": ["rmse", "r2", "mae"]}}),
    "scaled": (VALUES, {"data": {"scale_targets": True}, "precision": "float64"}),
    "plain": (VALUES, {"data": {"standardize": False}}),
    "norm": (CLASSES, {"model": {"norm": "batch", "dropout": 0.3}}),
    "bfloat16": (CLASSES, {"precision": "bfloat16"}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_rows_of_the_evaluation_have_its_figures(case: str, tmp_path: Path) -> None:
    targets, changes = CASES[case]
    spec, ending, model = trained(tmp_path, targets, **json.loads(json.dumps(changes)))
    rows = held_out(spec, targets)
    coded = model.coder.rows(X[rows].tolist(), [targets[row] for row in rows])
    arrays, metrics = predict_rows(model, coded)
    assert metrics is not None
    evaluated = ending.result["eval"]
    for name, value in evaluated.items():
        if name not in {"step", "confusion_matrix"}:
            assert metrics[name] == pytest.approx(value, rel=1e-6), name
    assert metrics["num_rows"] == len(rows) == 24
    if case in {"classes", "two_classes", "margin"}:
        assert np.array(metrics["confusion_matrix"]).trace() / 24 == metrics["accuracy"]
    if "value" in arrays:
        errors = arrays["value"] - np.array(targets)[rows]
        assert metrics.get("rmse", math.nan) == pytest.approx(
            np.sqrt((errors**2).mean(0)).mean(), rel=1e-5
        )


def test_probabilities_are_those_of_the_outputs(tmp_path: Path) -> None:
    _, _, model = trained(tmp_path, CLASSES)
    coded = model.coder.rows(X.tolist())
    with model.settled():
        outputs = model.outputs(coded.matrix).double()
    arrays, metrics = predict_rows(model, coded)
    np.testing.assert_allclose(arrays["probabilities"], torch.softmax(outputs, 1), atol=1e-12)
    assert arrays["class"].tolist() == outputs.argmax(1).tolist()
    assert metrics is None
    binary = [int(c > 0) for c in CLASSES]
    loss = {"loss": {"kind": "binary_cross_entropy"}}
    _, _, model = trained(tmp_path, binary, problem=loss)
    arrays, _ = predict_rows(model, coded)
    np.testing.assert_allclose(arrays["probabilities"].sum(1), 1.0)
    np.testing.assert_array_equal(arrays["class"], arrays["probabilities"][:, 1] > 0.5)


def test_rows_that_are_reconstructed_are_their_own_targets(tmp_path: Path) -> None:
    problem = {"kind": "reconstruction", "loss": {"kind": "mse"}}
    spec, ending, model = trained(tmp_path, None, problem=problem)
    rows = held_out(spec, [0.0] * len(X))
    coded = model.coder.rows(X[rows].tolist())
    arrays, metrics = predict_rows(model, replace(coded, labels=coded.matrix))
    assert metrics is not None
    assert metrics["loss"] == pytest.approx(ending.result["eval"]["loss"], rel=1e-6)
    errors = arrays["value"] - X[rows]
    assert metrics["rmse"] == pytest.approx(np.sqrt((errors**2).mean(0)).mean(), rel=1e-5)


def test_outputs_that_are_not_finite_are_no_class(tmp_path: Path) -> None:
    _, _, model = trained(tmp_path, CLASSES)
    with torch.no_grad():
        next(model.module.parameters()).fill_(math.nan)
    arrays, metrics = predict_rows(model, model.coder.rows(X[:2].tolist(), [0, 1]))
    assert arrays["class"].tolist() == [-1, -1]
    assert np.isnan(arrays["probabilities"]).all()
    assert metrics is not None
    assert (metrics["accuracy"], metrics["confusion_matrix"]) == (0.0, None)


def test_rows_without_a_label_count_for_nothing(tmp_path: Path) -> None:
    _, _, model = trained(tmp_path, CLASSES)
    some = predict_rows(model, model.coder.rows(X[:2].tolist(), CLASSES[:2]))[1]
    more = model.coder.rows(X[:4].tolist(), [*CLASSES[:2], None, None])
    assert predict_rows(model, more)[1] == some
    none = model.coder.rows(X[:4].tolist(), [None] * 4)
    assert predict_rows(model, none)[1] is None


def test_asked_to_stop_it_begins_no_more_rows(tmp_path: Path) -> None:
    _, _, model = trained(tmp_path, CLASSES)
    coded = model.coder.rows(np.zeros((20_000, 3)).tolist())
    looks = iter([False, True])
    arrays, _ = predict_rows(model, coded, lambda: next(looks))
    assert len(arrays["class"]) == 8_192


@pytest.mark.parametrize("case", ["classes", "two_classes", "margin", "labels", "values"])
def test_rows_without_a_finite_output_are_told_of(case: str, tmp_path: Path) -> None:
    targets, changes = CASES[case]
    _, _, model = trained(tmp_path, targets, **json.loads(json.dumps(changes)))
    arrays, _ = predict_rows(model, model.coder.rows(X.tolist()))
    assert not_finite(arrays, "float32") == []
    rows = X[:5].tolist()
    with torch.no_grad():
        model.module.get_parameter("output.bias").fill_(math.inf)
    arrays, _ = predict_rows(model, model.coder.rows(rows))
    shown = [each for name, each in arrays.items() if name != "class"]
    if case == "labels":  # of which an infinite output is one
        assert np.isfinite(shown[0]).all()
        return
    (warning,) = not_finite(arrays, "float32")
    assert (warning["param"], warning["code"]) == ("data[0]", "not_finite")
    assert all(each in warning["message"] for each in ("4 more rows", "float32", "float64", "best"))


def test_a_row_of_a_data_set_that_is_too_large_fails_with_its_place(tmp_path: Path) -> None:
    _, _, model = trained(tmp_path, VALUES)
    matrix = X[:4].copy()
    matrix[2, 1] = 1e300
    with pytest.raises(InvalidInputError) as caught:
        check_range(Coded(matrix, None, {}), model.coder, start=10)
    (error,) = caught.value.errors
    assert error.param == "dataset.x2"
    assert all(each in error.message for each in ('"x2" in row 12 ', "1e+300", "float32"))
    labels = np.array(VALUES[:4])
    labels[3, 1] = -1e40
    with pytest.raises(InvalidInputError, match=r"in row 3 .*-1e\+40"):
        check_range(Coded(X[:4], labels, {}), model.coder, start=0)
