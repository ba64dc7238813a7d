"""Continuing a job: what is refused, and what the new job is."""

from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from core.artifacts.local import LocalJob
from tests.api.actors import (
    NO_SUCH_JOB,
    Api,
    Json,
    digits,
    make_app,
    problem_of,
    refused_params,
    rosenbrock,
)

LONGER = {"budget": {"max_steps": 300}}


def stopped(api: Api, spec: Json | None = None, *steps: int, **close: Any) -> Json:
    """A terminal job with resume checkpoints at these steps (100 when none is given)."""
    job_id = api.post(spec)["id"]
    claim = api.worker.claim()
    for step in steps or (100,):
        api.worker.save(claim, f"state at {step}".encode(), name="resume", step=step)
    if close.get("status") == "cancelled":
        api.http.post(f"/v1/jobs/{job_id}/cancel")
    api.worker.close(claim, **close)
    return api.job(job_id)


def go_on(api: Api, job_id: str, body: Any = LONGER, **headers: str) -> httpx2.Response:
    return api.http.post(f"/v1/jobs/{job_id}/continue", json=body, headers=headers)


def files(api: Api, job_id: str) -> dict[str, bytes]:
    job = LocalJob(Path(api.settings.artifacts_location), job_id)
    return {name: job.read(name) for name in job.list()}


def folders(api: Api) -> int:
    return len(list(Path(api.settings.artifacts_location).iterdir()))


def test_the_child_is_the_parents_spec_with_its_own_budget_and_start(api: Api) -> None:
    parent = stopped(api, digits(labels={"team": "vision"}))
    reply = go_on(api, parent["id"])
    child = reply.json()
    assert reply.status_code == 202, reply.text
    assert reply.headers["location"] == f"/v1/jobs/{child['id']}"
    assert int(reply.headers["retry-after"]) >= 0
    assert (child["status"], child["parent_id"]) == ("queued", parent["id"])
    assert child["labels"] == {"team": "vision"}
    assert child["spec"] == {
        **parent["spec"],
        "budget": {"max_steps": 300, "max_epochs": None, "max_seconds": None},
        "start_from": {"job": parent["id"], "step": 100},
    }
    assert child == api.job(child["id"])
    assert api.dispatcher.announced == 2


def test_the_schedule_that_the_parent_resolved_stays(api: Api) -> None:
    parent = stopped(api, rosenbrock(schedule={"kind": "cosine"}))
    assert parent["spec"]["schedule"]["T_max"] == 100
    child = go_on(api, parent["id"]).json()
    assert child["spec"]["schedule"] == parent["spec"]["schedule"]


@pytest.mark.parametrize("status", ["succeeded", "cancelled", "failed"])
def test_it_goes_on_from_the_latest_checkpoint_and_owns_a_copy(api: Api, status: Any) -> None:
    parent = stopped(api, None, 20, 60, 40, status=status)
    child = go_on(api, parent["id"]).json()
    assert child["spec"]["start_from"]["step"] == 60
    assert api.http.delete(f"/v1/jobs/{parent['id']}").status_code == 204
    assert files(api, child["id"]) == {"checkpoints/step_60.safetensors": b"state at 60"}


@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(api: Api, damage: str) -> None:
    parent = stopped(api, None, 20, 60)
    artifacts = LocalJob(Path(api.settings.artifacts_location), parent["id"])
    for step in (60, 20):
        path = f"checkpoints/step_{step}.safetensors"
        artifacts.delete(path) if damage == "gone" else artifacts.write(path, [b"something"])
        reply = go_on(api, parent["id"])
        if step == 60:
            assert reply.json()["spec"]["start_from"]["step"] == 20
    problem_of(reply, 409, "no_checkpoint")
    assert folders(api) == 2  # the parent's and the first child's


