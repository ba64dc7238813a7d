"""Creation of a job or a study: one call of the script, and its answer."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from core.errors import ConflictError, DataGoneError, LimitReachedError
from core.store.connection.client import Call, call_script
from core.store.protocols.types import Idempotency, QueueFullError, QueuePlace


@dataclass(frozen=True)
class Creation:
    """The script's answer. `earlier`: the hash (as `fields_of` takes it) of what the same key had
    made before; None: it is new. `place`: in the queue. `num_workers`: alive."""

    earlier: Any
    place: QueuePlace | None
    num_workers: int


def create_call(
    name: str,
    labels: Mapping[str, str],
    fields: Mapping[str, bytes | str],
    most: int,
    idempotency: Idempotency | None,
    datasets: Sequence[str] = (),
    key_id: str | None = None,
) -> Call:
    """Write the hash `fields` of the job or study `name`, unless `most` are queued already.
    `datasets`: ids of those that it uses, which stay until it has ended; `key_id`: the key whose
    limits hold for it."""
    words = [word for pair in fields.items() for word in pair]
    marks = [f"{label}={value}" for label, value in labels.items()]
    # The key is kept as a digest: the client's may be long, and hold any character.
    memory = hashlib.sha256(idempotency.key.encode()).hexdigest() if idempotency else ""
    fingerprint, ttl_s = (idempotency.fingerprint, idempotency.ttl_s) if idempotency else ("", 0)
    return call_script(
        "create_of_key" if key_id else "create", name, most, memory, fingerprint, ttl_s,
        " ".join(datasets),
        key_id or "", len(marks), *marks, *words,
    )  # fmt: skip


def read_creation(answer: Any, noun: str, most: int) -> Creation:
    """Read the answer to `create_call`; raises as `ApiStore.create`. `noun`: `job` or `study`."""
    match answer:
        case [b"created", position, num_workers]:
            return Creation(None, queue_place(position), num_workers)
        case [b"replayed", position, num_workers, record]:
            return Creation(record, queue_place(position), num_workers)
        case [b"reused"]:
            raise key_reused()
        case [b"deleted", name]:
            raise made_deleted(noun, noun, name.decode())
        case [b"no_data", name]:
            raise DataGoneError(name.decode())
        case [b"limit", *words]:
            raise limit_reached(words)
        case [b"full"]:
            raise QueueFullError(f"{most} of them are queued already: try again later.", 30.0)
        case _:
            raise AssertionError(answer)


_LIMITS: Final = {
    "queued": "{found:,.0f} jobs and studies of it wait, of the {limit:,.0f} that may: wait until"
    " some begin, or cancel some",
    "stored_bytes": "it keeps {found:,.0f} bytes and may keep {limit:,.0f}, which leaves no room"
    " for this: delete jobs, studies or data sets",
    "device_s_per_day": "its work has held devices for {found:,.7g} s of the {limit:,.7g} s of this"
    " day (UTC): try again tomorrow",
}


def limit_reached(words: Sequence[bytes]) -> LimitReachedError:
    """Return the refusal by a key's limit: its name, itself, what there is, seconds to wait."""
    name, limit, found, wait_s = (word.decode() for word in words)
    said = _LIMITS[name].format(found=float(found), limit=float(limit))
    return LimitReachedError(f"The key has come to its limit {name}: {said}.", float(wait_s))


def queue_place(found: int) -> QueuePlace | None:
    """Read a place in the queue as the scripts give it."""
    if found == -1:
        return None
    return QueuePlace(found) if found >= 0 else QueuePlace(-2 - found, is_limited=True)


def key_reused() -> ConflictError:
    """Return the refusal of a key that came before with another body."""
    return ConflictError(
        "idempotency_key_reused",
        "This Idempotency-Key came before with another body: send a new key with a new body.",
    )


def made_deleted(noun: str, code: str, name: str) -> ConflictError:
    """Return the refusal of a key whose record is gone."""
    return ConflictError(
        f"idempotent_{code}_deleted",
        f"This Idempotency-Key made the {noun} {name}, which has been"
        " deleted since: send a new key to make another.",
    )
