"""Between the records of a study, its tasks and its runs and the fields of their hashes in Redis.

A run's record is one JSON field (`core.store.calls.job_codec` says how NaN is kept) but for its
status, and for an error that the store itself gave it.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final, cast

import orjson

from core.formats import STORE, stored_study
from core.jobs import Status
from core.store.calls.job_codec import (
    Fields,
    decode_timeline,
    encode_layout,
    encode_timeline,
    first_entries,
    format_of,
    queue_of,
)
from core.store.protocols.types import NewRun, NewStudy, Round, TaskClaim
from core.studies import RUN_COUNTS, RunRecord, StudyRecord, TaskKind, TaskRecord

RUN_FIELDS: Final = ("record", "status", "error")
"""What `decode_run` wants of a run's hash, in order."""


def encode_new_study(study: NewStudy) -> dict[str, bytes | str]:
    """The hash of a study about to be written, but for what the script sets."""
    return {
        "id": study.id,
        "format": str(STORE),
        "spec": orjson.dumps(study.spec),
        "labels": json.dumps(study.labels),
        "created_at": study.created_at,
        "max_attempts": str(study.max_attempts),
        "queue": queue_of(study.device),
        "place": f"{9 - study.priority}:{study.id.partition('_')[2]}",
        "num_runs": str(study.num_runs),
        "max_updates": str(study.max_updates),
        "timeline": encode_timeline(first_entries(study.created_at, study.device)),
    }


def new_study_record(study: NewStudy) -> StudyRecord:
    """What `decode_study` gives for a study that has just been written."""
    return StudyRecord(
        id=study.id,
        status="queued",
        spec=study.spec,
        created_at=study.created_at,
        num_runs=study.num_runs,
        max_updates=study.max_updates,
        counts=dict.fromkeys(RUN_COUNTS, 0),
        labels=study.labels,
        timeline=first_entries(study.created_at, study.device),
        version=1,
    )


def decode_study(fields: Fields) -> StudyRecord:
    """The record in a study's hash."""

    def text(name: str) -> str | None:
        return fields[name].decode() if name in fields else None

    def value(name: str) -> Any:
        return json.loads(fields[name]) if name in fields else None

    return StudyRecord(
        id=fields["id"].decode(),
        status=cast(Status, fields["status"].decode()),
        spec=stored_study(orjson.loads(fields["spec"]), format_of(fields)),
        format=format_of(fields),
        created_at=fields["created_at"].decode(),
        num_runs=int(fields["num_runs"]),
        max_updates=int(fields["max_updates"]),
        counts={name: int(fields.get(f"count:{name}", b"0")) for name in RUN_COUNTS},
        num_updates=int(fields.get("updates", b"0")),
        round=int(fields.get("round", b"0")),
        result=value("result"),
        error=value("error"),
        labels=json.loads(fields["labels"]),
        started_at=text("started_at"),
        finished_at=text("finished_at"),
        cancel_requested_at=text("cancel_requested_at"),
        timeline=decode_timeline(fields.get("timeline", b"")),
        version=int(fields["version"]),
    )


def decode_claim(task: Fields, study: Fields) -> TaskClaim:
    """A claimed task, from its hash and its study's."""
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
    )


def encode_run(run: RunRecord) -> str:
    """The field `record`."""
    # Not `asdict`, which copies what is in the fields: 0.1 ms a run.
    fields = {
        name: value for name, value in vars(run).items() if value is not None and name != "status"
    }
    return json.dumps(fields, separators=(",", ":"))


def decode_run(found: Sequence[bytes | None]) -> RunRecord | None:
    """The run in the values of `RUN_FIELDS`; None where it has not been planned."""
    record, status, error = found
    if record is None or status is None:
        return None
    fields = json.loads(record)
    if error is not None:
        fields.setdefault("error", json.loads(error))
    return RunRecord(**fields, status=cast(Status, status.decode()))


def encode_runs(runs: Iterable[RunRecord]) -> list[str | int]:
    """Arguments of the scripts for runs that are written anew: index, status, outcome, record, …"""
    words: list[str | int] = []
    for run in runs:
        words += [run.index, run.status, run.outcome or "", encode_run(run)]
    return words


def encode_round(round_: Round) -> list[str | int]:
    """Arguments of the script `plan`."""
    words: list[str | int] = [len(round_.new), len(round_.changed)]
    for new in round_.new:
        words += [new.record.index, encode_run(new.record), *_layouts(new)]
    words += encode_runs(round_.changed)
    for task in round_.tasks:
        stop = "" if task.stop_step is None else task.stop_step
        words += [task.number, ",".join(map(str, task.runs)), stop]
    return words


def _layouts(new: NewRun) -> list[str]:
    found = (new.layouts.get("train"), new.layouts.get("eval"))
    return ["" if layout is None else encode_layout(layout) for layout in found]
