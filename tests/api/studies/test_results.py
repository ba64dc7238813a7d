"""The best configuration, the comparison, and pictures of a study."""

import math
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from api.services.comparisons import ComparisonCache
from core.studies import RunRecord
from tests.api.actors import Api, Json, digits, problem_of, refused_params
from tests.api.study_actors import RATES, Played, play, post, sweep


def compared(api: Api, body: Json | None = None) -> Played:
    """The second of three rates is the best by far, and the third diverges."""
    study = play(api, body or sweep(repeats=4))
    for index, metric in enumerate([0.5, 0.52, 0.49, 0.51, 0.25, 0.26, 0.24, 0.25]):
        study.end(index, metric)
    for index in range(8, 12):
        study.end(index, math.nan, outcome="diverged")
    return study


def test_the_best_is_a_job_s_spec_ready_to_post(api: Api) -> None:
    study = compared(api, sweep(digits(seed=7), repeats=4))
    spec = api.get(f"{study.path}/best")
    assert spec["optimizer"]["lr"] == RATES[1]
    assert spec["seed"] == 7
    assert spec == api.get(f"{study.path}/runs/4")["spec"]
    assert api.post(spec)["spec"] == spec


def test_there_is_no_best_before_a_run_has_a_value(api: Api) -> None:
    problem_of(api.http.get(f"{post(api)['links']['self']}/best"), 409, "not_ready")
    study = play(api)
    problem_of(api.http.get(f"{study.path}/best"), 409, "not_ready")
    study.close(*[None] * 6)
    problem_of(api.http.get(f"{study.path}/best"), 409, "not_ready")


def test_there_is_no_best_of_different_problems(api: Api) -> None:
    study = play(api, sweep(sweep={"problem.data.name": {"values": ["digits", "wine"]}}))
    for index in range(4):
        study.end(index, 0.5)
    body = problem_of(api.http.get(f"{study.path}/best"), 409, "not_ready")
    assert "different problems" in body["detail"]
    assert study.view()["best"] is None


def test_the_comparison_folds_repeats_and_counts_what_diverged(api: Api) -> None:
    study = compared(api)
    body = api.get(f"{study.path}/comparison")
    assert (body["study_id"], body["complete"], body["winner"]) == (study.id, False, None)
    first, second, third = body["configurations"]
    assert [row["configuration"] for row in (first, second, third)] == [1, 0, 2]
    assert first["mean"] == pytest.approx(fmean([0.25, 0.26, 0.24, 0.25]))
    assert first["ci95"][0] < first["mean"] < first["ci95"][1]
    assert (third["num_diverged"], third["mean"]) == (4, None)
    assert third["values"] == ["NaN"] * 4
    study.close(result={"best": None})
    ended = api.get(f"{study.path}/comparison")
    assert (ended["complete"], ended["winner"]) == (True, 1)


IMPORTANCE: Json = {
    "method": "ped_anova", "options": {"target_quantile": 0.1}, "num_configurations": 3,
    "num_left_out": 0, "importance": {"optimizer.lr": 1.0}, "reason": None,
}  # fmt: skip


def test_importance_is_what_the_last_plan_has_written(api: Api) -> None:
    study = play(api)
    early = problem_of(api.http.get(f"{study.path}/importance"), 409, "not_ready")
    assert "at its end" in early["detail"]
    study.close(result={"best": None, "importance": IMPORTANCE})
    found = api.get(f"{study.path}/importance")
    assert {name: found[name] for name in IMPORTANCE} == IMPORTANCE
    assert found["study_id"] == study.id
    assert found["metric"]["name"] == "eval.loss"


def test_a_study_that_was_cancelled_or_is_of_an_older_version_has_no_importance(api: Api) -> None:
    cancelled = post(api)
    api.http.post(f"{cancelled['links']['self']}/cancel")
    late = problem_of(api.http.get(cancelled["links"]["importance"]), 409, "not_ready")
    assert "comes through" in late["detail"]
    old = play(api)
    old.close(result={"best": None})
    problem_of(api.http.get(f"{old.path}/importance"), 409, "not_ready")
    problem_of(api.http.get(f"/v1/studies/study_{'0' * 26}/importance"), 404, "not_found")


def test_one_repeat_has_no_interval_and_no_winner(api: Api) -> None:
    study = play(api, sweep(repeats=1))
    study.close(0.5, 0.25, 0.75)
    body = api.get(f"{study.path}/comparison")
    assert body["winner"] is None
    assert body["reason"]
    assert [row["ci95"] for row in body["configurations"]] == [None] * 3


