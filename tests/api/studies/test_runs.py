"""The runs of a study: lists, one run, its history and its weights."""

import csv
import io
import json
import math
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load

from tests.api.actors import Api, Json, digits, problem_of, refused_params, rosenbrock
from tests.api.study_actors import Played, play, post, sweep

NAN, INF = math.nan, math.inf


def indices(api: Api, study: Played, **query: Any) -> list[int]:
    return [run["index"] for run in api.get(f"{study.path}/runs", **query)["data"]]


def test_a_run_has_exactly_these_fields(api: Api) -> None:
    study = play(api)
    page = api.get(f"{study.path}/runs")
    path = f"{study.path}/runs/5"
    assert page["data"][5] == {
        "study_id": study.id,
        "index": 5,
        "configuration": 2,
        "repeat": 1,
        "params": {"optimizer.lr": 0.001},
        "seed": 1,
        "status": "running",
        "outcome": None,
        "metric": None,
        "target": None,
        "best": None,
        "result": None,
        "fused": None,
        "share_s": None,
        "paused": None,
        "stopped": None,
        "error": None,
        "enqueued": False,
        "links": {
            "self": path,
            "study": study.path,
            "history": f"{path}/history",
            "model": f"{path}/model",
        },
    }
    assert (page["has_more"], page["next_cursor"]) == (False, None)


def test_a_run_that_has_ended_says_how(api: Api) -> None:
    study = play(api)
    study.end(
        0, INF, outcome="diverged", best={"step": 3, "loss": 0.5}, fused=True, share_s=0.25,
        target={"step": 2, "seconds": 0.1}, result={"final_loss": NAN, "num_steps": 7},
    )  # fmt: skip
    run = api.get(f"{study.path}/runs")["data"][0]
    assert (run["status"], run["outcome"], run["metric"]) == ("succeeded", "diverged", "Infinity")
    assert run["result"] == {"final_loss": "NaN", "num_steps": 7}
    assert run["best"] == {"step": 3, "loss": 0.5}
    assert run["target"] == {"step": 2, "seconds": 0.1}
    assert (run["fused"], run["share_s"]) == (True, 0.25)


def test_what_a_stopper_did_is_told_without_the_service_s_files(api: Api) -> None:
    study = play(api)
    paused = {"step": 30, "loss": 0.5, "eval": {"loss": NAN}, "file": "paused/0_1.safetensors"}
    stopped = {"by": "successive_halving", "step": 30, "rank": 3, "of": 3}
    study.write(0, paused=paused)
    study.write(1, status="cancelled", stopped=stopped)
    first, second, *_ = api.get(f"{study.path}/runs")["data"]
    assert first["paused"] == {"step": 30, "loss": 0.5, "eval": {"loss": "NaN"}}
    assert (second["status"], second["stopped"]) == ("cancelled", stopped)


def test_runs_come_in_order_of_index_and_in_pages(api: Api) -> None:
    study = play(api, sweep(repeats=9))
    assert indices(api, study) == list(range(20))
    assert indices(api, study, limit=1000) == list(range(27))
    seen: list[int] = []
    query: Json = {"limit": 10}
    while True:
        page = api.get(f"{study.path}/runs", **query)
        seen += [run["index"] for run in page["data"]]
        if not page["has_more"]:
            break
        query["after"] = page["next_cursor"]
    assert seen == list(range(27))
    assert indices(api, study, limit=27) == list(range(27))


@pytest.mark.parametrize("goal", ["min", "max"])
def test_runs_are_sorted_by_the_metric_best_first(api: Api, goal: str) -> None:
    study = play(api, sweep(repeats=3, metric={"name": "eval.accuracy", "goal": goal}))
    metrics = [0.5, NAN, 0.25, None, 0.25, -INF, 0.75, INF, 1e-300]
    for index, metric in enumerate(metrics):
        if metric is not None:
            study.end(index, metric)
    wanted = [8, 2, 4, 0, 6] if goal == "min" else [6, 0, 2, 4, 8]
    wanted += [1, 3, 5, 7]
    assert indices(api, study, sort="metric") == wanted
    seen: list[int] = []
    query: Json = {"limit": 2, "sort": "metric"}
    while True:
        page = api.get(f"{study.path}/runs", **query)
        seen += [run["index"] for run in page["data"]]
        if not page["has_more"]:
            break
        query["after"] = page["next_cursor"]
    assert seen == wanted


