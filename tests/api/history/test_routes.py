"""Histories: exact pages, honest views, four formats."""

import csv
import io
import json
import math
from typing import Any

import numpy as np
import pytest

from tests.api.actors import Api, Json, digits, problem_of, refused_params, rosenbrock

NAN, INF = float("nan"), float("inf")


def train(num_rows: int, loss: Any = None, **columns: Any) -> Json:
    """Columns of a two-dimensional function's history."""
    steps = np.arange(num_rows)
    return {
        "step": steps,
        "loss": 1.0 / (1 + steps) if loss is None else loss,
        "lr": np.full(num_rows, 0.001),
        "grad_norm": steps * 0.5,
        "x": np.stack([steps, -steps], axis=1),
        **columns,
    }


def recorded(api: Api, columns: Json, *, closed: bool = True, spec: Json | None = None) -> str:
    """A job with these rows."""
    job_id: str = api.post(spec or rosenbrock(budget={"max_steps": 100_000}))["id"]
    claim = api.worker.claim()
    api.worker.append(claim, **columns)
    if closed:
        api.worker.close(claim)
    return job_id


def history(api: Api, job_id: str, **query: Any) -> Json:
    return api.get(f"/v1/jobs/{job_id}/history", **query)


def test_a_history_has_exactly_the_contracts_shape(api: Api) -> None:
    job_id = recorded(api, train(2))
    assert history(api, job_id) == {
        "job_id": job_id,
        "kind": "train",
        "series": {
            "step": [0, 1],
            "loss": [1.0, 0.5],
            "lr": [0.001, 0.001],
            "grad_norm": [0.0, 0.5],
            "x": [[0.0, 0.0], [1.0, -1.0]],
        },
        "total": 2,
        "returned": 2,
        "method": "exact",
        "complete": True,
        "next_after": 1,
        "first_nonfinite_step": None,
    }


def test_a_job_without_rows_has_an_empty_history(api: Api) -> None:
    assert history(api, api.finished()["id"])["complete"]
    body = history(api, api.post()["id"])
    assert body["series"] == {"step": [], "loss": [], "lr": [], "grad_norm": [], "x": []}
    assert (body["total"], body["returned"], body["next_after"]) == (0, 0, None)
    assert not body["complete"]


def test_pages_meet_without_gap_or_repeat(api: Api) -> None:
    job_id = recorded(api, train(10))
    steps: list[int] = []
    after = -1
    for _ in range(4):
        page = history(api, job_id, after=after, limit=3, series="loss")
        steps += page["series"]["step"]
        after = page["next_after"]
        assert page["complete"] == (after == 9)
        assert list(page["series"]) == ["step", "loss"]
    assert steps == list(range(10))
    last = history(api, job_id, after=9)
    assert (last["returned"], last["next_after"], last["complete"]) == (0, None, True)
    assert history(api, job_id, after=10**14)["returned"] == 0


def test_after_finds_its_place_when_only_some_steps_are_recorded(api: Api) -> None:
    spec = rosenbrock(record={"every": 10}, budget={"max_steps": 95})
    job_id = recorded(api, train(11, step=[*range(0, 100, 10), 94]), spec=spec)
    for after, first in ((0, 10), (9, 10), (10, 20), (89, 90), (90, 94), (93, 94)):
        assert history(api, job_id, after=after)["series"]["step"][0] == first
    assert history(api, job_id, after=94)["series"]["step"] == []


def test_a_running_history_is_not_complete_and_can_be_followed(api: Api) -> None:
    job_id = recorded(api, train(5), closed=False)
    page = history(api, job_id)
    assert (page["complete"], page["next_after"], page["total"]) == (False, 4, 5)
    assert history(api, job_id, after=4)["next_after"] is None


def test_the_default_page_has_a_thousand_rows(api: Api) -> None:
    job_id = recorded(api, train(1200))
    reply = api.http.get(f"/v1/jobs/{job_id}/history?series=loss")
    assert reply.json()["returned"] == 1000
    assert not reply.json()["complete"]
    assert reply.headers["link"] == (
        f'</v1/jobs/{job_id}/history?series=loss&after=999>; rel="next"'
    )
    assert history(api, job_id, limit=10_000)["returned"] == 1200


def test_series_come_in_the_historys_own_order_and_step_always_does(api: Api) -> None:
    job_id = recorded(api, train(3))
    assert list(history(api, job_id, series="lr,loss")["series"]) == ["step", "loss", "lr"]
    assert list(history(api, job_id, series="step")["series"]) == ["step"]


def test_cosines_are_a_series_of_a_job_that_asks_for_them(api: Api) -> None:
    spec = digits(record={"gradient_cosine": True})
    job = api.post(spec)
    assert job["spec"]["record"]["gradient_cosine"] is True
    rows: Json = {"step": [0, 1], "loss": [2, 1], "lr": [1, 1], "grad_norm": [1, 1]}
    api.worker.append(api.worker.claim(), **rows, grad_cosine=[NAN, -0.5])
    series = history(api, job["id"], series="grad_cosine")["series"]
    assert series == {"step": [0, 1], "grad_cosine": ["NaN", -0.5]}
    refusal = api.http.post("/v1/jobs", json=digits(record={"gradient_cosine": "yes"}))
    assert refused_params(refusal) == ["record.gradient_cosine"]


