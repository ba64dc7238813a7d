"""Series that are made when they are named: seconds of training, and passes over the rows."""

import csv
import io
import json
from typing import Any

import numpy as np
import pytest

from core.store.history.layout import HistoryKind
from core.store.history.times import RunTimes
from tests.api.actors import Api, Json, digits, problem_of, refused_params, rosenbrock
from tests.api.study_actors import Played, play, sweep

TRAIN = {
    "step": [0, 10, 20, 25],
    "loss": [2.0, 1.0, float("nan"), 0.5],
    "lr": [0.1] * 4,
    "grad_norm": [1.0] * 4,
}
EVAL = {"step": [0, 20, 26], "loss": [3.0, 2.0, 1.0], "accuracy": [0.1, 0.2, 0.3]}
TIMES = [[0, 0.0], [5, 1.0], [25, 3.0], [26, 3.5]]
# By hand: 5 steps in 1 s, 20 in 2 s, then one in half a second.
TIME_S = {"train": [0.0, 1.5, 2.5, 3.0], "eval": [0.0, 2.5, 3.5]}
# 1,438 of digits' 1,797 rows train (0.2 are held out); batches of 64, the 23rd of 30.
EPOCH = {
    "train": [0.0, 640 / 1438, 1280 / 1438, (1438 + 2 * 64) / 1438],
    "eval": [0.0, 1280 / 1438, (1438 + 3 * 64) / 1438],
}
KINDS: tuple[HistoryKind, ...] = ("train", "eval")
ROWS: dict[HistoryKind, Json] = {"train": TRAIN, "eval": EVAL}
FORMATS = ("json", "csv", "ndjson", "npz")
BODY = digits(batch_size=64, budget={"max_steps": 26}, record={"every": 10, "eval_every": 20})


def a_job(api: Api, body: Json = BODY, times: Any = TIMES) -> str:
    job_id: str = api.post(body)["id"]
    claim = api.worker.claim()
    for kind, columns in ROWS.items():
        api.worker.append(claim, kind, **columns)
    api.worker.store.update(claim, {}, times=times)
    api.worker.close(claim)
    return f"/v1/jobs/{job_id}/history"


def a_run(api: Api) -> str:
    played = play(api, sweep(BODY, repeats=1))
    for kind, columns in ROWS.items():
        played.append(1, kind, **columns)
    note_times(played, {0: TIMES}, {1: RunTimes("0.1", 0, 0.0)})
    return f"{played.path}/runs/1/history"


def note_times(played: Played, times: Any, timed: Any) -> None:
    played.api.worker.store.studies.write(played.claim, times=times, timed=timed)


WHERE = {"job": a_job, "run": a_run}


def read(api: Api, path: str, form: str, **query: Any) -> dict[str, list[float]]:
    reply = api.http.get(path, params={"format": form, **query})
    assert reply.status_code == 200, reply.text
    match form:
        case "json":
            columns: dict[str, list[float]] = reply.json()["series"]
        case "npz":
            found = np.load(io.BytesIO(reply.content), allow_pickle=False)
            columns = {name: found[name].tolist() for name in found.files}
        case _:
            lines: list[dict[str, Any]]
            if form == "csv":
                lines = list(csv.DictReader(io.StringIO(reply.text)))
            else:
                lines = [json.loads(line) for line in reply.text.splitlines()]
            columns = {name: [float(line[name]) for line in lines] for name in lines[0]}
    return columns


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", sorted(WHERE))
def test_time_and_epoch_come_where_they_are_named(
    api: Api, what: str, kind: HistoryKind, form: str
) -> None:
    path = WHERE[what](api)
    steps = ROWS[kind]["step"]
    for more in ({}, {"points": 100}, {"after": -1, "limit": 10}):
        found = read(api, path, form, kind=kind, series="epoch,loss,time_s", **more)
        assert list(found) == ["step", "loss", "time_s", "epoch"]
        assert found["step"] == steps
        assert found["time_s"] == pytest.approx(TIME_S[kind])
        assert found["epoch"] == pytest.approx(EPOCH[kind])
        for alone in ("time_s", "epoch"):
            assert read(api, path, form, kind=kind, series=alone, **more) == {
                "step": steps,
                alone: found[alone],
            }
        unnamed = read(api, path, form, kind=kind, **more)
        assert not {"time_s", "epoch"} & unnamed.keys()
    page = read(api, path, form, kind=kind, series="time_s", after=0, limit=1)
    assert page["time_s"] == pytest.approx(TIME_S[kind][1:2])


