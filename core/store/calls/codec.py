"""Conversion between a record and the fields of its hash in Redis, as the record's annotations say
(`core.jobs.Stored`): for jobs and studies alike.

JSON values are kept to the bit: NaN and infinities stay what they are (`json` writes them; orjson,
which would write null, handles specs alone, where they are refused).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import fields as fields_in
from functools import cache
from typing import Any, Final, TypeVar, assert_never, get_type_hints

import orjson

from core.formats import STORE, stored_job, stored_study
from core.jobs import Attempt, JobRecord, Stored, Timeline, Usage
from core.specs.base import Json
from core.specs.direction import goal_of_stored, sign_of
from core.specs.losses import EVAL, METRICS
from core.store.packing import MOST_PACKED, packed, unpacked
from core.store.protocols.types import NewWork
from core.studies import StudyRecord

Fields = Mapping[str, bytes]
Record = TypeVar("Record", JobRecord, StudyRecord)

dumps: Final = json.JSONEncoder(separators=(",", ":")).encode
"""The function that writes JSON as the records have it."""


def fields_of(flat: Sequence[bytes]) -> dict[str, bytes]:
    """Return the reply of a HGETALL (field, value, field, value, …) by name."""
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}


def decode(record: type[Record], fields: Fields, **apart: Any) -> Record:
    """Return the record in a hash, its spec as `core.formats` reads what an earlier format wrote.

    `apart`: what does not lie in a field of its own.
    """
    for key, (name, read) in _COLUMNS[record].items():
        if key in fields:
            apart[name] = read(fields[key])
    apart["spec"] = _COMPLETE[record](apart["spec"], format_of(fields))
    used: dict[str, Any] = {
        name: _number(fields[key], whole=name.endswith("_bytes"))
        for name, key in _USAGE.items()
        if key in fields
    }
    return record(**apart, usage=Usage(**used) if used else None)


def _number(text: bytes, *, whole: bool) -> int | float:
    return int(text) if whole else float(text)


def format_of(fields: Fields) -> int:
    """Return the format in which a record was written (`core.formats`)."""
    return int(fields.get("format", b"1"))


def stored_fields(record: type) -> Mapping[str, Stored]:
    """Map the fields of a record to how they lie in its hash."""
    hints = get_type_hints(record, include_extras=True)
    notes = {name: getattr(hint, "__metadata__", ()) for name, hint in hints.items()}
    return {name: stored for name in notes for stored in notes[name] if isinstance(stored, Stored)}


_READ: Final[Mapping[str, Callable[[bytes], Any]]] = {
    "text": bytes.decode,
    "number": int,
    "json": json.loads,
    "packed": lambda text: json.loads(unpacked(text)),
    "spec": lambda text: orjson.loads(unpacked(text)),
    "list": lambda text: tuple(json.loads(unpacked(text))),
    "timeline": lambda text: Timeline(text.decode()),
}


def columns_of(record: type) -> Mapping[str, tuple[str, Callable[[bytes], Any]]]:
    """Map each field of the hash to the record's field, and to the function that reads it."""
    return {
        stored.key or name: (name, _READ[stored.form])
        for name, stored in stored_fields(record).items()
        if stored.form in _READ
    }


_COMPLETE: Final[Mapping[type, Callable[[Json, int], Json]]] = {
    JobRecord: stored_job,
    StudyRecord: stored_study,
}
_COLUMNS: Final = {record: columns_of(record) for record in (JobRecord, StudyRecord)}
_USAGE: Final = {each.name: f"usage:{each.name}" for each in fields_in(Usage)}


def encode_usage(usage: Usage) -> list[bytes | str]:
    """Write arguments for the scripts, which keep the larger peak, and add up the rest."""
    used = ((key, getattr(usage, name)) for name, key in _USAGE.items())
    return [word for key, value in used if value is not None for word in (key, str(value))]


@dataclass(frozen=True)
class Prepacked:
    """A value of a packed field, and its text, made before it is wanted: that takes a third of a
    millisecond of a diagnosis, after which its job could have ended."""

    value: Json
    text: bytes

    @classmethod
    def of(cls, value: Json) -> "Prepacked":
        """Pack the value."""
        return cls(value, _pack(value))


def _pack(value: Any) -> bytes:
    return packed(dumps(value).encode())