def test_evaluations_are_a_history_of_their_own(api: Api) -> None:
    spec = digits(record={"every": 1, "eval_every": 40}, budget={"max_steps": 95})
    job_id = api.post(spec)["id"]
    claim = api.worker.claim()
    rows = {"step": [0, 40, 80, 95], "loss": [2, 1, 0.5, 0.25], "accuracy": [0.1, 0.5, 0.8, 0.9]}
    api.worker.append(claim, "eval", **rows)
    body = history(api, job_id, kind="eval")
    assert (body["kind"], body["series"]) == ("eval", rows)
    assert history(api, job_id, kind="eval", after=80)["series"]["step"] == [95]
    assert history(api, job_id)["total"] == 0


def test_a_job_without_evaluations_has_no_rows_of_them(api: Api) -> None:
    body = history(api, recorded(api, train(2)), kind="eval")
    assert (body["series"], body["total"]) == ({"step": []}, 0)


def test_numbers_that_are_not_finite_are_words(api: Api) -> None:
    job_id = recorded(api, train(4, [1.0, -INF, INF, NAN], x=[[0, 0], [1, NAN], [2, 2], [INF, 0]]))
    body = history(api, job_id)
    assert body["series"]["loss"] == [1.0, "-Infinity", "Infinity", "NaN"]
    assert body["series"]["x"] == [[0.0, 0.0], [1.0, "NaN"], [2.0, 2.0], ["Infinity", 0.0]]
    assert body["first_nonfinite_step"] == 1


def test_numbers_keep_every_bit(api: Api) -> None:
    loss = [0.1 + 0.2, 5e-324, 1.7976931348623157e308, math.pi, -0.0]
    found = history(api, recorded(api, train(5, loss)))["series"]["loss"]
    assert np.array(found).tobytes() == np.array(loss).tobytes()


def test_a_view_keeps_extremes_ends_and_every_row_that_is_not_finite(api: Api) -> None:
    rng = np.random.default_rng(0)
    loss = rng.normal(size=20_000)
    loss[[777, 12_345]] = [-50.0, 80.0]
    loss[[5_000, 5_001, 19_000]] = [NAN, INF, -INF]
    grad_norm = np.ones(20_000)
    grad_norm[4_321] = 1e9
    job_id = recorded(api, train(20_000, loss, grad_norm=grad_norm))
    view = history(api, job_id, points=100)
    steps = view["series"]["step"]
    assert (view["total"], view["method"], view["complete"]) == (20_000, "minmax", True)
    assert view["returned"] == len(steps) <= 103
    assert steps == sorted(set(steps))
    assert {0, 19_999, 777, 12_345, 4_321, 5_000, 5_001, 19_000} <= set(steps)
    assert view["next_after"] == 19_999
    assert view["first_nonfinite_step"] == 5_000
    for name, column in (("loss", loss), ("grad_norm", grad_norm)):
        expected = [float(column[step]) for step in steps]
        assert [float(value) for value in view["series"][name]] == pytest.approx(
            expected, nan_ok=True, rel=0
        )
    assert view["series"]["x"] == [[float(step), float(-step)] for step in steps]


def test_a_view_of_few_rows_is_exact(api: Api) -> None:
    job_id = recorded(api, train(10))
    view = history(api, job_id, points=10)
    assert (view["method"], view["returned"], view["complete"]) == ("exact", 10, True)
    fewer = history(api, job_id, points=9, series="loss")
    assert (fewer["method"], list(fewer["series"])) == ("minmax", ["step", "loss"])
    assert fewer["returned"] <= 9


def test_a_range_has_the_rows_after_one_step_up_to_and_with_another(api: Api) -> None:
    """Every range of a short history, whole and as pages, against the list of its steps."""
    recorded_steps = [*range(0, 30, 5), 27]
    spec = rosenbrock(record={"every": 5}, budget={"max_steps": 28})
    job_id = recorded(api, train(7, step=recorded_steps), spec=spec)
    for after in (-1, 0, 4, 24, 25, 27, 30):
        for until in (0, 4, 5, 24, 25, 26, 27, 90):
            if until < after:
                continue
            wanted = [step for step in recorded_steps if after < step <= until]
            view = history(api, job_id, after=after, until=until, points=100)
            assert (view["series"]["step"], view["method"]) == (wanted, "exact")
            assert view["total"] == 7
            path = f"/v1/jobs/{job_id}/history"
            url: str | None = f"{path}?after={after}&until={until}&limit=2"
            steps: list[int] = []
            while url:
                reply = api.http.get(url)
                steps += reply.json()["series"]["step"]
                url = reply.links.get("next", {}).get("url")
            assert steps == wanted


