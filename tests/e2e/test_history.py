"""History as the contract's section 4 has it: exact, incremental, in four formats."""

import csv
import io
import json
import math

import numpy as np
import pytest

from tests.e2e.client import Service
from tests.e2e.specs import digits, expression

PARABOLA = expression("x**2", {"x": 10.0}, {"kind": "sgd", "lr": 0.2}, 10)


def test_row_k_is_the_loss_before_update_k_plus_1(service: Service) -> None:
    job = service.run(PARABOLA)
    body = service.history(job["id"])
    assert body["series"]["step"] == list(range(10))
    assert body["series"]["loss"] == pytest.approx([100 * 0.36**k for k in range(10)])
    assert body["series"]["grad_norm"] == pytest.approx([20 * 0.6**k for k in range(10)])
    assert body["series"]["lr"] == [0.2] * 10
    assert body["series"]["x"] == [pytest.approx([10 * 0.6**k]) for k in range(10)]
    assert (body["total"], body["returned"], body["method"]) == (10, 10, "exact")
    assert (body["complete"], body["next_after"]) == (True, 9)
    assert body["first_nonfinite_step"] is None
    assert job["result"]["num_steps"] == job["progress"]["step"] == 10
    assert job["result"]["final_loss"] == body["series"]["loss"][-1]
    assert job["result"]["value"] == pytest.approx(100 * 0.36**10)


def test_cosines_of_consecutive_gradients_come_where_they_are_asked_for(service: Service) -> None:
    # x² at 0.6: each step goes to the other side, at a fifth of the distance.
    asked = expression(
        "x**2", {"x": 10.0}, {"kind": "sgd", "lr": 0.6}, 10, record={"gradient_cosine": True}
    )
    job = service.run(asked)
    assert job["spec"]["record"]["gradient_cosine"] is True
    series = service.history(job["id"])["series"]
    assert list(series) == ["step", "loss", "lr", "grad_norm", "grad_cosine", "x"]
    assert series["grad_cosine"] == ["NaN", *[-1.0] * 9]
    plain = service.run(PARABOLA)
    assert plain["spec"]["record"]["gradient_cosine"] is False
    assert "grad_cosine" not in service.history(plain["id"])["series"]


def test_pages_are_exact_and_end_without_a_gap(service: Service) -> None:
    job = service.run(digits(steps=95, record={"every": 10, "eval_every": 40}))
    steps: list[int] = []
    query: dict[str, int] = {"limit": 3}
    while True:
        page = service.history(job["id"], series="loss", **query)
        if page["next_after"] is None:
            assert page["returned"] == 0
            break
        assert "lr" not in page["series"]
        steps += page["series"]["step"]
        query["after"] = page["next_after"]
        if page["complete"]:
            break
    assert steps == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 94]
    assert service.series(job["id"], "step", kind="eval") == [0, 40, 80, 95]


@pytest.mark.parametrize(
    ("stop", "outcome", "last"),
    [
        ({"target_loss": 1.0}, "converged", 5),
        ({"gradient_norm": 2.0}, "converged", 5),
        ({"max_loss": 50.0}, "diverged", 0),
        ({"patience": 3, "min_delta": 40.0}, "stalled", 4),
    ],
)
def test_a_stop_rule_ends_at_the_row_that_shows_it(
    service: Service, stop: dict[str, float], outcome: str, last: int
) -> None:
    job = service.run({**PARABOLA, "stop": stop})
    assert job["outcome"] == outcome
    assert service.series(job["id"], "step")[-1] == last
    assert job["result"]["num_steps"] == last
    assert job["result"]["solution"]["x"] == pytest.approx(10 * 0.6**last)


def test_a_downsampled_view_keeps_extremes_and_every_point_that_is_not_finite(
    service: Service,
) -> None:
    job = service.run(digits(steps=3000, record={"every": 1, "eval_every": None}))
    losses = service.series(job["id"], "loss")
    view = service.history(job["id"], points=100)
    assert view["returned"] <= 100
    assert view["method"] != "exact"
    assert {min(losses), max(losses)} <= set(view["series"]["loss"])
    assert view["series"]["step"][0] == 0
    assert view["series"]["step"][-1] == 2999
    pairs = zip(view["series"]["step"], view["series"]["loss"], strict=True)
    assert all(losses[step] == loss for step, loss in pairs)


def test_four_formats_carry_the_same_numbers(service: Service) -> None:
    spec = expression("x**2", {"x": 1.0}, {"kind": "sgd", "lr": 1e150}, 100)
    job = service.run(spec)
    wanted = service.history(job["id"], series="loss,lr")["series"]

    def content(format_: str) -> bytes:
        reply = service.http.get(
            f"/v1/jobs/{job['id']}/history", params={"series": "loss,lr", "format": format_}
        )
        assert reply.status_code == 200
        return reply.content

    rows = list(csv.DictReader(io.StringIO(content("csv").decode())))
    lines = [json.loads(line) for line in content("ndjson").splitlines()]
    arrays = np.load(io.BytesIO(content("npz")), allow_pickle=False)
    for index, loss in enumerate(wanted["loss"]):
        number = float(loss.replace("Infinity", "inf")) if isinstance(loss, str) else loss
        assert lines[index]["loss"] == loss
        assert rows[index]["loss"] == (loss if isinstance(loss, str) else repr(loss))
        packed = float(arrays["loss"][index])
        assert packed == number or (math.isnan(packed) and math.isnan(number))


@pytest.mark.parametrize(
    "query",
    [
        "series=nonsense",
        "limit=0",
        "limit=10001",
        "points=0",
        "after=x",
        "format=xml",
        "kind=test",
        "after=3&until=2",
        "nonsense=1",
    ],
)
def test_a_wrong_question_about_history_is_refused(service: Service, query: str) -> None:
    job = service.run(PARABOLA)
    reply = service.http.get(f"/v1/jobs/{job['id']}/history?{query}")
    assert reply.status_code == 422
    assert reply.json()["errors"]


def test_history_can_be_followed_while_the_job_runs(service: Service) -> None:
    job = service.post(digits(steps=4000))
    steps: list[int] = []
    after = -1
    while True:
        page = service.history(job["id"], after=after, limit=10_000)
        steps += page["series"]["step"]
        after = page["next_after"] if page["next_after"] is not None else after
        if page["complete"]:
            break
    assert steps == list(range(4000))
