"""Conversion of the records of studies and their runs to the JSON that the contract shows."""

from datetime import datetime
from typing import Final

from api.services.dependencies import Services
from api.services.places import Place
from api.studies.schemas import (
    ListedStudy,
    Pause,
    Run,
    RunLinks,
    RunWithSpec,
    Study,
    StudyLinks,
    StudyProgress,
)
from core.errors import FieldError
from core.ids import utc_now
from core.specs.base import Json
from core.studies import RUN_COUNTS, RunRecord, StudyRecord

_ENDED: Final = ("succeeded", "failed", "cancelled")


def study_json(services: Services, study: StudyRecord, place: Place, best: Json | None) -> Json:
    """Make the contract's JSON of a study.

    Args:
        place: in the queue.
        best: the best configuration, as far as it is known.
    """
    computed = _computed(services, study, place, best)
    return Study.build(study, **computed, timeline=study.timeline.entries)


def listed_study_json(
    services: Services, study: StudyRecord, place: Place, best: Json | None
) -> Json:
    """Make the JSON of a study among others."""
    return ListedStudy.build(study, **_computed(services, study, place, best))


def _computed(services: Services, study: StudyRecord, place: Place, best: Json | None) -> Json:
    path = f"{services.root}/v1/studies/{study.id}"
    return {
        "spec": study.current_spec,
        "priority": study.current_priority,
        "progress": progress_json(study, place),
        "best": best,
        "warnings": [FieldError(**each) for each in study.warnings],
        "links": StudyLinks.build(
            self=path,
            runs=f"{path}/runs",
            events=f"{path}/events",
            best=f"{path}/best",
            comparison=f"{path}/comparison",
            importance=f"{path}/importance",
            plot=f"{path}/plot",
        ),
    }


def progress_json(study: StudyRecord, place: Place) -> Json:
    """Make the JSON of a study's progress, in runs and in steps over all of them. The rate is the
    mean since it began, pauses left out. One that has come through has no more runs than those that
    ended, though more were asked for: of what it draws there were no others."""
    counts = {name: study.counts.get(name, 0) for name in RUN_COUNTS}
    ended = sum(counts[name] for name in _ENDED)
    if not study.terminal:  # those that are not planned yet wait too
        counts["queued"] = study.num_runs - ended - counts["running"]
    fraction = eta_s = None
    steps_per_s = None if study.status in {"queued", "paused"} else _rate(study)
    if study.terminal:
        fraction = 1.0
    elif study.max_updates:
        fraction = min(1.0, study.num_updates / study.max_updates)
        if study.status == "running" and steps_per_s:
            eta_s = max(0, study.max_updates - study.num_updates) / steps_per_s
    return StudyProgress.build(
        num_runs=ended if study.status == "succeeded" else study.num_runs,
        num_finished_runs=ended,
        runs=counts,
        step=study.num_updates,
        max_steps=study.max_updates,
        fraction=fraction,
        steps_per_s=steps_per_s,
        eta_s=eta_s,
        queue_position=place.position,
        waiting_for=place.waiting_for,
    )


def _rate(study: StudyRecord) -> float | None:
    if study.started_at is None or not study.num_updates:
        return None
    until = utc_now() if study.finished_at is None else datetime.fromisoformat(study.finished_at)
    since = datetime.fromisoformat(study.started_at)
    seconds = (until - since).total_seconds() - study.idle_ms / 1000
    return study.num_updates / seconds if seconds > 0 else None


def run_json(services: Services, study_id: str, run: RunRecord, spec: Json | None = None) -> Json:
    """Make the JSON of one run; with its spec, where that is given."""
    study = f"{services.root}/v1/studies/{study_id}"
    path = f"{study}/runs/{run.index}"
    paused = run.paused and {name: run.paused.get(name) for name in Pause.model_fields}
    computed: Json = {
        "study_id": study_id,
        "enqueued": bool(run.enqueued),
        "paused": None if paused is None else Pause.build(paused),
        "links": RunLinks.build(
            self=path, study=study, history=f"{path}/history", model=f"{path}/model"
        ),
    }
    return (
        Run.build(run, **computed)
        if spec is None
        else RunWithSpec.build(run, **computed, spec=spec)
    )
