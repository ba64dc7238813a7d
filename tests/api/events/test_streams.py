"""Streams of what has ended, and what is refused: over HTTP, with every id that comes."""

import math
from typing import Any

import numpy as np
import pytest

from tests.api import study_actors
from tests.api.actors import NO_SUCH_JOB, Json, digits, problem_of, refused_params, rosenbrock
from tests.api.events.conftest import Live
from tests.api.events.reader import Event, summary
from tests.api.study_actors import NO_SUCH_STUDY, play

DIAGNOSIS = {"verdict": "healthy", "confidence": 0.5, "findings": [], "remedies": []}


def finished(live: Live, num_rows: int = 2500) -> Json:
    """A classifier's job with a diagnosis, rows that are not finite, and an evaluation."""
    job = live.post(digits(budget={"max_steps": num_rows}))
    claim = live.worker.claim()
    steps = np.arange(num_rows, dtype=float)
    for kind, layout in claim.layouts.items():
        rows = steps if kind == "train" else steps[::100]
        values = np.where(rows == 700, math.nan, rows)
        live.worker.append(claim, kind, step=rows, **dict.fromkeys(layout.widths, values))
    live.worker.close(claim, diagnosis=DIAGNOSIS)
    return live.job(job["id"])


def one_study(live: Live) -> str:
    """Six runs, of which two fail and one has rows; they end in no order."""
    study = play(live)
    run = study.runs[3]
    layout = live.worker.store.studies.layouts(study.id, [run.index])[3]["train"]
    columns: Any = {name: [3.0, math.inf, 1.0] for name in layout.widths}
    study.append(3, step=[0, 1, 2], **columns)
    for index in (4, 0, 5):
        study.end(index, 0.5)
    study.write(1, status="failed", error={"code": "internal_error", "message": "x"})
    for index in (3, 2):
        study.end(index, 0.25)
    live.worker.store.studies.close(study.claim, "succeeded", "finished", num_updates=600)
    live.worker.store.studies.finish(study_actors.take(live), "succeeded", {"result": {}})
    return study.id


def rest_after_each(live: Live, path: str) -> list[Event]:
    """All events of a stream that ends; taken up after each of its ids, it gives exactly what
    follows that one."""
    whole = live.events(path)
    assert len({event.id for event in whole}) == len(whole)
    for number, event in enumerate(whole[:-1]):
        assert live.events(path, event.id) == whole[number + 1 :]
    with live.stream(path, whole[-1].id) as over:
        assert over.status == 204  # an EventSource stays away
    return whole


@pytest.mark.parametrize("query", ["", "?series=loss", "?after=999", "?after=1234&series=lr,loss"])
def test_a_finished_job_is_told_at_once_and_taken_up_after_any_event(
    live: Live, query: str
) -> None:
    job = finished(live)
    whole = rest_after_each(live, f"{job['links']['events']}{query}")
    first = {"?after=999": 1000, "?after=1234&series=lr,loss": 1235}.get(query, 0)
    assert (whole[0].type, whole[0].data) == ("status", job)
    assert (whole[-1].type, whole[-1].data) == ("end", job)
    assert (whole[-2].type, whole[-2].data) == ("diagnosis", {"job_id": job["id"], **DIAGNOSIS})
    points = [event for event in whole if event.type == "points"]
    assert [step for event in points for step in event.steps] == list(range(first, 2500))
    assert max(len(event.steps) for event in points) == 1000
    for event in points:
        query_of = {"after": event.steps[0] - 1, "limit": len(event.steps)}
        series = ",".join(set(event.data["series"]) - {"step"})
        page = live.get(job["links"]["history"], series=series, **query_of)
        assert event.data == page
    assert [event.data["complete"] for event in points][-1]


def test_evaluations_have_a_stream_of_their_own(live: Live) -> None:
    job = finished(live)
    whole = rest_after_each(live, f"{job['links']['events']}?kind=eval&series=loss")
    assert summary(whole) == ["status", "points 0-2400", "diagnosis", "end"]
    assert whole[1].data["series"]["loss"][7] == "NaN"
    other = live.events(job["links"]["events"])[1].id
    refused = live.http.get(f"{job['links']['events']}?kind=eval", headers={"Last-Event-ID": other})
    assert refused_params(refused) == ["Last-Event-ID"]  # it counts other rows


def test_the_latest_rows_of_what_has_ended_are_none(live: Live) -> None:
    job = finished(live, 10)
    whole = rest_after_each(live, f"{job['links']['events']}?after=latest")
    assert summary(whole) == ["status", "diagnosis", "end"]
    last = live.events(f"{job['links']['events']}?after=9")
    assert summary(last) == ["status", "diagnosis", "end"]


@pytest.mark.parametrize("run", [None, 3, 2])
def test_a_finished_study_tells_each_end_of_a_run_once(live: Live, run: int | None) -> None:
    study_id = one_study(live)
    query = "" if run is None else f"?run={run}"
    whole = rest_after_each(live, f"/v1/studies/{study_id}/events{query}")
    ends = [event.data for event in whole if event.type == "run"]
    assert [each["index"] for each in ends] == [4, 0, 5, 1, 3, 2]
    listed = {each["index"]: each for each in live.get(f"/v1/studies/{study_id}/runs")["data"]}
    assert all(listed[each["index"]] == each for each in ends)
    points = [event for event in whole if event.type == "points"]
    assert summary(points) == (["points 0-2"] if run == 3 else [])
    if points:
        assert points[0].data == live.get(f"/v1/studies/{study_id}/runs/3/history")
        assert points[0].data["series"]["loss"] == [3.0, "Infinity", 1.0]
    assert whole[0].data == whole[-1].data == live.get(f"/v1/studies/{study_id}")
    assert (whole[0].type, whole[-1].type) == ("status", "end")


