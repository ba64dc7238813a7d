"""A run's diagnosis from its spec and history alone: NumPy only, no weights, no torch."""

import numpy as np

from core.diagnose.curves import Floats
from core.diagnose.evidence import gather
from core.diagnose.reading import Json
from core.diagnose.remedies import propose
from core.diagnose.rules import examine
from core.diagnose.verdict import decide
from core.jobs import Outcome
from core.spec.job import JobSpec

Columns = dict[str, Floats]


def diagnose(
    spec: JobSpec,
    outcome: Outcome | None,
    result: Json | None,
    train: Columns,
    evaluation: Columns | None,
) -> Json:
    """Name what is wrong with a descent (CONTRACT, section 7).

    Args:
        spec: the resolved spec.
        outcome: how the run ended; None for one that runs or was cancelled.
        result: the job's result; no rule on histories needs it.
        train: `step`, `loss`, `lr`, `grad_norm`, and `x` (rows × dim) for functions; equal
            lengths, any number of rows, non-finite values allowed.
        evaluation: `step`, `loss`, …, or None.

    Returns:
        `{"verdict", "confidence", "findings", "remedies"}`; strict JSON, no NaN.
    """
    with np.errstate(all="ignore"):
        evidence = gather(spec, outcome, train, evaluation)
        findings = examine(evidence)
        verdict = decide(findings, evidence)
        remedies = propose(verdict, findings, evidence)
    return {
        "verdict": verdict.name,
        "confidence": verdict.confidence,
        "findings": [finding.to_json() for finding in findings.values()],
        "remedies": [{"index": index, **remedy.to_json()} for index, remedy in enumerate(remedies)],
    }
