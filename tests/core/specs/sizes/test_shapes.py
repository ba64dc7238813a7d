"""Counts and shapes without torch, held against torch's meta device and scikit-learn."""

import itertools
import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from core.specs.base import Spec
from core.specs.data import split_rows
from core.specs.layers.expand import expand
from core.specs.layers.inputs import Inputs
from core.specs.models import MLP, LinearModel
from core.specs.optimizers.state import state_vectors
from core.specs.parsing.job import parse_job
from core.specs.sizes.cost import estimate, memory_parts
from core.specs.sizes.extent import epochs_at, expected_rows, extent, history_widths, num_steps
from core.specs.sizes.shapes import DataShape, data_shape
from core.specs.unions import members
from core.specs.validation.limits import Limits
from core.train.data.batches import Batches
from core.train.optim.build import build_optimizer


def job(**parts: Any) -> Any:
    base = {
        "problem": {
            "kind": "supervised",
            "data": {"kind": "builtin", "name": "digits"},
            "model": {"kind": "mlp"},
        },
        "optimizer": {"kind": "adam"},
    }
    return parse_job(json.dumps({**base, **parts}).encode(), Limits())


def reference(widths: list[int], *, bias: bool, norm: type[nn.Module] | None) -> int:
    layers: list[nn.Module] = []
    with torch.device("meta"):
        for index, (a, b) in enumerate(itertools.pairwise(widths)):
            normed = norm is not None and index < len(widths) - 2
            # A norm of the batch takes a bias before it away again.
            lost = normed and norm is nn.BatchNorm1d
            layers.append(nn.Linear(a, b, bias=bias and not lost))
            if norm is not None and normed:
                layers.append(norm(b))
    return sum(parameter.numel() for parameter in nn.Sequential(*layers).parameters())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("norm", [None, "batch", "layer"])
@pytest.mark.parametrize("hidden", [[], [5], [64, 32], [3, 1, 7, 2]])
@pytest.mark.parametrize(("inputs", "outputs"), [(64, 10), (1, 1), (13, 3)])
def test_an_mlp_has_as_many_parameters_as_torch_gives_it(
    bias: bool, norm: str | None, hidden: list[int], inputs: int, outputs: int
) -> None:
    text = json.dumps({"kind": "mlp", "hidden": hidden, "norm": norm, "bias": bias})
    modules = {None: None, "batch": nn.BatchNorm1d, "layer": nn.LayerNorm}
    counted = reference([inputs, *hidden, outputs], bias=bias, norm=modules[norm])
    model = MLP.model_validate_json(text)
    assert expand(model, Inputs(inputs), outputs).num_parameters == counted


@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_model_has_as_many_parameters_as_torch_gives_it(bias: bool) -> None:
    model = LinearModel(kind="linear", bias=bias)
    assert expand(model, Inputs(30), 4).num_parameters == reference([30, 4], bias=bias, norm=None)


@pytest.mark.parametrize(
    ("generator", "expected"),
    [
        ({"kind": "blobs", "num_features": 3, "num_classes": 5}, DataShape(1000, 3, 5)),
        ({"kind": "moons"}, DataShape(1000, 2, 2)),
        ({"kind": "circles", "num_samples": 7}, DataShape(7, 2, 2)),
        ({"kind": "spirals", "num_classes": 4}, DataShape(1000, 2, 4)),
        ({"kind": "linear_regression", "num_features": 6}, DataShape(1000, 6, None)),
        ({"kind": "friedman1"}, DataShape(1000, 10, None)),
        ({"kind": "sinusoid"}, DataShape(1000, 1, None)),
        ({"kind": "sine_sequence", "length": 9}, DataShape(1000, 9, None)),
        ({"kind": "adding_problem", "length": 9}, DataShape(1000, 18, None, 1, (9, 2))),
        ({"kind": "parity", "length": 9}, DataShape(1000, 9, 2)),
    ],
)
def test_a_generator_has_the_shape_that_its_options_say(
    generator: dict[str, Any], expected: DataShape
) -> None:
    problem = {
        "kind": "supervised",
        "data": {"kind": "synthetic", "generator": generator},
        "model": {"kind": "linear"},
    }
    assert data_shape(job(problem=problem).problem.data) == expected


def test_every_generator_has_a_shape() -> None:
    for kind in members("generator"):
        data = {"kind": "synthetic", "generator": {"kind": kind}}
        problem = {"kind": "supervised", "data": data, "model": {"kind": "linear"}}
        assert data_shape(job(problem=problem).problem.data).num_rows == 1000


@pytest.mark.parametrize(
    ("parts", "steps"),
    [
        ({"budget": {"max_steps": 30}}, 30),
        ({"budget": {"max_epochs": 3}, "batch_size": 100}, 45),  # 1438 rows: 14 batches and a rest
        ({"budget": {"max_epochs": 3}, "batch_size": "full"}, 3),
        ({"budget": {"max_epochs": 3, "max_steps": 40}, "batch_size": 100}, 40),
        ({"budget": {"max_epochs": 3, "max_steps": 50}, "batch_size": 100}, 45),
    ],
)
def test_the_budget_is_the_smaller_of_steps_and_epochs(parts: dict[str, Any], steps: int) -> None:
    assert num_steps(job(**parts)) == steps


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 11, 20, 21])
@pytest.mark.parametrize("every", [1, 3, 10])
def test_the_expected_rows_are_the_multiples_and_the_last(steps: int, every: int) -> None:
    spec = job(budget={"max_steps": steps}, record={"every": every, "eval_every": every})
    recorded = {k for k in range(steps) if k % every == 0} | {steps - 1}
    evaluated = {k for k in range(steps + 1) if k % every == 0} | {steps}
    assert expected_rows(spec) == {"train": len(recorded), "eval": len(evaluated)}


