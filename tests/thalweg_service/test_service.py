"""A running service, through its HTTP face only, while its parts are killed."""

import os
import signal
import sys
import time
from typing import Any

import pytest
import safetensors.numpy

from tests.thalweg_service.running import Service, alive, children, descendants, until

Json = dict[str, Any]

LEAST_PRIORITY = 19
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

DIGITS: Json = {
    "problem": {
        "kind": "supervised",
        "data": {"kind": "builtin", "name": "digits", "eval_fraction": 0.2},
        "model": {"kind": "mlp", "hidden": [16], "dropout": 0.1},
    },
    "optimizer": {"kind": "adam"},
    "budget": {"max_steps": 100},
    "record": {"eval_every": 50},
}
LONG: Json = {
    "problem": {"kind": "function", "function": {"kind": "rosenbrock", "dim": 2}},
    "optimizer": {"kind": "adam", "lr": 0.002},
    "budget": {"max_steps": 40_000},
    "record": {"every": 10},
    "checkpoint": {"every_steps": 1000},
}
"""A second of a processor's time: what happens to it from its step 2000 on must come before its
end."""
ENDLESS: Json = {**LONG, "budget": {"max_steps": 100_000_000}, "record": {"every": 100_000}}


@pytest.fixture(scope="module")
def reference(service: Service) -> Json:
    """The long job, undisturbed: rows and weights."""
    job = service.end(service.post(LONG)["id"])
    assert job["status"] == "succeeded"
    return {"rows": service.rows(job["id"]), "weights": tensors(service, job["id"])}


def tensors(service: Service, job_id: str) -> dict[str, bytes]:
    """The bits of the final weights (the file also holds the spec)."""
    loaded = safetensors.numpy.load(service.weights(job_id))
    return {name: tensor.tobytes() for name, tensor in loaded.items()}


def same_bits(service: Service, job_id: str, reference: Json) -> None:
    assert service.rows(job_id) == reference["rows"]
    assert tensors(service, job_id) == reference["weights"]


def ends(job: Json) -> list[str]:
    return [attempt["end"] for attempt in job["attempts"]]


@LINUX
def test_all_trainers_and_nobody_else_stand_back_for_the_processors(service: Service) -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    trainers = set()
    for worker in children(service.process.pid, named=" worker"):
        trainers |= {*children(worker, named="trainer")}
    above = {
        pid: os.getpriority(os.PRIO_PROCESS, pid) - own for pid in descendants(service.process.pid)
    }
    assert len(trainers) == 2
    back = min(10, LEAST_PRIORITY - own)  # of 10, as far as there are so many below these tests
    assert above == {pid: back if pid in trainers else 0 for pid in above}


def test_a_job_goes_from_post_to_weights(service: Service) -> None:
    job = service.end(service.post(DIGITS)["id"])
    assert (job["status"], job["outcome"]) == ("succeeded", "budget_exhausted")
    assert job["result"]["num_steps"] == 100
    assert job["result"]["eval"]["accuracy"] > 0.5
    assert job["diagnosis"]["verdict"]
    # Short leases end where the machine stalls, and then there is a second attempt.
    assert {attempt["device"] for attempt in job["attempts"]} == {"cpu"}
    rows = service.rows(job["id"])
    assert rows["step"] == list(range(100))
    assert rows["loss"][-1] == job["result"]["final_loss"]
    assert len(service.weights(job["id"])) > 16 * 64 * 4


def test_ten_jobs_at_once_end_right_and_alike(service: Service) -> None:
    ids = [service.post(DIGITS)["id"] for _ in range(10)]
    jobs = [service.end(job_id) for job_id in ids]
    assert [job["status"] for job in jobs] == ["succeeded"] * 10
    assert [len(job["attempts"]) for job in jobs] == [1] * 10
    histories = [service.rows(job_id) for job_id in ids]
    assert all(rows == histories[0] for rows in histories)
    assert len({service.weights(job_id) for job_id in ids}) == 1


