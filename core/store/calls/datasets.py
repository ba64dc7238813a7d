"""Calls about data sets, and the reading of their answers."""

import hashlib
from dataclasses import fields, replace
from typing import Any, Final

from core.datasets import DatasetRecord
from core.errors import ChangedError, ConflictError
from core.formats import STORE
from core.ids import DATA_PREFIX
from core.jobs import Stored
from core.specs.base import Json
from core.store.calls.codec import Fields, columns_of, dumps, encode, fields_of, stored_fields
from core.store.calls.create import key_reused, limit_reached, made_deleted
from core.store.calls.nouns import Noun
from core.store.connection.client import Call, call_script
from core.store.protocols.types import DatasetPage, Idempotency

STORED: Final = stored_fields(DatasetRecord)
_COLUMNS: Final = columns_of(DatasetRecord)
INTERRUPTED: Final[Json] = {
    "code": "check_interrupted",
    "message": "The service stopped while it checked the file: upload it again.",
    "row": None,
    "column": None,
    "entry": None,
}
"""Error of a data set whose check nobody ended."""


def encode_dataset(record: DatasetRecord) -> dict[str, bytes | str]:
    """Write the hash of a data set about to be made, but for what the script sets."""
    found: dict[str, bytes | str] = {"format": str(STORE)}
    for each in fields(record):
        value = getattr(record, each.name)
        if value is not None and each.name not in {"status", "version", "file"}:
            found[each.name] = encode(STORED[each.name], value)
    return found


def decode_dataset(hashed: Fields) -> DatasetRecord:
    """Read the record in a data set's hash."""
    return DatasetRecord(
        **{name: read(hashed[key]) for key, (name, read) in _COLUMNS.items() if key in hashed}
    )


DATASETS: Final = Noun[DatasetRecord, DatasetRecord, DatasetRecord, DatasetPage](
    DATA_PREFIX,
    encode_dataset,
    lambda new: replace(new, version=1),
    decode_dataset,
    lambda record, *_: record,
    DatasetPage,
    title="data set",
)


def digest_of(record: DatasetRecord) -> str:
    """Return what two uploads have the same of whose stored content is the same: the bytes, and
    how they are read."""
    what = dumps([record.sha256, record.media_type, record.schema])
    return hashlib.sha256(what.encode()).hexdigest()


def create_call(
    record: DatasetRecord, idempotency: Idempotency | None, file: str | None, lease_ms: int
) -> Call:
    """Write a data set: with its content `file`, or, while it is checked, with a lease."""
    hashed = encode_dataset(record)
    memory = hashlib.sha256(idempotency.key.encode()).hexdigest() if idempotency else ""
    fingerprint, ttl_s = (idempotency.fingerprint, idempotency.ttl_s) if idempotency else ("", 0)
    marks = [f"{label}={value}" for label, value in record.labels.items()]
    words = [word for pair in hashed.items() for word in pair]
    return call_script(
        "create_dataset", record.id, memory, fingerprint, ttl_s, record.status, lease_ms,
        file or "", digest_of(record), record.key_id or "", record.size_bytes,
        len(marks), *marks, *words,
    )  # fmt: skip


def read_creation(answer: Any, record: DatasetRecord) -> tuple[DatasetRecord, bool]:
    """Return the data set made, or the one that the same key had made before, and whether it is
    that. Raises `ConflictError`."""
    match answer:
        case [b"created", file]:
            return replace(record, version=1, file=file.decode() or None), False
        case [b"replayed", found]:
            return decode_dataset(fields_of(found)), True
        case [b"reused"]:
            raise key_reused()
        case [b"limit", *words]:
            raise limit_reached(words)
        case [b"deleted", name]:
            raise made_deleted("data set", "dataset", name.decode())
        case _:
            raise AssertionError(answer)


def settle_call(record: DatasetRecord, file: str | None) -> Call:
    """Write the end of a check: `record` has the status, and its contents or the error."""
    words: list[Any] = []
    for name in ("contents", "error"):
        if (value := getattr(record, name)) is not None:
            words += [name, encode(Stored("json"), value)]
    return call_script(
        "settle_dataset", record.id, record.status, file or "", digest_of(record), *words
    )


def update_call(id_: str, version: int | None, labels: Json | None, changes: Json) -> Call:
    """Change fields of the record; None removes one."""
    words: list[Any] = []
    for name, value in changes.items():
        words += [name, "" if value is None else encode(STORED[name], value)]
    marks = "" if labels is None else dumps(labels)
    return call_script("update_dataset", id_, "" if version is None else version, marks, *words)


def read_update(answer: Any, id_: str) -> DatasetRecord:
    """Read the changed record. Raises `ChangedError` and `NotFoundError`."""
    match answer:
        case [b"ok", found]:
            return decode_dataset(fields_of(found))
        case [b"changed"]:
            raise _changed()
        case _:
            raise DATASETS.not_found(id_)


def read_deletion(answer: Any, id_: str) -> str | None:
    """Return the stored content that goes with the data set, if it is the last that had it.

    Raises:
        ConflictError: `in_use` or `kept`.
        ChangedError: it has another version.
        NotFoundError: it is not there.
    """
    match answer:
        case [b"ok", file]:
            return file.decode() or None
        case [b"in_use", user]:
            name = user.decode()
            raise ConflictError(
                "in_use",
                f"Data set {id_} is used by {name}, which has not ended: cancel that, or wait for"
                " its end, before deleting the data set.",
            )
        case [b"kept"]:
            raise ConflictError(
                "kept",
                f"Data set {id_} is to be kept until its keep_until: PATCH that to null before"
                " deleting the data set.",
            )
        case [b"changed"]:
            raise _changed()
        case _:
            raise DATASETS.not_found(id_)


def _changed() -> ChangedError:
    return ChangedError("The data set has changed since that version.")
