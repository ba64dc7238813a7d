"""Reading studies and waiting for them."""

import math
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
import redis

from tests.api.actors import Api, Json, refused_params
from tests.api.study_actors import RATES, play, post, sweep, take


def test_a_study_has_exactly_these_fields(api: Api) -> None:
    study = post(api)
    assert list(study) == [
        *("id", "status", "spec", "progress", "best", "result", "error", "labels"),
        *("name", "note", "priority", "keep_until", "parent_id", "created_at"),
        *("started_at", "finished_at", "cancel_requested_at", "pause_requested_at", "warnings"),
        *("usage", "links"),
        "timeline",
    ]
    assert study["progress"] == {
        "num_runs": 6,
        "num_finished_runs": 0,
        "runs": {
            "queued": 6, "running": 0, "succeeded": 0, "failed": 0, "cancelled": 0, "diverged": 0
        },
        "step": 0,
        "max_steps": 600,
        "fraction": 0.0,
        "steps_per_s": None,
        "eta_s": None,
        "queue_position": 0,
        "waiting_for": "no_worker",
    }  # fmt: skip
    assert datetime.fromisoformat(study["created_at"]).utcoffset() is not None


def test_every_link_of_a_study_leads_somewhere(api: Api) -> None:
    study = post(api)
    api.http.post(f"/v1/studies/{study['id']}/cancel")  # the stream of its events ends with it
    for link in study["links"].values():
        assert api.http.get(link).status_code in {200, 409}


def test_a_running_study_shows_its_progress_in_runs_and_steps(api: Api) -> None:
    study = play(api)
    study.end(1, 0.25)
    study.end(2, math.nan, outcome="diverged")
    study.write(3, status="failed", error={"code": "out_of_memory", "message": "It did."})
    study.write(updates=150)
    progress = study.view()["progress"]
    assert progress["runs"] == {
        "queued": 0, "running": 3, "succeeded": 2, "failed": 1, "cancelled": 0, "diverged": 1
    }  # fmt: skip
    assert (progress["num_runs"], progress["num_finished_runs"]) == (6, 3)
    assert (progress["step"], progress["max_steps"], progress["fraction"]) == (150, 600, 0.25)
    assert progress["eta_s"] == pytest.approx(450 / progress["steps_per_s"], rel=1e-6)
    assert progress["queue_position"] is None


def test_the_best_configuration_so_far_is_part_of_the_study(api: Api) -> None:
    study = play(api)
    assert study.view()["best"] is None
    for index, metric in enumerate((0.5, 0.5, 0.25, 0.75)):
        study.end(index, metric)
    study.end(4, 0.125)
    assert study.view()["best"] == {
        "configuration": 2, "params": {"optimizer.lr": 0.001}, "metric": 0.125
    }  # fmt: skip
    study.end(5, math.nan, outcome="diverged")  # it lost a run: what is left cannot speak for it
    assert study.view()["best"]["configuration"] == 0
    assert study.view()["best"]["metric"] == 0.5


def test_a_study_that_has_ended_says_what_came_of_it(api: Api) -> None:
    best: Json = {"configuration": 1, "params": {"optimizer.lr": 0.01}, "metric": math.inf}
    study = play(api)
    study.close(1, 1, 0.5, 0.5, 2, 2, result={"best": best, "deep": [{"x": -math.inf}]})
    view = study.view()
    assert (view["status"], view["progress"]["num_finished_runs"]) == ("succeeded", 6)
    assert view["best"] == best | {"metric": "Infinity"}
    assert view["result"]["deep"] == [{"x": "-Infinity"}]
    assert view["progress"]["eta_s"] is None
    assert view["started_at"] <= view["finished_at"]
    del view["timeline"]
    assert api.get("/v1/studies")["data"] == [view]


def test_a_failed_study_says_why(api: Api) -> None:
    error = {"code": "out_of_memory", "message": "All runs failed.", "param": None}
    study = play(api)
    study.close(status="failed", error=error)
    view = study.view()
    assert (view["status"], view["error"], view["best"]) == ("failed", error, None)