def test_a_running_job_stops_within_two_seconds_of_a_cancel(service: Service) -> None:
    for _ in range(5):  # others may have the cores for a while
        job_id = service.post(ENDLESS)["id"]
        service.until_step(job_id, 1)
        began = time.monotonic()
        service.client.post(f"/v1/jobs/{job_id}/cancel")
        job = service.end(job_id)
        if (took_s := time.monotonic() - began) < 2.0:
            break
    assert took_s < 2.0
    steps = job["result"]["num_steps"]
    assert steps >= 1
    assert service.rows(job_id)["step"][-1] in {steps - 1, steps}
    assert service.weights(job_id)
    assert ends(job) == ["cancelled"]


def test_a_queued_job_is_cancelled_at_once(service: Service) -> None:
    running = [service.post(ENDLESS)["id"] for _ in range(2)]
    queued = service.post(ENDLESS)["id"]
    reply = service.client.post(f"/v1/jobs/{queued}/cancel")
    assert reply.json()["status"] == "cancelled"
    for job_id in running:
        service.client.post(f"/v1/jobs/{job_id}/cancel")
        assert service.end(job_id)["status"] == "cancelled"


@LINUX
def test_a_killed_workers_job_is_resumed_with_the_same_bits(
    service: Service, reference: Json
) -> None:
    job_id = service.post(LONG)["id"]
    service.until_step(job_id, 2000)
    worker = service.worker_of(job_id)
    trainer = children(worker)
    os.kill(worker, signal.SIGKILL)
    until(lambda: not any(map(alive, trainer)))
    job = service.end(job_id)
    assert ends(job) == ["lost", "finished"]
    assert job["attempts"][0]["worker"] != job["attempts"][1]["worker"]
    same_bits(service, job_id, reference)


@LINUX
def test_a_worker_that_is_killed_beside_a_pause_leaves_the_job_paused(
    service: Service, reference: Json
) -> None:
    job_id = service.post(LONG)["id"]
    path = f"/v1/jobs/{job_id}"
    service.until_step(job_id, 2000)
    worker = service.worker_of(job_id)
    assert service.client.post(f"{path}/pause").status_code == 202
    os.kill(worker, signal.SIGKILL)
    until(lambda: service.client.get(path).json()["status"] == "paused")
    assert service.client.post(f"{path}/resume").status_code == 202
    job = service.end(job_id)
    assert ends(job) in (["lost", "finished"], ["paused", "finished"])
    same_bits(service, job_id, reference)


@LINUX
def test_a_killed_trainers_job_is_resumed_with_the_same_bits(
    service: Service, reference: Json
) -> None:
    job_id = service.post(LONG)["id"]
    service.until_step(job_id, 2000)
    worker = service.worker_of(job_id)
    (trainer,) = children(worker)
    os.kill(trainer, signal.SIGKILL)
    job = service.end(job_id)
    assert ends(job) == ["lost", "finished"]
    assert alive(worker)
    same_bits(service, job_id, reference)


@LINUX
def test_a_worker_that_is_told_to_end_hands_its_job_over(service: Service, reference: Json) -> None:
    job_id = service.post({**LONG, "max_attempts": 1})["id"]
    service.until_step(job_id, 2000)
    worker = service.worker_of(job_id)
    os.kill(worker, signal.SIGTERM)
    until(lambda: not alive(worker))
    job = service.end(job_id)
    assert ends(job) == ["handed_over", "finished"]
    same_bits(service, job_id, reference)


@LINUX
def test_training_goes_on_while_redis_is_away(service: Service, reference: Json) -> None:
    job_id = service.post(LONG)["id"]
    service.until_step(job_id, 2000)
    (server,) = children(service.process.pid, named="-server")
    os.kill(server, signal.SIGKILL)
    until(lambda: not alive(server))
    until(lambda: service.client.get("/readyz").status_code == 200)
    job = service.end(job_id)
    assert ends(job) == ["finished"]
    same_bits(service, job_id, reference)


@LINUX
def test_a_part_that_dies_is_started_again(service: Service) -> None:
    (api,) = children(service.process.pid, named=" api")
    os.kill(api, signal.SIGKILL)

    def ready() -> bool:
        try:
            return bool(service.client.get("/readyz").status_code == 200)
        except Exception:
            return False

    until(lambda: not alive(api))
    until(ready)
    until(lambda: len(service.workers()) == 2)
    assert service.end(service.post(DIGITS)["id"])["status"] == "succeeded"
