"""State of the whole service, for whoever watches it: one call, whatever the store holds."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from math import isfinite, isnan
from typing import Any, Final

from core.ids import ULID_LENGTH, made_at
from core.store.calls.codec import fields_of
from core.store.connection.client import Call, call_script
from core.store.history.samples import unpack_samples
from core.store.protocols.types import DeviceLoad, DeviceUse, Totals

_CLASSES: Final = {"any": "auto", "auto": "auto", "cpu": "cpu"}


def totals_call() -> Call:
    """Ask for the counts, the records by status, the queues, and what is held."""
    return call_script("totals")


def device_class(name: str) -> str:
    """Return the class of the device that a queue is for or an attempt runs on: `cpu`, `gpu`, or
    `auto` for what asks for either."""
    return _CLASSES.get(name, "gpu")


def totals_in(answer: Any, now_s: float) -> Totals:
    """Read the answer to `totals_call`; `now_s`: seconds since 1970."""
    counts, records, queues, held, diagnoses, (num_messages, since_ms) = answer
    return Totals(
        counts={name: int(value) for name, value in fields_of(counts).items()},
        records=dict(
            sorted(((noun.decode(), status.decode()), number) for noun, status, number in records)
        ),
        devices=_loads(queues, held, now_s),
        uses=tuple(_uses(held)),
        queued_diagnoses=diagnoses,
        waiting_messages=num_messages,
        oldest_message_s=max(0.0, now_s - int(since_ms) / 1000) if since_ms else 0.0,
    )


def _loads(queues: Sequence[Any], held: Sequence[Any], now_s: float) -> dict[str, DeviceLoad]:
    queued: Counter[str] = Counter()
    limited: Counter[str] = Counter()
    oldest: dict[str, float] = {}
    for queue, length, num_limited, *places in queues:
        of = device_class(queue.decode())
        queued[of] += length - num_limited
        limited[of] += num_limited
        for place in places:
            age = max(0.0, now_s - made_at(place.decode().split(":")[1][:ULID_LENGTH]))
            oldest[of] = max(age, oldest.get(of, 0.0))
    running: Counter[str] = Counter()
    steps: dict[str, float] = defaultdict(float)
    counted: set[bytes] = set()
    for queue, device, owner, progress, updates, started_at, *_ in held:
        of = device_class((device or queue).decode())
        running[of] += 1
        if owner not in counted:
            counted.add(owner)
            steps[of] += _steps_per_s(progress, updates, started_at, now_s)
    return {
        of: DeviceLoad(queued[of], limited[of], oldest.get(of, 0.0), running[of], steps[of])
        for of in ("auto", "cpu", "gpu")
    }


def _uses(held: Sequence[Any]) -> Iterator[DeviceUse]:
    """Yield the use of each device that has told any: GPUs do."""
    for _, device, *_, worker, sample in held:
        if sample:
            found = unpack_samples([sample])
            percent, memory = (
                None if isnan(value := found[name][0]) else float(value)
                for name in ("device_percent", "device_memory_bytes")
            )
            if (percent, memory) != (None, None):
                yield DeviceUse(worker.decode(), device.decode(), percent, memory)


def _steps_per_s(progress: bytes, updates: bytes, started_at: bytes, now_s: float) -> float:
    """Return a job's latest rate, or a study's since it began."""
    if progress:
        found = json.loads(progress).get("steps_per_s") or 0.0
        return float(found) if isfinite(found) else 0.0
    if updates and started_at:
        seconds = now_s - datetime.fromisoformat(started_at.decode()).timestamp()
        return int(updates) / seconds if seconds > 0 else 0.0
    return 0.0
