"""Lists of jobs: filters, pages, cursors."""

from datetime import datetime
from pathlib import Path

import pytest

from tests.api.actors import Api, Json, refused_params, rosenbrock
from tests.api.events.conftest import running
from tests.api.jobs.many import ASKING, LISTS, examine


def test_lists_come_newest_first_and_cursors_reach_every_job_once(api: Api) -> None:
    ids = [api.post()["id"] for _ in range(7)]
    seen: list[str] = []
    query: Json = {"limit": 3}
    while True:
        page = api.get("/v1/jobs", **query)
        seen += [job["id"] for job in page["data"]]
        assert page["has_more"] == (page["next_cursor"] is not None)
        if not page["has_more"]:
            break
        query["after"] = page["next_cursor"]
        api.post()  # what comes meanwhile does not shift the pages
    assert seen == ids[::-1]


def test_lists_are_filtered_before_they_are_cut(api: Api) -> None:
    wanted = [api.post(rosenbrock(labels={"a": "1:x", "b": str(i)}))["id"] for i in range(3)]
    for _ in range(4):
        api.post(rosenbrock(labels={"a": "2"}))
    page = api.get("/v1/jobs", label="a:1:x", limit=3)
    assert [job["id"] for job in page["data"]] == wanted[::-1]
    assert not page["has_more"]
    both = api.http.get("/v1/jobs?label=a:1:x&label=b:1").json()["data"]
    assert [job["id"] for job in both] == [wanted[1]]


@pytest.mark.parametrize("live", [False, True])
def test_of_a_diagnosis_lists_have_the_verdict_alone(api: Api, live: bool) -> None:
    finding = {"rule": "r", "status": "clear", "evidence": {}, "explanation": "x" * 8_000}
    found: Json = {"verdict": "healthy", "findings": [finding], "remedies": []}
    for confidence in ({"confidence": 0.97}, {}):
        job_id = api.post()["id"]
        claim = api.worker.claim()
        diagnosis = {**found, **confidence, "live": live}
        api.worker.store.update(claim, {"diagnosis": diagnosis})
        if not live:
            api.worker.close(claim)
        shown_whole = {**diagnosis, "findings": [{**finding, "steps": None}]}
        assert api.job(job_id)["diagnosis"] == shown_whole
        reply = api.http.get("/v1/jobs")
        assert len(reply.content) < 8_000
        shown = {"verdict": "healthy", "confidence": confidence.get("confidence")}
        assert reply.json()["data"][0]["diagnosis"] == shown


def test_several_statuses_mean_any_of_them(api: Api) -> None:
    done = api.finished()["id"]
    running = api.post()["id"]
    api.worker.claim()
    queued = api.post()["id"]

    def ids(query: str) -> list[str]:
        return [job["id"] for job in api.http.get(f"/v1/jobs?{query}").json()["data"]]

    assert ids("status=succeeded&status=queued") == [queued, done]
    assert ids("status=running") == [running]


def test_created_after_takes_any_offset(api: Api) -> None:
    first, second = api.post(), api.post()
    after = api.get("/v1/jobs", created_after=first["created_at"])["data"]
    assert [job["id"] for job in after] == [second["id"]]
    moment = datetime.fromisoformat(first["created_at"]).isoformat()
    assert api.get("/v1/jobs", created_after=moment)["data"] == after
    assert api.get("/v1/jobs", created_after="2999-01-01T00:00:00Z")["data"] == []


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({"status": "failed"}, {}),
        ({"label": "a:2"}, {"label": "a:1"}),
        ({"created_after": "2020-01-01T00:00:00Z"}, {}),
    ],
)
def test_a_cursor_of_another_query_is_refused(api: Api, change: Json, kept: Json) -> None:
    for _ in range(2):
        api.post(rosenbrock(labels={"a": "1"}))
    cursor = api.get("/v1/jobs", limit=1, **kept)["next_cursor"]
    assert api.http.get("/v1/jobs", params={"after": cursor, "limit": 5, **kept}).status_code == 200
    reply = api.http.get("/v1/jobs", params={"after": cursor, **kept, **change})
    assert refused_params(reply) == ["after"]


@pytest.mark.parametrize("cursor", ["", "x", "garbage!", "AAAA", "é", "=" * 50, "x" * 5000])
def test_a_cursor_that_is_none_is_refused(api: Api, cursor: str) -> None:
    assert refused_params(api.http.get("/v1/jobs", params={"after": cursor})) == ["after"]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=x",
        "limit=1.0",
        "limit=1_0",
        "limit=",
        "limit=1&limit=2",
        "status=done",
        "status=",
        "label=x",
        "label=:x",
        "created_after=yesterday",
        "created_after=2026-11-22",
        "created_after=2026-11-22T10:00:00",
        "created_after=2026-13-22T10:00:00Z",
        "nonsense=1",
    ],
)
def test_a_wrong_list_parameter_is_named(api: Api, query: str) -> None:
    assert refused_params(api.http.get(f"/v1/jobs?{query}")) == [query.split("=", maxsplit=1)[0]]


def test_all_wrong_parameters_come_at_once(api: Api) -> None:
    reply = api.http.get("/v1/jobs?limit=0&status=done&nonsense=1&label=x")
    assert set(refused_params(reply)) == {"limit", "status", "nonsense", "label"}
    assert "limit, after, status, label, created_after" in reply.text


def test_many_jobs_are_listed_as_the_trial_lists_100_000(
    redis_url: str, namespace: str, tmp_path: Path
) -> None:
    with running(redis_url, namespace, tmp_path) as live:
        found = examine(live, jobs=200, asked=1)
    wanted = {(owner, query): 1 for owner in ASKING for query in LISTS}
    assert {asked: len(taken.ms) for asked, taken in found.items()} == wanted
