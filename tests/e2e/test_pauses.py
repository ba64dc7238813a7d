"""Pauses on the whole service: the same bits with and without, whatever is trained."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.e2e.client import Json, Service
from tests.e2e.job_life import play
from tests.e2e.specs import digits, expression
from tests.e2e.studies import Studies

DROPOUT = {"kind": "mlp", "hidden": [32], "dropout": 0.2, "norm": {"kind": "batch"}}


def _digits(optimizer: Json, steps: int, **more: Any) -> Json:
    spec = digits(optimizer, steps, record={"every": 3, "eval_every": 170}, **more)
    spec["problem"]["model"] = DROPOUT
    return spec


# Of a second of a processor's time or more: a pause is heard within half a second.
JOBS: dict[str, Json] = {
    "adam, dropout and batch norm": _digits(
        {"kind": "adam", "lr": 0.002}, 4000, schedule={"kind": "cosine"}
    ),
    "schedule-free": _digits({"kind": "schedule_free_adamw"}, 2500),
    "momentum on a plateau": digits(
        {"kind": "sgd", "lr": 0.05, "momentum": 0.9},
        18_000,
        schedule={"kind": "reduce_on_plateau", "patience": 50},
        record={"every": 2},
    ),
    "lbfgs on an expression": expression(
        "(1 - x1)**2 + 100*(x2 - x1**2)**2",
        {"x1": -1.2, "x2": 1.0},
        {"kind": "lbfgs", "lr": 0.001, "max_iter": 3},
        1200,
        record={"every": 10},
    ),
    "prodigy on a function": {
        "problem": {"kind": "function", "function": {"kind": "rosenbrock", "dim": 4}},
        "optimizer": {"kind": "prodigy"},
        "budget": {"max_steps": 10_000},
        "record": {"every": 10},
    },
}


def until(condition: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    give_up = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < give_up, "it never came true"
        time.sleep(0.005)
    return found


def get(service: Service, path: str) -> Json:
    reply = service.http.get(path)
    assert reply.status_code == 200, reply.text
    body: Json = reply.json()
    return body


def pause(service: Service, path: str) -> Json:
    """Pause it; returns it paused, or ended before."""
    assert service.http.post(f"{path}/pause").status_code in {200, 202, 409}
    over = {"paused", "succeeded"}
    record: Json = until(lambda: (found := get(service, path))["status"] in over and found)
    return record


def until_fraction(service: Service, path: str, fraction: float) -> None:
    until(lambda: get(service, path)["progress"]["fraction"] >= fraction)


@pytest.mark.parametrize("name", JOBS)
def test_a_job_that_was_paused_comes_to_the_same_bits(service: Service, name: str) -> None:
    whole = service.run(JOBS[name])
    job_id = service.post({**JOBS[name], "max_attempts": 1})["id"]
    path = f"/v1/jobs/{job_id}"
    for fraction in (0.05, 0.4):
        until_fraction(service, path, fraction)
        record = pause(service, path)
        if record["status"] == "paused":
            rows = service.series(job_id, "loss")
            assert get(service, path)["progress"]["eta_s"] is None
            assert service.series(job_id, "loss") == rows
            service.http.post(f"{path}/resume")
    job = service.wait(job_id)
    ends = [attempt["end"] for attempt in job["attempts"]]
    assert ends[0] == "paused"
    assert job["outcome"] == whole["outcome"]
    for kind in ("train", "eval"):
        one, other = (service.history(each, limit=10_000, kind=kind) for each in
                      (job_id, whole["id"]))  # fmt: skip
        assert one["series"] == other["series"]
    for checkpoint in ("final", "best"):
        one = service.weights(job_id, checkpoint)
        other = service.weights(whole["id"], checkpoint)
        assert all(np.array_equal(one[each], other[each]) for each in one)


def _base(steps: int) -> Json:
    return digits({"kind": "adam", "lr": 0.01}, steps, record={"every": 5, "eval_every": 100})


RATES = {"optimizer.lr": {"log": [1e-4, 0.1], "count": 6}}
STUDIES: dict[str, Json] = {
    "fused": {"base": _base(2500), "sweep": RATES, "repeats": 2},
    "tpe": {
        "base": _base(400),
        "sweep": {"optimizer.lr": {"log": [1e-4, 1.0], "count": 50}},
        "strategy": {"kind": "tpe", "num_runs": 10, "num_startup": 4},
    },
    "halving": {
        "base": _base(1200),
        "sweep": RATES,
        "strategy": {
            "kind": "grid",
            "stopper": {"kind": "successive_halving", "min_steps": 200, "factor": 2},
        },
    },
}


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_that_was_paused_comes_to_the_same_bits(service: Service, name: str) -> None:
    studies = Studies(service)
    whole = studies.run(STUDIES[name])
    study_id = studies.post(STUDIES[name])
    path = f"/v1/studies/{study_id}"
    pauses = 0
    for _ in range(3):
        until(lambda: get(service, path)["progress"]["runs"]["running"] or _is_over(service, path))
        record = pause(service, path)
        if record["status"] == "paused":
            pauses += 1
            assert record["progress"]["runs"]["running"] == 0
            assert record["progress"]["waiting_for"] is None
            service.http.post(f"{path}/resume")
    assert pauses
    study = studies.wait(study_id)
    assert study["status"] == "succeeded"
    for one, other in zip(studies.runs(study_id), studies.runs(whole["id"]), strict=True):
        named = ("params", "seed", "status", "outcome", "metric", "best", "stopped")
        assert {key: one[key] for key in named} == {key: other[key] for key in named}
        index = one["index"]
        assert studies.losses(study_id, index) == studies.losses(whole["id"], index)
        weights = [studies.weights(each, index, "final") for each in (study_id, whole["id"])]
        assert all(np.array_equal(weights[0][each], weights[1][each]) for each in weights[0])


def _is_over(service: Service, path: str) -> bool:
    return get(service, path)["finished_at"] is not None


@pytest.mark.timeout(900)
def test_statuses_move_along_the_table_whatever_is_called(service: Service) -> None:
    play(service, examples=2, steps=12)


def test_a_checkpoint_that_was_asked_for_is_named_by_its_step_everywhere(service: Service) -> None:
    spec = {**_digits({"kind": "adam", "lr": 0.002}, 6000), "checkpoint": {"every_steps": None}}
    job_id = service.post(spec)["id"]
    path = f"/v1/jobs/{job_id}"
    until_fraction(service, path, 0.02)
    assert service.http.post(f"{path}/checkpoints").status_code == 202
    kept: Json = until(lambda: _kept(service, path))
    pause(service, path)
    assert service.http.post(f"{path}/checkpoints").status_code == 409
    service.http.post(f"{path}/resume")
    job = service.wait(job_id)
    assert (job["status"], kept["step"] > 0, _kept(service, path)) == ("succeeded", True, kept)

    step = kept["step"]
    until_there = service.run({**job["spec"], "budget": {"max_steps": step}})
    weights = service.weights(job_id, str(step))
    ended = service.weights(until_there["id"], "final")
    assert all(np.array_equal(weights[name], ended[name]) for name in ended)

    body = {"budget": {"max_steps": step + 200}, "checkpoint": step}
    reply = service.http.post(f"{path}/continue", json=body)
    assert reply.status_code == 202, reply.text
    child = service.wait(reply.json()["id"])
    assert child["spec"]["start_from"] == {"job": job_id, "step": step}
    losses = dict(zip(*(service.series(job_id, name) for name in ("step", "loss")), strict=True))
    again = zip(*(service.series(child["id"], name) for name in ("step", "loss")), strict=True)
    assert all(losses[at] == loss for at, loss in again if at in losses)

    assert service.http.post(f"{path}/diagnosis", json={"checkpoint": step}).status_code == 202
    until(lambda: service.http.get(f"{path}/diagnosis").status_code == 200)
    assert get(service, f"{path}/diagnosis")["measured"]["checkpoint"] == str(step)
    for wrong in ({"checkpoint": step + 1}, {"checkpoint": "best"}, {"checkpoint": -1}):
        reply = service.http.post(f"{path}/continue", json={**body, **wrong})
        assert reply.status_code in {409, 422}, reply.text
        assert "step" in reply.json()["detail"] or "checkpoint" in reply.text


def _kept(service: Service, path: str) -> Json | None:
    listed = get(service, f"{path}/checkpoints")["data"]
    return next((each for each in listed if each["name"] == "kept"), None)
