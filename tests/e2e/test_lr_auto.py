"""`"lr": "auto"` over HTTP: the service finds the rate, says how, and trains with it."""

import time
from typing import Any

import pytest

from tests.e2e.client import Json, Service
from tests.e2e.specs import digits, expression

AUTO: Json = {"kind": "adam", "lr": "auto"}


@pytest.fixture(scope="module")
def settled(service: Service) -> Json:
    return service.run(digits(AUTO, 150, schedule={"kind": "one_cycle"}))


def test_validate_accepts_it_and_leaves_it_open(service: Service) -> None:
    body = digits(AUTO, 150, schedule={"kind": "one_cycle"})
    reply = service.http.post("/v1/jobs/validate", json=body)
    assert reply.status_code == 200
    assert reply.json()["spec"]["optimizer"]["lr"] == "auto"
    assert reply.json()["spec"]["schedule"]["max_lr"] is None
    assert reply.json()["estimate"]["num_steps"] == 150


def test_the_settled_value_stands_in_the_spec_with_its_evidence(
    service: Service, settled: Json
) -> None:
    told = settled["resolved"]["optimizer.lr"]
    assert settled["spec"]["optimizer"]["lr"] == told["value"]
    assert settled["spec"]["schedule"]["max_lr"] == told["value"]
    evidence = told["evidence"]
    assert len(evidence["range_test"]["rates"]) <= 100
    candidates = {each["lr"]: each for each in evidence["race"]["candidates"]}
    finite = [c for c in candidates.values() if isinstance(c["eval_loss"], float)]
    worse = {each["lr"]: max(each["loss"], each["eval_loss"]) for each in finite}
    assert told["value"] == min(worse, key=lambda lr: worse[lr])
    assert evidence["cost"]["num_steps"] > 100
    assert settled["result"]["num_steps"] == 150
    assert settled["result"]["eval"]["accuracy"] > 0.9
    assert settled["phase"] is None
    assert settled["diagnosis"]["verdict"]


def test_posting_the_settled_spec_repeats_the_job_to_the_bit(
    service: Service, settled: Json
) -> None:
    again = service.run(settled["spec"])
    assert again["spec"] == settled["spec"]
    assert again["resolved"] == {}
    for name in ("step", "loss", "lr", "grad_norm"):
        assert service.series(again["id"], name) == service.series(settled["id"], name)
    assert service.series(settled["id"], "step")[0] == 0
    same = service.run(digits(AUTO, 150, schedule={"kind": "one_cycle"}))
    assert same["spec"] == settled["spec"]


def test_a_job_with_a_settled_rate_can_be_continued(service: Service) -> None:
    parent = service.run(digits(AUTO, 60))
    body = {"budget": {"max_steps": 90}}
    reply = service.http.post(f"/v1/jobs/{parent['id']}/continue", json=body)
    assert reply.status_code == 202, reply.text
    child = service.wait(reply.json()["id"])
    assert child["status"] == "succeeded"
    assert child["spec"]["optimizer"] == parent["spec"]["optimizer"]
    assert service.series(child["id"], "step") == list(range(60, 90))


def test_gradient_descent_is_capped_by_the_curvature_and_lands_at_the_minimum(
    service: Service,
) -> None:
    optimizer = {"kind": "sgd", "lr": "auto"}
    job = service.run(
        expression("0.1*x1**2 + 2*x2**2", {"x1": -5.0, "x2": -2.0}, optimizer, 50, diagnose="full")
    )
    curvature = job["resolved"]["optimizer.lr"]["evidence"]["curvature"]
    assert curvature["lambda_max"] == pytest.approx(4.0)
    assert curvature["largest_stable_lr"] == pytest.approx(0.5)
    assert curvature["capped"] is True
    # Both directions shrink: by 0.91 and 0.8 a step at 0.45, the cap.
    assert job["spec"]["optimizer"]["lr"] == 0.45
    assert job["result"]["value"] < 1e-3
    assert job["outcome"] == "budget_exhausted"


