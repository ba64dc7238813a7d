"""What evaluations say of runs at rates far too large: neither healthy where held-out rows are
predicted worse than by the initial weights, nor on flat ground where hardly any loss is left."""

from typing import Any

import numpy as np
import pytest

from core.diagnosis.diagnose import diagnose
from core.specs.optimizers.kinds import settled_lr
from core.specs.unions import members
from tests.core.diagnosis.labelled.case import supervised, synthetic
from tests.core.diagnosis.labelled.running import child, improvement, perform, resolved

Json = dict[str, Any]


@pytest.mark.parametrize("factor", [10.0, 1000.0])
@pytest.mark.parametrize("kind", sorted(members("optimizer")))
def test_what_predicts_worse_than_the_initial_weights_is_not_healthy(
    kind: str, factor: float
) -> None:
    def job(optimizer: Json) -> Json:
        return supervised("digits", [32], optimizer, 200)

    usual = settled_lr(resolved(job({"kind": kind})).optimizer)
    parent = perform(resolved(job({"kind": kind, "lr": factor * usual})), full=False)
    assert parent.evaluation is not None
    evaluated, trained = parent.evaluation["loss"], parent.train["loss"]
    if not np.median(evaluated[-3:]) > 1.3 * evaluated[0]:
        return
    verdict = parent.diagnosis["verdict"]
    assert verdict != "healthy"
    if verdict == "overfitting" and trained.max() > 10.0 * trained[0]:  # it was thrown there
        assert parent.diagnosis["remedies"][0]["patch"]["optimizer"]["lr"] < factor * usual
        after = child(parent)
        assert after is not None
        assert improvement(parent, after)["verdict"] == "improved"


@pytest.mark.parametrize("factor", [10.0, 100.0])
@pytest.mark.parametrize("kind", ["adadelta", "adamw", "schedule_free_adamw"])
def test_where_evaluations_have_little_left_there_is_no_plateau(kind: str, factor: float) -> None:
    def job(optimizer: Json) -> Json:
        return supervised(synthetic("spirals"), [32], optimizer, 400)

    usual = settled_lr(resolved(job({"kind": kind})).optimizer)
    found = perform(resolved(job({"kind": kind, "lr": factor * usual})), full=False)
    assert found.evaluation is not None
    losses = found.evaluation["loss"]
    if losses[-1] <= 0.02 * losses[0]:
        assert found.diagnosis["verdict"] not in {"plateau", "too_slow"}


@pytest.mark.parametrize("last", [0.02, 1e-9, 0.0])
def test_an_evaluation_loss_of_0_is_little_left(last: float) -> None:
    """Cross-entropy in float32 comes to 0 itself."""
    step = np.arange(400.0)
    still = np.where(step < 40, 2.0 - step / 80, 1.5)
    rows = {
        "step": step, "loss": still, "lr": np.full(400, 1e-3),
        "grad_norm": np.where(step < 40, 1.0, 0.01),
    }  # fmt: skip
    at = step[::20]
    evaluated = {"step": at, "loss": np.linspace(1.0, last, at.size)}
    spec = resolved(supervised("digits", [32], {"kind": "adam"}, 400, batch_size="full"))
    found = diagnose(spec, "budget_exhausted", {}, rows, evaluated)
    assert found["verdict"] != "plateau"
