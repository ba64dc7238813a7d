"""Submitting, reading, listing, cancelling and deleting jobs."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest

from tests.api.actors import NO_SUCH_JOB, Api, Json, digits, problem_of, refused_params, rosenbrock


def test_a_posted_job_is_accepted_queued_and_announced(api: Api) -> None:
    reply = api.http.post("/v1/jobs", json=rosenbrock(labels={"team": "vision"}))
    job = reply.json()
    assert reply.status_code == 202
    assert reply.headers["location"] == f"/v1/jobs/{job['id']}"
    assert int(reply.headers["retry-after"]) >= 0
    assert reply.headers["content-type"] == "application/json"
    assert (job["status"], job["outcome"], job["phase"]) == ("queued", None, None)
    assert job["labels"] == {"team": "vision"}
    assert api.dispatcher.announced == 1
    assert job == api.job(job["id"])


def test_a_job_has_exactly_the_contracts_fields(api: Api) -> None:
    job = api.post()
    assert list(job) == [
        *("id", "status", "outcome", "phase", "spec", "resolved", "data", "progress", "latest"),
        *("best", "result", "diagnosis", "error", "attempts", "labels", "name", "note"),
        *("priority", "keep_until", "parent_id", "created_at"),
        *("started_at", "finished_at", "cancel_requested_at", "pause_requested_at", "usage"),
        *("links", "timeline"),
    ]
    (listed,) = api.get("/v1/jobs")["data"]
    assert listed == {name: value for name, value in job.items() if name != "timeline"}
    assert job["progress"] == {
        "step": 0,
        "max_steps": 100,
        "fraction": 0.0,
        "steps_per_s": None,
        "eta_s": None,
        "queue_position": 0,
        "waiting_for": "no_worker",
    }
    assert datetime.fromisoformat(job["created_at"]).utcoffset() is not None


def test_every_link_of_a_job_leads_somewhere(api: Api) -> None:
    job = api.post()
    api.http.post(f"/v1/jobs/{job['id']}/cancel")  # the stream of its events ends with it
    for link in job["links"].values():
        assert api.http.get(link).status_code in {200, 409}


def test_a_queued_job_knows_its_place(api: Api) -> None:
    first, second, urgent = api.post(), api.post(), api.post(rosenbrock(priority=9))
    places = [api.job(job["id"])["progress"]["queue_position"] for job in (urgent, first, second)]
    assert places == [0, 1, 2]
    listed = [job["progress"]["queue_position"] for job in api.get("/v1/jobs")["data"]]
    assert listed == [0, 2, 1]
    assert urgent["progress"]["queue_position"] == 0


def test_a_running_job_shows_progress_and_its_attempt(api: Api) -> None:
    job_id = api.post()["id"]
    claim = api.worker.claim()
    progress = {"step": 25, "max_steps": 100, "steps_per_s": 50.0}
    api.worker.store.update(
        claim,
        {
            "device": "cpu",
            "phase": "training",
            "progress": progress,
            "latest": {"step": 24, "loss": float("nan")},
            "best": {"step": 3, "loss": 0.25},
        },
    )
    job = api.job(job_id)
    assert (job["status"], job["phase"]) == ("running", "training")
    shown = {"fraction": 0.25, "eta_s": 1.5, "queue_position": None, "waiting_for": None}
    assert job["progress"] == progress | shown
    assert job["latest"] == {"step": 24, "loss": "NaN"}
    assert job["best"] == {"step": 3, "loss": 0.25}
    (attempt,) = job["attempts"]
    assert attempt["started_at"] == job["started_at"]
    assert attempt == {
        "number": 1,
        "worker": "worker-1",
        "device": "cpu",
        "started_at": attempt["started_at"],
        "ended_at": None,
        "end": None,
    }


def test_numbers_that_are_not_finite_are_words_at_any_depth(api: Api) -> None:
    result = {"final_loss": float("inf"), "solution": [float("-inf"), {"deep": float("nan")}]}
    reply = api.finished(outcome="diverged", result=result)
    assert reply["result"] == {
        "final_loss": "Infinity",
        "solution": ["-Infinity", {"deep": "NaN"}],
    }


def test_a_failed_job_says_why(api: Api) -> None:
    error = {"code": "out_of_memory", "message": "The host ran out of memory.", "param": None}
    job = api.finished(status="failed", error=error)
    assert (job["status"], job["outcome"], job["error"]) == ("failed", None, error)
    assert job["attempts"][0]["end"] == "failed"


def test_validate_creates_nothing(api: Api) -> None:
    reply = api.http.post("/v1/jobs/validate", json=rosenbrock())
    assert reply.status_code == 200
    assert set(reply.json()) == {"spec", "estimate"}
    assert set(reply.json()["estimate"]) == {
        *("num_parameters", "num_steps", "memory_bytes", "history_bytes")
    }
    assert api.get("/v1/jobs")["data"] == []
    assert api.dispatcher.announced == 0


def test_what_is_allowed_and_doubtful_is_said_in_every_reply(api: Api) -> None:
    body = {**digits(), "optimizer": {"kind": "lbfgs"}, "batch_size": 32}
    valid = api.http.post("/v1/jobs/validate", json=body).json()
    (warning,) = valid["warnings"]
    assert (warning["param"], warning["code"]) == ("batch_size", "noisy_gradients")
    job = api.post(body)
    assert job["warnings"] == api.get(job["links"]["self"])["warnings"] == [warning]
    assert api.get("/v1/jobs")["data"][0]["warnings"] == [warning]
    assert "warnings" not in api.post(rosenbrock())
    assert "warnings" not in api.http.post("/v1/jobs/validate", json=digits()).json()


def test_validate_lists_the_layers_of_a_model(api: Api) -> None:
    body = digits()
    body["problem"]["model"] = {"kind": "mlp", "hidden": [12], "norm": "batch"}
    reply = api.http.post("/v1/jobs/validate", json=body)
    listed = reply.json()["layers"]
    assert [(each["name"], each["kind"], each["output_shape"]) for each in listed] == [
        ("hidden.0.linear", "linear", [12]),
        ("hidden.0.norm", "batch_norm", [12]),
        ("hidden.0.activation", "relu", [12]),
        ("output", "linear", [10]),
    ]
    assert [each["num_parameters"] for each in listed] == [768, 24, 0, 130]
    assert listed[3]["parameters"] == {"output.weight": [10, 12], "output.bias": [10]}
    estimate = reply.json()["estimate"]
    assert sum(each["num_parameters"] for each in listed) == estimate["num_parameters"]


def test_the_resolved_spec_can_be_posted_again(api: Api) -> None:
    first = api.post()
    assert api.post(first["spec"])["spec"] == first["spec"]
    validated = api.http.post("/v1/jobs/validate", json=first["spec"]).json()
    assert validated["spec"] == first["spec"]


def test_an_idempotency_key_makes_one_job(api: Api) -> None:
    headers = {"Idempotency-Key": "order 66!~"}
    first = api.http.post("/v1/jobs", json=rosenbrock(), headers=headers)
    again = api.http.post("/v1/jobs", json=rosenbrock(), headers=headers)
    assert "idempotent-replayed" not in first.headers
    assert again.status_code == 202
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    assert again.json() == first.json()
    assert len(api.get("/v1/jobs")["data"]) == 1
    assert api.dispatcher.announced == 1


def test_an_idempotency_key_with_another_body_is_a_conflict(api: Api) -> None:
    headers = {"Idempotency-Key": "k"}
    api.http.post("/v1/jobs", json=rosenbrock(), headers=headers)
    reply = api.http.post("/v1/jobs", json=rosenbrock(seed=1), headers=headers)
    problem_of(reply, 409, "idempotency_key_reused")


def test_one_key_sent_from_many_threads_makes_one_job(api: Api) -> None:
    def send(_: int) -> str:
        return str(api.post(headers={"Idempotency-Key": "same"})["id"])

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(send, range(16)))) == 1


@pytest.mark.parametrize("key", [b"", b"k" * 256, "schlüssel".encode(), b"a\x7fb"])
def test_a_malformed_idempotency_key_is_refused(api: Api, key: bytes) -> None:
    reply = api.http.post("/v1/jobs", json=rosenbrock(), headers={b"Idempotency-Key": key})
    assert refused_params(reply) == ["Idempotency-Key"]
    assert api.get("/v1/jobs")["data"] == []


def test_an_unchanged_job_is_a_304(api: Api) -> None:
    path = f"/v1/jobs/{api.finished()['id']}"
    tag = api.http.get(path).headers["etag"]
    for sent in (tag, f"W/{tag}", f'"other", {tag}', f'"x" , W/{tag}', "*"):
        reply = api.http.get(path, headers={"If-None-Match": sent})
        assert (reply.status_code, reply.content) == (304, b""), sent
        assert reply.headers["etag"] == tag
    for sent in ('"other"', tag.strip('"'), '""', ""):
        assert api.http.get(path, headers={"If-None-Match": sent}).status_code == 200


def test_each_change_of_a_job_changes_its_etag(api: Api) -> None:
    path = f"/v1/jobs/{api.post()['id']}"
    tags = [api.http.get(path).headers["etag"]]
    claim = api.worker.claim()
    tags.append(api.http.get(path).headers["etag"])
    api.worker.store.update(claim, {"phase": "training"})
    tags.append(api.http.get(path).headers["etag"])
    api.worker.close(claim)
    tags.append(api.http.get(path).headers["etag"])
    assert len(set(tags)) == 4
    for old in tags[:-1]:
        assert api.http.get(path, headers={"If-None-Match": old}).status_code == 200


def test_a_queued_job_that_moves_up_is_not_a_304(api: Api) -> None:
    first, second = api.post(), api.post()
    path = f"/v1/jobs/{second['id']}"
    tag = api.http.get(path).headers["etag"]
    assert api.http.get(path, headers={"If-None-Match": tag}).status_code == 304
    api.http.post(f"/v1/jobs/{first['id']}/cancel")
    reply = api.http.get(path, headers={"If-None-Match": tag})
    assert reply.status_code == 200
    assert reply.json()["progress"]["queue_position"] == 0


def test_a_queued_job_is_cancelled_at_once(api: Api) -> None:
    job_id = api.post()["id"]
    reply = api.http.post(f"/v1/jobs/{job_id}/cancel")
    assert reply.status_code == 202
    assert reply.json()["status"] == "cancelled"
    assert reply.json()["cancel_requested_at"]
    assert api.worker.store.claim_next("w", ("cpu",), 60) is None


def test_a_running_job_is_asked_to_stop(api: Api) -> None:
    job_id = api.post()["id"]
    claim = api.worker.claim()
    for _ in range(2):
        reply = api.http.post(f"/v1/jobs/{job_id}/cancel")
        assert (reply.status_code, reply.json()["status"]) == (202, "cancelling")
    assert api.worker.store.renew(claim, 60) == "cancelling"
    api.worker.close(claim, "cancelled", result={"num_steps": 3})
    assert api.job(job_id)["result"] == {"num_steps": 3}


def test_cancelling_a_terminal_job_changes_nothing(api: Api) -> None:
    before = api.finished()
    reply = api.http.post(f"/v1/jobs/{before['id']}/cancel")
    assert (reply.status_code, reply.json()) == (200, before)


@pytest.mark.parametrize("body", [b'{"budget": {}}', b"now"])
def test_cancel_takes_no_body(api: Api, body: bytes) -> None:
    job_id = api.post()["id"]
    reply = api.http.post(f"/v1/jobs/{job_id}/cancel", content=body)
    assert refused_params(reply) == [""]
    assert api.job(job_id)["status"] == "queued"
    assert api.http.post(f"/v1/jobs/{job_id}/cancel", json={}).status_code == 202


def test_a_deleted_job_is_gone_with_its_weights(api: Api) -> None:
    job_id = api.post()["id"]
    claim = api.worker.claim()
    api.worker.append(claim, step=[0], loss=[1], lr=[1], grad_norm=[1], x=[[0, 0]])
    api.worker.save(claim, b"weights", name="final", step=1)
    folder = api.worker.artifacts / job_id
    assert folder.exists()
    problem_of(api.http.delete(f"/v1/jobs/{job_id}"), 409, "not_terminal")
    assert folder.exists()
    api.worker.close(claim)
    reply = api.http.delete(f"/v1/jobs/{job_id}")
    assert (reply.status_code, reply.content) == (204, b"")
    assert not folder.exists()
    for rest in ("", "/history", "/model", "/checkpoints", "/plot", "/diagnosis"):
        problem_of(api.http.get(f"/v1/jobs/{job_id}{rest}"), 404, "not_found")
    problem_of(api.http.delete(f"/v1/jobs/{job_id}"), 404, "not_found")
    assert api.get("/v1/jobs")["data"] == []


@pytest.mark.parametrize(
    "job_id",
    [
        NO_SUCH_JOB,
        NO_SUCH_JOB.upper(),
        "nonsense",
        "..",
        "..%2f..%2fetc",
        "a" * 5000,
        "%00",
        "job_é",
    ],
)
@pytest.mark.parametrize(
    ("method", "rest"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/cancel"),
        ("GET", "/history"),
        ("GET", "/model"),
        ("GET", "/checkpoints"),
        ("GET", "/diagnosis"),
        ("GET", "/plot"),
    ],
)
def test_an_id_that_names_nothing_is_a_404(api: Api, job_id: str, method: str, rest: str) -> None:
    reply = api.http.request(method, f"/v1/jobs/{job_id}{rest}")
    problem_of(reply, 404, "not_found")


def test_what_is_not_built_is_refused_like_any_unknown_call(api: Api) -> None:
    path = f"/v1/jobs/{api.finished()['id']}"
    problem_of(api.http.post(f"{path}/explanations", json={"features": []}), 404, "not_found")
    problem_of(api.http.get("/v1/predictions"), 404, "not_found")


@pytest.mark.parametrize(
    ("spec", "param"),
    [
        (rosenbrock(nonsense=1), "nonsense"),
        (rosenbrock(optimizer={"kind": "sgd", "lr": -1}), "optimizer"),
        (rosenbrock(seed="x"), "seed"),
        (digits(budget={"max_steps": 0}), "budget.max_steps"),
    ],
)
def test_a_wrong_spec_is_refused_and_its_field_named(api: Api, spec: Json, param: str) -> None:
    for path in ("/v1/jobs", "/v1/jobs/validate"):
        named = refused_params(api.http.post(path, json=spec))
        assert any(name.startswith(param) for name in named), named
    assert api.get("/v1/jobs")["data"] == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 50_000,
        b'{"a":' * 20_000,
        b"NaN",
        b'{"\\ud800": "\\udfff"}',
        b'{"optimizer": "\\ud800"}',
    ],
)
def test_a_body_that_is_no_job_is_refused(api: Api, body: bytes) -> None:
    reply = api.http.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code == 422
    assert refused_params(reply)


def test_a_large_body_is_checked_beside_the_other_requests(api: Api) -> None:
    rows = [[float(i), 1.0] for i in range(20_000)]
    data: Any = {"kind": "inline", "features": rows, "targets": [float(i) for i in range(20_000)]}
    spec = digits()
    spec["problem"] = {**spec["problem"], "data": data}
    assert len(json.dumps(spec)) > 100_000
    assert api.post(spec)["spec"]["problem"]["data"]["features"] == rows
