"""The loss on a plane: against the loss itself, for a model and for a function."""

import json
import math
from typing import Any

import pytest
import torch

from core.specs.job import JobSpec
from core.train.measure.objective import build_objective
from core.train.measure.slice import direction, loss_slice
from tests.core.train.harness import blobs_job, parabola

CPU = torch.device("cpu")


def slice_of(spec: JobSpec, budget_s: float = 60.0) -> Any:
    return loss_slice(build_objective(spec, None, CPU), spec.seed, budget_s)


def test_the_middle_is_the_loss_itself_and_the_corners_that_of_their_weights() -> None:
    spec = blobs_job()
    objective = build_objective(spec, None, CPU)
    found = slice_of(spec)
    points = len(found["offsets"])
    assert points == 21
    assert (found["offsets"][0], found["offsets"][10], found["offsets"][-1]) == (-1.0, 0.0, 1.0)
    assert found["loss"][10][10] == pytest.approx(objective.loss(), rel=1e-12)
    first, second = (direction(objective, spec.seed, index) for index in (0, 1))
    # Row by the second direction, column by the first.
    assert found["loss"][0][-1] == pytest.approx(objective.loss_at(first - second), rel=1e-9)


def test_directions_are_as_long_as_the_filters_and_leave_biases_alone() -> None:
    objective = build_objective(blobs_job(), None, CPU)
    moved = direction(objective, 0, 0)
    at = 0
    for name, parameter in zip(objective.names, objective.parameters, strict=True):
        part = moved[at : at + parameter.numel()].view_as(parameter)
        at += parameter.numel()
        if "bias" in name:
            assert float(part.norm()) == 0.0
        else:
            torch.testing.assert_close(part.norm(dim=1), parameter.detach().norm(dim=1))
    assert not torch.equal(moved, direction(objective, 0, 1))
    assert torch.equal(moved, direction(objective, 0, 0))


def test_a_function_of_one_variable_has_a_slice_too() -> None:
    found = slice_of(parabola(0.1))  # at 10: both directions have the length 10
    assert found["loss"][10][10] == 100.0
    assert {found["loss"][0][0], found["loss"][0][-1]} <= {900.0, 100.0}


def test_what_is_not_finite_is_null_and_no_time_is_no_slice() -> None:
    spec = parabola(0.1).model_dump(mode="json")
    spec["problem"]["function"]["expression"] = "log(x)"
    found = slice_of(JobSpec.model_validate_json(json.dumps(spec)))
    values = [value for row in found["loss"] for value in row]
    assert None in values
    assert all(value is None or math.isfinite(value) for value in values)
    assert slice_of(blobs_job(), budget_s=0.0) is None
