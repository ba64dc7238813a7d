"""Webhooks as their receivers see them: a real service, a receiver on loopback, and whatever dies
in between. Every message that comes is verified by the library of Standard Webhooks."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.thalweg_service.running import Service, children, starting, until
from tests.webhook_receiver import Answer, Arrival, Receiver, receiving
from thalweg_service.doctor.service import look_at_webhooks

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
Json = dict[str, Any]
LOG = "/v1/webhooks/deliveries"
QUICK: Json = {
    "problem": {"kind": "function", "function": {"kind": "sphere", "dim": 2}},
    "optimizer": {"kind": "sgd", "lr": 0.1},
    "stop": {"target_loss": 1e-3},
}
ENDS = ["job.succeeded"]


def secret(folder: Path, *words: str) -> list[str]:
    command = [sys.executable, "-m", "thalweg_service", "webhooks", "secret", *words]
    done = subprocess.run(
        [*command, "--data-dir", str(folder)], capture_output=True, text=True, check=True,
        timeout=60, env={name: each for name, each in os.environ.items() if "REDIS" not in name},
    )  # fmt: skip
    return done.stdout.split()


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("webhooks")


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Service]:
    with starting() as start:
        running = Service(
            start(folder, THALWEG_WEBHOOK_ALLOW="127.0.0.1", THALWEG_WEBHOOK_TIMEOUT_S="1")
        )
        until(running.workers)
        yield running
        running.stop()


@pytest.fixture(scope="module")
def secrets(service: Service, folder: Path) -> list[str]:
    """Two of them, as while one takes the place of the other."""
    return [secret(folder, "add")[1] for _ in range(2)]


@pytest.fixture(autouse=True)
def verified(receiver: Receiver, secrets: list[str]) -> Iterator[None]:
    """Each message that came is signed with every secret."""
    before = len(receiver.arrivals)
    yield
    for arrival in receiver.arrivals[before:]:
        for each in secrets:
            arrival.verify(each)


def post(service: Service, receiver: Receiver, path: str, *events: str, **spec: Any) -> str:
    hook = {"url": receiver.url(path), "events": list(events or ENDS)}
    reply = service.client.post("/v1/jobs", json={**QUICK, "webhook": hook, **spec})
    assert reply.status_code == 202, reply.text
    return str(reply.json()["id"])


def delivery_of(service: Service, job_id: str, status: str) -> Json:
    """The one delivery of a job, once it has the status."""

    def found() -> list[Json]:
        query = {"job": job_id, "status": status}
        data: list[Json] = service.client.get(LOG, params=query).json()["data"]
        return data

    each: Json
    (each,) = until(found)
    delivery: Json = each
    return delivery


def is_ready(service: Service) -> bool:
    try:
        return service.client.get("/readyz").status_code == 200
    except httpx2.TransportError:
        return False


def kinds(arrivals: list[Arrival]) -> list[str]:
    return [each.json["type"] for each in arrivals]


def test_what_happens_to_a_job_and_a_study_is_told(service: Service, receiver: Receiver) -> None:
    job = post(service, receiver, "/job?token=1", "job.started", "job.succeeded",
               "job.verdict_changed", "job.target_reached", "job.diverged")  # fmt: skip
    hook = {"url": receiver.url("/study"), "events": ["study.started", "study.succeeded"]}
    sweep = {"optimizer.lr": {"values": [0.1, 0.2]}}
    study = service.client.post(
        "/v1/studies", json={"base": QUICK, "sweep": sweep, "webhook": hook}
    ).json()["id"]
    of_job = receiver.wait_for("/job?token=1", 4)
    assert sorted(kinds(of_job)) == [
        "job.started", "job.succeeded", "job.target_reached", "job.verdict_changed",
    ]  # fmt: skip
    (end,) = (each.json["data"] for each in of_job if each.json["type"] == "job.succeeded")
    record = service.client.get(f"/v1/jobs/{job}").json()
    assert (end["id"], end["status"], end["outcome"]) == (job, "succeeded", "converged")
    assert end["result"] == record["result"]
    assert end["verdict"] == record["diagnosis"]["verdict"]
    assert end["finished_at"] == record["finished_at"]
    of_study = receiver.wait_for("/study", 2)
    assert sorted(kinds(of_study)) == ["study.started", "study.succeeded"]
    assert {each.json["data"]["id"] for each in of_study} == {study}
    assert len({each.id for each in [*of_job, *of_study]}) == 6


def test_a_chat_gets_a_message_that_mentions_nobody(service: Service, receiver: Receiver) -> None:
    hook = {"url": receiver.url("/chat"), "format": "slack"}
    post(service, receiver, "/chat", webhook=hook, name="<!channel> @here")
    (arrival,) = receiver.wait_for("/chat")
    assert "&lt;!channel&gt;" in arrival.json["text"]
    assert "@here" not in arrival.json["text"]


def test_a_receiver_that_fails_gets_the_same_message_again(
    service: Service, receiver: Receiver
) -> None:
    receiver.answers["/500"] = [Answer(500), Answer(200)]
    receiver.answers["/busy"] = [Answer(429, {"Retry-After": "4"}), Answer(204)]
    jobs = [post(service, receiver, path) for path in ("/500", "/busy")]
    for job, path in zip(jobs, ("/500", "/busy"), strict=True):
        first, second = receiver.wait_for(path, 2)
        assert (first.id, first.body) == (second.id, second.body)
        assert second.at - first.at >= (4.0 if path == "/busy" else 1.5)
        found = delivery_of(service, job, "delivered")
        assert [each["status_code"] for each in found["attempts"]][-1] in {200, 204}
        assert found["num_attempts"] == 2


def test_a_redirect_is_not_followed_and_410_ends_it(service: Service, receiver: Receiver) -> None:
    receiver.answers["/moved"] = [Answer(307, {"Location": receiver.url("/elsewhere")})]
    receiver.answers["/gone"] = [Answer(410)]
    moved, gone = (post(service, receiver, path) for path in ("/moved", "/gone"))
    receiver.wait_for("/moved")
    found = delivery_of(service, moved, "waiting")
    assert (
        "redirect"
        in until(
            lambda: [each["error"] for each in delivery_of(service, moved, "waiting")["attempts"]]
        )[0]
    )
    assert found["url"] == f"http://127.0.0.1:{receiver.port}"
    assert delivery_of(service, gone, "gone")["num_attempts"] == 1
    assert receiver.at("/elsewhere") == []
    receiver.answers["/moved"] = [Answer(200)]
    service.client.post(f"{LOG}/{found['id']}/redeliver")
    assert delivery_of(service, moved, "delivered")["id"] == found["id"]


def test_a_trial_tells_what_came_of_it(service: Service, receiver: Receiver) -> None:
    receiver.answers["/no"] = [Answer(404)]
    for path, status in (("/yes", "delivered"), ("/no", "failed")):
        made = service.client.post("/v1/webhooks/test", json={"url": receiver.url(path)}).json()
        found = service.client.get(f"{LOG}/{made['id']}", params={"wait": 30}).json()
        assert (found["status"], found["num_attempts"]) == (status, 1)
    (arrival,) = receiver.at("/yes")
    assert arrival.json["type"] == "webhook.test"
    doctor = look_at_webhooks(service.client)
    assert doctor.status == "warning"
    assert f"http://127.0.0.1:{receiver.port}: " in doctor.words
    assert "404" in doctor.words


def test_nothing_is_lost_when_the_api_and_the_worker_are_killed(
    service: Service, receiver: Receiver
) -> None:
    # The receiver holds the first message until the worker that sends it is dead.
    receiver.answers["/held"] = [Answer(200, stall_s=20.0)]
    held = post(service, receiver, "/held")
    receiver.answers["/later"] = [Answer(503), Answer(200)]
    later = post(service, receiver, "/later")
    receiver.wait_for("/held")
    receiver.wait_for("/later")
    for part in (" api", " worker"):
        for pid in children(service.process.pid, part):
            os.kill(pid, signal.SIGKILL)
    receiver.answers["/held"] = [Answer(200)]
    assert len({each.id for each in receiver.wait_for("/held", 2)}) == 1
    assert len({each.id for each in receiver.wait_for("/later", 2)}) == 1
    for job in (held, later):
        until(lambda: is_ready(service))
        delivery_of(service, job, "delivered")


def test_logs_hold_no_url_and_no_secret(service: Service, folder: Path, secrets: list[str]) -> None:
    logs = "".join(each.read_text("utf-8") for each in (folder / "logs").iterdir())
    assert "webhook.test" in logs
    assert "token=1" not in logs
    assert not [each for each in secrets if each in logs]
    listed = secret(folder, "list")
    assert len(listed) == 4
    assert not [each for each in secrets if each in listed]
    for each in listed[::2]:
        assert secret(folder, "revoke", each) == [each, "revoked"]
    hook = {"url": "https://example.org/x"}
    reply = service.client.post("/v1/jobs", json={**QUICK, "webhook": hook})
    assert [each["code"] for each in reply.json()["errors"]] == ["no_secret"]
