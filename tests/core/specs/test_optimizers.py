"""Defaults of optimizers that are written out; Muon's options, and what its stacked runs share."""

import json
from typing import Any

import pytest
import torch

from core.errors import InvalidInputError
from core.specs.catalog import kinds
from core.specs.job import JobSpec
from core.specs.optimizers.kinds import Muon
from core.specs.parsing.job import parse_job
from core.specs.sizes.fusing import fusable, structure_key
from core.specs.validation.limits import Limits

PROBLEM = {
    "kind": "supervised",
    "data": {"kind": "builtin", "name": "digits"},
    "model": {"kind": "mlp", "hidden": [8]},
}


def parse(**options: Any) -> JobSpec:
    body = {"problem": PROBLEM, "optimizer": {"kind": "muon", **options}}
    return parse_job(json.dumps(body).encode(), Limits())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lr", 0.0),
        ("momentum", 1.0),  # the average of the gradients would stay 0
        ("eps", 0.0),  # a gradient of 0 would be divided by it
        ("ns_steps", 0),
        ("ns_steps", 100),
        ("ns_coefficients", [1.5, -0.5]),
        ("adjust_lr_fn", "match"),
        ("adamw_betas", [0.9, 1.0]),
        ("adamw_eps", -1e-8),
        ("adamw_lr_scale", 0.0),
        ("maximize", True),
    ],
)
def test_what_cannot_work_is_refused_by_its_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse(**{name: value})
    assert {error.param.split(".")[1] for error in caught.value.errors} == {name}


def test_the_default_adjustment_is_written_out() -> None:
    optimizer = parse().optimizer
    assert isinstance(optimizer, Muon)
    assert optimizer.adjust_lr_fn == "original"


OFF = {"foreach", "fused", "line_search_fn", "growth_rate"}
"""Options for which null is a value: torch's choice of the same arithmetic, or none."""


@pytest.mark.parametrize("kind", kinds("optimizers"))
@pytest.mark.parametrize("precision", ["float32", "float64", "bfloat16"])
def test_every_default_of_an_optimizer_is_written_out(kind: str, precision: str) -> None:
    if (kind, precision) == ("lbfgs", "bfloat16"):
        return
    body = {"problem": PROBLEM, "optimizer": {"kind": kind}, "precision": precision}
    spec = parse_job(json.dumps(body).encode(), Limits())
    options = spec.optimizer.model_dump(exclude=OFF)
    assert None not in options.values()
    assert not any(None in each for each in options.values() if isinstance(each, tuple))
    assert parse_job(spec.model_dump_json().encode(), Limits()) == spec


@pytest.mark.parametrize(
    ("precision", "weights"),
    [("float32", torch.float32), ("bfloat16", torch.float32), ("float64", torch.float64)],
)
def test_adafactors_bound_is_the_one_that_torch_takes(precision: str, weights: torch.dtype) -> None:
    def resolved(eps: Any, **more: Any) -> Any:
        optimizer = {"kind": "adafactor", "eps": eps}
        body = {"problem": PROBLEM, "optimizer": optimizer, "precision": precision, **more}
        return parse_job(json.dumps(body).encode(), Limits(stored=bool(more))).optimizer

    assert resolved([None, 0.01]).eps == (torch.finfo(weights).eps, 0.01)
    assert resolved([1e-9, 0.01]).eps == (1e-9, 0.01)
    # A job stored with null goes on from its checkpoint as it is.
    start = {"job": "job_01k8xk3m5t0000000000000000", "step": 3}
    assert resolved([None, 0.01], start_from=start).eps == (None, 0.01)


@pytest.mark.parametrize(
    ("options", "together"),
    [
        ({"lr": 0.5, "momentum": 0.5, "adamw_lr_scale": 0.1, "eps": 1e-3}, True),
        ({"ns_coefficients": [2.0, -1.5, 0.5], "adamw_betas": [0.5, 0.9]}, True),
        ({"adjust_lr_fn": "original"}, True),
        ({"adjust_lr_fn": "match_rms_adamw"}, False),
        ({"ns_steps": 6}, False),
        ({"nesterov": False}, False),
    ],
)
def test_runs_share_a_stack_where_the_same_is_computed(
    options: dict[str, Any], together: bool
) -> None:
    one, other = parse(), parse(**options)
    assert fusable(one)
    assert (structure_key(one) == structure_key(other)) == together
