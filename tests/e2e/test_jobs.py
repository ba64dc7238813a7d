"""Every row of the contract's table of job calls, as a client sees it."""

import asyncio
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
from safetensors import safe_open

from tests.e2e.client import Json, Service
from tests.e2e.request_load import RATE, delays_ms
from tests.e2e.specs import digits, endless, expression

PARABOLA = expression("x**2", {"x": 10.0}, {"kind": "sgd", "lr": 0.2}, 10)


def test_a_posted_job_is_accepted_with_its_address_and_its_resolved_spec(service: Service) -> None:
    reply = service.http.post("/v1/jobs", json=digits(labels={"team": "vision"}))
    job = reply.json()
    assert reply.status_code == 202
    assert reply.headers["location"].endswith(f"/v1/jobs/{job['id']}")
    assert int(reply.headers["retry-after"]) >= 0
    assert set(job) >= {
        *("id", "status", "outcome", "phase", "spec", "resolved", "progress", "latest", "best"),
        *("result", "diagnosis", "error", "attempts", "labels", "parent_id", "created_at"),
        *("started_at", "finished_at", "cancel_requested_at", "links"),
    }
    assert job["labels"] == {"team": "vision"}
    assert job["spec"]["optimizer"]["betas"] == [0.9, 0.999]
    assert datetime.fromisoformat(job["created_at"]).tzinfo is not None
    service.wait(job["id"])


def test_the_returned_spec_repeats_the_job_to_the_bit(service: Service) -> None:
    first = service.run(digits(steps=120))
    second = service.run(first["spec"])
    assert second["spec"] == first["spec"]
    for kind, name in (("train", "loss"), ("train", "grad_norm"), ("eval", "loss")):
        again = service.series(second["id"], name, kind=kind)
        assert again == service.series(first["id"], name, kind=kind)
    weights = [service.http.get(f"/v1/jobs/{job['id']}/model") for job in (first, second)]
    assert weights[0].content[-1000:] == weights[1].content[-1000:]


def test_the_contracts_own_example_runs(service: Service) -> None:
    spec = json.loads(
        """{"problem": {"kind": "supervised",
              "data":  {"kind": "builtin", "name": "digits", "eval_fraction": 0.2, "split_seed": 0,
                        "standardize": true, "drop_last": false, "order": {"kind": "shuffled"}},
              "model": {"kind": "mlp", "hidden": [64, 32], "activation": "relu", "dropout": 0.0,
                        "norm": null, "init": {"kind": "kaiming_uniform"}},
              "loss":  {"kind": "cross_entropy"}},
            "optimizer": {"kind": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-8,
                          "weight_decay": 0.0},
            "schedule": {"kind": "constant"},
            "batch_size": 64,
            "gradient_clip": null,
            "budget": {"max_steps": 2000, "max_epochs": null, "max_seconds": null},
            "stop": {"target_loss": null, "gradient_norm": null, "patience": null,
                     "min_delta": 0.0, "max_loss": null},
            "record": {"every": 1, "eval_every": 100},
            "checkpoint": {"every_steps": 500},
            "seed": 0, "device": "auto", "precision": "float32", "priority": 5, "max_attempts": 3,
            "diagnose": "history", "on_divergence": {"action": "stop"},
            "labels": {}, "webhook": null}"""
    )
    job = service.run(spec)
    assert job["outcome"] == "budget_exhausted"
    assert job["result"]["num_steps"] == 2000
    assert job["result"]["eval"]["accuracy"] > 0.9
    assert job["diagnosis"]["verdict"]
    checkpoints = service.http.get(f"/v1/jobs/{job['id']}/checkpoints").json()["data"]
    assert {0, 2000} <= {checkpoint["step"] for checkpoint in checkpoints}
    evaluations = service.history(job["id"], kind="eval")["series"]
    assert evaluations["step"] == list(range(0, 2001, 100))
    assert job["best"]["loss"] == min(evaluations["loss"])


def test_validate_says_what_a_job_would_cost_and_creates_nothing(service: Service) -> None:
    before = service.http.get("/v1/jobs").json()["data"][:1]
    reply = service.http.post("/v1/jobs/validate", json=digits())
    assert reply.status_code == 200
    assert reply.json()["estimate"]["num_parameters"] == 64 * 32 + 32 + 32 * 10 + 10
    assert reply.json()["estimate"]["num_steps"] == 50
    assert service.http.get("/v1/jobs").json()["data"][:1] == before


def test_an_idempotency_key_gives_one_job_however_often_it_is_sent(service: Service) -> None:
    headers = {"Idempotency-Key": "e2e-once"}

    def send(_: int) -> Json:
        reply = service.http.post("/v1/jobs", json=PARABOLA, headers=headers)
        assert reply.status_code == 202
        job: Json = reply.json()
        return job

    with ThreadPoolExecutor(8) as pool:
        assert len({job["id"] for job in pool.map(send, range(16))}) == 1
    other = service.http.post("/v1/jobs", json=digits(), headers=headers)
    assert other.status_code in {409, 422}
    assert other.json()["code"] == "idempotency_key_reused"


def test_lists_are_filtered_before_they_are_cut_and_cursors_reach_everything(
    service: Service,
) -> None:
    ids = [service.post({**PARABOLA, "labels": {"list": "yes"}})["id"] for _ in range(7)]
    for job_id in ids:
        service.wait(job_id)
    service.run({**PARABOLA, "labels": {"list": "no"}})
    query: dict[str, str | int] = {"label": "list:yes", "status": "succeeded", "limit": 3}
    seen: list[str] = []
    page = service.http.get("/v1/jobs", params=query).json()
    while True:
        seen += [job["id"] for job in page["data"]]
        if not page["has_more"]:
            break
        page = service.http.get("/v1/jobs", params={**query, "after": page["next_cursor"]}).json()
    assert seen == ids[::-1]