def test_an_unchanged_study_is_a_304(api: Api) -> None:
    study = play(api)
    weak = api.http.get(study.path).headers["etag"]
    assert weak.startswith('W/"')  # its rate falls while nothing else changes
    assert api.http.get(study.path, headers={"If-None-Match": weak}).status_code == 304
    study.close(1, 1, 1, 1, 1, 1)
    tag = api.http.get(study.path).headers["etag"]
    for sent in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        reply = api.http.get(study.path, headers={"If-None-Match": sent})
        assert (reply.status_code, reply.content) == (304, b""), sent
        assert reply.headers["etag"] == tag
    for sent in ('"other"', weak):
        assert api.http.get(study.path, headers={"If-None-Match": sent}).status_code == 200


def test_each_change_of_a_study_changes_its_etag(api: Api) -> None:
    first = post(api)
    path = first["links"]["self"]
    tags = [api.http.get(path).headers["etag"]]
    other = post(api, sweep(base={**sweep()["base"], "priority": 9}))
    tags.append(api.http.get(path).headers["etag"])
    api.http.post(f"{other['links']['self']}/cancel")
    take(api)
    tags.append(api.http.get(path).headers["etag"])
    assert len(set(tags)) == 3


def test_queued_studies_and_jobs_stand_in_one_queue(api: Api) -> None:
    first, second = api.post(), post(api)
    assert second["progress"]["queue_position"] == 1
    assert api.get("/v1/studies")["data"][0]["progress"]["queue_position"] == 1
    api.http.post(f"/v1/jobs/{first['id']}/cancel")
    assert api.get(second["links"]["self"])["progress"]["queue_position"] == 0


def test_a_waiting_reply_comes_as_soon_as_the_study_ends(api: Api) -> None:
    study = play(api)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(api.get, study.path, wait=30)
        study.end(0, 0.5)
        study.close(*[0.5] * 6)
        assert waiting.result()["status"] == "succeeded"


def test_when_the_time_is_up_the_study_comes_as_it_is(api: Api) -> None:
    path = post(api)["links"]["self"]
    assert api.get(path, wait=0.05)["status"] == "queued"
    reply = api.http.get(path, headers={"Prefer": "wait=0"})
    assert (reply.status_code, reply.headers["preference-applied"]) == (200, "wait=0")
    assert refused_params(api.http.get(path, params={"wait": 61})) == ["wait"]


def test_a_worker_may_work_at_a_study(api: Api) -> None:
    from tests.api.system.test_routes import info

    study = play(api)
    started = "2026-11-22T10:00:00.000000Z"
    for current in (study.id, f"{study.id}/0.1"):
        api.worker.store.report_worker(info("a", started, current), 60)
        assert api.get("/v1/workers")["data"][0]["current_job"] == study.id


def test_rates_are_what_the_sweep_says(api: Api) -> None:
    study = play(api)
    runs = api.get(f"{study.path}/runs")["data"]
    assert [run["params"]["optimizer.lr"] for run in runs] == [r for r in RATES for _ in range(2)]


def test_a_studys_mean_rate_leaves_pauses_out(api: Api) -> None:
    study = play(api)
    study.write(updates=300)
    key = f"{api.settings.namespace}:study:{study.id}"
    with redis.Redis.from_url(api.settings.redis_url) as raw:
        api.http.post(f"{study.path}/pause")
        api.worker.store.hand_over(study.claim)
        paused = api.get(study.path)
        assert (paused["status"], paused["progress"]["steps_per_s"]) == ("paused", None)
        assert paused["progress"]["eta_s"] is None
        raw.hincrby(key, "paused_ms", -3_600_000)  # it was an hour ago
        earlier = datetime.fromisoformat(paused["started_at"]) - timedelta(seconds=3700)
        raw.hset(key, "started_at", earlier.isoformat().replace("+00:00", "Z"))
    api.http.post(f"{study.path}/resume")
    take(api)
    assert 1.5 < study.view()["progress"]["steps_per_s"] <= 3.0
