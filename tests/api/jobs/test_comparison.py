"""Comparison of jobs over HTTP."""

from typing import Any

import numpy as np
import pytest

from tests.api.actors import NO_SUCH_JOB, Api, Json, digits, problem_of, refused_params, rosenbrock

NAN, INF = float("nan"), float("inf")
EVAL = {"step": [0, 20], "loss": [2.0, 1.5], "accuracy": [0.25, 0.5]}
AXES = ("step", "epoch", "time_s")


def job(
    api: Api,
    losses: Any,
    every: int = 10,
    *,
    ends: bool = True,
    evaluation: Any = None,
    test: Any = None,
    **spec: Any,
) -> str:
    """A classifier with these losses, at steps 0, 10, …; a step takes half a second."""
    body = digits(
        record={"every": every, "eval_every": 20}, budget={"max_steps": 100}, batch_size=16, **spec
    )
    job_id: str = api.post(body)["id"]
    claim = api.worker.claim()
    steps = [every * row for row in range(len(losses))]
    ones = [1.0] * len(losses)
    api.worker.append(claim, step=steps, loss=losses, lr=ones, grad_norm=ones)
    api.worker.append(claim, "eval", **EVAL)
    api.worker.store.update(claim, {}, times=[[0, 0.0], [100, 50.0]])
    if ends:
        result = {"num_steps": 30, "train_s": 15.0, "test": test}
        diagnosis = {"verdict": "healthy", "confidence": 0.9, "findings": [], "remedies": []}
        api.worker.close(claim, result=result, diagnosis=diagnosis)
    return job_id


def compared(api: Api, *ids: str, **query: Any) -> Json:
    return api.get("/v1/comparison", job=list(ids), **query)


def test_it_says_what_differs_and_what_came_of_it(api: Api) -> None:
    one = job(api, [4.0, 1.0, 2.0], optimizer={"kind": "sgd", "lr": 0.1})
    other = job(api, [4.0, 3.0, NAN], optimizer={"kind": "sgd", "lr": 0.2})
    found = compared(api, one, other, baseline=other, points=3)
    assert [each["id"] for each in found["jobs"]] == [one, other]
    assert [each["differs"] for each in found["jobs"]] == [
        {"optimizer.lr": 0.1},
        {"optimizer.lr": 0.2},
    ]
    assert found["same"]["optimizer.kind"] == "sgd"
    assert "optimizer.lr" not in found["same"]
    assert found["baseline"] == other
    first, second = found["jobs"]
    assert (first["status"], first["verdict"], first["num_steps"]) == ("succeeded", "healthy", 30)
    assert first["train_s"] == 15.0
    assert first["metrics"]["loss"] == {
        "goal": "min", "final": 2.0, "best": 1.0, "best_step": 10,
        "change": {"final": "NaN", "best": -2.0},
    }  # fmt: skip
    assert second["metrics"]["loss"]["final"] == "NaN"
    assert first["metrics"]["eval.accuracy"]["best"] == 0.5
    assert first["metrics"]["eval.accuracy"]["goal"] == "max"
    assert found["curves"] == {
        "x": [0.0, 10.0, 20.0],
        "loss": {one: [4.0, 1.0, 2.0], other: [4.0, 3.0, "NaN"]},
        "eval.loss": {each: [2.0, 2.0, 1.5] for each in (one, other)},
        "eval.accuracy": {each: [0.25, 0.25, 0.5] for each in (one, other)},
    }


def test_metrics_of_the_test_stand_beside_the_others(api: Api) -> None:
    best = {"step": 20, "loss": 1.25, "accuracy": 0.75}
    final = {"step": 30, "loss": NAN, "accuracy": 0.5, "confusion_matrix": [[1, 1], [1, 1]]}
    one = job(api, [4.0, 1.0], test={"best": best, "final": final})
    other = job(api, [4.0, 3.0], seed=1, test={"best": None, "final": {**best, "step": 30}})
    without = job(api, [4.0, 3.0], seed=2)
    found = compared(api, one, other, without, baseline=other)
    first, second, third = (each["metrics"] for each in found["jobs"])
    assert first["test.accuracy"] == {
        "goal": "max", "final": 0.5, "best": 0.75, "best_step": 20,
        "change": {"final": -0.25, "best": None},
    }  # fmt: skip
    assert (first["test.loss"]["final"], first["test.loss"]["goal"]) == ("NaN", "min")
    assert (second["test.loss"]["best"], second["test.loss"]["best_step"]) == (None, None)
    assert [name for name in first if name.startswith("test.")] == ["test.loss", "test.accuracy"]
    assert not any(name.startswith("test.") for name in third)
    assert not any(name.startswith("test.") for name in found["curves"])


