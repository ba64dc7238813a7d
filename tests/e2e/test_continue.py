"""Going on where a job stopped, over HTTP, on real workers."""

import hashlib
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load

from tests.e2e.client import Json, Service
from tests.e2e.specs import digits


def go_on(service: Service, job_id: str, **budget: Any) -> Json:
    reply = service.http.post(f"/v1/jobs/{job_id}/continue", json={"budget": budget})
    assert reply.status_code == 202, reply.text
    job = service.wait(reply.json()["id"])
    assert job["status"] == "succeeded", job["error"]
    return job


def rows(service: Service, job_id: str, kind: str, start: int) -> list[tuple[Any, ...]]:
    history = service.history(job_id, kind=kind, limit=10_000, after=start - 1)
    assert history["complete"]
    return list(zip(*history["series"].values(), strict=True))


def weights(service: Service, job_id: str, checkpoint: str) -> dict[str, bytes]:
    reply = service.http.get(f"/v1/jobs/{job_id}/model", params={"checkpoint": checkpoint})
    return {name: np.asarray(value).tobytes() for name, value in load(reply.content).items()}


def assert_same(service: Service, child: Json, whole: Json, start: int) -> None:
    for kind in ("train", "eval"):
        expected = rows(service, whole["id"], kind, start)
        assert service.history(child["id"], kind=kind)["total"] == len(expected)
        assert rows(service, child["id"], kind, start) == expected
    for checkpoint in ("best", "final"):
        one, other = (weights(service, job["id"], checkpoint) for job in (child, whole))
        assert one == other
    assert {**child["result"], "train_s": 0} == {**whole["result"], "train_s": 0}
    assert (child["best"], child["outcome"]) == (whole["best"], whole["outcome"])


@pytest.fixture(scope="module")
def spec() -> Json:
    spec = digits(steps=230, optimizer={"kind": "adam"}, record={"every": 4, "eval_every": 50})
    spec["problem"]["model"] |= {"dropout": 0.2, "norm": {"kind": "batch"}}
    return spec


@pytest.fixture(scope="module")
def whole(service: Service, spec: Json) -> Json:
    return service.run(spec)


def test_a_finished_job_goes_on_as_if_it_had_never_stopped(
    service: Service, spec: Json, whole: Json
) -> None:
    parent = service.run({**spec, "budget": {"max_steps": 130}})
    child = go_on(service, parent["id"], max_steps=230)
    assert child["parent_id"] == parent["id"]
    assert child["diagnosis"]["verdict"]
    assert_same(service, child, whole, 130)
    again = service.run(child["spec"])
    assert_same(service, again, whole, 130)
    assert service.http.delete(f"/v1/jobs/{parent['id']}").status_code == 204
    assert_same(
        service,
        go_on(service, child["id"], max_steps=300),
        go_on(service, again["id"], max_steps=300),
        230,
    )
    refused = service.http.post("/v1/jobs", json=child["spec"])
    assert [each["param"] for each in refused.json()["errors"]] == ["start_from.job"]


def test_a_cancelled_job_goes_on_from_the_step_where_it_stopped(
    service: Service, spec: Json
) -> None:
    parent = service.post({**spec, "budget": {"max_steps": 10_000_000}})
    while not service.http.get(f"/v1/jobs/{parent['id']}/history").json()["returned"]:
        service.http.get(f"/v1/jobs/{parent['id']}", params={"wait": 0.2})
    service.http.post(f"/v1/jobs/{parent['id']}/cancel")
    steps = service.wait(parent["id"])["result"]["num_steps"]
    child = go_on(service, parent["id"], max_steps=steps + 40)
    assert child["spec"]["start_from"] == {"job": parent["id"], "step": steps}
    whole = service.run({**spec, "budget": {"max_steps": steps + 40}})
    assert_same(service, child, whole, steps)


def test_the_checkpoint_to_go_on_from_is_listed(service: Service, whole: Json) -> None:
    listed = service.http.get(f"/v1/jobs/{whole['id']}/checkpoints").json()["data"]
    resume = [each for each in listed if each["name"] == "resume"]
    assert [each["step"] for each in resume] == [230]
    assert len(bytes.fromhex(resume[0]["sha256"])) == hashlib.sha256().digest_size