@pytest.mark.parametrize("form", FORMATS)
def test_a_view_has_them_of_the_rows_that_it_chose(api: Api, form: str) -> None:
    job_id = api.post(rosenbrock(budget={"max_steps": 1_000}))["id"]
    claim = api.worker.claim()
    steps = np.arange(1_000.0)
    api.worker.append(
        claim, step=steps, loss=np.cos(steps), lr=steps, grad_norm=steps,
        x=np.stack([steps, steps], axis=1),
    )  # fmt: skip
    api.worker.store.update(claim, {}, times=[[0, 0.0], [1_000, 500.0]])
    path = f"/v1/jobs/{job_id}/history"
    view = read(api, path, form, series="loss,time_s", points=20)
    assert len(view["step"]) <= 20
    assert view["time_s"] == pytest.approx(0.5 * np.array(view["step"]))
    assert view["step"] == read(api, path, form, series="loss", points=20)["step"]


def test_a_continued_job_is_timed_from_its_checkpoint_on(api: Api) -> None:
    path = a_job(api, times=[[0, 40.0], [25, 42.5], [26, 43.0]])
    found = api.get(path, series="time_s")["series"]["time_s"]
    assert found == pytest.approx([40.0, 41.0, 42.0, 42.5])


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("times", [[], [[7, 1.0], [26, 2.0]]], ids=["none", "since step 7"])
def test_what_was_not_timed_is_refused(api: Api, times: Any, kind: str, form: str) -> None:
    path = a_job(api, times=times)
    query = {"kind": kind, "series": "loss,time_s", "format": form}
    for more in ({}, {"points": 2}, {"after": 10}):
        body = problem_of(api.http.get(path, params={**query, **more}), 422, "invalid_request")
        (mistake,) = body["errors"]
        assert (mistake["param"], mistake["code"]) == ("series", "not_recorded")
    assert api.http.get(path, params={"kind": kind, "series": "epoch"}).status_code == 200


def test_a_function_has_no_epochs(api: Api) -> None:
    job_id = api.post(rosenbrock())["id"]
    for kind in KINDS:
        reply = api.http.get(f"/v1/jobs/{job_id}/history", params={"series": "epoch", "kind": kind})
        assert refused_params(reply) == ["series"]
        assert "epoch" in reply.json()["errors"][0]["message"]


@pytest.mark.parametrize("kind", KINDS)
def test_without_rows_there_are_none_of_them(api: Api, kind: str) -> None:
    job_id = api.post(BODY)["id"]
    query = {"kind": kind, "series": "time_s,epoch"}
    paths = [f"/v1/jobs/{job_id}/history"]
    api.worker.close(api.worker.claim())
    paths += [f"{play(api, sweep(BODY)).path}/runs/{index}/history" for index in (0,)]
    for path in paths:
        assert api.get(path, **query)["series"] == {"step": [], "time_s": [], "epoch": []}


def test_a_run_that_is_not_planned_has_empty_ones(api: Api) -> None:
    body = sweep(BODY, strategy={"kind": "random", "num_runs": 2})
    study = api.http.post("/v1/studies", json=body).json()["id"]
    found = api.get(f"/v1/studies/{study}/runs/1/history", series="time_s,epoch")
    assert found["series"] == {"step": [], "time_s": [], "epoch": []}
