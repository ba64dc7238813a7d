"""Conversion between a job and the fields of its hash in Redis, as far as `core.store.calls.codec`
does not say it of jobs and studies alike; layouts of histories; and workers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Final, Literal, cast

import orjson

from core.jobs import Attempt, AttemptEnd, JobRecord, Status
from core.store.calls.codec import Fields, decode, dumps, encode_new, new_record, place_of
from core.store.history.layout import HistoryKind, HistoryLayout, HistoryMeta, Segment
from core.store.protocols.types import NewJob, WorkerInfo

KINDS: Final[tuple[HistoryKind, ...]] = ("train", "eval")


def encode_new_job(job: NewJob) -> dict[str, bytes | str]:
    """Write the hash of a job about to be queued, but for what the script sets."""
    fields = {**encode_new(job), "place": place_of(job.priority, job.id, job.id)}
    if job.resolved:
        fields["resolved"] = dumps(job.resolved)
    if job.warnings:
        fields["warnings"] = dumps(job.warnings)
    for kind, layout in job.layouts.items():
        fields[f"layout:{kind}"] = encode_layout(layout)
    return fields


def new_job_record(job: NewJob) -> JobRecord:
    """Return what `decode_job` gives for a job that has just been created."""
    return new_record(JobRecord, job, resolved=job.resolved or {}, warnings=job.warnings)


def decode_job(fields: Fields) -> JobRecord:
    """Read the record in a job's hash."""
    return decode(JobRecord, fields, attempts=_attempts(fields))


WorkerKind = Literal["gpu", "cpu"]
"""Kind of a worker: it has a GPU, or none. Each kind leaves work to the other that suits it."""


def worker_kind(devices: Sequence[str]) -> WorkerKind:
    return "gpu" if any(device.startswith("cuda") for device in devices) else "cpu"


def queues_served(devices: Sequence[str]) -> list[str]:
    """List the queues that a worker with these devices takes jobs from. The last is left to workers
    of the other kind while there are any."""
    if worker_kind(devices) == "cpu":
        return ["cpu", "auto"]
    return ["auto", "cuda", *(device for device in devices if device.startswith("cuda:")), "cpu"]


def device_of(queue: str, devices: Sequence[str]) -> str:
    """Return the one of a worker's devices (best first) that work of a queue is for: `auto` is the
    first, `cuda` the first GPU; any other name is itself."""
    if queue == "auto":
        return devices[0]
    if queue == "cuda":
        return next(device for device in devices if device.startswith("cuda"))
    return queue


def rooms_of(devices: Sequence[str], memory_bytes: Mapping[str, int]) -> dict[str, int]:
    """Map each queue that such a worker serves to the memory of the device that its work is for; 0:
    it is not known."""
    return {
        queue: memory_bytes.get(device_of(queue, devices), 0) for queue in queues_served(devices)
    }


def wake_lists(devices: Sequence[str]) -> list[str]:
    """List the keys, below the namespace, on which such a worker waits for words of new work: its
    own queues', and those for all while a kind is missing."""
    *own, _ = queues_served(devices)
    return [*(f"wake:{queue}" for queue in own), "wake:all:auto", "wake:all:cpu"]


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


def encode_layout(layout: HistoryLayout) -> bytes:
    return orjson.dumps(layout)  # keeps the order of the series: it is the columns'


def decode_layout(text: bytes) -> HistoryLayout:
    return HistoryLayout(**orjson.loads(text))


def decode_layouts(fields: Fields) -> dict[HistoryKind, HistoryLayout]:
    return {
        kind: decode_layout(fields[f"layout:{kind}"])
        for kind in KINDS
        if f"layout:{kind}" in fields
    }


META_FIELDS: Final = (
    "status",
    "layout:{}",
    "rows:{}",
    "last:{}",
    "nonfinite:{}",
    "segments:{}",
    "rewinds:{}",
)
"""Fields of the hash that `decode_meta` takes, in order, to be formatted with the kind."""


def decode_meta(values: Sequence[bytes | None]) -> HistoryMeta:
    """Read the meta of a history of a job that exists. A kind that the job has no layout for has no
    series and no rows."""
    status, layout, rows, last, nonfinite, segments, rewinds = values
    assert status is not None
    return HistoryMeta(
        status=cast(Status, status.decode()),
        layout=decode_layout(layout) if layout else HistoryLayout(1, {}, 0),
        num_rows=int(rows or 0),
        last_step=None if last is None else int(last),
        first_nonfinite_step=None if nonfinite is None else int(nonfinite),
        segments=() if segments is None else decode_segments(segments),
        rewinds=tuple(int(row) for row in (rewinds or b"").split(b";")[:-1]),
    )


def encode_segment(segment: Segment) -> str:
    """Write a segment as text; the script `bundle` puts one behind the other, with a `;` after
    each."""
    return f"{segment.name} {segment.offset} {segment.num_rows};"


def decode_segments(text: bytes) -> tuple[Segment, ...]:
    found = [each.split(" ") for each in text.decode().split(";")[:-1]]
    return tuple(Segment(name, int(offset), int(rows)) for name, offset, rows in found)


def encode_worker(info: WorkerInfo) -> bytes:
    """Write a worker's report, but for the memory of its devices, which an API of an earlier
    version would not understand in it."""
    known = asdict(info)
    del known["memory_bytes"]
    return orjson.dumps(known)


def encode_memory(info: WorkerInfo) -> bytes:
    """Write the memory of a worker's devices, and that which each of its queues has: a job that is
    too large for one worker is left to another by it."""
    rooms = rooms_of(info.devices, info.memory_bytes)
    kind = worker_kind(info.devices)
    return orjson.dumps({"kind": kind, "devices": info.memory_bytes, "queues": rooms})


def decode_worker(text: bytes, memory: bytes | None) -> WorkerInfo:
    """Read a worker's report, and what `encode_memory` wrote; None: it wrote nothing."""
    found = orjson.loads(text)
    found["memory_bytes"] = orjson.loads(memory)["devices"] if memory else {}
    return WorkerInfo(
        **{**found, "devices": tuple(found["devices"]), "queues": tuple(found["queues"])}
    )