@pytest.mark.parametrize("goal", ["min", "max"])
def test_what_is_best_by_metric_is_best_everywhere(api: Api, goal: str) -> None:
    """Of one repeat each: what diverged, failed or was stopped leads nowhere."""
    study = play(api, sweep(repeats=1, metric={"name": "eval.loss", "goal": goal}))
    count = len(api.get(f"{study.path}/runs")["data"])
    assert count >= 3
    best = 0.125 if goal == "min" else 8.0
    study.end(0, best, outcome="diverged")
    study.end(1, 1.0)
    stopped = {"by": "successive_halving", "step": 30, "rank": 3, "of": 3}
    study.write(2, status="cancelled", metric=best, stopped=stopped)
    assert indices(api, study, sort="metric")[0] == 1
    compared = api.get(f"{study.path}/comparison")
    assert compared["leader"] == compared["configurations"][0]["configuration"] == 1


def test_runs_are_filtered_by_status_in_either_order(api: Api) -> None:
    study = play(api)
    study.write(0, status="running")
    for index, metric in ((1, 0.5), (3, 0.25), (4, 0.75)):
        study.end(index, metric)
    assert indices(api, study, status="succeeded") == [1, 3, 4]
    assert indices(api, study, status="succeeded", sort="metric") == [3, 1, 4]
    assert indices(api, study, status=["queued", "running"]) == [0, 2, 5]
    page = api.get(f"{study.path}/runs", status="succeeded", limit=2)
    assert indices(api, study, status="succeeded", after=page["next_cursor"]) == [4]


def test_a_cursor_belongs_to_its_study_and_order(api: Api) -> None:
    study, other = play(api), play(api)
    cursor = api.get(f"{study.path}/runs", limit=2)["next_cursor"]
    for path, query in (
        (f"{other.path}/runs", {}),
        (f"{study.path}/runs", {"sort": "metric"}),
        (f"{study.path}/runs", {"status": "queued"}),
    ):
        reply = api.http.get(path, params={**query, "after": cursor})
        assert refused_params(reply) == ["after"]
    for cursor in ("", "x", "AAAA", "=" * 50):
        reply = api.http.get(f"{study.path}/runs", params={"after": cursor})
        assert refused_params(reply) == ["after"]


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "sort=loss", "status=done", "x=1"])
def test_a_wrong_parameter_is_named(api: Api, query: str) -> None:
    study = play(api)
    reply = api.http.get(f"{study.path}/runs?{query}")
    assert refused_params(reply) == [query.split("=", maxsplit=1)[0]]


def test_a_run_carries_the_spec_that_repeats_it_alone(api: Api) -> None:
    study = play(api, sweep(digits(seed=40), repeats=2))
    run = api.get(f"{study.path}/runs/3")
    assert list(run)[-1] == "spec"
    assert (run["seed"], run["spec"]["seed"]) == (41, 41)
    assert run["spec"]["optimizer"]["lr"] == run["params"]["optimizer.lr"] == 0.01
    job = api.post(run["spec"])
    assert job["spec"] == run["spec"]
    del run["spec"]
    assert run == api.get(f"{study.path}/runs")["data"][3]


@pytest.mark.parametrize(
    "index",
    ["6", "abc", "-1", "007", "1.0", "+1", "1_0", "..%2f0", str(10**30), "9" * 5000, "%00", "٣"],
)
@pytest.mark.parametrize("rest", ["", "/history", "/model"])
def test_an_index_that_names_nothing_is_a_404(api: Api, index: str, rest: str) -> None:
    study = play(api)
    reply = api.http.get(f"{study.path}/runs/{index}{rest}")
    problem_of(reply, 404, "not_found")


