"""The spec of a job that continues another."""

import json
from typing import Any

import pytest

from core.errors import InvalidInputError
from core.specs.job import JobSpec, StartFrom
from core.specs.parsing.continuation import continued, differences, parse_continuation
from core.specs.parsing.job import estimate, parse_job
from core.specs.sizes.extent import expected_rows, first_steps
from core.specs.validation.limits import Limits

PARENT = "job_01k2b3c4d5e6f7g8h9jkmnpqrs"
Json = dict[str, Any]


def resolved(limits: Limits | None = None, **parts: Any) -> JobSpec:
    data = {"kind": "builtin", "name": "digits"}
    problem = {"kind": "supervised", "data": data, "model": {"kind": "mlp", "hidden": [8]}}
    body = {"problem": problem, "optimizer": {"kind": "sgd"}, "budget": {"max_steps": 100}, **parts}
    return parse_job(json.dumps(body).encode(), limits or Limits())


def child(step: int, budget: Json, limits: Limits | None = None, **parts: Any) -> JobSpec:
    parent = resolved(**parts).model_dump(mode="json")
    asked = parse_continuation(json.dumps({"budget": budget}).encode())
    return continued(parent, asked, StartFrom(job=PARENT, step=step), limits or Limits())


@pytest.mark.parametrize(
    ("schedule", "length"),
    [("cosine", "T_max"), ("one_cycle", "total_steps"), ("polynomial", "total_iters")],
)
def test_lengths_that_followed_from_the_parents_budget_stay(schedule: str, length: str) -> None:
    extra = {"max_lr": 0.1} if schedule == "one_cycle" else {}
    spec = child(100, {"max_steps": 300}, schedule={"kind": schedule, **extra})
    assert getattr(spec.schedule, length) == 100


def test_a_childs_spec_resolves_to_itself() -> None:
    spec = child(100, {"max_epochs": 20})
    assert parse_job(spec.model_dump_json().encode(), Limits()) == spec


@pytest.mark.parametrize("start", [0, 1, 7, 10, 99])
@pytest.mark.parametrize(("steps", "every"), [(100, 1), (101, 10), (120, 7)])
def test_rows_begin_at_the_first_multiple_from_the_checkpoint_on(
    start: int, steps: int, every: int
) -> None:
    record = {"every": every, "eval_every": every}
    spec = child(start, {"max_steps": steps}, record=record)
    recorded = {k for k in range(start, steps) if k % every == 0} | {steps - 1}
    evaluated = {k for k in range(start, steps + 1) if k % every == 0} | {steps}
    assert expected_rows(spec) == {"train": len(recorded), "eval": len(evaluated)}
    first = next(k for k in range(start, start + every) if k % every == 0)
    assert first_steps(spec) == {"train": first, "eval": first}


def test_the_history_limit_holds_for_the_childs_own_rows() -> None:
    limits = Limits(max_history_bytes=200 * 3 * 8)
    spec = child(900, {"max_steps": 1000}, limits, record={"eval_every": None})
    assert estimate(spec).history_bytes <= limits.max_history_bytes
    with pytest.raises(InvalidInputError, match=r"record\.every"):
        child(0, {"max_steps": 1000}, limits, record={"eval_every": None})


def test_a_run_limited_by_time_alone_may_go_beyond_the_steps_of_its_parent() -> None:
    spec = child(5_000_000, {"max_seconds": 60})
    assert spec.budget.max_steps is not None
    assert spec.budget.max_steps > 5_000_000


def test_differences_name_the_smallest_part_that_differs() -> None:
    one = resolved().model_dump(mode="json")
    other = resolved(optimizer={"kind": "sgd", "lr": 0.5}, seed=1, labels={"a": "b"})
    found = differences(other.model_dump(mode="json"), one)
    assert [error.param for error in found] == ["optimizer.lr", "seed"]
    adam = resolved(optimizer={"kind": "adam"}).model_dump(mode="json")
    assert [error.param for error in differences(adam, one)] == ["optimizer"]
    assert differences(one, one) == []
