"""Answers known in closed form come out of the service to the digits that were published."""

from typing import Any

import pytest

from tests.e2e.client import Service
from tests.e2e.specs import expression

SGD = "sgd"


@pytest.mark.parametrize(
    ("lr", "answer", "outcome"),
    [(0.2, 0.060466, "budget_exhausted"), (0.05, 3.486784, None), (1.1, 61.917364, "diverged")],
)
def test_ten_steps_on_a_parabola_end_where_dive_into_deep_learning_says(
    service: Service, lr: float, answer: float, outcome: str | None
) -> None:
    job = service.run(expression("x**2", {"x": 10.0}, {"kind": SGD, "lr": lr}, 10))
    assert job["result"]["solution"]["x"] == pytest.approx(answer, abs=5e-7)
    assert outcome in {None, job["outcome"]}
    rows = service.series(job["id"], "loss")
    assert rows == pytest.approx([100 * (1 - 2 * lr) ** (2 * k) for k in range(10)], rel=1e-12)


@pytest.mark.parametrize(
    ("lr", "answer"),
    [(0.4, (-0.943467, -0.000073)), (0.6, (-0.387814, -1673.365109))],
)
def test_twenty_steps_in_a_long_valley_end_where_dive_into_deep_learning_says(
    service: Service, lr: float, answer: tuple[float, float]
) -> None:
    spec = expression("0.1*x1**2 + 2*x2**2", {"x1": -5.0, "x2": -2.0}, {"kind": SGD, "lr": lr}, 20)
    solution = service.run(spec)["result"]["solution"]
    assert (solution["x1"], solution["x2"]) == pytest.approx(answer, abs=5e-7)


def test_heavy_ball_on_a_quadratic_follows_its_recurrence(service: Service) -> None:
    eigenvalues, lr, beta, steps = (1.0, 10.0), 0.05, 0.6, 60
    spec: dict[str, Any] = {
        "problem": {
            "kind": "function",
            "function": {"kind": "quadratic", "eigenvalues": list(eigenvalues)},
            "start": [1.0, 1.0],
        },
        "optimizer": {"kind": SGD, "lr": lr, "momentum": beta},
        "budget": {"max_steps": steps},
    }
    point, velocity = [1.0, 1.0], [0.0, 0.0]
    for _ in range(steps):
        for i, eigenvalue in enumerate(eigenvalues):
            velocity[i] = beta * velocity[i] + eigenvalue * point[i]
            point[i] -= lr * velocity[i]
    assert service.run(spec)["result"]["solution"] == pytest.approx(point, rel=1e-9)