def test_runs_that_ended_before_their_order_was_kept_are_told_at_the_end(
    live: Live, redis_url: str
) -> None:
    import redis

    study_id = one_study(live)
    with redis.Redis.from_url(redis_url) as raw:
        raw.ltrim(f"{live.settings.namespace}:study:{study_id}/ended", 4, -1)
    whole = rest_after_each(live, f"/v1/studies/{study_id}/events")
    assert [event.data["index"] for event in whole if event.type == "run"] == [3, 2, 0, 1, 4, 5]


NO_ID = "Last-Event-ID"
CALLS: dict[str, tuple[str, str, str]] = {
    "unknown series": ("{job}", "?series=mae,loss,x", "series"),
    "twice a series": ("{job}", "?series=loss,loss", "series"),
    "no step": ("{job}", "?after=-2", "after"),
    "no number": ("{job}", "?after=1e3", "after"),
    "no kind": ("{job}", "?kind=system", "kind"),
    "unknown": ("{job}", "?points=3", "points"),
    "twice": ("{job}", "?after=1&after=2", "after"),
    "run of a job": ("{job}", "?run=1", "run"),
    "no index": ("{study}", "?run=x", "run"),
    "negative index": ("{study}", "?run=-1", "run"),
    "rows of no run": ("{study}", "?series=loss", "series"),
    "kind of no run": ("{study}", "?kind=train", "kind"),
    "unknown series of a run": ("{study}", "?run=3&series=x", "series"),
    "rows of no job": ("/v1/events", "?after=latest", "after"),
    "too many jobs": ("/v1/events", "?" + "&".join(101 * [f"job={NO_SUCH_JOB}"]), "job"),
}


@pytest.fixture(scope="module")
def ended(live: Live) -> dict[str, str]:
    """Paths of streams that end."""
    return {
        "job": finished(live, 10)["links"]["events"],
        "study": f"/v1/studies/{one_study(live)}/events",
    }


@pytest.mark.parametrize("call", sorted(CALLS))
def test_a_wrong_query_is_refused_before_the_stream(
    live: Live, ended: dict[str, str], call: str
) -> None:
    path, query, param = CALLS[call]
    reply = live.http.get(path.format(**ended) + query)
    assert set(refused_params(reply)) == {param}


@pytest.mark.parametrize(
    "given", ["x", "0", "-1", "é", "v1-r1.0-n0-d0-0000", "e1-0000", "9" * 5000]
)
@pytest.mark.parametrize("path", ["{job}", "{study}", "/v1/events"])
def test_a_wrong_id_is_refused_before_the_stream(
    live: Live, ended: dict[str, str], path: str, given: str
) -> None:
    headers = {"Last-Event-ID": given.encode()}
    reply = live.http.get(path.format(**ended), headers=headers)  # type: ignore[arg-type]
    assert refused_params(reply) == [NO_ID]


@pytest.mark.parametrize(
    "path",
    [
        f"/v1/jobs/{NO_SUCH_JOB}/events",
        "/v1/jobs/job_1/events",
        f"/v1/studies/{NO_SUCH_STUDY}/events",
        "{study}?run=6",
        f"/v1/events?job={NO_SUCH_JOB}",
        "/v1/events?job=x",
    ],
)
def test_what_is_not_there_is_a_404(live: Live, ended: dict[str, str], path: str) -> None:
    problem_of(live.http.get(path.format(**ended)), 404, "not_found")


@pytest.mark.parametrize("path", ["{job}", "{study}", "/v1/events"])
def test_a_stream_has_the_manners_of_the_other_calls(
    live: Live, ended: dict[str, str], path: str
) -> None:
    path = path.format(**ended)
    head = live.http.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert head.headers["cache-control"] == "no-cache"
    assert head.headers["x-accel-buffering"] == "no"
    foreign = {"Host": "evil.example"}, {"Origin": "https://evil.example"}
    assert [live.http.get(path, headers=each).status_code for each in foreign] == [403, 403]
    assert live.http.post(path).status_code == 405
    with live.http.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as reply:
        assert "content-encoding" not in reply.headers
        assert "x-request-id" in reply.headers


def test_a_job_that_is_deleted_meanwhile_is_a_404_at_the_next_call(live: Live) -> None:
    job = finished(live, 10)
    last = live.events(job["links"]["events"])[0].id
    assert live.http.delete(job["links"]["self"]).status_code == 204
    with live.stream(job["links"]["events"], last) as gone:
        assert gone.status == 404


def test_a_wide_series_has_fewer_rows_an_event(live: Live) -> None:
    spec = rosenbrock(budget={"max_steps": 40})
    spec["problem"]["function"]["dim"] = 9_000
    job = live.post(spec)
    claim = live.worker.claim()
    widths: dict[str, Any] = claim.layouts["train"].widths
    if "x" not in widths:
        pytest.skip("such a job keeps no points")
    steps = np.arange(40, dtype=float)
    series: Any = {name: steps for name in widths if name != "x"}
    live.worker.append(claim, step=steps, x=np.zeros((40, widths["x"])), **series)
    live.worker.close(claim)
    points = [e for e in live.events(job["links"]["events"]) if e.type == "points"]
    assert [len(event.steps) for event in points] == [11, 11, 11, 7]
