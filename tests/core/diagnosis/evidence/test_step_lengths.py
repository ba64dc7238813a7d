"""How long an update at rate 1 is: told from the spec, against updates that were made."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from core.diagnosis.evidence.theory import longest_stride
from core.specs.job import JobSpec
from core.train.determinism import generator
from core.train.optim.build import build_optimizer
from core.train.problems.build import build_problem
from tests.core.diagnosis.runs import digits_job, function_job


def updates(spec: JobSpec, count: int) -> list[float]:
    """Lengths of updates by gradients that are drawn anew each time."""
    problem = build_problem(spec, torch.device("cpu"), torch.float64)
    parameters = list(problem.parameters())
    optimizer = build_optimizer(spec.optimizer, parameters)
    source, lengths = generator(0, "data"), []
    for _ in range(count):
        before = [each.detach().clone() for each in parameters]
        for each in parameters:
            each.grad = torch.randn(each.shape, generator=source, dtype=torch.float64)
        optimizer.step()
        moved = [(each.detach() - old).norm() for each, old in zip(parameters, before, strict=True)]
        lengths.append(float(torch.stack(moved).norm()))
    return lengths


@pytest.mark.parametrize("hidden", [[40], [7, 90], [20, 20, 20]])
@pytest.mark.parametrize(
    "more",
    [{}, {"adjust_lr_fn": "match_rms_adamw"}, {"adamw_lr_scale": 0.1}, {"momentum": 0.0}],
    ids=lambda more: "-".join(more) or "defaults",
)
def test_muons_updates_are_about_as_long_as_told(hidden: list[int], more: dict[str, Any]) -> None:
    optimizer = {"kind": "muon", "lr": 1.0, "weight_decay": 0.0, **more}
    told = longest_stride(digits_job(optimizer, model={"kind": "mlp", "hidden": hidden}))
    made = updates(digits_job(optimizer, model={"kind": "mlp", "hidden": hidden}), 5)
    assert max(made) <= told
    assert max(made) >= 0.6 * told


MODELS = {
    "wide": {"kind": "mlp", "hidden": [40]},
    "deep": {"kind": "mlp", "hidden": [7, 90, 20]},
    "convolutions": {"kind": "cnn", "channels": [4]},
    "linear": {"kind": "linear"},
}


@pytest.mark.parametrize("model", MODELS)
def test_shampoos_first_update_is_about_as_long_as_told_and_later_ones_shorter(model: str) -> None:
    spec = digits_job({"kind": "shampoo", "lr": 1.0, "momentum": 0.0}, model=MODELS[model])
    told, made = longest_stride(spec), updates(spec, 5)
    assert 0.8 * told <= made[0] <= 1.001 * told
    assert max(made[1:]) < made[0]
    point = {"kind": "shampoo", "lr": 1.0, "momentum": 0.0}
    assert longest_stride(function_job({"kind": "sphere", "dim": 9}, np.ones(9), point)) == 1.0


@pytest.mark.parametrize("kind", ["adam", "muon"])
def test_without_layers_each_coordinate_moves_by_the_rate(kind: str) -> None:
    optimizer = {"kind": kind, "lr": 1.0, "weight_decay": 0.0}
    spec = function_job({"kind": "sphere", "dim": 9}, np.ones(9), optimizer)
    assert longest_stride(spec) == 3.0
    linear = digits_job(optimizer, model={"kind": "linear"})
    assert longest_stride(linear) == pytest.approx(math.sqrt(650))
    assert updates(linear, 1) == pytest.approx([math.sqrt(650)])
