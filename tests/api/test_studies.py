"""Submitting, reading, waiting for, cancelling and deleting studies."""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest

from tests.api.actors import Api, Json, problem_of, refused_params, rosenbrock
from tests.api.study_actors import NO_SUCH_STUDY, RATES, play, post, sweep, take


def test_a_posted_study_is_accepted_queued_and_announced(api: Api) -> None:
    reply = api.http.post("/v1/studies", json=sweep(labels={"team": "vision"}))
    study = reply.json()
    assert reply.status_code == 202
    assert reply.headers["location"] == study["links"]["self"] == f"/v1/studies/{study['id']}"
    assert int(reply.headers["retry-after"]) >= 0
    assert reply.headers["content-type"] == "application/json"
    assert study["id"].startswith("study_")
    assert (study["status"], study["labels"]) == ("queued", {"team": "vision"})
    assert api.dispatcher.announced == 1
    assert study == api.get(f"/v1/studies/{study['id']}")
    assert api.get("/v1/jobs")["data"] == []


def test_a_study_has_exactly_these_fields(api: Api) -> None:
    study = post(api)
    assert list(study) == [
        *("id", "status", "spec", "progress", "best", "result", "error", "labels", "created_at"),
        *("started_at", "finished_at", "cancel_requested_at", "links"),
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
    }  # fmt: skip
    assert datetime.fromisoformat(study["created_at"]).utcoffset() is not None


def test_every_link_of_a_study_leads_somewhere(api: Api) -> None:
    for link in post(api)["links"].values():
        assert api.http.get(link).status_code in {200, 409}


def test_a_running_study_shows_its_progress_in_runs_and_steps(api: Api) -> None:
    study = play(api)
    study.write(0, status="running")
    study.end(1, 0.25)
    study.end(2, math.nan, outcome="diverged")
    study.write(3, status="failed", error={"code": "out_of_memory", "message": "It did."})
    study.write(updates=150)
    progress = study.view()["progress"]
    assert progress["runs"] == {
        "queued": 2, "running": 1, "succeeded": 2, "failed": 1, "cancelled": 0, "diverged": 1
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
    assert api.get("/v1/studies")["data"] == [view]


def test_a_failed_study_says_why(api: Api) -> None:
    error = {"code": "out_of_memory", "message": "All runs failed.", "param": None}
    study = play(api)
    study.close(status="failed", error=error)
    view = study.view()
    assert (view["status"], view["error"], view["best"]) == ("failed", error, None)


def test_validate_creates_nothing_and_counts(api: Api) -> None:
    reply = api.http.post("/v1/studies/validate", json=sweep())
    assert reply.status_code == 200
    body = reply.json()
    assert list(body) == ["spec", "estimate"]
    estimate = body["estimate"]
    assert list(estimate) == [
        "num_configurations", "num_runs", "num_steps", "memory_bytes", "history_bytes"
    ]  # fmt: skip
    assert list(estimate.values())[:3] == [3, 6, 600]
    assert estimate["memory_bytes"] > 0
    assert estimate["history_bytes"] > 6 * 100 * 3 * 8
    assert api.get("/v1/studies")["data"] == []
    assert api.dispatcher.announced == 0


def test_the_resolved_spec_can_be_posted_again(api: Api) -> None:
    first = post(api)
    assert first["spec"]["metric"] == {
        "name": "eval.loss", "at": "final", "goal": "min", "target": None
    }  # fmt: skip
    assert post(api, first["spec"])["spec"] == first["spec"]
    validated = api.http.post("/v1/studies/validate", json=first["spec"]).json()
    assert validated["spec"] == first["spec"]


def test_an_idempotency_key_makes_one_study(api: Api) -> None:
    headers = {"Idempotency-Key": "order 66!~"}
    first = api.http.post("/v1/studies", json=sweep(), headers=headers)
    again = api.http.post("/v1/studies", json=sweep(), headers=headers)
    assert "idempotent-replayed" not in first.headers
    assert again.status_code == 202
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    assert again.json() == first.json()
    assert len(api.get("/v1/studies")["data"]) == 1
    assert api.dispatcher.announced == 1


def test_an_idempotency_key_with_another_body_is_a_conflict(api: Api) -> None:
    headers = {"Idempotency-Key": "k"}
    post(api, headers=headers)
    reply = api.http.post("/v1/studies", json=sweep(repeats=3), headers=headers)
    problem_of(reply, 409, "idempotency_key_reused")
    assert api.post(headers=headers)["status"] == "queued"  # jobs have their own


def test_one_key_sent_from_many_threads_makes_one_study(api: Api) -> None:
    def send(_: int) -> str:
        return str(post(api, headers={"Idempotency-Key": "same"})["id"])

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(send, range(16)))) == 1