def test_before_the_plan_there_are_no_runs_but_they_can_be_waited_for(api: Api) -> None:
    path = post(api)["links"]["self"]
    assert api.get(f"{path}/runs")["data"] == []
    assert api.get(f"{path}/runs", sort="metric")["data"] == []
    for rest in ("", "/model"):
        body = problem_of(api.http.get(f"{path}/runs/5{rest}"), 409, "not_ready")
        assert "not planned yet" in body["detail"]
    problem_of(api.http.get(f"{path}/runs/6"), 404, "not_found")
    history = api.get(f"{path}/runs/5/history")
    assert (history["series"], history["total"], history["complete"]) == ({"step": []}, 0, False)
    followed = api.get(f"{path}/runs/5/history", series="loss,lr")
    assert followed["series"] == {"step": [], "loss": [], "lr": []}
    for format_ in ("csv", "ndjson", "npz"):
        query = {"format": format_, "series": "x,loss"}
        assert api.http.get(f"{path}/runs/5/history", params=query).status_code == 200
    reply = api.http.get(f"{path}/runs/5/history", params={"series": "file"})
    assert refused_params(reply) == ["series"]
    problem_of(api.http.get(f"{path}/runs/6/history"), 404, "not_found")


def test_a_run_that_a_cancelled_study_never_planned_is_not_found(api: Api) -> None:
    path = post(api)["links"]["self"]
    api.http.post(f"{path}/cancel")
    problem_of(api.http.get(f"{path}/runs/0"), 404, "not_found")
    assert api.get(f"{path}/runs/0/history")["complete"]


def test_a_run_s_history_is_a_job_s_under_other_names(api: Api) -> None:
    study = play(api)
    study.write(2, status="running")
    study.append(2, step=[0, 1], loss=[1, NAN], lr=[0.01, 0.01], grad_norm=[2, INF])
    path = f"{study.path}/runs/2/history"
    assert api.get(path) == {
        "study_id": study.id,
        "run": 2,
        "kind": "train",
        "series": {
            "step": [0, 1],
            "loss": [1.0, "NaN"],
            "lr": [0.01, 0.01],
            "grad_norm": [2.0, "Infinity"],
        },
        "total": 2,
        "returned": 2,
        "method": "exact",
        "complete": False,
        "next_after": 1,
        "first_nonfinite_step": 1,
    }
    study.end(2, NAN, outcome="diverged")
    assert api.get(path)["complete"]
    assert api.get(f"{study.path}/runs/3/history")["total"] == 0  # its neighbour has none of these


def test_a_run_s_history_has_pages_views_and_formats(api: Api) -> None:
    study = play(api, sweep(digits(budget={"max_steps": 5_000})))
    steps = np.arange(5_000)
    loss = 1.0 / (1 + steps)
    loss[777] = 50.0
    study.append(0, step=steps, loss=loss, lr=steps * 0.0, grad_norm=steps * 1.0)
    study.append(0, "eval", step=[0, 100], loss=[2, 1], accuracy=[0.1, 0.5])
    path = f"{study.path}/runs/0/history"
    reply = api.http.get(path, params={"series": "loss", "limit": 3, "after": 9})
    assert reply.json()["series"] == {"step": [10, 11, 12], "loss": loss[10:13].tolist()}
    assert reply.headers["link"] == f'<{path}?series=loss&limit=3&after=12>; rel="next"'
    view = api.get(path, points=50, series="loss")
    assert (view["method"], view["total"]) == ("minmax", 5_000)
    assert {0, 777, 4_999} <= set(view["series"]["step"])
    evaluations = api.get(path, kind="eval")
    assert evaluations["series"] == {"step": [0, 100], "loss": [2.0, 1.0], "accuracy": [0.1, 0.5]}
    text = api.http.get(path, params={"format": "csv", "limit": 2, "series": "loss"}).text
    assert list(csv.reader(io.StringIO(text))) == [["step", "loss"], ["0", "1.0"], ["1", "0.5"]]
    lines = api.http.get(path, params={"format": "ndjson", "limit": 1}).text
    assert json.loads(lines) == {"step": 0, "loss": 1.0, "lr": 0.0, "grad_norm": 0.0}
    packed = api.http.get(path, params={"format": "npz", "limit": 10_000}).content
    assert np.load(io.BytesIO(packed))["loss"].tobytes() == loss.tobytes()
    assert refused_params(api.http.get(path, params={"series": "x"})) == ["series"]
    assert refused_params(api.http.get(path, params={"points": 3, "limit": 1})) == ["limit"]
    part = api.get(path, points=20, after=9, until=49, series="loss")["series"]["step"]
    assert 9 < part[0] <= part[-1] <= 49


