"""Jobs and studies as the store sees them: the differences between them in the calls that both
have."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from core.errors import ConflictError, NotFoundError
from core.ids import (
    DATA_PREFIX,
    EXPORT_PREFIX,
    JOB_PREFIX,
    MESSAGE_PREFIX,
    PREDICTION_PREFIX,
    STUDY_PREFIX,
)
from core.jobs import JobRecord
from core.store.calls.codec import Fields, fields_of
from core.store.calls.job_codec import decode_job, encode_new_job, new_job_record
from core.store.calls.study_codec import decode_study, encode_new_study, new_study_record
from core.store.connection.client import Call, command
from core.store.protocols.types import (
    Created,
    CreatedStudy,
    JobPage,
    NewJob,
    NewStudy,
    QueuePlace,
    StudyPage,
)
from core.studies import StudyRecord

New = TypeVar("New")
Record = TypeVar("Record")
Made = TypeVar("Made")
Page = TypeVar("Page")


@dataclass(frozen=True)
class Noun(Generic[New, Record, Made, Page]):
    """A kind of record.

    Attributes:
        name: the prefix of its ids.
        title: its name in messages, where that is another.
        encode_new: the hash of a new one, but for what the script sets.
        new_record: what `decode` gives for it.
    """

    name: str
    encode_new: Callable[[New], dict[str, bytes | str]]
    new_record: Callable[[New], Record]
    decode: Callable[[Fields], Record]
    made: Callable[[Record, bool, QueuePlace | None, int], Made]
    page: Callable[[tuple[Record, ...], bool], Page]
    title: str = ""

    def read(self, namespace: str, id_: str) -> Call:
        """Make the call that reads the hash."""
        return command("HGETALL", record_key(namespace, id_))

    def record_in(self, answer: Any, id_: str) -> Record:
        """Read the record in the answer to `read`. Raises `NotFoundError`."""
        if not answer:
            raise self.not_found(id_)
        return self.decode(hash_in(answer))

    def not_found(self, id_: str) -> NotFoundError:
        return NotFoundError(f"There is no {self.title or self.name} {id_!r}.")

    def not_terminal(self, id_: str, status: bytes) -> ConflictError:
        """Say why it is not deleted."""
        return ConflictError(
            "not_terminal",
            f"{self.name.capitalize()} {id_} is {status.decode()}: cancel it and wait for its end"
            " before deleting it.",
        )

    def is_over(self, id_: str, status: str, what: str) -> ConflictError:
        """Say why it cannot be `what` (paused, …): it has ended, or is being cancelled."""
        name = f"{self.name.capitalize()} {id_}"
        if status == "cancelling":
            message = f"{name} is being cancelled: it cannot be {what} any more."
            return ConflictError("cancelling", message)
        return ConflictError(
            "already_ended", f"{name} has ended ({status}): it cannot be {what} any more."
        )


JOBS: Final = Noun[NewJob, JobRecord, Created, JobPage](
    JOB_PREFIX, encode_new_job, new_job_record, decode_job, Created, JobPage
)
STUDIES: Final = Noun[NewStudy, StudyRecord, CreatedStudy, StudyPage](
    STUDY_PREFIX, encode_new_study, new_study_record, decode_study, CreatedStudy, StudyPage
)


_HASHES: Final = {
    STUDY_PREFIX: "study",
    DATA_PREFIX: "data",
    MESSAGE_PREFIX: "msg",
    PREDICTION_PREFIX: "use",
    EXPORT_PREFIX: "use",
}
"""The name of a record's hash by the prefix of its id, where it is no job's."""


def record_key(namespace: str, name: str) -> str:
    """Return the key of a hash: of a job, a study, a study's task or its run, a data set, a message
    to a webhook, or a use of weights."""
    prefix = name.partition("_")[0]
    noun = _HASHES.get(prefix, "job")
    return f"{namespace}:{noun}:{name}"


def hash_in(answer: Any) -> dict[str, bytes]:
    """Read the answer to a HGETALL, in whichever form redis-py gives it."""
    if isinstance(answer, dict):
        return {name.decode(): value for name, value in answer.items()}
    return fields_of(answer)
