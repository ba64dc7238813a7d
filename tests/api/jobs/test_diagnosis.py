"""Diagnoses asked for later, and remedies tried: what is refused, and what is queued."""

from typing import Any

import httpx2
import pytest

from tests.api.actors import (
    NO_SUCH_JOB,
    Api,
    Json,
    digits,
    problem_of,
    refused_params,
    rosenbrock,
)

HALVED = {"optimizer": {"lr": 0.0005}}
OTHER = {"optimizer": {"kind": "adam", "lr": 0.01}}
FOUND: Json = {
    "verdict": "oscillating",
    "confidence": 0.9,
    "findings": [],
    "remedies": [
        {"index": 0, "patch": HALVED, "reason": "…", "expected": {}},
        {"index": 1, "patch": OTHER, "reason": "…", "expected": {}},
    ],
}


def ended(api: Api, spec: Json | None = None, *names: str, **close: Any) -> Json:
    """A terminal job with these checkpoints."""
    job_id = api.post(spec)["id"]
    claim = api.worker.claim()
    for name in names:
        step = int(name) if name.isdigit() else 100
        kind = "resume" if name.isdigit() else name
        api.worker.save(claim, name.encode(), name=kind, step=step)
    api.worker.close(claim, **close)
    return api.job(job_id)


def apply(api: Api, job_id: str, index: Any = 0, **headers: str) -> httpx2.Response:
    return api.http.post(f"/v1/jobs/{job_id}/remedies/{index}/apply", headers=headers)


def ask(api: Api, job_id: str, body: Any) -> httpx2.Response:
    return api.http.post(f"/v1/jobs/{job_id}/diagnosis", json=body)


def test_a_remedy_is_the_parents_spec_patched_from_the_same_start(api: Api) -> None:
    parent = ended(api, rosenbrock(seed=7, labels={"team": "vision"}), diagnosis=FOUND)
    reply = apply(api, parent["id"])
    child = reply.json()
    assert reply.status_code == 202, reply.text
    assert reply.headers["location"] == f"/v1/jobs/{child['id']}"
    assert (child["status"], child["parent_id"]) == ("queued", parent["id"])
    patched = {**parent["spec"], "optimizer": {**parent["spec"]["optimizer"], "lr": 0.0005}}
    assert child["spec"] == patched
    assert child["labels"] == {"team": "vision"}
    assert api.dispatcher.announced == 2


def test_another_kind_of_optimizer_replaces_the_old_one_whole(api: Api) -> None:
    parent = ended(api, digits(optimizer={"kind": "sgd", "lr": 0.1}), diagnosis=FOUND)
    optimizer = apply(api, parent["id"], 1).json()["spec"]["optimizer"]
    assert (optimizer["kind"], optimizer["lr"]) == ("adam", 0.01)
    assert "momentum" not in optimizer
    assert optimizer["betas"] == [0.9, 0.999]


def test_the_job_of_a_remedy_is_diagnosed_even_where_its_parent_was_not(api: Api) -> None:
    off = ended(api, rosenbrock(diagnose="off"), diagnosis=FOUND)
    full = ended(api, rosenbrock(diagnose="full"), diagnosis=FOUND)
    assert apply(api, off["id"]).json()["spec"]["diagnose"] == "history"
    assert apply(api, full["id"]).json()["spec"]["diagnose"] == "full"


def test_a_remedy_for_a_continued_job_begins_where_the_origin_did(api: Api) -> None:
    origin = ended(api, None, "100")
    body = {"budget": {"max_steps": 300}}
    parent = api.http.post(f"/v1/jobs/{origin['id']}/continue", json=body).json()
    api.worker.close(api.worker.claim(), diagnosis=FOUND)
    child = apply(api, parent["id"]).json()
    assert child["parent_id"] == parent["id"]
    assert child["spec"]["start_from"] is None
    assert child["spec"]["budget"] == parent["spec"]["budget"]


def test_an_idempotency_key_makes_one_child(api: Api) -> None:
    parent = ended(api, None, diagnosis=FOUND)
    key = {"Idempotency-Key": "try-it"}
    first, again = (apply(api, parent["id"], **key) for _ in range(2))
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"
    problem_of(apply(api, parent["id"], 1, **key), 409, "idempotency_key_reused")
    spec = first.json()["spec"]
    problem_of(api.http.post("/v1/jobs", json=spec, headers=key), 409, "idempotency_key_reused")


@pytest.mark.parametrize("index", [2, 10**30, "9" * 5_000, -1, "x", "0.0"])
def test_a_remedy_that_is_not_there_is_not_found(api: Api, index: Any) -> None:
    parent = ended(api, None, diagnosis=FOUND)
    problem_of(apply(api, parent["id"], index), 404, "not_found")
    assert len(api.get("/v1/jobs")["data"]) == 1


def test_the_remedies_that_are_there_are_named_when_another_is_asked_for(api: Api) -> None:
    some = ended(api, None, diagnosis=FOUND)
    none = ended(api, None, diagnosis={**FOUND, "remedies": []})
    missing = problem_of(apply(api, some["id"], 2), 404, "not_found")
    assert missing["detail"] == "There is no remedy 2; this diagnosis has the remedies 0, 1."
    missing = problem_of(apply(api, none["id"], 0), 404, "not_found")
    assert missing["detail"] == "There is no remedy 0; this diagnosis has none."