def test_the_path_of_a_point_is_part_of_a_function_s_run(api: Api) -> None:
    study = play(api, sweep(rosenbrock()))
    rows: Json = {"step": [0, 1], "loss": [1, 2], "lr": [0, 0], "grad_norm": [0, 0]}
    study.append(1, **rows, x=[[0, 1], [2, 3]])
    series = api.get(f"{study.path}/runs/1/history", series="x")["series"]
    assert series == {"step": [0, 1], "x": [[0.0, 1.0], [2.0, 3.0]]}


def stacked(runs: int = 6) -> dict[str, Any]:
    numbers = np.arange(runs * 6, dtype=np.float32).reshape(runs, 2, 3)
    return {
        f"{which}.weight": numbers + 1_000 * place
        for place, which in enumerate(("initial", "best", "final"))
    }


def weights(row: int, **steps: int) -> Json:
    return {"file": "weights/0_1.safetensors", "row": row, "steps": steps}


@pytest.mark.parametrize(("checkpoint", "step"), [("initial", 0), ("best", 30), ("final", 100)])
def test_a_run_s_weights_are_a_file_of_their_own(api: Api, checkpoint: str, step: int) -> None:
    study = play(api)
    study.save(stacked())
    study.end(3, 0.5, weights=weights(4, initial=0, best=30, final=100))
    path = f"{study.path}/runs/3/model"
    reply = api.http.get(path, params={"checkpoint": checkpoint})
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "application/octet-stream"
    assert reply.headers["content-length"] == str(len(reply.content))
    name = f"{study.id}-3-{checkpoint}.safetensors"
    assert f'filename="{name}"' in reply.headers["content-disposition"]
    assert load(reply.content)["weight"].tolist() == stacked()[f"{checkpoint}.weight"][4].tolist()
    length = int.from_bytes(reply.content[:8], "little")
    metadata = json.loads(reply.content[8 : 8 + length])["__metadata__"]
    assert json.loads(metadata["spec"]) == api.get(f"{study.path}/runs/3")["spec"]
    assert (metadata["checkpoint"], metadata["step"]) == (checkpoint, str(step))
    assert metadata["class_names"] == '["0", "1"]'


def test_a_run_s_weights_come_in_part_too(api: Api) -> None:
    study = play(api)
    study.save(stacked())
    study.end(3, 0.5, weights=weights(4, initial=0, best=30, final=100))
    path = f"{study.path}/runs/3/model"
    whole = api.http.get(path)
    size = len(whole.content)
    for first in range(0, size, 97):
        for last in (first, first + 96, size - 1):
            sent = {"Range": f"bytes={first}-{last}", "If-Range": whole.headers["etag"]}
            reply = api.http.get(path, headers=sent)
            assert reply.status_code == 206
            assert reply.content == whole.content[first : last + 1]
    reply = api.http.get(path, headers={"Range": f"bytes={size}-"})
    problem_of(reply, 416, "range_not_satisfiable")