def test_a_loss_that_diverged_in_the_race_is_told_in_strict_json(service: Service) -> None:
    function = {"kind": "expression", "expression": "exp(x**2)"}
    problem = {"kind": "function", "function": function, "start": {"x": 1.0}}
    spec = {
        "problem": problem,
        "optimizer": {"kind": "asgd", "lr": "auto"},
        "budget": {"max_steps": 40},
    }
    job = service.run(spec)
    candidates = job["resolved"]["optimizer.lr"]["evidence"]["race"]["candidates"]
    diverged = [each for each in candidates if each["outcome"] == "diverged"]
    assert diverged
    assert all(each["final_loss"] in ("Infinity", "NaN") for each in diverged)
    assert job["outcome"] != "diverged"
    assert job["result"]["final_loss"] == pytest.approx(1.0, abs=1e-3)


def test_a_job_is_cancelled_while_it_looks_for_its_rate(service: Service) -> None:
    # Full batches through a wide model: seconds for each of some hundred steps.
    spec = digits(AUTO, 100, batch_size="full", diagnose="off")
    spec["problem"]["model"]["hidden"] = [2048, 2048]
    job_id = service.post(spec)["id"]
    give_up = time.monotonic() + 60
    job: Any = {"phase": None}
    while job["phase"] != "tuning":
        assert time.monotonic() < give_up, job
        job = service.http.get(f"/v1/jobs/{job_id}").json()
    assert job["status"] == "running"
    assert job["spec"]["optimizer"]["lr"] == "auto"
    assert service.http.post(f"/v1/jobs/{job_id}/cancel").status_code == 202
    job = service.wait(job_id)
    assert job["status"] == "cancelled"
    assert (job["resolved"], job["result"]) == ({}, None)
    assert job["spec"]["optimizer"]["lr"] == "auto"
    assert service.history(job_id)["total"] == 0
    reply = service.http.post(f"/v1/jobs/{job_id}/continue", json={"budget": {"max_steps": 200}})
    assert (reply.status_code, reply.json()["code"]) == (409, "no_checkpoint")
    for call in (
        service.http.post(f"/v1/jobs/{job_id}/diagnosis", json={"checkpoint": "final"}),
        service.http.get(f"/v1/jobs/{job_id}/diagnosis"),
        service.http.get(f"/v1/jobs/{job_id}/model"),
        service.http.get(f"/v1/jobs/{job_id}/plot"),
        service.http.post(f"/v1/jobs/{job_id}/remedies/0/apply"),
    ):
        assert call.status_code == 409, call.text
    service.run(expression("x**2", {"x": 1.0}, {"kind": "sgd", "lr": 0.1}, 5))


@pytest.mark.parametrize(
    ("spec", "param", "code"),
    [
        (digits({"kind": "lbfgs", "lr": "auto"}), "optimizer.lr", "not_available"),
        (digits({"kind": "rprop", "lr": "auto"}), "optimizer.lr", "not_available"),
        (digits({"kind": "adam", "lr": "Auto"}), "optimizer.lr", "float_type"),
        (
            digits(AUTO, schedule={"kind": "cyclic", "base_lr": 0.01, "max_lr": 0.1}),
            "optimizer.lr",
            "conflict",
        ),
    ],
)
def test_where_it_cannot_be_it_is_refused(
    service: Service, spec: Json, param: str, code: str
) -> None:
    reply = service.http.post("/v1/jobs", json=spec)
    assert reply.status_code == 422
    assert [(e["param"], e["code"]) for e in reply.json()["errors"]] == [(param, code)]
    assert "number above 0" in reply.text or "give optimizer.lr a number" in reply.text


def test_the_catalogue_says_which_optimizers_take_it(service: Service) -> None:
    entries = service.http.get("/v1/catalog/optimizers").json()["data"]
    takes = {each["kind"] for each in entries if "auto" in str(each["schema"]["properties"]["lr"])}
    assert takes == {each["kind"] for each in entries} - {"lbfgs", "rprop", "prodigy"}
