"""Rows of what a job's process used."""

import json

import pytest

from tests.api.actors import NO_SUCH_JOB, Api, digits, problem_of, refused_params
from tests.api.history.test_derived import FORMATS, read
from tests.api.study_actors import play

SAMPLES = [
    [5.0, 99.5, 2.0**28, None, None],
    [10.25, None, 2.0**29, None, None],
    [15.0, 100.0, 2.0**29, None, None],
]
NAMES = ["time_s", "cpu_percent", "memory_bytes", "device_percent", "device_memory_bytes"]


@pytest.fixture
def path(api: Api) -> str:
    job_id: str = api.post(digits())["id"]
    claim = api.worker.claim()
    api.worker.store.update(claim, {}, samples=SAMPLES)
    return f"/v1/jobs/{job_id}/history"


def test_what_is_not_known_is_null(api: Api, path: str) -> None:
    found = api.get(path, kind="system")
    assert found["kind"] == "system"
    assert list(found["series"]) == NAMES
    columns = [list(column) for column in zip(*SAMPLES, strict=True)]
    assert list(found["series"].values()) == columns
    assert (found["total"], found["returned"], found["next_after"]) == (3, 3, 15.0)
    assert not found["complete"]
    lines = api.http.get(path, params={"kind": "system", "format": "ndjson"}).text.splitlines()
    assert [list(json.loads(line).values()) for line in lines] == SAMPLES
    text = api.http.get(path, params={"kind": "system", "format": "csv"}).text
    assert text.splitlines()[2] == "10.25,,536870912.0,,"


@pytest.mark.parametrize("form", FORMATS)
def test_the_axis_is_seconds_in_every_format(api: Api, path: str, form: str) -> None:
    query = {"kind": "system", "series": "memory_bytes"}
    assert read(api, path, form, **query)["time_s"] == [5.0, 10.25, 15.0]
    assert list(read(api, path, form, **query)) == ["time_s", "memory_bytes"]
    assert read(api, path, form, **query, after=5, limit=1)["time_s"] == [10.25]
    assert read(api, path, form, **query, after=10.25)["time_s"] == [15.0]
    assert read(api, path, form, **query, points=2)["time_s"][-1] == 15.0
    assert read(api, path, form, **query, until=10.25)["time_s"] == [5.0, 10.25]
    assert read(api, path, form, **query, after=5, until=14.5, points=9)["time_s"] == [10.25]
    assert read(api, path, form, **query, until=14.5, points=1)["time_s"] == [10.25]


def test_a_page_names_the_next(api: Api, path: str) -> None:
    reply = api.http.get(path, params={"kind": "system", "limit": 2})
    assert reply.json()["next_after"] == 10.25
    assert "after=10.25" in reply.headers["link"]


def test_what_cannot_be_asked_is_refused(api: Api, path: str) -> None:
    for query, name in (
        ({"series": "loss"}, "series"),
        ({"series": "epoch"}, "series"),
        ({"after": -2}, "after"),
        ({"after": "NaN"}, "after"),
        ({"limit": 1, "points": 5}, "limit"),
        ({"until": -1}, "until"),
        ({"after": 2.5, "until": 2.25}, "until"),
    ):
        assert refused_params(api.http.get(path, params={"kind": "system", **query})) == [name]
    for kind in ("train", "eval"):
        reply = api.http.get(path, params={"kind": kind, "after": 1.5})
        assert refused_params(reply) == ["after"]
    unknown = api.http.get(f"/v1/jobs/{NO_SUCH_JOB}/history", params={"kind": "system"})
    problem_of(unknown, 404, "not_found")
    run = api.http.get(f"/v1/studies/{NO_SUCH_JOB}/runs/0/history", params={"kind": "system"})
    assert run.status_code == 404


def test_runs_have_none(api: Api) -> None:
    played = play(api)
    reply = api.http.get(f"{played.path}/runs/0/history", params={"kind": "system"})
    assert refused_params(reply) == ["kind"]


def test_a_job_without_samples_has_no_rows(api: Api) -> None:
    job = api.finished(digits())
    found = api.get(f"/v1/jobs/{job['id']}/history", kind="system")
    assert found["series"] == {name: [] for name in NAMES}
    assert found["complete"]
    assert found["next_after"] is None