@pytest.mark.parametrize("key", [b"", b"k" * 256, "schlüssel".encode()])
def test_a_malformed_idempotency_key_is_refused(api: Api, key: bytes) -> None:
    reply = api.http.post("/v1/studies", json=sweep(), headers={b"Idempotency-Key": key})
    assert refused_params(reply) == ["Idempotency-Key"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (sweep(nonsense=1), "nonsense"),
        (sweep(sweep={"optimizer.lr": {"values": [0.1, -1]}}), "sweep.optimizer.lr"),
        (sweep(sweep={"optimizer.rate": {"values": [0.1]}}), "sweep.optimizer.rate"),
        (sweep(repeats=0), "repeats"),
        (sweep(repeats=100_000), "repeats"),
        (sweep(base=rosenbrock(optimizer={"kind": "wizard"})), "base.optimizer"),
        (sweep(base=rosenbrock(labels={"a": "b"})), "base.labels"),
        (sweep(strategy={"kind": "wizard"}), "strategy"),
        (sweep(metric={"name": "eval.f1"}), "metric.name"),
    ],
)
def test_a_wrong_study_is_refused_and_its_field_named(api: Api, body: Json, param: str) -> None:
    for path in ("/v1/studies", "/v1/studies/validate"):
        named = refused_params(api.http.post(path, json=body))
        assert any(name.startswith(param) for name in named), named
    assert api.get("/v1/studies")["data"] == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 50_000, b"NaN"])