def encode_updates(fields: Json, *, closing: bool = False) -> list[bytes | str]:
    """Write arguments for the scripts: field, value, …; None becomes empty, which removes the
    field.

    Raises `ValueError` for a field that an attempt may not set.
    """
    settable = _settable(closing)
    if unknown := fields.keys() - settable.keys():
        raise ValueError(f"an attempt may not set {sorted(unknown)}")
    flat: list[bytes | str] = []
    for name, value in fields.items():
        if name == "diagnosis":  # scripts cannot read a packed one
            found = value.value if isinstance(value, Prepacked) else value
            flat += ["verdict", found.get("verdict", "") if isinstance(found, dict) else ""]
        if isinstance(value, Prepacked):
            flat += [name, value.text]
        elif isinstance(value, Usage):
            flat += encode_usage(value)
        elif value is not None:
            flat += [name, encode(settable[name], value)]
        elif settable[name].form != "usage":  # not measured: the old value stays
            flat += [name, ""]
    return flat


@cache
def _settable(closing: bool) -> Mapping[str, Stored]:
    """Return the fields that an attempt may set, of a job's record and of its own."""
    calls = {"update", "close"} if closing else {"update"}
    found = {**stored_fields(JobRecord), **stored_fields(Attempt)}
    return {name: stored for name, stored in found.items() if stored.set_by in calls}


def encode(stored: Stored, value: Any) -> bytes | str:
    """Write a field's value in the hash."""
    match stored.form:
        case "text" | "number":
            return str(value)
        case "json":
            return dumps(value)
        case "packed" | "list":
            return _pack(value)
        case "spec":
            return encode_spec(value)
        case "timeline":
            return Timeline.of(value).text
        case "usage" | "apart":
            raise ValueError(f"{stored.form} does not lie in one field")
        case _:
            assert_never(stored.form)


LEAST_NEED: Final = 2**28
"""Bytes of an estimate below which it is not kept: every device has them."""

OWN: Final = ("parent_id", "name", "note", "owner", "key_id", "request_id", "traceparent")
"""Fields of what is new that the spec does not say; they may be None."""


def need_in(fields: Fields) -> int:
    """Return the memory that a job, or a study's largest run, takes by its estimate; 0: little, or
    not known."""
    return int(fields.get("need", b"0"))


def encode_spec(spec: Json) -> bytes:
    """Write a spec, which holds no number that is not finite."""
    return packed(orjson.dumps(spec), MOST_PACKED)


def encode_new(new: NewWork) -> dict[str, bytes | str]:
    """Write the hash of a job or study about to be queued, as far as both have the same fields, and
    but for what the script sets. A device is the name of a queue."""
    return {
        "id": new.id,
        "format": str(STORE),
        "spec": encode_spec(new.spec),
        "labels": orjson.dumps(new.labels),
        "created_at": new.created_at,
        "max_attempts": str(new.max_attempts),
        "queue": new.device,
        "timeline": Timeline.begun(new.created_at, new.device).text,
        **({"need": str(new.memory_bytes)} if new.memory_bytes >= LEAST_NEED else {}),
        **{name: value for name in OWN if (value := getattr(new, name)) is not None},
        **({} if new.webhook_url is None else _hook(new.spec, new.webhook_url)),
    }


def _hook(spec: Json, url: str) -> dict[str, str]:
    """Write what the scripts need of a webhook. The target of a job or study stands behind the sign
    under which the lower of two values is the better one; the metric of an evaluation, behind
    both."""
    webhook, metric = spec["webhook"], ""
    if "base" in spec:
        target, goal = spec["metric"].get("target"), spec["metric"].get("goal")
    elif (named := spec["stop"].get("metric")) is not None:
        metric, target = named.removeprefix(EVAL), spec["stop"].get("target")
        goal = goal_of_stored(spec) if metric == "loss" else METRICS[metric].goal
    else:
        target, goal = spec["stop"].get("target_loss"), goal_of_stored(spec)
    return {
        "hook:url": url,
        "hook:format": webhook["format"],
        "hook:events": f" {' '.join(webhook['events'])} ",
        **(
            {}
            if target is None
            else {"hook:target": f"{sign_of(goal):g} {target!r} {metric}".rstrip()}
        ),
    }


def new_record(record: type[Record], new: NewWork, **more: Any) -> Record:
    """Return what `decode` gives for a job or study that has just been created. `more`: what only
    one of them has."""
    return record(
        id=new.id,
        status="queued",
        spec=new.spec,
        labels=new.labels,
        created_at=new.created_at,
        timeline=Timeline.begun(new.created_at, new.device),
        version=1,
        webhook_url=new.webhook_url,
        **{name: getattr(new, name) for name in OWN},
        **more,
    )


def place_of(priority: int, owner_id: str, name: str = "") -> str:
    """Return the place of a job, or of a task (`name`) of a study, in its queue. It sorts by
    priority (9 first), then by age, since ids sort by time: what is queued again gets its old place
    back. Of a study: what the places of its tasks begin with."""
    place = f"{9 - priority}:{owner_id.partition('_')[2]}"
    return f"{place}:{name}" if name else place
