"""Diagnoses that were asked for after a job's end: a worker's side of their queue."""

from collections.abc import Sequence
from typing import Any, Final

from core.errors import StaleAttemptError
from core.specs.base import Json
from core.store.calls.codec import dumps, fields_of
from core.store.calls.job_codec import decode_job, worker_kind
from core.store.connection.client import Call, SyncClient, call_script
from core.store.packing import packed
from core.store.protocols.types import DiagnosisClaim

MAX_ATTEMPTS: Final = 3
"""Number of attempts after which a diagnosis is given up whose worker dies each time."""


LEFT_S: Final = 5.0
"""Seconds for which a diagnosis is left to workers of the kind that its job asks for, before one of
the other kind makes it."""


class RedisDiagnoses:
    """The `core.store.protocols.worker.Diagnoses` on one Redis server."""

    def __init__(self, link: SyncClient) -> None:
        self._link = link

    def claim(self, worker: str, devices: Sequence[str], lease_s: float) -> DiagnosisClaim | None:
        words = (worker, _ms(lease_s), worker_kind(devices), _ms(LEFT_S))
        match self._link.call(call_script("claim_diagnosis", *words)):
            case [b"ok", token, checkpoint, record]:
                return DiagnosisClaim(
                    decode_job(fields_of(record)), int(token), checkpoint.decode()
                )
            case _:
                return None

    def renew(self, claim: DiagnosisClaim, lease_s: float) -> None:
        self._write(claim, call_script("renew_diagnosis", claim.job.id, claim.token, _ms(lease_s)))

    def finish(self, claim: DiagnosisClaim, found: Json) -> None:
        self._close(claim, packed(dumps(found).encode()), "", str(found["verdict"]))

    def fail(self, claim: DiagnosisClaim, reason: str) -> None:
        assert reason
        self._close(claim, "", reason)

    def hand_over(self, claim: DiagnosisClaim) -> None:
        self._close(claim, "", "")

    def _close(
        self, claim: DiagnosisClaim, found: bytes | str, failure: str, verdict: str = ""
    ) -> None:
        self._write(
            claim,
            call_script("close_diagnosis", claim.job.id, claim.token, found, failure, verdict),
        )

    def _write(self, claim: DiagnosisClaim, call: Call) -> None:
        answer: Any = self._link.call(call)
        if answer[0] != b"ok":
            raise StaleAttemptError(f"The diagnosis of {claim.job.id} is no longer this worker's.")


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