def test_the_history_of_a_classifier_has_accuracy_and_that_of_a_regression_mae() -> None:
    assert history_widths(job())["eval"] == {"loss": 1, "accuracy": 1}
    data = {"kind": "builtin", "name": "diabetes"}
    problem = {"kind": "supervised", "data": data, "model": {"kind": "linear"}}
    assert history_widths(job(problem=problem))["eval"] == {"loss": 1, "rmse": 1}


def test_a_function_records_its_point_and_evaluates_nothing() -> None:
    function = {"kind": "function", "function": {"kind": "sphere", "dim": 5}}
    assert history_widths(job(problem=function)) == {
        "train": {"loss": 1, "lr": 1, "grad_norm": 1, "x": 5},
        "eval": {},
    }


def test_without_evaluation_rows_there_is_no_evaluation_history() -> None:
    data = {"kind": "builtin", "name": "iris", "eval_fraction": 0.0}
    problem = {"kind": "supervised", "data": data, "model": {"kind": "linear"}}
    spec = job(problem=problem)
    assert history_widths(spec)["eval"] == {}
    assert expected_rows(spec)["eval"] == 0


def test_the_estimate_of_the_history_is_eight_bytes_a_number() -> None:
    spec = job(budget={"max_steps": 1000}, record={"every": 1, "eval_every": 100})
    assert estimate(spec).history_bytes == 8 * (1000 * 3 + 11 * 2)


KEPT_ON_TOP = {"lbfgs"}
BY_AXIS = ("statistic_", "matrix_")
"""State that `matrix_numbers` counts."""


@pytest.mark.parametrize("kind", [k for k in members("optimizer") if k not in KEPT_ON_TOP])
@pytest.mark.parametrize("option", [{}, {"momentum": 0.9}, {"amsgrad": True}, {"centered": True}])
def test_the_optimizer_state_is_estimated_as_large_as_it_is(
    kind: str, option: dict[str, Any]
) -> None:
    model = members("optimizer")[kind]
    if set(option) - set(model.model_fields):
        return
    spec: Spec = model.model_validate({"kind": kind, **option})
    parameter = nn.Parameter(torch.ones(64))
    optimizer = build_optimizer(spec, [parameter])  # type: ignore[arg-type]
    parameter.grad = torch.ones(64)
    optimizer.step()
    kept = [
        value
        for name, value in optimizer.state[parameter].items()
        if torch.is_tensor(value) and value.numel() > 1 and not name.startswith(BY_AXIS)
    ]
    assert state_vectors(spec, 1000) == len(kept)  # type: ignore[arg-type]


def test_lbfgs_is_counted_with_its_whole_history() -> None:
    spec = job(optimizer={"kind": "lbfgs", "history_size": 50})
    count = estimate(spec).num_parameters
    size = extent(spec.problem, spec.batch_size)
    assert memory_parts(spec, size, num_steps(spec))["optimizer"] >= 4 * count * 100


def test_the_memory_estimate_covers_weights_gradients_and_data() -> None:
    spec = job()
    weights = 4 * estimate(spec).num_parameters
    data = 4 * 1797 * 65
    assert estimate(spec).memory_bytes >= 4 * weights + data


@pytest.mark.parametrize(
    ("data", "batch_size"),
    [
        ({}, 64),
        ({"drop_last": True}, 64),
        ({"eval_fraction": 0.5, "order": {"kind": "sequential"}}, 100),
        ({}, "full"),
        ({"order": {"kind": "explicit", "steps": [[0, 1, 2], [5], [7, 7, 8, 9]]}}, None),
    ],
)
def test_epochs_count_the_rows_of_the_batches(data: dict[str, Any], batch_size: Any) -> None:
    problem = {
        "kind": "supervised",
        "data": {"kind": "builtin", "name": "digits", **data},
        "model": {"kind": "linear"},
    }
    spec = job(problem=problem, budget={"max_steps": 70}, batch_size=batch_size)
    num_rows = data_shape(spec.problem.data).num_rows
    num_train = split_rows(spec.problem.data, num_rows).train
    batches = Batches(
        torch.zeros(num_train, 1),
        torch.zeros(num_train),
        order=spec.problem.data.order,
        batch_size=spec.batch_size,
        drop_last=spec.problem.data.drop_last,
        seed=0,
    )
    sizes = [len(batches.at(step)[0]) for step in range(70)]
    seen = np.concatenate([[0], np.cumsum(sizes)])
    found = epochs_at(spec, np.arange(71))
    assert found is not None
    assert found.tolist() == (seen / num_train).tolist()


def test_epochs_of_small_cases_by_hand() -> None:
    data = {"kind": "inline", "features": [[0], [1], [2], [3], [4]], "targets": [0, 1, 2, 3, 4.5]}
    problem: dict[str, Any] = {
        "kind": "supervised",
        "data": {**data, "eval_fraction": 0.0},
        "model": {"kind": "linear"},
    }
    steps = np.arange(5)
    found = epochs_at(job(problem=problem, batch_size=2, budget={"max_steps": 5}), steps)
    assert found is not None
    assert found.tolist() == [0.0, 0.4, 0.8, 1.0, 1.4]
    problem["data"]["drop_last"] = True
    found = epochs_at(job(problem=problem, batch_size=2, budget={"max_steps": 5}), steps)
    assert found is not None
    assert found.tolist() == [0.0, 0.4, 0.8, 1.2, 1.6]
    function = {"kind": "function", "function": {"kind": "rosenbrock", "dim": 2}}
    assert epochs_at(job(problem=function, budget={"max_steps": 5}), steps) is None
