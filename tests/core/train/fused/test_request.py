"""Requests for tasks: the specs that a study's configurations make, and what a task's course
depends on."""

import json
from dataclasses import replace
from typing import Any

import pytest

from core.specs.job import JobSpec
from core.specs.sizes.fusing import groups
from core.train.fused.request import fingerprint, specs_of
from tests.core.train.fused.task_harness import request
from tests.core.train.harness import blobs_job, parabola

Json = dict[str, Any]


def test_configurations_that_share_their_rows_hold_them_once() -> None:
    data = {"kind": "inline", "features": [[0.0], [1.0], [2.0]], "targets": [0, 1, 1]}
    base = blobs_job({"kind": "adam"}, batch_size=2).model_dump(mode="json")
    base["problem"]["data"] = data
    base["record"]["metrics"] = ["accuracy"]  # as the base of a resolved study has it
    rates = (0.1, 0.2)
    job = request(
        [],
        base=base,
        configurations=[{"optimizer.lr": lr} for lr in rates],
        runs=[[0, 0, 1], [1, 0, 2], [2, 1, 1]],
    )
    found = specs_of(job)
    for index, place, seed in job.runs:
        alone = {
            **base,
            "optimizer": {**base["optimizer"], "lr": rates[place]},
            "seed": seed,
            "threads": 1,
        }
        assert found[index] == JobSpec.model_validate_json(json.dumps(alone))
    problems = [spec.problem for spec in found.values()]
    assert len({id(problem.data) for problem in problems}) == 1  # type: ignore[union-attr]
    assert groups(list(found.values())) == [[0, 1, 2]]


@pytest.mark.parametrize(
    "other",
    [
        {"base": {"budget": {"max_steps": 9}}},
        {"configurations": request([parabola(0.1), parabola(0.3)]).configurations},
        {"runs": [[10, 0, 0], [11, 1, 5]]},
        {"stop_step": 7},
        {"sources": {10: "paused/0_1.safetensors"}},
        {"target": {"name": "loss", "goal": "min", "at": "final", "target": 1.0}},
    ],
)
def test_a_tasks_fingerprint_knows_all_that_its_course_depends_on(other: Json) -> None:
    job = request([parabola(0.1), parabola(0.2)])
    resumed = replace(job, resume=True, stored_rows={})
    assert fingerprint(resumed, "cpu") == fingerprint(job, "cpu")
    assert fingerprint(job, "cpu") != fingerprint(replace(job, **other), "cpu")
    assert fingerprint(job, "cpu") != fingerprint(job, "cuda")
