"""The life of a data set: its check, those that share its content, those that use it, its end."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from core.jobs import JobRecord
from core.settings import Settings
from core.uploads.check import STORED_NAME
from tests.api.actors import Json, problem_of, refused_params
from tests.api.datasets.actors import CSV, REFUSAL, DataApi, on, running

NOTHING: list[str] = []


def test_a_check_that_takes_long_goes_on_after_the_reply(settings: Settings) -> None:
    with running(settings, wait_s=0.0) as data:
        data.checks.may_end.clear()
        made = data.upload(status=202)
        path = f"/v1/datasets/{made['id']}"
        assert (made["status"], made["num_rows"], made["columns"]) == ("checking", None, [])
        assert data.get(path) == made
        assert data.get("/v1/datasets", status="checking")["data"] == [made]
        problem_of(data.http.get(f"{path}/preview"), 409, "not_ready")
        refused = data.http.post("/v1/jobs", json=on(made))
        assert refused_params(refused) == ["problem.data.id"]
        data.checks.may_end.set()
        ready = data.get(path, wait=60)
        assert (ready["status"], ready["num_rows"]) == ("ready", 4)
        until(lambda: data.left_in_the_folder == NOTHING)
        assert len(data.stored) == 1


def test_a_long_check_may_end_in_a_refusal(settings: Settings) -> None:
    with running(settings, wait_s=0.0) as data:
        data.checks.may_end.clear()
        data.checks.refusal = REFUSAL
        made = data.upload(status=202)
        data.checks.may_end.set()
        found = data.get(f"/v1/datasets/{made['id']}", wait=60)
        assert found["status"] == "refused"
        assert found["error"] == REFUSAL.to_json()
        until(lambda: (data.left_in_the_folder, data.stored) == (NOTHING, NOTHING))
        assert refused_params(data.http.post("/v1/jobs", json=on(found))) == ["problem.data.id"]
        assert data.http.delete(f"/v1/datasets/{made['id']}").status_code == 204


def test_an_api_that_stops_refuses_what_it_was_checking(settings: Settings) -> None:
    with running(settings, wait_s=0.0) as data:
        data.checks.may_end.clear()
        made = data.upload(status=202)
    with running(settings) as data:
        found = data.get(f"/v1/datasets/{made['id']}")
        assert (found["status"], found["error"]["code"]) == ("refused", "stopped")
        assert (data.left_in_the_folder, data.stored) == (NOTHING, NOTHING)


def test_a_check_that_lost_its_api_is_refused_in_words(
    settings: Settings, raw: redis.Redis, namespace: str
) -> None:
    with running(settings, wait_s=0.0) as data:
        data.checks.may_end.clear()
        made = data.upload(status=202)
        raw.zadd(f"{namespace}:data-checks", {made["id"]: 1})  # the lease ran out long ago
        found = data.get(f"/v1/datasets/{made['id']}")
        assert (found["status"], found["error"]["code"]) == ("refused", "check_interrupted")
        assert "upload it again" in found["error"]["message"]
        # The check's end comes too late and changes nothing; what it stored is removed.
        data.checks.may_end.set()
        made = data.upload(status=202)
        assert data.get(f"/v1/datasets/{made['id']}", wait=60)["status"] == "ready"
        assert data.get(f"/v1/datasets/{found['id']}") == found
        until(lambda: len(data.stored) == 1)


def test_a_worker_refuses_what_lost_its_api_too(
    settings: Settings, raw: redis.Redis, namespace: str
) -> None:
    with running(settings, wait_s=0.0) as data:
        data.checks.may_end.clear()
        made = data.upload(status=202)
        raw.zadd(f"{namespace}:data-checks", {made["id"]: 1})
        data.worker.store.expire_datasets(10)
        assert raw.hget(f"{namespace}:data:{made['id']}", "status") == b"refused"


def test_a_data_set_deleted_while_it_is_checked_leaves_nothing(settings: Settings) -> None:
    with running(settings, wait_s=0.0) as data:
        data.checks.may_end.clear()
        made = data.upload(status=202)
        assert data.http.delete(f"/v1/datasets/{made['id']}").status_code == 204
        data.checks.may_end.set()
        other = data.upload(status=202)
        assert data.get(f"/v1/datasets/{other['id']}", wait=60)["status"] == "ready"
        until(lambda: data.left_in_the_folder == NOTHING and len(data.stored) == 1)


def until(holds: Callable[[], bool]) -> None:
    """Wait until a check that nobody waits for has cleaned up behind itself."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def test_the_same_bytes_are_stored_once_until_the_last_is_gone(data: DataApi) -> None:
    first, second = data.upload(name="a"), data.upload(name="b")
    other = data.upload(CSV + b"9,9\n")
    assert first["id"] != second["id"]
    assert first["sha256"] == second["sha256"]
    assert len(data.stored) == 2
    for made, left in ((first, 2), (second, 1), (other, 0)):
        assert data.http.delete(f"/v1/datasets/{made['id']}").status_code == 204
        assert len(data.stored) == left
    assert data.worker.store.trashed(10) == []