def test_a_job_without_a_diagnosis_has_no_remedies(api: Api) -> None:
    problem_of(apply(api, ended(api)["id"]), 409, "not_ready")
    problem_of(apply(api, NO_SUCH_JOB), 404, "not_found")


def test_remedies_are_tried_once_the_job_has_ended(api: Api) -> None:
    job_id = api.post()["id"]
    api.worker.store.update(api.worker.claim(), {"diagnosis": FOUND})
    problem_of(apply(api, job_id), 409, "not_terminal")


def test_a_body_where_there_is_none_is_refused(api: Api) -> None:
    parent = ended(api, None, diagnosis=FOUND)
    path = f"/v1/jobs/{parent['id']}/remedies/0/apply"
    assert refused_params(api.http.post(path, json={"index": 0})) == [""]
    assert api.http.post(path, json={}).status_code == 202


def test_a_diagnosis_asked_for_later_takes_the_old_ones_place_when_it_is_done(api: Api) -> None:
    job = ended(api, None, "final", "best", diagnosis=FOUND)
    path = f"/v1/jobs/{job['id']}/diagnosis"
    reply = ask(api, job["id"], {"checkpoint": "best"})
    assert reply.status_code == 202, reply.text
    assert reply.headers["location"] == path
    assert int(reply.headers["retry-after"]) >= 0
    assert reply.json()["checkpoint"] == "best"
    assert api.dispatcher.announced == 2
    problem_of(api.http.get(path), 409, "not_ready")
    assert api.job(job["id"])["diagnosis"] == FOUND
    assert ask(api, job["id"], {"checkpoint": "best"}).status_code == 202
    problem_of(ask(api, job["id"], {"checkpoint": "final"}), 409, "diagnosis_pending")
    claim = api.worker.store.diagnoses.claim("w", ["cpu"], 60.0)
    assert claim is not None
    full = {**FOUND, "verdict": "converged", "measured": {"step": 100}}
    api.worker.store.diagnoses.finish(claim, full)
    assert api.get(path) == full
    assert api.job(job["id"])["diagnosis"] == full
    assert api.job(job["id"])["status"] == "succeeded"


def test_a_diagnosis_that_failed_leaves_the_old_one_and_says_so(api: Api) -> None:
    store = api.worker.store
    job, bare = ended(api, None, "final", diagnosis=FOUND), ended(api, None, "final")
    for each in (job, bare):
        ask(api, each["id"], {})
        claim = store.diagnoses.claim("w", ["cpu"], 60.0)
        assert claim is not None
        assert claim.checkpoint == "final"
        store.diagnoses.fail(claim, "The weights are gone.")
    found = api.get(f"/v1/jobs/{job['id']}/diagnosis")
    assert found == {**FOUND, "later_failed": "The weights are gone."}
    reply = api.http.get(f"/v1/jobs/{bare['id']}/diagnosis")
    assert "The weights are gone." in problem_of(reply, 409, "not_ready")["detail"]


def test_a_kept_step_may_be_asked_for(api: Api) -> None:
    job = ended(api, None, "40")
    assert ask(api, job["id"], {"checkpoint": 40}).status_code == 202
    claim = api.worker.store.diagnoses.claim("w", ["cpu"], 60.0)
    assert claim is not None
    assert claim.checkpoint == "40"


@pytest.mark.parametrize("checkpoint", ["final", "best", "initial", 41, 10**15])
def test_a_checkpoint_that_was_not_kept_is_a_conflict(api: Api, checkpoint: Any) -> None:
    job = ended(api, None, "40")
    problem_of(ask(api, job["id"], {"checkpoint": checkpoint}), 409, "no_checkpoint")


def test_a_job_that_has_not_ended_is_a_conflict(api: Api) -> None:
    job_id = api.post()["id"]
    problem_of(ask(api, job_id, {}), 409, "not_terminal")
    problem_of(ask(api, NO_SUCH_JOB, {}), 404, "not_found")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"checkpoint": "last"}, "checkpoint"),
        ({"checkpoint": "40"}, "checkpoint"),
        ({"checkpoint": -1}, "checkpoint"),
        ({"checkpoint": 1.5}, "checkpoint"),
        ({"checkpoint": None}, "checkpoint"),
        ({"checkpoint": [1]}, "checkpoint"),
        ({"check": "final"}, "check"),
        ([], ""),
        ("final", ""),
    ],
)
def test_anything_else_in_the_body_is_refused(api: Api, body: Any, param: str) -> None:
    job = ended(api, None, "final")
    assert refused_params(ask(api, job["id"], body)) == [param]


def test_a_finding_of_an_older_version_has_no_place(api: Api) -> None:
    old = {"rule": "plateau", "status": "triggered", "evidence": {}, "explanation": "…"}
    new = {**old, "rule": "descent", "steps": [3, 90]}
    job = ended(api, None, diagnosis={**FOUND, "findings": [old, new]})
    for found in (job["diagnosis"], api.get(f"/v1/jobs/{job['id']}/diagnosis")):
        assert [each["steps"] for each in found["findings"]] == [None, [3, 90]]
