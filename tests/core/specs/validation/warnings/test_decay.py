"""A weight decay that takes weights off whole is warned of, for every optimizer that has one."""

import json
from typing import Any, get_args

import pytest
import torch
from torch import nn

from core.specs.optimizers.kinds import Optimizer
from core.specs.parsing.job import parse_job
from core.specs.validation.limits import Limits
from core.specs.validation.warnings.job import warnings_of_job
from core.train.optim.build import build_optimizer

Json = dict[str, Any]
IRIS: Json = {
    "kind": "supervised",
    "data": {"kind": "builtin", "name": "iris"},
    "model": {"kind": "mlp", "hidden": [4]},
}
KINDS = {
    kind.model_fields["kind"].annotation.__args__[0]: kind
    for kind in get_args(get_args(Optimizer)[0])
}
BOTH_WAYS = [name for name, kind in KINDS.items() if "decoupled_weight_decay" in kind.model_fields]
ONE_WAY = [
    name
    for name, kind in KINDS.items()
    if "weight_decay" in kind.model_fields and name not in BOTH_WAYS
]
SHARES: dict[tuple[str, bool | None], bool] = {
    **dict.fromkeys([(name, True) for name in BOTH_WAYS], True),
    **dict.fromkeys([(name, False) for name in BOTH_WAYS], False),
    **dict.fromkeys([(name, None) for name in ONE_WAY], True),
    ("sgd", False): True,  # follows the gradient as it is
    ("prodigy", True): False,  # finds its rate itself
}


def warned(optimizer: Json, **more: Any) -> list[str]:
    job = {"problem": IRIS, "optimizer": optimizer, "budget": {"max_steps": 60}, **more}
    found = warnings_of_job(parse_job(json.dumps(job).encode(), Limits()))
    assert all(each.code == "wipes_weights" for each in found)
    return [each.param for each in found]


def options(kind: str, decoupled: bool | None) -> Json:
    return {"kind": kind} | ({} if decoupled is None else {"decoupled_weight_decay": decoupled})


@pytest.mark.parametrize(("kind", "decoupled"), SHARES)
def test_a_decay_is_warned_of_where_an_update_takes_a_weight_off_whole(
    kind: str, decoupled: bool | None
) -> None:
    given = options(kind, decoupled)
    named = ["optimizer.weight_decay"] if SHARES[kind, decoupled] else []
    assert warned({**given, "lr": 0.5, "weight_decay": 1.9}) == []
    assert warned({**given, "lr": 0.5, "weight_decay": 2.0}) == named
    assert warned({**given, "lr": 4.0, "weight_decay": 2.0}) == named


@pytest.mark.parametrize(("kind", "decoupled"), SHARES)
def test_what_is_warned_of_is_what_an_update_does(kind: str, decoupled: bool | None) -> None:
    """Without a gradient, an update leaves nothing of a weight exactly where it is warned of."""
    job = {
        "problem": {"kind": "function", "function": {"kind": "sphere"}, "start": [3.0, 3.0]},
        "optimizer": {**options(kind, decoupled), "lr": 0.5, "weight_decay": 2.0},
    }
    spec = parse_job(json.dumps(job).encode(), Limits())
    weight = nn.Parameter(torch.full((2,), 3.0, dtype=torch.float64))
    optimizer = build_optimizer(spec.optimizer, [weight])
    # Some only look at the first gradient, and RAdam begins as gradient descent; Schedule-Free's
    # weights cannot be set back, for they are a mean.
    for _ in range(1 if kind.startswith("schedule_free") else 9):
        with torch.no_grad():
            weight.fill_(3.0)
        weight.grad = torch.zeros_like(weight)
        optimizer.step()
    left = float(weight.detach().abs().max())
    assert (left < 1e-3) == SHARES[kind, decoupled], left


@pytest.mark.parametrize(
    ("schedule", "wipes"),
    [
        ({"kind": "constant"}, False),
        ({"kind": "one_cycle", "max_lr": 1.0}, True),
        ({"kind": "one_cycle", "max_lr": 0.4}, False),
        ({"kind": "cyclic", "base_lr": 0.1, "max_lr": 1.0, "step_size_up": 9}, True),
        ({"kind": "piecewise", "boundaries": [9], "factors": [1.0, 2.0]}, True),
        ({"kind": "warmup", "steps": 5, "then": {"kind": "one_cycle", "max_lr": 1.0}}, True),
        (
            {
                "kind": "sequential",
                "milestones": [9],
                "schedules": [{"kind": "linear"}, {"kind": "cosine", "eta_min": 1.0}],
            },
            True,
        ),
        (
            {
                "kind": "chained",
                "schedules": [
                    {"kind": "piecewise", "boundaries": [9], "factors": [1.0, 2.0]},
                    {"kind": "linear", "start_factor": 0.1, "end_factor": 0.2},
                ],
            },
            False,
        ),
    ],
)
def test_the_largest_rate_of_a_schedule_counts(schedule: Json, wipes: bool) -> None:
    optimizer = {"kind": "adamw", "lr": 0.5, "weight_decay": 1.0}
    assert warned(optimizer, schedule=schedule) == (["optimizer.weight_decay"] if wipes else [])


@pytest.mark.parametrize(
    ("decay", "groups", "expected"),
    [
        (0.0, [{"match": "*.bias", "weight_decay": 2.0}], ["optimizer.groups.0.weight_decay"]),
        (0.1, [{"match": "*.bias", "lr_scale": 20.0}], ["optimizer.groups.0.lr_scale"]),
        (2.0, [{"match": "*.bias", "weight_decay": 0.0}], ["optimizer.weight_decay"]),
        (2.0, [{"match": "*", "weight_decay": 0.0}], []),
        (2.0, [{"match": "*"}], ["optimizer.groups.0.lr_scale"]),
        (2.0, [{"match": "*", "lr_scale": 0.1}], []),
    ],
)
def test_groups_have_their_own_decay_and_rate(
    decay: float, groups: list[Json], expected: list[str]
) -> None:
    optimizer = {"kind": "adamw", "lr": 0.5, "weight_decay": decay, "groups": groups}
    assert warned(optimizer) == expected


def test_averaged_gradient_descent_shrinks_by_lambd_too() -> None:
    assert warned({"kind": "asgd", "lr": 1.0, "lambd": 1.0}) == ["optimizer.lambd"]


def test_muon_decays_what_is_adamws_at_that_rate() -> None:
    given = {"kind": "muon", "lr": 0.5, "weight_decay": 1.0}
    assert warned(given) == []
    assert warned({**given, "adamw_lr_scale": 2.0}) == ["optimizer.weight_decay"]


def test_a_rate_that_is_to_be_found_is_not_judged() -> None:
    assert warned({"kind": "adamw", "lr": "auto", "weight_decay": 50.0}) == []
