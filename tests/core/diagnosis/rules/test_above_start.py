"""A loss of all data that ends above its start is at no minimum, whatever its gradient is."""

from typing import Any, Final

import numpy as np
import pytest

from core.diagnosis.diagnose import diagnose
from core.specs.job import JobSpec
from tests.core.diagnosis.runs import Columns, digits_job, finding

ROWS: Final = 60
MODELS: Final[dict[str, dict[str, Any]]] = {
    "linear": {"kind": "linear"},
    "one hidden layer": {"kind": "mlp", "hidden": [16]},
    "three hidden layers": {"kind": "mlp", "hidden": [16, 16, 16]},
}


def job(model: str) -> JobSpec:
    optimizer = {"kind": "rprop", "lr": 1000.0}
    return digits_job(optimizer, data="wine", model=MODELS[model], batch_size="full")


def thrown_off(last: float, gradient: float) -> Columns:
    """Rows from a loss of 1 up to 10⁵, with gradients as large, and down to a last one."""
    way, rest = np.linspace(1.0, 0.0, 20), np.ones(ROWS - 21)
    loss = np.concatenate([[1.0], last + way * 1e5, last * rest])
    norms = np.concatenate([[1.0], gradient + way * 1e8, gradient * rest])
    return {"step": np.arange(float(ROWS)), "loss": loss, "lr": np.ones(ROWS), "grad_norm": norms}


def judged(model: str, rows: Columns, measured: dict[str, Any] | None = None) -> Any:
    result = {"num_steps": ROWS, "initial_loss": 1.0}
    return diagnose(job(model), "budget_exhausted", result, rows, None, measured)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("gradient", [0.0, 1e-9, 0.5])
def test_a_run_that_ends_above_its_start_has_not_converged(model: str, gradient: float) -> None:
    found = judged(model, thrown_off(2.0, gradient))
    assert found["verdict"] not in ("converged", "healthy"), found["findings"]


@pytest.mark.parametrize("model", MODELS)
def test_a_gradient_of_the_usual_size_is_not_small_beside_those_far_off(model: str) -> None:
    found = judged(model, thrown_off(0.5, 0.5))
    assert finding(found, "stationary")["status"] != "triggered"


@pytest.mark.parametrize("model", MODELS)
def test_last_weights_that_happen_to_have_no_gradient_do_not_speak_for_the_rows(
    model: str,
) -> None:
    """The weights after the last update are measured, and the row before it has its gradient."""
    measured = {
        "checkpoint": "final", "step": ROWS, "loss": 0.0, "grad_norm": 0.0,
        "initial": {"loss": 1.0, "grad_norm": 1.0},
    }  # fmt: skip
    found = judged(model, thrown_off(2.0, 0.5), measured)
    assert found["verdict"] != "converged", found["findings"]


@pytest.mark.parametrize("model", ["one hidden layer", "three hidden layers"])
def test_at_rest_above_the_start_a_lower_loss_is_known(model: str) -> None:
    found = judged(model, thrown_off(2.0, 0.0))
    above = finding(found, "above_known_minimum")
    assert above["status"] == "triggered"
    assert above["evidence"]["lower_loss_known"] == pytest.approx(1.0)


@pytest.mark.parametrize("model", MODELS)
def test_one_that_came_back_and_rests_below_its_start_has_converged(model: str) -> None:
    found = judged(model, thrown_off(0.0, 0.0))
    assert found["verdict"] == "converged", found["findings"]
