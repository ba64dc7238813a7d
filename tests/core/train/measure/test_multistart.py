"""The multi-start of a full diagnosis looks where the run ended, and where it began."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from core.train.measure import multistart
from core.train.measure.measure import measure
from core.train.problems.functions import start_point
from tests.core.diagnosis.runs import resolved

Json = dict[str, Any]
WELL = "0.000001*(x1 - 900)**2 - 5*exp(-4*(x1 - 1.5)**2)"
"""A bowl around 900, and on its side, a thousandth as wide, a well that is lower: 1.5 is in it."""


def job(function: Json, start: Any, seed: int = 0, **optimizer: Any) -> Any:
    problem = {"kind": "function", "function": function, "start": start, "bounds": [-1000, 1000]}
    optimizer = {"kind": "sgd", "lr": 0.1, **optimizer}
    return resolved({"problem": problem, "optimizer": optimizer, "seed": seed})


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("start", [{"x1": 1.2}, {"x1": 2.0}])
def test_a_lower_minimum_beside_the_start_is_found(start: Json, maximize: bool) -> None:
    text = f"-({WELL})" if maximize else WELL
    spec = job({"kind": "expression", "expression": text}, start, maximize=maximize)
    found = measure(spec, {"x": torch.tensor([900.0], dtype=torch.float64)}, budget_s=60.0)
    assert found["multi_start"]["best"] == pytest.approx(-5.0 + 1e-6 * 898.5**2, abs=1e-3)
    assert found["multi_start"]["at"] == pytest.approx([1.5], abs=1e-3)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "start", [[3.0, -4.0], {"kind": "uniform", "low": -5.0, "high": 5.0}], ids=["given", "drawn"]
)
def test_it_is_given_the_runs_first_point_and_its_last(
    start: Any, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[np.ndarray[Any, Any]] = []
    minima: Callable[..., Any] = multistart.minima

    def spied(problem: Any, first: Any, last: Any, *rest: Any) -> Any:
        given.extend((first, last))
        return minima(problem, first, last, *rest)

    monkeypatch.setattr(multistart, "minima", spied)
    spec = job({"kind": "rastrigin", "dim": 2}, start, seed)
    measure(spec, {"x": torch.tensor([1.0, 2.0], dtype=torch.float64)}, budget_s=60.0)
    first, last = given
    assert first.tolist() == start_point(spec.problem.start, 2, None, seed).tolist()
    assert last.tolist() == [1.0, 2.0]


def test_a_point_that_is_beyond_sense_is_not_searched_from() -> None:
    spec = job({"kind": "rastrigin", "dim": 1}, [1.0])
    near, far = (torch.tensor([x], dtype=torch.float64) for x in (1.1, 1e100))
    problem = spec.problem.model_copy(update={"start": (1e100,), "bounds": None})
    begun_far = spec.model_copy(update={"problem": problem})
    found = measure(begun_far, {"x": near}, budget_s=60.0)
    assert found["multi_start"]["best"] == pytest.approx(0.0, abs=1e-9)
    assert "multi_start" not in measure(begun_far, {"x": far}, budget_s=60.0)