def test_weights_of_a_rung_are_served_until_later_ones_take_their_place(api: Api) -> None:
    study = play(api)
    study.save(stacked())
    study.save({name: 2 * tensor for name, tensor in stacked().items()}, "weights/1_1.safetensors")
    of_rung = weights(2, initial=0, best=20, final=30)
    paused = {"step": 30, "loss": 0.5, "eval": None, "file": "paused/0_1.safetensors"}
    stopped = {"by": "successive_halving", "step": 30, "rank": 2, "of": 3}
    study.write(0, paused=paused, weights=of_rung)
    path = f"{study.path}/runs/0/model"
    waiting = api.http.get(path)
    study.write(0, status="running")
    going_on = api.http.get(path)
    study.write(1, status="cancelled", stopped=stopped, weights=of_rung)
    final = api.http.get(f"{study.path}/runs/1/model")
    best = api.http.get(f"{study.path}/runs/1/model?checkpoint=best")
    assert [reply.status_code for reply in (waiting, going_on, final, best)] == [200] * 4
    row = stacked()["final.weight"][2].tolist()
    assert load(waiting.content)["weight"].tolist() == row
    assert load(final.content)["weight"].tolist() == row
    assert (step_in(final.content), step_in(best.content)) == ("30", "20")
    assert going_on.headers["etag"] == waiting.headers["etag"]
    of_end = {**weights(0, initial=0, final=100), "file": "weights/1_1.safetensors"}
    study.end(0, 0.5, weights=of_end)
    ended = api.http.get(path, headers={"If-None-Match": waiting.headers["etag"]})
    assert ended.status_code == 200
    doubled = 2 * stacked()["final.weight"][0]
    assert load(ended.content)["weight"].tolist() == doubled.tolist()


def step_in(file: bytes) -> str:
    """The updates that the weights have seen, by the file's own word."""
    length = int.from_bytes(file[:8], "little")
    step: str = json.loads(file[8 : 8 + length])["__metadata__"]["step"]
    return step


def test_weights_that_the_client_has_are_a_304_and_head_reads_none(api: Api) -> None:
    study = play(api)
    study.save(stacked())
    for index in (0, 1):
        study.end(index, 0.5, weights=weights(index, final=100))
    path = f"{study.path}/runs/0/model"
    reply = api.http.get(path)
    tag = reply.headers["etag"]
    assert api.http.get(path, headers={"If-None-Match": tag}).status_code == 304
    assert api.http.get(f"{study.path}/runs/1/model").headers["etag"] != tag
    head = api.http.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(reply.content))


def test_weights_that_are_not_there_yet_are_a_409(api: Api) -> None:
    study = play(api)
    problem_of(api.http.get(f"{study.path}/runs/0/model"), 409, "not_ready")
    study.end(0, 0.5, weights=weights(0, initial=0, final=100))
    body = problem_of(api.http.get(f"{study.path}/runs/0/model?checkpoint=best"), 409, "not_ready")
    assert "those that there are: final, initial." in body["detail"]
    assert refused_params(api.http.get(f"{study.path}/runs/0/model?checkpoint=x")) == ["checkpoint"]


def test_weights_whose_file_is_gone_or_damaged_are_a_503_that_shows_no_path(api: Api) -> None:
    study = play(api)
    study.end(0, 0.5, weights=weights(0, final=100))
    path = f"{study.path}/runs/0/model"
    for _ in range(2):
        reply = api.http.get(path)
        problem_of(reply, 503, "artifact_store_unavailable")
        assert str(api.worker.artifacts) not in reply.text
        study.save({"initial.weight": np.zeros((6, 2))})


def test_runs_of_one_batch_after_another_are_paged_as_they_are_planned(api: Api) -> None:
    strategy = {"kind": "tpe", "num_runs": 3, "batch_size": 2}
    body = sweep(sweep={"optimizer.lr": {"log": [0.001, 1.0]}}, strategy=strategy, repeats=1)
    study = play(api, body, [{"optimizer.lr": 0.1}, {"optimizer.lr": 0.2}])
    assert study.view()["progress"]["num_runs"] == 3
    assert indices(api, study) == [0, 1]
    problem_of(api.http.get(f"{study.path}/runs/2"), 409, "not_ready")
    assert not api.get(f"{study.path}/runs/2/history")["complete"]
    counts = study.view()["progress"]["runs"]
    assert (counts["running"], counts["queued"]) == (2, 1)