@pytest.mark.parametrize(("after", "until"), [(-1, 9_999), (999, 8_000), (5_000, 12_345)])
def test_a_view_of_a_range_keeps_its_extremes_and_what_is_not_finite(
    api: Api, after: int, until: int
) -> None:
    rng = np.random.default_rng(1)
    loss = rng.normal(size=10_000)
    loss[[500, 1_000, 6_000, 7_999]] = [-90.0, 40.0, -50.0, 30.0]
    loss[[999, 5_500]] = [NAN, INF]
    view = history(api, recorded(api, train(10_000, loss)), after=after, until=until, points=50)
    inside = np.arange(after + 1, min(until, 9_999) + 1)
    steps = view["series"]["step"]
    assert (view["method"], view["total"], view["complete"]) == ("minmax", 10_000, until >= 9_999)
    broken = inside[~np.isfinite(loss[inside])]
    assert len(steps) <= 50 + len(broken)
    finite = inside[np.isfinite(loss[inside])]
    extremes = {int(finite[loss[finite].argmin()]), int(finite[loss[finite].argmax()])}
    assert {int(inside[0]), int(inside[-1]), *extremes, *map(int, broken)} <= set(steps)
    assert set(steps) <= set(map(int, inside))
    shown = [float(value) for value in view["series"]["loss"]]
    assert shown == pytest.approx(loss[steps].tolist(), nan_ok=True, rel=0)


def test_a_view_may_be_of_the_point_or_of_the_steps_alone(api: Api) -> None:
    job_id = recorded(api, train(1_000))
    for series in ("x", "step"):
        view = history(api, job_id, points=10, series=series)
        assert 2 <= view["returned"] <= 10
        assert list(view["series"]) == (["step", "x"] if series == "x" else ["step"])


def test_four_formats_carry_the_same_numbers(api: Api) -> None:
    loss = [0.1, NAN, INF, -INF, 1e-300]
    job_id = recorded(api, train(5, loss))
    wanted = history(api, job_id)["series"]
    path = f"/v1/jobs/{job_id}/history?format="

    text = api.http.get(f"{path}csv")
    assert text.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(text.text)))
    assert list(rows[0]) == ["step", "loss", "lr", "grad_norm", "x[0]", "x[1]"]
    words = [str(value) if isinstance(value, str) else repr(value) for value in wanted["loss"]]
    assert [row["loss"] for row in rows] == words
    assert [row["x[1]"] for row in rows] == ["0.0", "-1.0", "-2.0", "-3.0", "-4.0"]
    assert [row["step"] for row in rows] == ["0", "1", "2", "3", "4"]

    lines = api.http.get(f"{path}ndjson")
    assert lines.headers["content-type"] == "application/x-ndjson"
    parsed = [json.loads(line) for line in lines.text.splitlines()]
    assert parsed == [{name: column[row] for name, column in wanted.items()} for row in range(5)]

    packed = api.http.get(f"{path}npz")
    assert packed.headers["content-type"] == "application/x-npz"
    arrays = np.load(io.BytesIO(packed.content), allow_pickle=False)
    assert set(arrays) == set(wanted)
    assert arrays["step"].dtype == np.int64
    assert arrays["loss"].tobytes() == np.array(loss).tobytes()
    assert arrays["x"].shape == (5, 2)


def test_formats_of_no_rows_are_empty_but_whole(api: Api) -> None:
    path = f"/v1/jobs/{api.post()['id']}/history?series=loss&format="
    assert api.http.get(f"{path}csv").text == "step,loss\r\n"
    assert api.http.get(f"{path}ndjson").content == b""
    arrays = np.load(io.BytesIO(api.http.get(f"{path}npz").content))
    assert arrays["loss"].shape == (0,)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("series=nonsense", {"series"}),
        ("series=accuracy", {"series"}),
        ("series=loss,loss", {"series"}),
        ("series=", {"series"}),
        ("series=loss,", {"series"}),
        ("series=loss&series=lr", {"series"}),
        ("limit=0", {"limit"}),
        ("limit=10001", {"limit"}),
        ("limit=1e3", {"limit"}),
        ("points=0", {"points"}),
        ("points=10001", {"points"}),
        ("after=x", {"after"}),
        ("after=-2", {"after"}),
        ("after=" + "9" * 400, {"after"}),
        ("format=xml", {"format"}),
        ("kind=test", {"kind"}),
        ("until=x", {"until"}),
        ("until=-1", {"until"}),
        ("until=2.5", {"until"}),
        ("after=3&until=2", {"until"}),
        ("points=10&after=3&until=2", {"until"}),
        ("points=10&limit=3", {"limit"}),
        ("points=10&limit=3&until=1.5&series=a,a", {"limit", "until", "series"}),
        ("nonsense=1&limit=0&kind=x", {"nonsense", "limit", "kind"}),
    ],
)
def test_a_wrong_question_is_refused(api: Api, query: str, named: set[str]) -> None:
    job_id = api.finished()["id"]
    assert set(refused_params(api.http.get(f"/v1/jobs/{job_id}/history?{query}"))) == named


def test_an_unknown_series_is_answered_with_those_there_are(api: Api) -> None:
    reply = api.http.get(f"/v1/jobs/{api.post()['id']}/history?series=accuracy")
    assert "step, loss, lr, grad_norm, x" in problem_of(reply, 422, "invalid_request")["detail"]
