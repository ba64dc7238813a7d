"""Between records and the fields of a job's hash in Redis.

A record's JSON values are kept to the bit: NaN and infinities stay what they are (`json` writes
them; orjson, which would write null, handles the spec alone, where they are refused).
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

import orjson

from core.formats import STORE, stored_job
from core.jobs import (
    Attempt,
    AttemptEnd,
    Event,
    JobRecord,
    Outcome,
    Status,
    Timeline,
    TimelineEntry,
)
from core.store.history.layout import HistoryKind, HistoryLayout, HistoryMeta, Segment
from core.store.protocols.types import Json, NewJob, WorkerInfo

Fields = Mapping[str, bytes]
KINDS: Final[tuple[HistoryKind, ...]] = ("train", "eval")

_JSON: Final = frozenset(
    {
        "resolved", "progress", "latest", "best", "result", "diagnosis", "error", "checkpoints",
        "interventions",
    }
)  # fmt: skip
_TEXT: Final = frozenset({"phase", "outcome", "device"})
_UPDATE: Final = frozenset(
    {
        "spec", "phase", "progress", "latest", "best", "checkpoints", "interventions", "resolved",
        "device", "diagnosis", "timeline",
    }
)  # fmt: skip
_CLOSE: Final = _UPDATE | {"result", "error", "outcome"}


def fields_of(flat: Sequence[bytes]) -> dict[str, bytes]:
    """A HGETALL's reply (field, value, field, value, …) by name."""
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}


def encode_updates(fields: Json, *, closing: bool = False) -> list[bytes | str]:
    """Arguments for the scripts: field, value, …; None becomes empty, which removes the field.

    Raises `ValueError` for a field that an attempt may not set.
    """
    if unknown := fields.keys() - (_CLOSE if closing else _UPDATE):
        raise ValueError(f"an attempt may not set {sorted(unknown)}")
    flat: list[bytes | str] = []
    for name, value in fields.items():
        flat += [name, "" if value is None else _encode(name, value)]
    return flat


def _encode(name: str, value: Any) -> bytes | str:
    if name in _TEXT:
        return str(value)
    if name == "timeline":
        return encode_timeline(value)
    return orjson.dumps(value) if name == "spec" else _dumps(value)


def encode_diagnosis(found: Json) -> str:
    """The field `diagnosis`, as `encode_updates` writes it."""
    return _dumps(found)


def encode_timeline(entries: Iterable[TimelineEntry]) -> str:
    """A line each: time, event and detail, with spaces between."""
    words = ((entry.at, entry.event, entry.detail or "") for entry in entries)
    return "".join(f"{at} {event} {_ONE_LINE.sub(' ', detail)}\n" for at, event, detail in words)


def decode_timeline(text: bytes) -> Timeline:
    """The entries in the field `timeline`."""
    lines = (line.split(" ", 2) for line in text.decode().split("\n")[:-1])
    return tuple(
        TimelineEntry(at, cast(Event, event), detail or None) for at, event, detail in lines
    )


_ONE_LINE: Final = re.compile(r"[\x00-\x1f\x7f]")


def first_entries(created_at: str, device: str) -> Timeline:
    """The timeline of a job or study that has just been created."""
    queued = TimelineEntry(created_at, "queued", queue_of(device))
    return TimelineEntry(created_at, "created"), queued


_dumps: Final = json.JSONEncoder(separators=(",", ":")).encode


def encode_new(job: NewJob) -> dict[str, bytes | str]:
    """The hash of a job about to be queued, but for what the script sets."""
    fields: dict[str, bytes | str] = {
        "id": job.id,
        "format": str(STORE),
        "spec": orjson.dumps(job.spec),
        "labels": _dumps(job.labels),
        "created_at": job.created_at,
        "max_attempts": str(job.max_attempts),
        "queue": queue_of(job.device),
        "place": place_of(job.priority, job.id),
        "timeline": encode_timeline(first_entries(job.created_at, job.device)),
    }
    if job.parent_id is not None:
        fields["parent_id"] = job.parent_id
    if job.resolved:
        fields["resolved"] = _dumps(job.resolved)
    for kind, layout in job.layouts.items():
        fields[f"layout:{kind}"] = encode_layout(layout)
    return fields


def place_of(priority: int, owner_id: str, name: str | None = None) -> str:
    """Where a job, or a task (`name`) of a study, stands in its queue. It sorts by priority (9
    first), then by age, since ids sort by time: what is queued again gets its old place back."""
    age = owner_id.partition("_")[2]
    return f"{9 - priority}:{age}:{name or owner_id}"


def queue_of(device: str) -> str:
    """The queue of jobs that ask for `device`: what any worker can run shares one."""
    return "any" if device in {"auto", "cpu"} else device


