"""Submitting studies: what is accepted, once, and what is refused."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.api.actors import Api, Json, digits, problem_of, refused_params, rosenbrock
from tests.api.study_actors import post, sweep


def test_a_posted_study_is_accepted_queued_and_announced(api: Api) -> None:
    reply = api.http.post("/v1/studies", json=sweep(labels={"team": "vision"}))
    study = reply.json()
    assert reply.status_code == 202
    assert reply.headers["location"] == study["links"]["self"] == f"/v1/studies/{study['id']}"
    assert int(reply.headers["retry-after"]) >= 0
    assert reply.headers["content-type"] == "application/json"
    assert study["id"].startswith("study_")
    assert (study["status"], study["labels"]) == ("queued", {"team": "vision"})
    assert api.dispatcher.announced == 1
    assert study == api.get(f"/v1/studies/{study['id']}")
    assert api.get("/v1/jobs")["data"] == []


def test_validate_creates_nothing_and_counts(api: Api) -> None:
    reply = api.http.post("/v1/studies/validate", json=sweep())
    assert reply.status_code == 200
    body = reply.json()
    assert list(body) == ["spec", "estimate", "warnings"]
    assert body["warnings"] == []
    estimate = body["estimate"]
    assert list(estimate) == [
        "num_configurations", "num_runs", "num_steps", "memory_bytes", "history_bytes"
    ]  # fmt: skip
    assert list(estimate.values())[:3] == [3, 6, 600]
    assert estimate["memory_bytes"] > 0
    assert estimate["history_bytes"] > 6 * 100 * 3 * 8
    assert api.get("/v1/studies")["data"] == []
    assert api.dispatcher.announced == 0


def test_a_warning_stands_in_every_reply_about_the_study(api: Api) -> None:
    stopper = {"kind": "successive_halving", "min_steps": 12}
    body = sweep(strategy={"kind": "grid", "stopper": stopper})
    (warning,) = api.http.post("/v1/studies/validate", json=body).json()["warnings"]
    assert (warning["param"], warning["code"]) == ("strategy.stopper.min_steps", "short_rung")
    assert warning["message"].startswith("strategy.stopper.min_steps is 12, less than an eighth")
    made = post(api, body)
    assert made["warnings"] == [warning]
    assert api.get(f"/v1/studies/{made['id']}")["warnings"] == [warning]
    assert api.get("/v1/studies")["data"][0]["warnings"] == [warning]
    assert post(api)["warnings"] == []


def test_what_a_job_is_warned_of_a_study_of_such_jobs_is_warned_of(api: Api) -> None:
    base = {**digits(), "optimizer": {"kind": "lbfgs"}, "batch_size": 32}
    (of_job,) = api.http.post("/v1/jobs/validate", json=base).json()["warnings"]
    body = sweep(base)
    (warning,) = api.http.post("/v1/studies/validate", json=body).json()["warnings"]
    assert warning == {**of_job, **{k: f"base.{of_job[k]}" for k in ("param", "message")}}
    made = post(api, body)
    assert made["warnings"] == api.get(f"/v1/studies/{made['id']}")["warnings"] == [warning]


def test_the_resolved_spec_can_be_posted_again(api: Api) -> None:
    first = post(api)
    assert first["spec"]["metric"] == {
        "name": "eval.loss", "at": "final", "goal": "min", "target": None
    }  # fmt: skip
    assert post(api, first["spec"])["spec"] == first["spec"]
    validated = api.http.post("/v1/studies/validate", json=first["spec"]).json()
    assert validated["spec"] == first["spec"]


def test_an_idempotency_key_makes_one_study(api: Api) -> None:
    headers = {"Idempotency-Key": "order 66!~"}
    first = api.http.post("/v1/studies", json=sweep(), headers=headers)
    again = api.http.post("/v1/studies", json=sweep(), headers=headers)
    assert "idempotent-replayed" not in first.headers
    assert again.status_code == 202
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    assert again.json() == first.json()
    assert len(api.get("/v1/studies")["data"]) == 1
    assert api.dispatcher.announced == 1


def test_an_idempotency_key_with_another_body_is_a_conflict(api: Api) -> None:
    headers = {"Idempotency-Key": "k"}
    post(api, headers=headers)
    reply = api.http.post("/v1/studies", json=sweep(repeats=3), headers=headers)
    problem_of(reply, 409, "idempotency_key_reused")
    assert api.post(headers=headers)["status"] == "queued"  # jobs have their own


def test_one_key_sent_from_many_threads_makes_one_study(api: Api) -> None:
    def send(_: int) -> str:
        return str(post(api, headers={"Idempotency-Key": "same"})["id"])

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(send, range(16)))) == 1


@pytest.mark.parametrize("key", [b"", b"k" * 256, "schlüssel".encode()])
def test_a_malformed_idempotency_key_is_refused(api: Api, key: bytes) -> None:
    reply = api.http.post("/v1/studies", json=sweep(), headers={b"Idempotency-Key": key})
    assert refused_params(reply) == ["Idempotency-Key"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (sweep(nonsense=1), "nonsense"),
        (sweep(sweep={"optimizer.lr": {"values": [0.1, -1]}}), "sweep.optimizer.lr"),
        (sweep(sweep={"optimizer.rate": {"values": [0.1]}}), "sweep.optimizer.rate"),
        (sweep(repeats=0), "repeats"),
        (sweep(repeats=100_000), "repeats"),
        (sweep(base=rosenbrock(optimizer={"kind": "wizard"})), "base.optimizer"),
        (sweep(base=rosenbrock(labels={"a": "b"})), "base.labels"),
        (sweep(strategy={"kind": "wizard"}), "strategy"),
        (sweep(metric={"name": "eval.mape"}), "metric.name"),
    ],
)
def test_a_wrong_study_is_refused_and_its_field_named(api: Api, body: Json, param: str) -> None:
    for path in ("/v1/studies", "/v1/studies/validate"):
        named = refused_params(api.http.post(path, json=body))
        assert any(name.startswith(param) for name in named), named
    assert api.get("/v1/studies")["data"] == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 50_000, b"NaN"])
def test_a_body_that_is_no_study_is_refused(api: Api, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    assert refused_params(api.http.post("/v1/studies", content=body, headers=headers))


def test_other_media_and_large_bodies_are_refused(api: Api) -> None:
    for path in ("/v1/studies", "/v1/studies/validate"):
        reply = api.http.post(path, content=json.dumps(sweep()).encode())
        problem_of(reply, 415, "unsupported_media_type")
        large = b" " * (api.settings.max_body_bytes + 1)
        headers = {"Content-Type": "application/json"}
        reply = api.http.post(path, content=large, headers=headers)
        problem_of(reply, 413, "body_too_large")