def test_a_content_that_was_lost_comes_back_with_the_same_bytes(data: DataApi) -> None:
    data.upload()
    (name,) = data.stored
    file = Path(data.settings.artifacts_location) / name / STORED_NAME
    content = file.read_bytes()
    file.unlink()
    data.upload()
    assert data.stored == [name]
    assert file.read_bytes() == content


def test_two_clients_at_once_share_the_content(data: DataApi) -> None:
    data.checks.may_end.clear()
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(data.upload) for _ in range(2)]
        timer = threading.Timer(0.2, data.checks.may_end.set)
        timer.start()
        made = [each.result() for each in both]
        timer.join()
    assert len({each["id"] for each in made}) == 2
    assert len(data.stored) == 1
    assert data.left_in_the_folder == NOTHING


def test_a_job_on_a_data_set_shows_what_was_posted(data: DataApi) -> None:
    made = data.upload()
    job = data.post(on(made))
    assert job["spec"]["problem"]["data"]["id"] == made["id"]
    assert "stored" not in str(job)
    validated = data.http.post("/v1/jobs/validate", json=job["spec"]).json()
    assert validated["spec"] == job["spec"]
    assert validated["estimate"]["num_parameters"] == 2
    assert data.post(job["spec"])["spec"] == job["spec"]
    (listed, _) = data.get("/v1/jobs")["data"]
    assert listed["spec"] == job["spec"]
    stored = data.worker.claim().job.spec["problem"]["data"]["stored"]
    assert (stored["num_rows"], [stored["file"]]) == (4, data.stored)


def cancel(data: DataApi, path: str) -> None:
    assert data.http.post(f"{path}/cancel").status_code == 202


@pytest.mark.parametrize("noun", ["jobs", "studies"])
def test_a_data_set_in_use_is_not_deleted(data: DataApi, noun: str) -> None:
    made = data.upload()
    body: Json = on(made)
    if noun == "studies":
        body = {"base": body, "sweep": {"optimizer.lr": {"values": [0.1, 0.2]}}}
    reply = data.http.post(f"/v1/{noun}", json=body)
    assert reply.status_code == 202, reply.text
    used_by = reply.json()
    refused = problem_of(data.http.delete(f"/v1/datasets/{made['id']}"), 409, "in_use")
    assert used_by["id"] in refused["detail"]
    cancel(data, used_by["links"]["self"])
    assert data.http.delete(f"/v1/datasets/{made['id']}").status_code == 204
    again = data.http.post(f"/v1/{noun}", json=body)
    assert refused_params(again)[0].endswith("problem.data.id")


def age(raw: redis.Redis, namespace: str, data: DataApi, made: Json) -> None:
    """Let the data set be older than it may become."""
    raw.zadd(f"{namespace}:data-expiries", {made["id"]: 1})
    raw.hset(f"{namespace}:data:{made['id']}", "expires_ms", 1)


