"""A run's diagnosis from its spec, its history and, where there is one, a measurement. No torch."""

import math
import re
from typing import Final

import numpy as np

from core.diagnosis.evidence.curves import Floats
from core.diagnosis.evidence.evidence import gather
from core.diagnosis.evidence.measured import Measured
from core.diagnosis.marks import steps_of
from core.diagnosis.remedies.attempt import Attempts, TryFirstSteps
from core.diagnosis.remedies.propose import propose
from core.diagnosis.rules.table import examine
from core.diagnosis.verdict import decide
from core.jobs import Outcome
from core.specs.base import Json
from core.specs.direction import goal_of, sign_of_job
from core.specs.job import JobSpec

Columns = dict[str, Floats]


def diagnose(
    spec: JobSpec,
    outcome: Outcome | None,
    result: Json | None,
    train: Columns,
    evaluation: Columns | None,
    measured: Json | None = None,
    take: TryFirstSteps | None = None,
    data: Json | None = None,
) -> Json:
    """Name what is wrong with a descent (CONTRACT, section 7).

    Args:
        spec: the resolved spec.
        outcome: how the run ended; None for one that runs or was cancelled.
        result: the job's result; its `initial_loss` is where the run began.
        train: `step`, `loss`, `lr`, `grad_norm`, and `x` (rows × dim) for functions; equal
            lengths, any number of rows, non-finite values allowed.
        evaluation: `step`, `loss`, …, or None.
        measured: what `core.train.measure.measure.measure` found at the run's weights; None: a
            diagnosis of the history alone.
        take: takes the first steps of models, so that their remedies are tried before they are
            offered; None: they are not.
        data: what `core.train.data.examine.examine` found in the data; None: that of `measured`.

    Returns:
        `{"verdict", "confidence", "findings", "remedies"}` and, of a full one, `measured`; strict
        JSON, no NaN.
    """
    with np.errstate(all="ignore"):
        seen = None if measured is None else Measured(measured)
        evidence = gather(spec, outcome, train, evaluation, seen, result, data)
        findings = examine(evidence)
        verdict = decide(findings, evidence)
        early = evidence.loss[:_FIRST_ROWS]
        survived = float(early.max()) if early.size and not evidence.blown_up else -math.inf
        remedies = propose(verdict, findings, evidence, Attempts(spec, take, survived))
    found: Json = {
        "verdict": verdict.name,
        "confidence": verdict.confidence,
        "findings": [finding.to_json() for finding in findings.values()],
        "remedies": [{"index": index, **remedy.to_json()} for index, remedy in enumerate(remedies)],
    }
    places = steps_of(found, train, sign_of_job(spec))
    for finding in found["findings"]:
        place = places.get(finding["rule"])
        finding["steps"] = None if place is None else list(place)
    if goal_of(spec.optimizer) == "max":
        _say_what_falls(found)
    if measured is not None:
        found["measured"] = measured
    return found


_FIRST_ROWS: Final = 5
_OF_LOSSES: Final = re.compile(r"\b(loss|losses|minim\w+|lower|lowest|falls?|fell|above|start)\b")
_NEGATIVE: Final = " (Said of the negative of the loss, which this run maximizes.)"


def _say_what_falls(found: Json) -> None:
    """Make clear of a run that maximizes what its findings are of: the negative of its loss. What a
    remedy promises is of the loss itself, as its history will have it."""
    for texts, name in ((found["findings"], "explanation"), (found["remedies"], "reason")):
        for each in texts:
            if _OF_LOSSES.search(each[name]):
                each[name] += _NEGATIVE
    for remedy in found["remedies"]:
        remedy["expected"] = dict(
            _as_recorded(name, value) for name, value in remedy["expected"].items()
        )


def _as_recorded(name: str, value: float | None) -> tuple[str, float | None]:
    """Return an expected number under the name and with the sign that it has for the loss."""
    negative = None if value is None else -value
    if name == "known_minimum":
        return "known_maximum", negative
    if name.endswith(("_loss_below", "level_below")):
        return name.removesuffix("below") + "above", negative
    return name, negative if name.endswith("_loss") or name == "level" else value