def test_the_childs_history_begins_at_the_checkpoint(api: Api) -> None:
    parent = stopped(api, rosenbrock(record={"every": 8}))
    child_id = go_on(api, parent["id"]).json()["id"]
    claim = api.worker.claim()
    layout = claim.layouts["train"]
    assert (layout.first_step, layout.every) == (104, 8)
    assert layout.expected_rows == len([k for k in range(100, 300) if k % 8 == 0 or k == 299])
    rows: Json = {
        "step": [104, 112, 113],
        "loss": [3, 2, 1],
        "lr": [0, 0, 0],
        "grad_norm": [0, 0, 0],
    }
    api.worker.append(claim, **rows, x=[[0, 0]] * 3)
    read = api.get(f"/v1/jobs/{child_id}/history", series="loss", after=104)
    assert read["series"] == {"step": [112, 113], "loss": [2.0, 1.0]}


@pytest.mark.parametrize("status", ["queued", "running"])
def test_a_job_that_has_not_ended_is_a_conflict(api: Api, status: str) -> None:
    job_id = api.post()["id"]
    if status == "running":
        api.worker.claim()
    problem_of(go_on(api, job_id), 409, "not_terminal")


def test_a_diverged_job_is_a_conflict(api: Api) -> None:
    problem_of(go_on(api, stopped(api, outcome="diverged")["id"]), 409, "diverged")


def test_a_job_that_left_no_checkpoint_is_a_conflict(api: Api) -> None:
    job_id = api.post()["id"]
    api.http.post(f"/v1/jobs/{job_id}/cancel")
    problem_of(go_on(api, job_id), 409, "no_checkpoint")


def test_a_child_that_never_ran_can_be_continued_from_its_copy(api: Api) -> None:
    child_id = go_on(api, stopped(api)["id"]).json()["id"]
    api.http.post(f"/v1/jobs/{child_id}/cancel")
    grandchild = go_on(api, child_id).json()
    assert grandchild["spec"]["start_from"] == {"job": child_id, "step": 100}
    assert files(api, grandchild["id"]) == files(api, child_id)


@pytest.mark.parametrize("job_id", [NO_SUCH_JOB, "job_x", "x"])
def test_an_unknown_job_is_not_found(api: Api, job_id: str) -> None:
    problem_of(go_on(api, job_id), 404, "not_found")


@pytest.mark.parametrize(
    ("body", "params"),
    [
        ({}, ["budget"]),
        ({"budget": {}}, ["budget"]),
        ({"budget": {"max_steps": None}}, ["budget"]),
        ({"budget": {"max_steps": 100}}, ["budget.max_steps"]),
        ({"budget": {"max_steps": 0}}, ["budget.max_steps"]),
        ({"budget": {"max_steps": 300, "steps": 1}}, ["budget.steps"]),
        ({"budget": 300}, ["budget"]),
        ({**LONGER, "optimizer": {"kind": "sgd"}, "seed": 1}, ["optimizer", "seed"]),
        ([], [""]),
    ],
)
def test_a_body_that_cannot_be_is_refused_by_name(api: Api, body: Any, params: list[str]) -> None:
    parent = stopped(api)
    assert sorted(refused_params(go_on(api, parent["id"], body))) == params
    assert folders(api) == 1


def test_epochs_and_seconds_count_from_the_origin_too(api: Api) -> None:
    result = {"num_steps": 100, "train_s": 7.0, "final_loss": 1.0}
    parent = stopped(api, digits(), result=result)  # 23 steps an epoch
    for budget, param in ({"max_epochs": 4}, "max_epochs"), ({"max_seconds": 7}, "max_seconds"):
        assert refused_params(go_on(api, parent["id"], {"budget": budget})) == [f"budget.{param}"]
    assert go_on(api, parent["id"], {"budget": {"max_epochs": 5}}).status_code == 202
    timed = go_on(api, parent["id"], {"budget": {"max_seconds": 8}}).json()
    assert timed["spec"]["budget"]["max_steps"] > 100