def queues_served(devices: Sequence[str]) -> list[str]:
    """The queues that a worker with these devices takes jobs from."""
    cuda = [device for device in devices if device.startswith("cuda")]
    return ["any", *(["cuda"] if cuda else []), *(d for d in cuda if d != "cuda")]


def new_record(job: NewJob) -> JobRecord:
    """What `decode_record` gives for a job that has just been created."""
    return JobRecord(
        id=job.id,
        status="queued",
        spec=job.spec,
        created_at=job.created_at,
        resolved=job.resolved or {},
        labels=job.labels,
        parent_id=job.parent_id,
        timeline=first_entries(job.created_at, job.device),
        version=1,
    )


def decode_record(fields: Fields) -> JobRecord:
    """The record in a job's hash."""

    def text(name: str) -> str | None:
        return fields[name].decode() if name in fields else None

    def value(name: str) -> Any:
        return json.loads(fields[name]) if name in fields else None

    return JobRecord(
        id=fields["id"].decode(),
        status=cast(Status, fields["status"].decode()),
        spec=stored_job(orjson.loads(fields["spec"]), format_of(fields)),
        created_at=fields["created_at"].decode(),
        outcome=cast(Outcome | None, text("outcome")),
        phase=text("phase"),
        labels=json.loads(fields["labels"]),
        attempts=_attempts(fields),
        checkpoints=tuple(value("checkpoints") or ()),
        interventions=tuple(value("interventions") or ()),
        asked_diagnosis=text("ask:checkpoint"),
        failed_diagnosis=text("ask:failed"),
        timeline=decode_timeline(fields.get("timeline", b"")),
        resolved=value("resolved") or {},
        progress=value("progress") or {},
        parent_id=text("parent_id"),
        started_at=text("started_at"),
        finished_at=text("finished_at"),
        cancel_requested_at=text("cancel_requested_at"),
        version=int(fields["version"]),
        **{name: value(name) for name in ("latest", "best", "result", "diagnosis", "error")},
    )


def format_of(fields: Fields) -> int:
    """The format in which a record was written (`core.formats`)."""
    return int(fields.get("format", b"1"))


def _attempts(fields: Fields) -> tuple[Attempt, ...]:
    def text(number: int, name: str) -> str | None:
        found = fields.get(f"a:{number}:{name}")
        return None if found is None else found.decode()

    return tuple(
        Attempt(
            number=number,
            worker=text(number, "worker") or "",
            device=text(number, "device"),
            started_at=text(number, "started_at") or "",
            ended_at=text(number, "ended_at"),
            end=cast(AttemptEnd | None, text(number, "end")),
        )
        for number in range(1, int(fields.get("attempts", b"0")) + 1)
    )


def encode_layout(layout: HistoryLayout) -> str:
    return orjson.dumps(layout).decode()  # keeps the order of the series: it is the columns'


def decode_layout(text: bytes) -> HistoryLayout:
    return HistoryLayout(**orjson.loads(text))


def decode_layouts(fields: Fields) -> dict[HistoryKind, HistoryLayout]:
    return {
        kind: decode_layout(fields[f"layout:{kind}"])
        for kind in KINDS
        if f"layout:{kind}" in fields
    }


META_FIELDS: Final = ("status", "layout:{}", "rows:{}", "last:{}", "nonfinite:{}", "segments:{}")
"""The hash's fields that `decode_meta` wants, in order, to be formatted with the kind."""


def decode_meta(values: Sequence[bytes | None]) -> HistoryMeta:
    """Of a job that exists. A kind that it has no layout for has no series and no rows."""
    _, layout, rows, last, nonfinite, segments = values
    return HistoryMeta(
        layout=decode_layout(layout) if layout else HistoryLayout(1, {}, 0),
        num_rows=int(rows or 0),
        last_step=None if last is None else int(last),
        first_nonfinite_step=None if nonfinite is None else int(nonfinite),
        segments=() if segments is None else decode_segments(segments),
    )


def encode_segment(segment: Segment) -> str:
    """The script `bundle` puts one behind the other, with a `;` after each."""
    return f"{segment.name} {segment.offset} {segment.num_rows};"


def decode_segments(text: bytes) -> tuple[Segment, ...]:
    found = [each.split(" ") for each in text.decode().split(";")[:-1]]
    return tuple(Segment(name, int(offset), int(rows)) for name, offset, rows in found)


def encode_worker(info: WorkerInfo) -> bytes:
    return orjson.dumps(info)


def decode_worker(text: bytes) -> WorkerInfo:
    found = orjson.loads(text)
    return WorkerInfo(
        **{**found, "devices": tuple(found["devices"]), "queues": tuple(found["queues"])}
    )
