"""The study that another is begun from: what it hands on."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from core.errors import FieldError, InvalidInputError, NotFoundError
from core.ids import STUDY_PREFIX, is_id
from core.specs.studies.given import Inherited, Source
from core.store.protocols.api import ApiStudies
from core.strategies.halving import grouped
from core.studies import RunRecord, StudyRecord

_PARAM: Final = "warm_start_from"


@dataclass(frozen=True)
class Origin:
    """A study that has ended, and the runs of each of its configurations that came to their end."""

    source: Source
    groups: Sequence[Sequence[RunRecord]]
    target: float | None

    def runs(
        self, found: Sequence[Inherited], repeats: int, target: float | None
    ) -> tuple[RunRecord, ...]:
        """Return the runs of the configurations that the new study inherits, as it has them, for
        each of its repeats; when the target was reached is known where it has the same."""
        runs: list[RunRecord] = []
        for number, each in enumerate(found, 1):
            for run in self.groups[each.place]:
                if run.repeat >= repeats:
                    continue
                origin = run.inherited or {
                    "study_id": self.source.study_id, "configuration": run.configuration
                }  # fmt: skip
                changes: dict[str, Any] = {} if target == self.target else {"target": None}
                runs.append(
                    replace(
                        run, index=-len(runs) - 1, configuration=-number, params=each.params,
                        bracket=None, enqueued=None,
                        inherited={**origin, "is_known": each.is_known}, **changes,
                    )
                )  # fmt: skip
        return tuple(runs)


async def origin_of(body: bytes, studies: ApiStudies) -> Origin | None:
    """Read the study that a body names in `warm_start_from`; None where it names none, or no id.

    Raises:
        InvalidInputError: there is no such study, or it has not ended.
    """
    name = _named(body)
    if name is None:
        return None
    try:
        study = await studies.get(name)
    except NotFoundError:
        message = f"{_PARAM}: there is no study {name} (any more)"
        raise InvalidInputError([FieldError(_PARAM, "unknown_study", message)]) from None
    if not study.terminal:
        message = (
            f"{_PARAM}: {name} is {study.status}; add runs to it by its extend or enqueue, or wait"
            " until it has ended"
        )
        raise InvalidInputError([FieldError(_PARAM, "not_ended", message)])
    return await _read(study, studies)


async def source_for(study: StudyRecord, studies: ApiStudies) -> Source | None:
    """Return what a study was begun from, as far as it trains no configuration of it again; None
    where there is nothing of that."""
    if study.spec.get(_PARAM) is None:
        return None
    runs = await studies.inherited(study.id)
    known = [run for run in runs if run.inherited and run.inherited["is_known"]]
    params = [group[0].params for group in grouped(known).values()]
    if not params:
        return None
    return Source(study.spec[_PARAM], study.spec, params, study.format)


async def _read(study: StudyRecord, studies: ApiStudies) -> Origin:
    own = await studies.runs(study.id)
    inherited: Sequence[RunRecord] = ()
    if study.spec.get(_PARAM) is not None:
        inherited = await studies.inherited(study.id)
    groups = [
        group for group in grouped([*inherited, *own]).values() if all(map(_came_to_its_end, group))
    ]
    source = Source(study.id, study.spec, [group[0].params for group in groups], study.format)
    return Origin(source, groups, study.spec["metric"].get("target"))


def _came_to_its_end(run: RunRecord) -> bool:
    """Tell whether a run says something of its configuration: one that was cancelled does not,
    unless a stopper did."""
    return run.terminal and (run.status != "cancelled" or run.stopped is not None)


def _named(body: bytes) -> str | None:
    if b'"study_' not in body:  # a resolved spec has the field, and mostly no study in it
        return None
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    name = value.get(_PARAM) if isinstance(value, dict) else None
    return name if isinstance(name, str) and is_id(name, STUDY_PREFIX) else None