@pytest.mark.parametrize("x", AXES)
def test_curves_lie_on_one_axis(api: Api, x: str) -> None:
    short, long = job(api, [4.0, 3.0, 2.0]), job(api, [5.0, 4.0, 3.0, 2.0, 1.0], seed=1)
    found = compared(api, short, long, x=x, points=5)
    # Digits: 1,438 training rows in batches of 16; half a second a step.
    scale = {"step": 1.0, "epoch": 16 / 1438, "time_s": 0.5}[x]
    assert found["axis"] == x
    assert found["curves"]["x"] == pytest.approx([scale * step for step in (0, 10, 20, 30, 40)])
    assert found["curves"]["loss"][short] == [4.0, 3.0, 2.0, None, None]
    assert found["curves"]["loss"][long] == [5.0, 4.0, 3.0, 2.0, 1.0]


def test_what_is_not_finite_is_on_every_axis(api: Api) -> None:
    wild = np.ones(90)
    wild[[17, 41]] = [INF, NAN]
    one, other = job(api, wild, every=1), job(api, [1.0, 2.0])
    for x in AXES:
        found = compared(api, one, other, points=2, x=x)
        losses = [value for value in found["curves"]["loss"][one] if isinstance(value, str)]
        assert losses == ["Infinity", "NaN"]


def test_seeds_make_a_band(api: Api) -> None:
    losses = ([4.0, 3.0, 2.0], [4.0, 1.0, 2.0], [4.0, 2.0, 5.0])
    ids = [job(api, each, seed=seed) for seed, each in enumerate(losses)]
    other = job(api, [4.0, 4.0, 4.0], optimizer={"kind": "sgd", "lr": 0.5})
    found = compared(api, *ids, other, points=3)
    (group,) = found["groups"]
    assert group["jobs"] == ids
    assert group["band"] == {
        "low": [4.0, 1.0, 2.0], "mid": [4.0, 2.0, 2.0], "high": [4.0, 3.0, 5.0],
    }  # fmt: skip
    assert all(each["differs"]["seed"] == seed for seed, each in enumerate(found["jobs"][:3]))


def test_best_is_exact_in_a_long_history(api: Api) -> None:
    losses = 2.0 + np.sin(np.arange(5_000.0))
    losses[[1_234, 3_210]] = [0.125, 0.125]
    body: Json = {"step": np.arange(5_000), "loss": losses}
    job_id = api.post(rosenbrock(budget={"max_steps": 5_000}))["id"]
    claim = api.worker.claim()
    more = {"lr": losses, "grad_norm": losses, "x": np.stack([losses, losses], axis=1)}
    api.worker.append(claim, **body, **more)
    other = job(api, [1.0])
    metrics = compared(api, job_id, other)["jobs"][0]["metrics"]
    assert metrics["loss"]["best"] == 0.125
    assert metrics["loss"]["best_step"] == 1_234
    assert metrics["loss"]["final"] == losses[-1]
    assert metrics.keys() == {"loss"}


def test_a_maximizing_job_is_best_at_its_top(api: Api) -> None:
    up = {"kind": "sgd", "lr": 0.1, "maximize": True}
    one, other = (job(api, [1.0, 3.0, 2.0], optimizer=up, seed=seed) for seed in (0, 1))
    loss = compared(api, one, other)["jobs"][0]["metrics"]["loss"]
    assert (loss["goal"], loss["best"], loss["best_step"]) == ("max", 3.0, 10)


def test_jobs_that_run_or_wait_are_compared_too(api: Api) -> None:
    running = job(api, [2.0, 1.0], ends=False)
    waiting = api.post(digits())["id"]
    found = compared(api, running, waiting)
    first, second = found["jobs"]
    assert (first["status"], first["train_s"]) == ("running", 50.0)
    assert first["metrics"]["loss"]["final"] == 1.0
    assert (second["status"], second["metrics"], second["train_s"]) == ("queued", {}, None)
    assert waiting not in found["curves"]["loss"]
    reply = api.http.get("/v1/comparison", params={"job": [running, waiting]})
    assert reply.headers["etag"].startswith("W/")