def test_a_data_set_expires_unless_it_is_used_or_kept(
    data: DataApi, raw: redis.Redis, namespace: str
) -> None:
    old, young, used, kept = (data.upload(CSV + b"1,1\n" * i) for i in range(4))
    job = data.post(on(used))
    far = "2999-01-01T00:00:00Z"
    for made in (old, used, kept):
        age(raw, namespace, data, made)
    data.http.patch(f"/v1/datasets/{kept['id']}", json={"keep_until": far})
    assert data.worker.store.expire_datasets(10) == [old["id"]]
    left = {each["id"]: each for each in data.get("/v1/datasets")["data"]}
    assert left.keys() == {young["id"], used["id"], kept["id"]}
    assert left[used["id"]]["expires_at"] > used["created_at"]  # put off
    # What was stored of it goes by the trash, as of a job.
    (trashed,) = data.worker.store.trashed(10)
    assert trashed in data.stored

    cancel(data, job["links"]["self"])
    age(raw, namespace, data, used)
    assert data.worker.store.expire_datasets(10) == [used["id"]]


def test_each_new_job_lets_the_age_count_anew(
    data: DataApi, raw: redis.Redis, namespace: str
) -> None:
    made = data.upload()
    raw.hset(f"{namespace}:data:{made['id']}", "expires_ms", 1)
    data.post(on(made))
    assert data.get(f"/v1/datasets/{made['id']}")["expires_at"] >= made["expires_at"]


def test_without_an_age_a_data_set_never_expires(
    settings: Settings, raw: redis.Redis, namespace: str
) -> None:
    with running(settings.model_copy(update={"dataset_age_s": 0.0})) as data:
        made = data.upload()
        data.post(on(made))
        assert data.get(f"/v1/datasets/{made['id']}")["expires_at"] is None
        assert raw.zcard(f"{namespace}:data-expiries") == 0


def finished(data: DataApi, spec: Json, **fields: Any) -> JobRecord:
    data.post(spec)
    claim = data.worker.claim()
    data.worker.save(claim, b"x", name="resume", step=10)
    data.worker.save(claim, b"x", name="final", step=10)
    data.worker.close(claim, **fields)
    return data.worker.store.get(claim.job.id)


def test_an_ended_job_whose_data_are_gone_says_so(data: DataApi) -> None:
    made = data.upload()
    remedy = {"index": 0, "patch": {"optimizer": {"lr": 0.02}}, "reason": "r", "expected": {}}
    found = {"verdict": "healthy", "confidence": 1.0, "findings": [], "remedies": [remedy]}
    job = finished(data, on(made, budget={"max_steps": 10}), diagnosis=found)
    assert data.http.delete(f"/v1/datasets/{made['id']}").status_code == 204
    path = f"/v1/jobs/{job.id}"
    calls: list[tuple[str, Json]] = [
        ("continue", {"json": {"budget": {"max_steps": 20}}}),
        ("remedies/0/apply", {}),
        ("diagnosis", {"json": {"checkpoint": "final"}}),
    ]
    for call, body in calls:
        reply = data.http.post(f"{path}/{call}", **body)
        assert made["id"] in problem_of(reply, 409, "data_unavailable")["detail"]
    assert data.http.get(f"{path}/model").status_code == 200
    assert data.job(job.id)["spec"]["problem"]["data"]["id"] == made["id"]


def test_what_was_stored_for_a_data_set_that_was_not_made_is_removed(
    data: DataApi, raw: redis.Redis, namespace: str
) -> None:
    file = "file_01k2m3n4p5q6r7s8t9v0w1x2y3"
    raw.zadd(f"{namespace}:files-pending", {file: 1})
    data.worker.store.expire_datasets(10)
    assert data.worker.store.trashed(10) == [file]
    data.worker.store.free(file)
    assert data.worker.store.trashed(10) == []