def test_a_body_that_is_no_study_is_refused(api: Api, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    assert refused_params(api.http.post("/v1/studies", content=body, headers=headers))


def test_other_media_and_large_bodies_are_refused(api: Api) -> None:
    for path in ("/v1/studies", "/v1/studies/validate"):
        reply = api.http.post(path, content=json.dumps(sweep()).encode())
        problem_of(reply, 415, "unsupported_media_type")
        large = b" " * (api.settings.max_body_bytes + 1)
        headers = {"Content-Type": "application/json"}
        reply = api.http.post(path, content=large, headers=headers)
        problem_of(reply, 413, "body_too_large")


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


def test_cancelling_ends_the_wait(api: Api) -> None:
    path = post(api)["links"]["self"]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(api.get, path, wait=30)
        api.http.post(f"{path}/cancel")
        assert waiting.result()["status"] == "cancelled"


def test_a_queued_study_is_cancelled_at_once(api: Api) -> None:
    path = post(api)["links"]["self"]
    reply = api.http.post(f"{path}/cancel")
    assert reply.status_code == 202
    assert reply.json()["status"] == "cancelled"
    assert reply.json()["cancel_requested_at"]
    assert reply.json()["progress"]["runs"]["queued"] == 0
    assert api.worker.store.claim_next("w", ("cpu",), 60) is None


def test_a_running_study_is_asked_to_stop_and_keeps_what_it_had(api: Api) -> None:
    study = play(api)
    study.end(0, 0.5)
    for _ in range(2):
        reply = api.http.post(f"{study.path}/cancel")
        assert (reply.status_code, reply.json()["status"]) == (202, "cancelling")
    assert api.worker.store.renew(study.claim, 60) == "cancelling"
    api.worker.store.studies.close(study.claim, "cancelled", "cancelled")
    view = study.view()
    assert view["status"] == "cancelled"
    assert view["progress"]["runs"] == {
        "queued": 0, "running": 0, "succeeded": 1, "failed": 0, "cancelled": 5, "diverged": 0
    }  # fmt: skip
    assert view["best"]["configuration"] == 0


def test_a_study_that_is_cancelled_between_two_rungs_keeps_its_weights_alone(api: Api) -> None:
    import numpy as np

    study = play(api)
    names = [f"{kind}/0_1.safetensors" for kind in ("paused", "weights")]
    for name in [*names, "weights/0_2.safetensors"]:
        study.save({"final.w": np.zeros((6, 2))}, name)
    weights = {"file": names[1], "row": 0, "steps": {"final": 10}}
    for index in range(6):
        study.write(index, paused={"step": 10, "file": names[0]}, weights={**weights, "row": index})
    api.worker.store.studies.close(study.claim, "succeeded", "finished")
    reply = api.http.post(f"{study.path}/cancel")
    assert (reply.status_code, reply.json()["status"]) == (202, "cancelled")
    folder = api.worker.artifacts / study.id
    kept = [str(file.relative_to(folder)) for file in folder.rglob("*.safetensors")]
    assert kept == names[1:]
    assert api.http.get(f"{study.path}/runs/5/model").status_code == 200


def test_cancelling_a_terminal_study_changes_nothing(api: Api) -> None:
    study = play(api)
    study.close(*[0.5] * 6)
    before = study.view()
    reply = api.http.post(f"{study.path}/cancel")
    assert (reply.status_code, reply.json()) == (200, before)
    reply = api.http.post(f"{study.path}/cancel", content=b'{"now": true}')
    assert refused_params(reply) == [""]


def test_a_deleted_study_is_gone_with_its_runs_and_weights(api: Api) -> None:
    import numpy as np

    study = play(api)
    study.append(0, step=[0], loss=[1], lr=[1], grad_norm=[1])
    study.save({"final.w": np.zeros((6, 2))})
    weights = {"file": "weights/0_1.safetensors", "row": 0, "steps": {"final": 100}}
    study.end(0, 0.5, weights=weights)
    folder = api.worker.artifacts / study.id
    problem_of(api.http.delete(study.path), 409, "not_terminal")
    assert folder.exists()
    study.close()
    reply = api.http.delete(study.path)
    assert (reply.status_code, reply.content) == (204, b"")
    assert not folder.exists()
    rest = ("", "/runs", "/runs/0", "/runs/0/history", "/runs/0/model", "/best", "/comparison")
    for part in rest:
        problem_of(api.http.get(f"{study.path}{part}"), 404, "not_found")
    problem_of(api.http.delete(study.path), 404, "not_found")
    assert api.get("/v1/studies")["data"] == []


def test_lists_come_newest_first_and_cursors_reach_every_study_once(api: Api) -> None:
    ids = [post(api)["id"] for _ in range(5)]
    seen: list[str] = []
    query: Json = {"limit": 2}
    while True:
        page = api.get("/v1/studies", **query)
        seen += [study["id"] for study in page["data"]]
        if not page["has_more"]:
            break
        query["after"] = page["next_cursor"]
        api.post()  # jobs are no studies
    assert seen == ids[::-1]


def test_lists_are_filtered(api: Api) -> None:
    first = post(api, sweep(labels={"a": "1"}))
    second = post(api, sweep(labels={"a": "2"}))
    api.http.post(f"{first['links']['self']}/cancel")

    def ids(**query: Any) -> list[str]:
        return [study["id"] for study in api.get("/v1/studies", **query)["data"]]

    assert ids(label="a:1") == ids(status="cancelled") == [first["id"]]
    assert ids(status=["cancelled", "queued"]) == [second["id"], first["id"]]
    assert ids(created_after=first["created_at"]) == [second["id"]]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "status=done", "label=x", "created_after=x", "nonsense=1"]
)
def test_a_wrong_list_parameter_is_named(api: Api, query: str) -> None:
    reply = api.http.get(f"/v1/studies?{query}")
    assert refused_params(reply) == [query.split("=", maxsplit=1)[0]]


