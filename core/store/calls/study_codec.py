"""Conversion between the records of a study, its tasks and its runs and the fields of their hashes
in Redis.

A run's record is one JSON field (`core.store.calls.codec` says how NaN is kept) but for its
status, and for an error that the store itself gave it.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Final, cast

from core.jobs import Status
from core.specs.base import Json
from core.store.calls.codec import (
    Fields,
    decode,
    dumps,
    encode,
    encode_new,
    format_of,
    need_in,
    new_record,
    place_of,
    stored_fields,
)
from core.store.calls.job_codec import encode_layout
from core.store.protocols.types import NewRun, NewStudy, Round, TaskClaim
from core.studies import RUN_COUNTS, RunRecord, StudyRecord, TaskKind, TaskRecord

RUN_FIELDS: Final = ("record", "status", "error")
"""Fields of a run's hash that `decode_run` takes, in order."""


def encode_new_study(study: NewStudy) -> dict[str, bytes | str]:
    """Write the hash of a study about to be written, but for what the script sets."""
    return {
        **encode_new(study),
        "place": place_of(study.priority, study.id),
        "num_runs": str(study.num_runs),
        "max_updates": str(study.max_updates),
        **({"warnings": dumps(study.warnings)} if study.warnings else {}),
        # The script looks for it at the end.
        **({"num_inherited": str(len(study.inherited))} if study.inherited else {}),
    }


def new_study_record(study: NewStudy) -> StudyRecord:
    """Return what `decode_study` gives for a study that has just been written."""
    counts = dict.fromkeys(RUN_COUNTS, 0)
    names = ("num_runs", "max_updates", "warnings")
    own = {name: getattr(study, name) for name in names}
    return new_record(StudyRecord, study, **own, counts=counts)


def decode_study(fields: Fields) -> StudyRecord:
    """Read the record in a study's hash."""
    counts = {name: int(fields.get(f"count:{name}", b"0")) for name in RUN_COUNTS}
    return decode(StudyRecord, fields, counts=counts, format=format_of(fields))


def decode_claim(task: Fields, study: Fields) -> TaskClaim:
    """Read a claimed task from its hash and its study's."""
    record = decode_study(study)
    runs, stop = task.get("runs", b"").decode(), task.get("stop_step", b"").decode()
    return TaskClaim(
        record,
        TaskRecord(
            study_id=record.id,
            round=int(task["round"]),
            number=int(task["number"]),
            kind=cast(TaskKind, task["kind"].decode()),
            runs=tuple(int(index) for index in runs.split(",") if index),
            stop_step=int(stop) if stop else None,
        ),
        int(task["token"]),
        int(task["attempts"]),
        need_in(study),
    )


def encode_run(run: RunRecord) -> str:
    """Write the field `record`."""
    # `asdict` would copy the values of the fields, which takes 0.1 ms a run.
    fields = {
        name: value for name, value in vars(run).items() if value is not None and name != "status"
    }
    return dumps(fields)


def encode_inherited(run: RunRecord) -> str:
    """Write the record of a run of another study, as the study that inherits it keeps it: whole,
    with its status, but without its weights."""
    left = {"weights", "paused", "error"}
    fields = {
        name: value for name, value in vars(run).items() if value is not None and name not in left
    }
    return dumps(fields)


def encode_spec(spec: Json) -> bytes | str:
    """Write a study's spec as its hash has it."""
    return encode(stored_fields(StudyRecord)["spec"], spec)


def decode_run(found: Sequence[bytes | None]) -> RunRecord | None:
    """Read the run in the values of `RUN_FIELDS`; None where it has not been planned."""
    record, status, error = found
    if record is None or status is None:
        return None
    fields = json.loads(record)
    if error is not None:
        fields.setdefault("error", json.loads(error))
    return RunRecord(**fields, status=cast(Status, status.decode()))


def encode_runs(runs: Iterable[RunRecord]) -> list[str | int]:
    """Write arguments of the scripts for runs that are written anew: index, status, outcome,
    record, …"""
    words: list[str | int] = []
    for run in runs:
        words += [run.index, run.status, run.outcome or "", encode_run(run)]
    return words


def encode_round(round_: Round) -> list[str | int | bytes]:
    """Write arguments of the script `plan`."""
    words: list[str | int | bytes] = [len(round_.new), len(round_.changed)]
    for new in round_.new:
        words += [new.record.index, encode_run(new.record), *_layouts(new)]
    words += encode_runs(round_.changed)
    for task in round_.tasks:
        stop = "" if task.stop_step is None else task.stop_step
        words += [task.number, ",".join(map(str, task.runs)), stop]
    return words


def _layouts(new: NewRun) -> list[bytes]:
    found = (new.layouts.get("train"), new.layouts.get("eval"))
    return [b"" if layout is None else encode_layout(layout) for layout in found]