def test_a_comparison_before_the_plan_is_empty(api: Api) -> None:
    body = api.get(f"{post(api)['links']['self']}/comparison")
    assert (body["configurations"], body["leader"], body["winner"]) == ([], None, None)
    assert body["reason"]


class CountingRuns:
    """A store whose studies count how often all runs are read."""

    def __init__(self, runs: list[RunRecord]) -> None:
        self.studies = self
        self.found = runs
        self.reads = 0

    async def runs(self, _: str) -> list[RunRecord]:
        self.reads += 1
        return self.found


@pytest.mark.anyio
async def test_what_is_found_of_an_ended_study_is_remembered(api: Api) -> None:
    from dataclasses import replace

    study = compared(api)
    runs: Any = CountingRuns(study.runs)
    findings, record = ComparisonCache(), replace(study.claim.study, status="running")
    for _ in range(2):
        await findings.comparison(runs, record)
    assert runs.reads == 2
    ended = replace(record, status="cancelled")
    bodies = {await findings.comparison(runs, ended) for _ in range(2)}
    assert (runs.reads, len(bodies)) == (3, 1)
    best = [await findings.best(runs, ended) for _ in range(2)]
    assert (runs.reads, best[0]) == (4, best[1])
    assert (await findings.comparison(runs, replace(ended, version=99))) in bodies
    assert runs.reads == 5


def with_rows(api: Api, body: Json | None = None) -> Played:
    study = play(api, body or sweep(metric={"name": "loss", "target": 0.1}))
    for run in study.runs:
        loss = np.exp(-np.arange(100) * run.params["optimizer.lr"]) + 0.01 * run.repeat
        zeros = np.zeros(100)
        study.append(run.index, step=np.arange(100), loss=loss, lr=zeros, grad_norm=zeros)
        study.end(run.index, float(loss[-1]), target={"step": 50, "seconds": 0.1})
    return study


@pytest.mark.parametrize("kind", ["curves", "profile"])
@pytest.mark.parametrize(
    ("format_", "media_type", "magic"),
    [("svg", "image/svg+xml", b"<?xml"), ("png", "image/png", b"\x89PNG")],
)
def test_a_picture_can_be_asked_for(
    api: Api, kind: str, format_: str, media_type: str, magic: bytes
) -> None:
    study = with_rows(api)
    reply = api.http.get(f"{study.path}/plot", params={"kind": kind, "format": format_})
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == media_type
    assert reply.content.startswith(magic)


def test_curves_of_evaluations_and_of_long_runs_are_drawn(api: Api) -> None:
    study = play(api, sweep(digits(budget={"max_steps": 9_000}), metric={"name": "eval.loss"}))
    study.append(0, "eval", step=[0, 100], loss=[1, 0.5], accuracy=[0, 1])
    assert api.http.get(f"{study.path}/plot").status_code == 200
    long = play(api, sweep(digits(budget={"max_steps": 9_000}), metric={"name": "loss"}))
    steps = np.arange(9_000)
    long.append(1, step=steps, loss=1.0 / (1 + steps), lr=steps * 0.0, grad_norm=steps * 0.0)
    assert api.http.get(f"{long.path}/plot").status_code == 200


def test_optimizers_with_parameters_of_their_own_are_drawn_side_by_side(api: Api) -> None:
    optimizers = [{"kind": "sgd", "lr": 0.1, "momentum": 0.9}, {"kind": "adam", "lr": 0.001}]
    study = with_rows(
        api,
        sweep(
            sweep={"optimizer": {"values": optimizers}, "optimizer.lr": {"values": [0.1, 0.2]}},
            metric={"name": "loss", "target": 0.1},
        ),
    )
    for kind in ("curves", "profile"):
        reply = api.http.get(f"{study.path}/plot", params={"kind": kind})
        assert reply.status_code == 200, reply.text


def test_a_picture_without_rows_is_a_409(api: Api) -> None:
    for path in (post(api)["links"]["self"], play(api).path):
        problem_of(api.http.get(f"{path}/plot"), 409, "not_ready")


def test_a_profile_needs_a_target(api: Api) -> None:
    study = compared(api)
    problem_of(api.http.get(f"{study.path}/plot?kind=profile"), 409, "not_ready")
    study.close()
    reply = api.http.get(f"{study.path}/plot?kind=profile")
    assert refused_params(reply) == ["kind"]
    assert "target" in reply.json()["detail"]


@pytest.mark.parametrize("query", ["kind=loss", "format=gif", "x=1"])
def test_a_picture_that_is_not_built_is_refused(api: Api, query: str) -> None:
    reply = api.http.get(f"{play(api).path}/plot?{query}")
    assert refused_params(reply) == [query.split("=", maxsplit=1)[0]]
