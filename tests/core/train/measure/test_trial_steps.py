"""First steps on trial are the run's own first steps, and cheap."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.specs.catalog import kinds
from core.specs.job import JobSpec, Supervised
from core.train.measure import trial_steps
from core.train.measure.trial_steps import TRIED_STEPS, first_steps
from core.train.problems.build import build_problem
from tests.core.diagnosis.labelled.case import Json, adam, sgd, supervised
from tests.core.diagnosis.labelled.running import resolved
from tests.core.train.harness import train

pytestmark = pytest.mark.filterwarnings("ignore")


def loss_of(spec: JobSpec, weights: dict[str, Any] | None, batches: int = 1) -> float:
    """The mean loss of the first batches, by the problem itself."""
    dtype = torch.float64 if spec.precision == "float64" else torch.float32
    problem = build_problem(spec, torch.device("cpu"), dtype)
    if weights is not None:
        problem.load_state({name: torch.from_numpy(each) for name, each in weights.items()})
    with torch.no_grad():
        return float(np.mean([problem.loss(step).item() for step in range(batches)]))


@pytest.mark.parametrize("kind", [kind for kind in kinds("optimizers") if kind != "lbfgs"])
def test_they_are_the_runs_own(kind: str, tmp_path: Path) -> None:
    job = supervised(
        "wine", [8], {"kind": kind}, TRIED_STEPS, batch_size=64, precision="float64",
        schedule={"kind": "exponential", "gamma": 0.5},
        gradient_clip={"kind": "norm", "max_norm": 1},
    )  # fmt: skip
    spec = resolved(job)
    (seen,) = first_steps([spec])
    assert seen is not None
    weights = train(spec, tmp_path).weights()
    assert seen["first"] == pytest.approx(loss_of(spec, None), rel=1e-12)
    assert seen["last"] == pytest.approx(loss_of(spec, weights), rel=1e-9)
    assert (seen["finite"], seen["moved"]) == (True, True)


def test_runs_of_one_problem_share_its_start() -> None:
    jobs = [supervised("wine", [8], sgd(lr), 9, batch_size=64) for lr in (1.0, 0.1, 0.1, 1e-30)]
    apart = [first_steps([resolved(job)])[0] for job in jobs]
    together = first_steps([resolved(job) for job in jobs])
    assert together == apart
    assert together[1] == together[2]
    assert [each is not None and each["moved"] for each in together] == [True, True, True, False]


@pytest.mark.parametrize("optimizer", [{"kind": "lbfgs"}, sgd(1e30), adam(1e38)])
def test_what_cannot_be_computed_is_said(optimizer: Json) -> None:
    (seen,) = first_steps([resolved(supervised("digits", [8], optimizer, 9))])
    assert seen is not None
    assert optimizer["kind"] == "lbfgs" or not (seen["finite"] and np.isfinite(seen["last"]))


@pytest.mark.parametrize(
    "job",
    [
        supervised("digits", [3000, 3000], sgd(0.1), 9),  # too large
        supervised("wine", [8], sgd(0.1), 9, schedule={"kind": "constant_factor", "factor": 0.0}),
    ],
    ids=["large", "rate of 0"],
)
def test_what_is_not_cheap_or_tells_nothing_is_not_tried(job: Json) -> None:
    assert first_steps([resolved(job)]) == [None]


def test_large_batches_are_tried_with_fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = resolved(supervised("digits", [64, 64], sgd(0.1), 9, batch_size="full"))
    tried = trial_steps._smaller(spec)
    assert tried is not None
    assert isinstance(tried.problem, Supervised)
    assert isinstance(tried.batch_size, int)
    assert 16 <= tried.batch_size < 256
    (seen,) = first_steps([spec])
    assert seen is not None
    assert seen["last"] < seen["first"]


def test_a_maximized_loss_is_of_what_is_to_fall() -> None:
    up = {**sgd(0.1), "maximize": True}
    job = supervised("wine", [8], up, 9, batch_size=64)
    (seen,) = first_steps([resolved(job)])
    assert seen is not None
    assert seen["last"] < seen["first"] < 0.0