def test_other_media_and_broken_json_are_refused_as_for_a_job(api: Api) -> None:
    path = f"/v1/jobs/{stopped(api)['id']}/continue"
    problem_of(api.http.post(path, content=b"{}"), 415, "unsupported_media_type")
    headers = {"Content-Type": "application/json"}
    problem_of(api.http.post(path, content=b"{", headers=headers), 422, "invalid_request")


def test_an_idempotency_key_makes_one_child_and_one_copy(api: Api) -> None:
    parent = stopped(api)
    first, again = (go_on(api, parent["id"], **{"Idempotency-Key": "k"}) for _ in range(2))
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert folders(api) == 2
    other = go_on(api, parent["id"], {"budget": {"max_steps": 400}}, **{"Idempotency-Key": "k"})
    problem_of(other, 409, "idempotency_key_reused")
    assert folders(api) == 2


def test_the_childs_spec_posted_makes_the_same_job(api: Api) -> None:
    child = go_on(api, stopped(api)["id"]).json()
    again = api.post(child["spec"])
    assert again["spec"] == child["spec"]
    assert again["parent_id"] == child["parent_id"]
    assert files(api, again["id"]) == files(api, child["id"])
    assert api.http.post("/v1/jobs/validate", json=child["spec"]).json()["spec"] == child["spec"]


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"seed": 1}, "seed"),
        ({"optimizer": {"kind": "sgd", "lr": 0.5}}, "optimizer.lr"),
        ({"start_from": {"job": NO_SUCH_JOB, "step": 100}}, "start_from.job"),
        ({"start_from": {"job": "job_x", "step": 100}}, "start_from.job"),
        ({"start_from": None, "budget": {"max_steps": 0}}, "budget.max_steps"),
        ({"budget": {"max_steps": 99}}, "budget.max_steps"),
    ],
)
def test_a_posted_start_that_cannot_be_is_refused(api: Api, changes: Json, param: str) -> None:
    spec = {**go_on(api, stopped(api)["id"]).json()["spec"], **changes}
    for path in ("/v1/jobs", "/v1/jobs/validate"):
        assert refused_params(api.http.post(path, json=spec)) == [param]


def test_a_posted_start_whose_parent_is_gone_or_has_no_such_step_is_refused(api: Api) -> None:
    parent = stopped(api)
    spec = go_on(api, parent["id"]).json()["spec"]
    elsewhere = {**spec, "start_from": {**spec["start_from"], "step": 50}}
    assert refused_params(api.http.post("/v1/jobs", json=elsewhere)) == ["start_from.step"]
    artifacts = LocalJob(Path(api.settings.artifacts_location), parent["id"])
    artifacts.write("checkpoints/step_100.safetensors", [b"something else"])
    assert refused_params(api.http.post("/v1/jobs", json=spec)) == ["start_from.step"]
    api.http.delete(f"/v1/jobs/{parent['id']}")
    assert refused_params(api.http.post("/v1/jobs", json=spec)) == ["start_from.job"]


def test_what_no_step_depends_on_may_differ_from_the_parent(api: Api) -> None:
    spec = go_on(api, stopped(api)["id"]).json()["spec"]
    free = {"labels": {"a": "b"}, "priority": 7, "max_attempts": 1, "diagnose": "off"}
    assert api.post({**spec, **free, "budget": {"max_steps": 500}})["labels"] == {"a": "b"}


@pytest.mark.parametrize(
    ("why", "code"),
    [({"max_queued": 0}, "queue_full"), ({"is_low": lambda: True}, "storage_full")],
)
def test_a_full_queue_or_disk_leaves_no_copy_behind(
    api: Api, why: dict[str, Any], code: str
) -> None:
    parent = stopped(api)
    with TestClient(make_app(api.settings, **why), "http://localhost") as http:
        reply = http.post(f"/v1/jobs/{parent['id']}/continue", json=LONGER)
    problem_of(reply, 503, code)
    assert folders(api) == 1
