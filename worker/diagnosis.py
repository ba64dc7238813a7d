"""The diagnosis that a job's spec asks for, as a part of its last attempt."""

import json
import logging
from collections.abc import Callable

from core.diagnose.history import diagnose
from core.errors import NotFoundError, StaleAttemptError, StoreUnavailableError
from core.jobs import JobRecord, Outcome
from core.spec.job import JobSpec
from core.store.base import Columns, HistoryKind, Json

log = logging.getLogger("thalweg.worker")


def diagnosis(
    job: JobRecord,
    outcome: Outcome | None,
    result: Json,
    history: Callable[[HistoryKind], Columns | None],
) -> Json | None:
    """`diagnosis` of the record; None where the spec wants none.

    A fault in it is logged and written down as `undetermined`, and never fails the job. What the
    store raises (by `history`) is passed on.
    """
    if job.spec.get("diagnose") != "history":
        return None
    try:
        # From JSON: a spec is strict, and takes a list for a tuple from JSON only.
        spec = JobSpec.model_validate_json(json.dumps(job.spec))
        return diagnose(spec, outcome, result, history("train") or {}, history("eval"))
    except (StaleAttemptError, NotFoundError, StoreUnavailableError):
        raise
    except Exception:
        log.exception("%s: the diagnosis failed", job.id)
        return {"verdict": "undetermined", "confidence": 0.0, "findings": [], "remedies": []}