def test_cursors_of_studies_and_jobs_are_not_mixed_up(api: Api) -> None:
    for _ in range(2):
        post(api)
        api.post()
    of_jobs = api.get("/v1/jobs", limit=1)["next_cursor"]
    of_studies = api.get("/v1/studies", limit=1)["next_cursor"]
    for path, cursor in (("/v1/studies", of_jobs), ("/v1/jobs", of_studies)):
        assert refused_params(api.http.get(path, params={"after": cursor})) == ["after"]


@pytest.mark.parametrize(
    "study_id",
    [NO_SUCH_STUDY, NO_SUCH_STUDY.upper(), "nonsense", "..", "..%2f..%2fetc", "a" * 5000, "%00"],
)
@pytest.mark.parametrize(
    ("method", "rest"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/cancel"),
        ("GET", "/runs"),
        ("GET", "/runs?sort=metric"),
        ("GET", "/runs/0"),
        ("GET", "/runs/0/history"),
        ("GET", "/runs/0/model"),
        ("GET", "/best"),
        ("GET", "/comparison"),
        ("GET", "/plot"),
    ],
)
def test_an_id_that_names_nothing_is_a_404(api: Api, study_id: str, method: str, rest: str) -> None:
    reply = api.http.request(method, f"/v1/studies/{study_id}{rest}")
    problem_of(reply, 404, "not_found")


def test_a_jobs_id_is_no_studys(api: Api) -> None:
    job_id, study_id = api.post()["id"], post(api)["id"]
    problem_of(api.http.get(f"/v1/studies/{job_id}"), 404, "not_found")
    problem_of(api.http.get(f"/v1/jobs/{study_id}"), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "rest", "allow"),
    [
        ("PUT", "", "GET, HEAD, POST"),
        ("DELETE", "", "GET, HEAD, POST"),
        ("GET", "/validate", "POST"),
        ("POST", f"/{NO_SUCH_STUDY}", "DELETE, GET, HEAD"),
        ("GET", f"/{NO_SUCH_STUDY}/cancel", "POST"),
        ("POST", f"/{NO_SUCH_STUDY}/runs", "GET, HEAD"),
        ("DELETE", f"/{NO_SUCH_STUDY}/runs/0", "GET, HEAD"),
        ("POST", f"/{NO_SUCH_STUDY}/best", "GET, HEAD"),
    ],
)
def test_a_method_that_a_path_does_not_take_is_a_405(
    api: Api, method: str, rest: str, allow: str
) -> None:
    reply = api.http.request(method, f"/v1/studies{rest}")
    problem_of(reply, 405, "method_not_allowed")
    assert reply.headers["allow"] == allow


def test_head_is_get_without_the_body(api: Api) -> None:
    study = play(api)
    study.close(*[0.5] * 6)
    for path in ("/v1/studies", study.path, f"{study.path}/runs", f"{study.path}/comparison"):
        head, get = api.http.head(path), api.http.get(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(get.content))


@pytest.mark.parametrize("rest", ["", "/runs/0", "/best", "/comparison"])
def test_unknown_query_parameters_are_refused(api: Api, rest: str) -> None:
    reply = api.http.get(f"{post(api)['links']['self']}{rest}?nonsense=1")
    assert refused_params(reply) == ["nonsense"]


def test_a_worker_may_work_at_a_study(api: Api) -> None:
    from tests.api.test_system import info

    study = play(api)
    started = "2026-11-22T10:00:00.000000Z"
    for current in (study.id, f"{study.id}/0.1"):
        api.worker.store.report_worker(info("a", started, current), 60)
        assert api.get("/v1/workers")["data"][0]["current_job"] == study.id


def test_rates_are_what_the_sweep_says(api: Api) -> None:
    study = play(api)
    runs = api.get(f"{study.path}/runs")["data"]
    assert [run["params"]["optimizer.lr"] for run in runs] == [r for r in RATES for _ in range(2)]
