"""Webhooks over HTTP: what is refused, what is shown of a URL, and the log."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from core.settings import Settings
from core.store.redis import RedisStore
from core.store.redis.webhooks import RedisSecrets
from core.webhooks.delivery import Try
from tests.api.actors import (
    Api,
    CountingDispatcher,
    Json,
    Worker,
    make_app,
    problem_of,
    refused_params,
    rosenbrock,
)
from tests.api.study_actors import sweep

TOKEN = "T0PSECRET"
URL = f"https://hooks.example:8443/{TOKEN}?x={TOKEN}"
ORIGIN = "https://hooks.example:8443"
LOG = "/v1/webhooks/deliveries"
HOOK = {"url": URL, "events": ["job.succeeded", "job.cancelled"], "format": "standard"}
STUDY_HOOK = {"url": URL, "events": ["study.started", "study.cancelled"], "format": "slack"}


@pytest.fixture
def signed(api: Api) -> Api:
    """An application whose operator has made a secret."""
    add_secret(api.settings)
    return api


def add_secret(settings: Settings) -> None:
    secrets = RedisSecrets(settings.redis_url, settings.namespace)
    secrets.add()
    secrets.disconnect()


def post(api: Api, path: str, body: Json) -> Json:
    reply = api.http.post(path, json=body)
    assert reply.status_code in {200, 202}, reply.text
    assert TOKEN not in reply.text
    found: Json = reply.json()
    return found


def listed(api: Api, **query: Any) -> list[Json]:
    reply = api.http.get(LOG, params=query)
    assert reply.status_code == 200, reply.text
    assert TOKEN not in reply.text
    data: list[Json] = reply.json()["data"]
    return data


def settle(api: Api, status: Any, count: int = 1) -> None:
    """A courier's work."""
    webhooks = api.worker.store.webhooks
    _, claims = webhooks.claim(count, 60.0, 1e6)
    for claim in claims:
        each = Try(at="2026-11-22T10:00:00.000000Z", duration_s=0.1, status_code=500, error="no")
        after = replace(claim.delivery, status=status, tries=(each,), num_tries=1)
        assert webhooks.settle(claim, after, 30.0 if status == "waiting" else None)


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/jobs", rosenbrock(webhook=HOOK), "webhook"),
        ("/v1/jobs/validate", rosenbrock(webhook=HOOK), "webhook"),
        ("/v1/studies", sweep(webhook=STUDY_HOOK), "webhook"),
        ("/v1/studies/validate", sweep(webhook=STUDY_HOOK), "webhook"),
        ("/v1/webhooks/test", {"url": URL}, "url"),
    ],
)
def test_without_a_secret_nothing_is_promised(api: Api, path: str, body: Json, param: str) -> None:
    reply = api.http.post(path, json=body)
    problem = problem_of(reply, 422, "invalid_request")
    assert [(each["param"], each["code"]) for each in problem["errors"]] == [(param, "no_secret")]
    assert "thalweg webhooks secret add" in problem["errors"][0]["message"]
    assert TOKEN not in reply.text
    assert api.http.get("/v1/jobs").json()["data"] == []


def test_of_a_url_the_origin_is_shown_wherever_a_spec_is(signed: Api) -> None:
    api = signed
    job = post(api, "/v1/jobs", rosenbrock(webhook=HOOK, name="mine"))
    assert job["spec"]["webhook"] == {**HOOK, "url": ORIGIN}
    checked = post(api, "/v1/jobs/validate", rosenbrock(webhook=HOOK))
    assert checked["spec"]["webhook"] == {**HOOK, "url": ORIGIN}
    study = post(api, "/v1/studies", sweep(webhook=STUDY_HOOK))
    assert study["spec"]["webhook"] == {**STUDY_HOOK, "url": ORIGIN}
    checked = post(api, "/v1/studies/validate", sweep(webhook=STUDY_HOOK))
    assert checked["spec"]["webhook"] == {**STUDY_HOOK, "url": ORIGIN}
    claim = api.worker.claim()
    assert claim.job.spec["webhook"]["url"] == ORIGIN, "a worker needs no more"
    api.worker.close(claim)
    for path in (
        "/v1/jobs", f"/v1/jobs/{job['id']}", "/v1/studies", f"/v1/studies/{study['id']}",
        f"/v1/comparison?job={job['id']}&job={post(api, '/v1/jobs', rosenbrock())['id']}", LOG,
        "/metrics", "/v1/usage",
    ):  # fmt: skip
        reply = api.http.get(path)
        assert reply.status_code == 200, path
        assert TOKEN not in reply.text, path