def test_an_unchanged_job_is_a_304(service: Service) -> None:
    job = service.run(PARABOLA)
    reply = service.http.get(f"/v1/jobs/{job['id']}")
    etag = reply.headers["etag"]
    again = service.http.get(f"/v1/jobs/{job['id']}", headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")


def test_ten_jobs_at_once_on_two_workers_all_end_right(service: Service) -> None:
    with ThreadPoolExecutor(10) as pool:
        jobs = list(pool.map(lambda seed: service.run(digits(steps=200, seed=seed)), range(10)))
    assert {job["outcome"] for job in jobs} == {"budget_exhausted"}
    assert len({attempt["worker"] for job in jobs for attempt in job["attempts"]}) == 2
    alone = service.run(digits(steps=200, seed=3))
    assert service.series(alone["id"], "loss") == service.series(jobs[3]["id"], "loss")


def test_a_running_job_is_cancelled_with_what_it_had(service: Service) -> None:
    job = service.post(endless())
    running = service.http.get(f"/v1/jobs/{job['id']}/history")
    while not running.json()["returned"]:
        service.http.get(f"/v1/jobs/{job['id']}", params={"wait": 0.2})
        running = service.http.get(f"/v1/jobs/{job['id']}/history")
    reply = service.http.post(f"/v1/jobs/{job['id']}/cancel")
    assert reply.status_code == 202
    assert reply.json()["status"] in {"cancelling", "cancelled"}
    ended = service.wait(job["id"])
    assert (ended["status"], ended["outcome"]) == ("cancelled", None)
    assert ended["result"]["num_steps"] > 0
    assert service.http.get(f"/v1/jobs/{job['id']}/model").status_code == 200
    again = service.http.post(f"/v1/jobs/{job['id']}/cancel")
    assert (again.status_code, again.json()["status"]) == (200, "cancelled")


def test_a_queued_job_is_cancelled_at_once(service: Service) -> None:
    busy = [service.post(endless(priority=9)) for _ in range(2)]
    queued = service.post(digits(priority=0))
    reply = service.http.post(f"/v1/jobs/{queued['id']}/cancel")
    assert reply.json()["status"] == "cancelled"
    assert reply.json()["attempts"] == []
    for job in busy:
        service.http.post(f"/v1/jobs/{job['id']}/cancel")
        service.wait(job["id"])


def test_a_deleted_job_is_gone_with_its_history_and_weights(service: Service) -> None:
    running = service.post(endless())
    assert service.http.delete(f"/v1/jobs/{running['id']}").status_code == 409
    service.http.post(f"/v1/jobs/{running['id']}/cancel")
    service.wait(running["id"])
    assert service.http.delete(f"/v1/jobs/{running['id']}").status_code == 204
    for rest in ("", "/history", "/model", "/checkpoints"):
        assert service.http.get(f"/v1/jobs/{running['id']}{rest}").status_code == 404


@pytest.mark.parametrize("checkpoint", ["initial", "best", "final"])
def test_weights_come_as_safetensors_that_say_what_they_are(
    service: Service, checkpoint: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    job = service.run(digits(steps=300))
    reply = service.http.get(f"/v1/jobs/{job['id']}/model", params={"checkpoint": checkpoint})
    assert reply.headers["content-type"] == "application/octet-stream"
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    path.write_bytes(reply.content)
    with safe_open(path, "numpy") as file:
        metadata = file.metadata()
        assert sum(file.get_tensor(name).size for name in file.keys()) == 2410  # noqa: SIM118
    assert json.loads(metadata["spec"]) == job["spec"]
    listed = service.http.get(f"/v1/jobs/{job['id']}/checkpoints").json()["data"]
    assert hashlib.sha256(reply.content).hexdigest() in {entry["sha256"] for entry in listed}


def test_divergence_is_an_outcome_not_a_crash(service: Service) -> None:
    job = service.run(expression("x**2", {"x": 1.0}, {"kind": "sgd", "lr": 1e150}, 100))
    assert (job["status"], job["outcome"]) == ("succeeded", "diverged")
    history = service.history(job["id"])
    assert history["series"]["loss"][-1] in {"Infinity", "NaN"}
    assert history["first_nonfinite_step"] == history["series"]["step"][-1]


@pytest.mark.parametrize("kind", ["loss", "lr"])
@pytest.mark.parametrize(("format_", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_a_picture_can_be_asked_for(
    service: Service, kind: str, format_: str, magic: bytes
) -> None:
    job = service.run(PARABOLA)
    reply = service.http.get(f"/v1/jobs/{job['id']}/plot", params={"kind": kind, "format": format_})
    assert reply.status_code == 200
    assert reply.content.startswith(magic)


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/version", "/v1/workers", "/docs"])
def test_the_service_says_how_it_is(service: Service, path: str) -> None:
    reply = service.http.get(path)
    assert reply.status_code == 200
    assert "http://" not in reply.text.replace(str(service.http.base_url), "") or path != "/docs"


def test_requests_are_answered_as_the_trial_sends_them_for_a_minute(service: Service) -> None:
    ids = [service.run(PARABOLA)["id"] for _ in range(3)]
    delays = asyncio.run(delays_ms(str(service.http.base_url), ids, 0.5))
    assert len(delays) == RATE / 2
