"""Creation of a job or a study: one call of the script, and its answer."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import ConflictError, DataGoneError
from core.store.connection.client import Call, call_script
from core.store.protocols.types import Idempotency, QueueFullError


@dataclass(frozen=True)
class Creation:
    """The script's answer. `earlier`: the hash (as `fields_of` takes it) of what the same key had
    made before; None: it is new. `position`: in the queue, -1 for none. `num_workers`: alive."""

    earlier: Any
    position: int
    num_workers: int


def create_call(
    name: str,
    labels: Mapping[str, str],
    fields: Mapping[str, bytes | str],
    most: int,
    idempotency: Idempotency | None,
    datasets: Sequence[str] = (),
) -> Call:
    """Write the hash `fields` of the job or study `name`, unless `most` are queued already.
    `datasets`: ids of those that it uses, which stay until it has ended."""
    words = [word for pair in fields.items() for word in pair]
    marks = [f"{label}={value}" for label, value in labels.items()]
    # The key is kept as a digest: the client's may be long, and hold any character.
    memory = hashlib.sha256(idempotency.key.encode()).hexdigest() if idempotency else ""
    fingerprint, ttl_s = (idempotency.fingerprint, idempotency.ttl_s) if idempotency else ("", 0)
    return call_script(
        "create", name, most, memory, fingerprint, ttl_s, " ".join(datasets),
        len(marks), *marks, *words,
    )  # fmt: skip


def read_creation(answer: Any, noun: str, most: int) -> Creation:
    """Read the answer to `create_call`; raises as `ApiStore.create`. `noun`: `job` or `study`."""
    match answer:
        case [b"created", position, num_workers]:
            return Creation(None, position, num_workers)
        case [b"replayed", position, num_workers, record]:
            return Creation(record, position, num_workers)
        case [b"reused"]:
            raise key_reused()
        case [b"deleted", name]:
            raise made_deleted(noun, noun, name.decode())
        case [b"no_data", name]:
            raise DataGoneError(name.decode())
        case [b"full"]:
            raise QueueFullError(f"{most} of them are queued already: try again later.", 30.0)
        case _:
            raise AssertionError(answer)


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
