"""A job that continues another one has the first evaluations of trained weights: what is gone since
then says nothing of the whole descent, and they are not the initial weights'."""

from typing import Any

import numpy as np
import pytest

from core.diagnosis.diagnose import Columns, diagnose
from core.specs.job import StartFrom
from core.specs.optimizers.kinds import settled_lr
from core.specs.unions import members
from tests.core.diagnosis.labelled.case import supervised
from tests.core.diagnosis.labelled.running import JOB, Run, perform, resolved

Json = dict[str, Any]
STEPS = 600


def ran(optimizer: Json) -> Run:
    job = {**supervised("iris", [16], optimizer, STEPS), "record": {"eval_every": 10}}
    return perform(resolved(job), full=False)


def continued(whole: Run, step: int) -> Json:
    """The diagnosis of a job that went on from this step, to the same end."""

    def since(columns: Columns) -> Columns:
        return {name: column[columns["step"] >= step] for name, column in columns.items()}

    assert whole.evaluation is not None
    spec = whole.spec.model_copy(update={"start_from": StartFrom(job=JOB, step=step)})
    rows = since(whole.train), since(whole.evaluation)
    return diagnose(spec, whole.ending.outcome, whole.ending.result, *rows)


@pytest.mark.parametrize("factor", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("kind", sorted(members("optimizer")))
def test_the_last_part_of_a_healthy_run_is_neither_too_slow_nor_overfitting(
    kind: str, factor: float
) -> None:
    usual = settled_lr(resolved(supervised("iris", [16], {"kind": kind}, STEPS)).optimizer)
    whole = ran({"kind": kind, "lr": factor * usual})
    assert whole.evaluation is not None
    losses = whole.evaluation["loss"]
    if whole.diagnosis["verdict"] != "healthy" or not np.median(losses[-5:]) < 0.2 * losses[0]:
        return
    for step in range(100, STEPS - 100, 100):
        assert continued(whole, step)["verdict"] not in {"too_slow", "overfitting"}, step