def test_a_spec_from_a_reply_is_refused_and_a_copy_by_id_keeps_the_url(signed: Api) -> None:
    api = signed
    job = post(api, "/v1/jobs", rosenbrock(webhook=HOOK))
    again = api.http.post("/v1/jobs", json=job["spec"])
    assert refused_params(again) == ["webhook.url"]
    assert '{"from": id' in again.text.replace('\\"', '"')
    copy = post(api, "/v1/jobs", {"from": job["id"], "patch": {"seed": 1}})
    assert copy["spec"]["webhook"] == {**HOOK, "url": ORIGIN}
    without = post(api, "/v1/jobs", {"from": job["id"], "patch": {"webhook": None}})
    assert without["spec"]["webhook"] is None
    other = {"webhook": {"format": "slack"}}
    slack = post(api, "/v1/jobs", {"from": job["id"], "patch": other})
    for each in (copy, without, slack):
        api.http.post(f"/v1/jobs/{each['id']}/cancel")
    urls = [claim.delivery.url for claim in api.worker.store.webhooks.claim(9, 60.0, 1e6)[1]]
    assert urls == [URL, URL]
    shortened = {"from": job["id"], "patch": {"webhook": {"url": ORIGIN}}}
    assert refused_params(api.http.post("/v1/jobs", json=shortened)) == ["webhook.url"]
    study = post(api, "/v1/studies", sweep(webhook=STUDY_HOOK))
    assert refused_params(api.http.post("/v1/studies", json=study["spec"])) == ["webhook.url"]
    copy = post(api, "/v1/studies", {"from": study["id"]})
    api.http.post(f"/v1/studies/{copy['id']}/cancel")
    ((claim,),) = [api.worker.store.webhooks.claim(9, 60.0, 1e6)[1]]
    assert (claim.delivery.url, claim.delivery.type) == (URL, "study.cancelled")


def test_children_of_a_job_tell_where_their_parent_does(signed: Api) -> None:
    api = signed
    job = post(api, "/v1/jobs", rosenbrock(webhook=HOOK))
    claim = api.worker.claim()
    api.worker.save(claim, b"", name="resume", step=100)
    remedy = {"index": 0, "patch": {"optimizer": {"lr": 0.1}}, "reason": "", "expected": {}}
    found = {"verdict": "too_slow", "confidence": 1.0, "findings": [], "remedies": [remedy]}
    api.worker.close(claim, diagnosis=found)
    budget = {"budget": {"max_steps": 200}}
    child = post(api, f"/v1/jobs/{job['id']}/continue", budget)
    tried = api.http.post(f"/v1/jobs/{job['id']}/remedies/0/apply").json()
    for each in (child, tried):
        assert each["spec"]["webhook"] == {**HOOK, "url": ORIGIN}
        api.http.post(f"/v1/jobs/{each['id']}/cancel")
    claims = api.worker.store.webhooks.claim(9, 60.0, 1e6)[1]
    assert {each.delivery.url for each in claims} == {URL}
    assert [each.delivery.type for each in claims] == ["job.succeeded", *["job.cancelled"] * 2]


def test_an_idempotency_key_is_of_the_whole_url(signed: Api) -> None:
    headers = {"Idempotency-Key": "one"}
    body = rosenbrock(webhook=HOOK)
    first = signed.http.post("/v1/jobs", json=body, headers=headers)
    again = signed.http.post("/v1/jobs", json=body, headers=headers)
    assert again.headers["idempotent-replayed"] == "true"
    assert first.json()["id"] == again.json()["id"]
    other = rosenbrock(webhook={**HOOK, "url": f"{ORIGIN}/other"})
    assert signed.http.post("/v1/jobs", json=other, headers=headers).status_code == 409


def test_the_log_has_pages_and_filters(signed: Api) -> None:
    api = signed
    first, second = (post(api, "/v1/jobs", rosenbrock(webhook=HOOK))["id"] for _ in range(2))
    for each in (first, second):
        api.http.post(f"/v1/jobs/{each}/cancel")
    study = post(api, "/v1/studies", sweep(webhook=STUDY_HOOK))["id"]
    api.http.post(f"/v1/studies/{study}/cancel")
    assert [each["event"] for each in listed(api)] == [
        "study.cancelled", "job.cancelled", "job.cancelled",
    ]  # fmt: skip
    (of_job,) = listed(api, job=first)
    assert (of_job["job_id"], of_job["study_id"], of_job["url"]) == (first, None, ORIGIN)
    assert of_job["links"]["job"] == f"/v1/jobs/{first}"
    (of_study,) = listed(api, study=study)
    assert (of_study["study_id"], of_study["format"]) == (study, "slack")
    assert listed(api, job=first, study=study) == []
    settle(api, "failed")
    settle(api, "waiting")
    assert [each["job_id"] for each in listed(api, status="failed")] == [first]
    failed = listed(api, status="failed")[0]
    assert (failed["num_attempts"], failed["next_attempt_at"]) == (1, None)
    assert failed["attempts"] == [
        {"at": "2026-11-22T10:00:00.000000Z", "duration_s": 0.1, "status_code": 500, "error": "no"}
    ]
    assert len(listed(api, status=["waiting", "failed"])) == 3
    assert listed(api, status="gone") == []
    page = api.http.get(LOG, params={"limit": 2}).json()
    assert page["has_more"]
    rest = api.http.get(LOG, params={"limit": 2, "after": page["next_cursor"]}).json()
    assert [*page["data"], *rest["data"]] == listed(api)
    assert (rest["has_more"], rest["next_cursor"]) == (False, None)
    for query in ({"status": "sent"}, {"job": "x"}, {"limit": 0}, {"after": "x"}, {"owner": "x"}):
        problem_of(api.http.get(LOG, params=query), 422, "invalid_request")
    problem_of(
        api.http.get(LOG, params={"after": page["next_cursor"], "job": first}),
        422,
        "invalid_request",
    )


