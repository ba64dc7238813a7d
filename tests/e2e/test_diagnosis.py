"""From a job that goes wrong to a better one, as a user gets there."""

from typing import Any

from tests.e2e.client import Service
from tests.e2e.specs import digits

Json = dict[str, Any]


def terminal(service: Service, job: Json) -> Json:
    while job["status"] not in {"succeeded", "cancelled", "failed"}:
        reply = service.http.get(f"/v1/jobs/{job['id']}", params={"wait": 60})
        job = reply.json()
    return job


def run(service: Service, spec: Json) -> Json:
    reply = service.http.post("/v1/jobs", json=spec)
    assert reply.status_code == 202, reply.text
    return terminal(service, reply.json())


def test_a_diverging_job_becomes_a_better_one_in_three_calls(service: Service) -> None:
    spec = {**digits({"kind": "sgd", "lr": 20.0}), "budget": {"max_steps": 300}}
    bad = run(service, spec)
    assert (bad["outcome"], bad["diagnosis"]["verdict"]) == ("diverged", "diverging")
    reply = service.http.post(f"/v1/jobs/{bad['id']}/remedies/0/apply")
    assert reply.status_code == 202, reply.text
    child = terminal(service, reply.json())
    assert child["parent_id"] == bad["id"]
    assert child["outcome"] != "diverged"
    compared = child["diagnosis"]["compared_to_parent"]
    assert compared["verdict"] == "improved"
    assert compared["before"]["outcome"] == "diverged"


def test_a_full_diagnosis_measures_the_weights_and_can_be_seen(service: Service) -> None:
    spec = {**digits({"kind": "adam"}), "budget": {"max_steps": 300}, "diagnose": "full"}
    job = run(service, spec)
    measured = job["diagnosis"]["measured"]
    assert (measured["checkpoint"], measured["step"]) == ("final", 300)
    assert measured["largest"]["value"] > 0
    reply = service.http.get(f"/v1/jobs/{job['id']}/plot", params={"kind": "spectrum"})
    assert reply.status_code == 200, reply.text


def test_a_diagnosis_asked_for_later_comes(service: Service) -> None:
    spec = {**digits({"kind": "adam"}), "budget": {"max_steps": 100}, "diagnose": "off"}
    job = run(service, spec)
    path = f"/v1/jobs/{job['id']}/diagnosis"
    assert service.http.get(path).status_code == 409
    assert service.http.post(path, json={"checkpoint": "initial"}).status_code == 202
    for _ in range(600):
        # Long polls of another job pass the time: this one is terminal already.
        reply = service.http.get(path)
        if reply.status_code == 200:
            break
        run(service, {**spec, "budget": {"max_steps": 1}})
    assert reply.json()["measured"]["step"] == 0


def test_a_rollback_saves_a_run_and_is_in_its_record(service: Service) -> None:
    spec = {
        **digits({"kind": "sgd", "lr": 20.0}),
        "budget": {"max_steps": 200},
        "on_divergence": {"action": "rollback", "lr_factor": 0.01},
    }
    job = run(service, spec)
    (entry,) = job["interventions"]
    assert (entry["action"], entry["to_step"]) == ("rollback", 0)
    assert job["outcome"] == "budget_exhausted"
    reply = service.http.get(f"/v1/jobs/{job['id']}/history", params={"limit": 1000})
    history = reply.json()
    assert history["series"]["step"] == list(range(200))
    assert set(history["series"]["lr"]) == {20.0 * 0.01}
    assert history["complete"] is True
    assert history["first_nonfinite_step"] is None
