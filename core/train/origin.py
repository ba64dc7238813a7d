"""Where a job begins that continues another: a checkpoint of that one, copied to this job's own."""

from dataclasses import replace

from core.artifacts.base import JobArtifacts
from core.errors import ArtifactError, JobFailure, NotFoundError
from core.specs.job import JobSpec
from core.train.checkpoint import Snapshot, decode, step_name


def starting_point(artifacts: JobArtifacts, spec: JobSpec, device: str) -> Snapshot:
    """The snapshot that `spec.start_from` names, from this job's copy.

    Raises:
        ArtifactError: the copy cannot be read now.
        JobFailure: it is not there, or damaged. Beginning elsewhere would be another job.
    """
    assert spec.start_from is not None
    try:
        data = artifacts.read(step_name(spec.start_from.step))
    except NotFoundError as error:
        raise _unusable(spec, "is not there") from error
    try:
        return own(decode(data, spec, device), spec)
    except ArtifactError as error:
        raise _unusable(spec, f"cannot be used: {error}") from error


def own(snapshot: Snapshot, spec: JobSpec) -> Snapshot:
    """The snapshot with the rows before `spec.start_from` left to the job that they are of.

    An evaluation at that step is repeated: here it is the first one.
    """
    if spec.start_from is None or snapshot.step != spec.start_from.step:
        return snapshot
    fresh = {"loose_row": None, "num_evaluations": 0, "evaluated_step": -1}
    guard = None if snapshot.guard is None else {**snapshot.guard, "interventions": []}
    return replace(snapshot, ledger={**snapshot.ledger, **fresh}, guard=guard, good=None)


def _unusable(spec: JobSpec, what: str) -> JobFailure:
    start = spec.start_from
    assert start is not None
    message = f"the checkpoint of {start.job} at step {start.step}, from which the job starts, "
    return JobFailure("data_unavailable", message + what, "start_from")