def test_a_delivery_is_read_waited_for_and_sent_again(signed: Api) -> None:
    api = signed
    reply = api.http.post("/v1/webhooks/test", json={"url": URL, "format": "wecom"})
    made = reply.json()
    assert reply.status_code == 202
    assert reply.headers["location"] == made["links"]["self"] == f"{LOG}/{made['id']}"
    assert (made["event"], made["status"], made["format"]) == ("webhook.test", "waiting", "wecom")
    settle(api, "failed")
    found = api.http.get(f"{LOG}/{made['id']}", params={"wait": 5}).json()
    assert (found["status"], found["num_attempts"]) == ("failed", 1)
    again = api.http.post(f"{LOG}/{made['id']}/redeliver")
    assert again.status_code == 202
    assert (again.json()["status"], again.json()["num_attempts"]) == ("waiting", 1)
    settle(api, "delivered")
    assert listed(api)[0]["status"] == "delivered"
    for path in (f"{LOG}/msg_{'0' * 26}", f"{LOG}/job_{'0' * 26}", f"{LOG}/x"):
        problem_of(api.http.get(path), 404, "not_found")
        problem_of(api.http.post(f"{path}/redeliver"), 404, "not_found")
    problem_of(
        api.http.post(f"{LOG}/{made['id']}/redeliver", json={"x": 1}), 422, "invalid_request"
    )


@pytest.mark.parametrize(
    ("body", "params"),
    [
        ({}, ["url"]),
        ({"url": 1}, ["url"]),
        ({"url": f"http://hooks.example/{TOKEN}"}, ["url"]),
        ({"url": f"https://127.0.0.1/{TOKEN}", "format": "irc"}, ["format", "url"]),
        ({"url": URL, "secret": TOKEN}, ["secret"]),
        ({"url": ORIGIN}, ["url"]),
        (f"https://hooks.example/{TOKEN}", [""]),
        ([TOKEN], [""]),
    ],
)
def test_a_mistaken_trial_is_refused_in_words(signed: Api, body: Any, params: list[str]) -> None:
    headers = {"Content-Type": "application/json"}
    reply = signed.http.post("/v1/webhooks/test", content=json.dumps(body), headers=headers)
    assert sorted(refused_params(reply)) == params
    assert TOKEN not in reply.text


def test_metrics_tell_of_deliveries(signed: Api) -> None:
    api = signed
    for _ in range(3):
        post(api, "/v1/webhooks/test", {"url": URL})
    settle(api, "failed")
    settle(api, "delivered")
    found = api.http.get("/metrics").text
    for line in (
        'thalweg_webhook_deliveries_total{result="failed"} 1.0',
        'thalweg_webhook_deliveries_total{result="delivered"} 1.0',
        'thalweg_webhook_attempts_total{result="failed"} 1.0',
        "thalweg_webhook_waiting 1.0",
    ):
        assert line in found
    (oldest,) = re.findall(r"^thalweg_webhook_oldest_waiting_seconds (\S+)$", found, re.MULTILINE)
    assert 0 <= float(oldest) < 60


def test_what_the_operator_lists_is_taken(settings: Settings) -> None:
    settings = settings.model_copy(update={"webhook_allow": "127.0.0.0/8"})
    store = RedisStore(settings.redis_url, settings.namespace)
    worker = Worker(store, Path(settings.artifacts_location))
    with TestClient(make_app(settings), "http://localhost") as http:
        api = Api(http, worker, CountingDispatcher(), settings)
        hook = {**HOOK, "url": f"http://127.0.0.1:9/{TOKEN}"}
        assert api.http.post("/v1/jobs", json=rosenbrock(webhook=hook)).status_code == 422
        add_secret(settings)
        post(api, "/v1/jobs", rosenbrock(webhook=hook))
    store.disconnect()
