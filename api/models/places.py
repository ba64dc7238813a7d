"""The places of weights that a call names, of jobs and of studies' runs."""

from typing import Any, Final, get_args

from api.services.dependencies import Services, known_study
from core.artifacts.weights import WeightsPlace
from core.errors import ConflictError, NotFoundError
from core.jobs import JobRecord
from core.specs.optimizers.kinds import ScheduleFree
from core.specs.unions import kind_of
from core.studies import RunRecord, StudyRecord

_EVALUATED_ELSEWHERE: Final = frozenset(kind_of(model) for model in get_args(ScheduleFree))
"""Optimizers whose results are of other weights than their gradients."""


def job_place(job: JobRecord, wanted: str) -> tuple[WeightsPlace, str]:
    """Return where a job's weights of this name, or of this step, are; and the digest of their
    file. Raises `ConflictError`: `not_ready`, or `no_checkpoint`."""
    saved = _saved_at(job, int(wanted)) if wanted.isdigit() else _saved(job, wanted)
    part: Any = "resumed" if saved["name"] == "resume" else "file"
    place = WeightsPlace(job.id, saved["path"], part, wanted, int(saved["step"]))
    return place, str(saved["sha256"])


def _saved(job: JobRecord, name: str) -> dict[str, Any]:
    """Return the newest checkpoint of this name. Raises `ConflictError("not_ready")`."""
    found = [each for each in job.checkpoints if each["name"] == name]
    if not found:
        have = ", ".join(sorted({each["name"] for each in job.checkpoints} - {"resume"})) or "none"
        raise ConflictError(
            "not_ready",
            f"The job is {job.status} and has no {name} weights; those that there are: {have}.",
        )
    return max(found, key=lambda each: int(each["step"]))


def _saved_at(job: JobRecord, step: int) -> dict[str, Any]:
    """Return the checkpoint of a step, best one with nothing but weights. Raises
    `ConflictError("no_checkpoint")`."""
    found = {each["name"]: each for each in job.checkpoints if each["step"] == step}
    for name in ("kept", "final", "best", "initial", "resume"):
        if name in found:
            break
    else:
        steps = ", ".join(map(str, sorted({each["step"] for each in job.checkpoints})))
        raise ConflictError(
            "no_checkpoint",
            f"The job is {job.status} and has no checkpoint of step {step}; those that there are:"
            f" {steps or 'none'}.",
        )
    if name == "resume" and job.spec["optimizer"]["kind"] in _EVALUATED_ELSEWHERE:
        raise ConflictError(
            "no_checkpoint",
            f"The job's checkpoint of step {step} holds the weights at which this optimizer takes"
            " gradients, and not those that its results are of: POST the job's checkpoints while it"
            " runs, and those are kept.",
        )
    return found[name]


async def known_run(services: Services, study_id: str, index: int) -> tuple[StudyRecord, RunRecord]:
    """Read the study and its run. Raises `NotFoundError`, and `ConflictError("not_ready")` for a
    run that is not planned yet."""
    study = await services.store.studies.get(known_study(study_id))
    check_index(study, index)
    found = await services.store.studies.runs(study_id, [index])
    if found:
        return study, found[0]
    if study.terminal:
        raise NotFoundError(f"The study is {study.status}, and run {index} was never planned.")
    raise ConflictError("not_ready", f"Run {index} is not planned yet; the study {study.status}.")


def check_index(study: StudyRecord, index: int) -> None:
    """Refuse the index of a run that the study has not. Raises `NotFoundError`."""
    if index >= study.num_runs:
        raise NotFoundError(f"The study has {study.num_runs:,} runs, none {index}.")


def run_place(study_id: str, run: RunRecord, wanted: str) -> WeightsPlace:
    """Return where a run's weights of this name are. Raises `ConflictError("not_ready")`."""
    weights = run.weights or {"steps": {}}
    if wanted not in weights["steps"]:
        have = ", ".join(sorted(weights["steps"])) or "none"
        raise ConflictError(
            "not_ready",
            f"The run is {run.status} and has no {wanted} weights; those that there are: {have}.",
        )
    step = int(weights["steps"][wanted])
    metadata = {"checkpoint": wanted, "step": str(step)}
    row = int(weights["row"])
    return WeightsPlace(study_id, weights["file"], "row", wanted, step, row, metadata)
