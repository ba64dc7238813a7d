"""Weight decay of each method: coupled to the gradient, or decoupled from it."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from core.specs.parsing.job import parse_job
from core.specs.unions import members
from core.specs.validation.limits import Limits
from core.train.problems.build import build_problem
from tests.core.train.harness import train
from tests.core.train.optim.optimizers_of_specs import (
    DECOUPLING,
    REFERENCE,
    WITH_MOMENTUM,
    Json,
    built,
    tensors,
)


@pytest.mark.parametrize("kind", DECOUPLING)
@pytest.mark.parametrize("extra", [{}, {"lr_decay": 0.5}], ids=["plain", "lr decay"])
def test_decoupled_decay_is_beside_the_step_of_the_method_without_decay(
    kind: str, extra: Json
) -> None:
    if extra and kind != "adagrad":
        return
    options: Json = {"kind": kind, "lr": 0.1, **WITH_MOMENTUM.get(kind, {}), **extra}
    own, plain = (nn.Parameter(torch.ones(3, dtype=torch.float64)) for _ in range(2))
    decoupled = built([own], {**options, "weight_decay": 0.5, "decoupled_weight_decay": True})
    other = built([plain], {**options, "weight_decay": 0.0, "decoupled_weight_decay": False})
    assert type(other).__name__ != "ByRule"
    for number in range(4):
        before = own.detach().clone()
        with torch.no_grad():
            plain.copy_(before)
        for each in (own, plain):
            each.grad = torch.tensor([1.0, -2.0, 0.5 * number], dtype=torch.float64)
        decoupled.step()
        other.step()
        rate = 0.1 / (1.0 + number * extra.get("lr_decay", 0.0))
        wanted = plain.detach() - rate * 0.5 * before
        torch.testing.assert_close(own.detach(), wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_and_adamw_differ_by_their_defaults_alone(decoupled: bool) -> None:
    ends = []
    for kind in ("adam", "adamw"):
        parameters = [nn.Parameter(each) for each in tensors(REFERENCE["start"])]
        optimizer = built(
            parameters,
            {"kind": kind, "weight_decay": 0.3, "decoupled_weight_decay": decoupled},
        )
        for noise in REFERENCE["noise"][:5]:
            for parameter, each in zip(parameters, tensors(noise), strict=True):
                parameter.grad = each
            optimizer.step()
        ends.append([parameter.detach() for parameter in parameters])
    for one, other in zip(*ends, strict=True):
        assert torch.equal(one, other)


DECAY = 0.01
OPTIMUM = 0.0630492539
"""The cross-entropy of softmax regression on breast_cancer, all rows standardized, where it is
least together with ½·0.01·‖w‖² of weights and biases."""


TOGETHER = 0.0837400224263
"""By L-BFGS of scipy in NumPy."""


FOR_IT: dict[str, Json] = {
    "sgd": {"lr": 0.3, "momentum": 0.95},
    "adam": {"lr": 0.03, "betas": [0.9, 0.99]},
    "adamw": {"lr": 0.03, "betas": [0.9, 0.99]},
    "adamax": {"lr": 0.1, "betas": [0.9, 0.99]},
    "nadam": {"lr": 0.03, "betas": [0.9, 0.99]},
    "radam": {"lr": 0.03, "betas": [0.9, 0.99]},
    "rmsprop": {"lr": 0.01},
    "adagrad": {"lr": 2.0},
    "adadelta": {"lr": 5.0},
    "asgd": {"lr": 3.0, "lambd": 0.0},
    "lion": {"lr": 0.003},
    "shampoo": {"lr": 3.0},
    "soap": {"lr": 0.03},
    "adopt": {"lr": 0.03, "betas": [0.9, 0.99]},
    "ademamix": {"lr": 0.01, "betas": [0.9, 0.99, 0.99]},
    "prodigy": {"d0": 1e-3},
    "schedule_free_sgd": {"lr": 3.0, "r": 10.0},
    "schedule_free_adamw": {"lr": 0.03, "r": 10.0},
}


def test_every_kind_whose_decay_can_be_coupled_looks_for_the_optimum() -> None:
    coupled = {
        kind
        for kind, model in members("optimizer").items()
        if "weight_decay" in model.model_fields and kind not in {"muon", "adafactor"}
    }  # fmt: skip
    assert FOR_IT.keys() == coupled


@pytest.mark.parametrize("kind", FOR_IT)
def test_each_finds_the_optimum_of_softmax_regression(kind: str, tmp_path: Path) -> None:
    falling = {"kind": "polynomial", "power": 4.0}
    has_both = "decoupled_weight_decay" in members("optimizer")[kind].model_fields
    coupled = {"decoupled_weight_decay": False} if has_both else {}
    body = {
        "problem": {
            "kind": "supervised",
            "data": {"kind": "builtin", "name": "breast_cancer", "eval_fraction": 0.0},
            "model": {"kind": "linear"},
        },
        "optimizer": {"kind": kind, "weight_decay": DECAY, **coupled, **FOR_IT[kind]},
        "schedule": {"kind": "constant"} if kind.startswith("schedule_free") else falling,
        "batch_size": "full",
        "budget": {"max_steps": 2500},
        "precision": "float64",
        "record": {"every": 100},
    }  # fmt: skip
    spec = parse_job(json.dumps(body).encode(), Limits())
    trained = train(spec, tmp_path)
    weights = trained.weights()
    problem = build_problem(spec, torch.device("cpu"), torch.float64)
    problem.load_state({name: torch.from_numpy(each) for name, each in weights.items()})
    penalty = 0.5 * DECAY * sum(float((each**2).sum()) for each in weights.values())
    assert problem.loss(0).item() == pytest.approx(OPTIMUM, abs=1e-9)
    assert problem.loss(0).item() + penalty == pytest.approx(TOGETHER, abs=1e-12)