def test_nothing_is_drawn_of_jobs_without_rows(api: Api) -> None:
    ids = [api.post(digits(seed=seed))["id"] for seed in (0, 1)]
    found = compared(api, *ids)
    assert found["curves"] == {"x": []}
    assert found["groups"][0]["band"] == {"low": [], "mid": [], "high": []}
    problem_of(api.http.get("/v1/comparison/plot", params={"job": ids}), 409, "not_ready")


def test_labels_choose_the_jobs(api: Api) -> None:
    ids = [job(api, [1.0, 2.0], labels={"team": "a"}, seed=seed) for seed in (0, 1)]
    outside = job(api, [3.0])
    chosen = api.get("/v1/comparison", label="team:a")
    assert [each["id"] for each in chosen["jobs"]] == ids
    with_baseline = api.get("/v1/comparison", label="team:a", baseline=outside)
    assert [each["id"] for each in with_baseline["jobs"]] == [outside, *ids]


def test_an_unchanged_comparison_is_a_304(api: Api) -> None:
    ids = [job(api, [1.0, 2.0], seed=seed) for seed in (0, 1)]
    reply = api.http.get("/v1/comparison", params={"job": ids})
    tag = {"If-None-Match": reply.headers["etag"]}
    assert not reply.headers["etag"].startswith("W/")
    again = api.http.get("/v1/comparison", params={"job": ids}, headers=tag)
    assert (again.status_code, again.content) == (304, b"")
    others = ({"points": 3}, {"x": "time_s"}, {"baseline": ids[0]}, {"job": ids[::-1]})
    for more in others:
        changed = api.http.get("/v1/comparison", params={"job": ids, **more}, headers=tag)
        assert changed.status_code == 200


@pytest.mark.parametrize("path", ["/v1/comparison", "/v1/comparison/plot"])
def test_what_cannot_be_compared_is_refused(api: Api, path: str) -> None:
    one, other = job(api, [1.0]), job(api, [2.0], labels={"team": "a"})
    function = api.post(rosenbrock())["id"]
    api.worker.append(
        api.worker.claim(), step=[0], loss=[1.0], lr=[1.0], grad_norm=[1.0], x=[[0.0, 0.0]]
    )
    many = [f"job_{number:026}" for number in range(101)]
    wrong: list[tuple[Any, str]] = [
        ({}, "job"),
        ({"job": [one]}, "job"),
        ({"job": [one, one]}, "job"),
        ({"job": many}, "job"),
        ({"job": [*many, one]}, "job"),
        ({"job": [one], "label": "team:a"}, "job"),
        ({"label": "team:a"}, "label"),
        ({"label": "team"}, "label"),
        ({"job": [one, other], "x": "loss"}, "x"),
        ({"job": [one, function], "x": "epoch"}, "x"),
        ({"job": [one, function], "x": "time_s"}, "x"),
        ({"job": [one, other], "points": 1}, "points"),
        ({"job": [one, other], "points": 2_001}, "points"),
        ({"job": [one, other], "from": one}, "from"),
    ]
    for query, name in wrong:
        assert refused_params(api.http.get(path, params=query)) == [name], query
    for unknown in (NO_SUCH_JOB, "nonsense"):
        for given in ({"job": [one, unknown]}, {"job": [one, other], "baseline": unknown}):
            reply = api.http.get(path, params=given)
            assert unknown in problem_of(reply, 404, "not_found")["detail"]


@pytest.mark.parametrize("form", ["svg", "png"])
@pytest.mark.parametrize("metric", ["loss", "eval.loss", "eval.accuracy"])
def test_it_is_drawn(api: Api, metric: str, form: str) -> None:
    ids = [job(api, [3.0, 2.0 + seed, 1.0], seed=seed) for seed in (0, 1)]
    ids.append(job(api, [3.0, INF], optimizer={"kind": "sgd", "lr": 9.0}))
    for x in AXES:
        reply = api.http.get(
            "/v1/comparison/plot", params={"job": ids, "metric": metric, "format": form, "x": x}
        )
        assert reply.status_code == 200
        start = b"<?xml" if form == "svg" else b"\x89PNG"
        assert reply.content.startswith(start)
    wrong = api.http.get("/v1/comparison/plot", params={"job": ids, "metric": "eval.f1"})
    assert refused_params(wrong) == ["metric"]
