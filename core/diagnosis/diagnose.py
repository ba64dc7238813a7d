"""A run's diagnosis from its spec, its history and, where there is one, a measurement. No torch."""

import numpy as np

from core.diagnosis.evidence.curves import Floats
from core.diagnosis.evidence.evidence import gather
from core.diagnosis.evidence.measured import Measured
from core.diagnosis.remedies.propose import propose
from core.diagnosis.rules.table import examine
from core.diagnosis.verdict import decide
from core.jobs import Outcome
from core.specs.base import Json
from core.specs.job import JobSpec

Columns = dict[str, Floats]


def diagnose(
    spec: JobSpec,
    outcome: Outcome | None,
    result: Json | None,
    train: Columns,
    evaluation: Columns | None,
    measured: Json | None = None,
) -> Json:
    """Name what is wrong with a descent (CONTRACT, section 7).

    Args:
        spec: the resolved spec.
        outcome: how the run ended; None for one that runs or was cancelled.
        result: the job's result; no rule on histories needs it.
        train: `step`, `loss`, `lr`, `grad_norm`, and `x` (rows × dim) for functions; equal
            lengths, any number of rows, non-finite values allowed.
        evaluation: `step`, `loss`, …, or None. measured: what `core.train.measure.measure.measure`
        found at the run's weights; None: a diagnosis
            of the history alone.

    Returns:
        `{"verdict", "confidence", "findings", "remedies"}` and, of a full one, `measured`; strict
        JSON, no NaN.
    """
    with np.errstate(all="ignore"):
        seen = None if measured is None else Measured(measured)
        evidence = gather(spec, outcome, train, evaluation, seen)
        findings = examine(evidence)
        verdict = decide(findings, evidence)
        remedies = propose(verdict, findings, evidence)
    found: Json = {
        "verdict": verdict.name,
        "confidence": verdict.confidence,
        "findings": [finding.to_json() for finding in findings.values()],
        "remedies": [{"index": index, **remedy.to_json()} for index, remedy in enumerate(remedies)],
    }
    if measured is not None:
        found["measured"] = measured
    return found
