"""Domain errors: what can go wrong, in the product's own words.

Every error carries a stable `code`; `api/http/errors.py` maps the classes to HTTP statuses in one
table, and the worker writes the codes of `JobFailure` into the job's record.
"""

from dataclasses import dataclass
from typing import ClassVar, Final


@dataclass(frozen=True)
class FieldError:
    """A mistake in a field of a spec or a query.

    Attributes:
        param: dotted path of the field, from the root of the body (`"optimizer.lr"`).
        code: stable, snake_case (`"greater_than"`).
        message: names the field, the value given and the way out.
    """

    param: str
    code: str
    message: str


class ThalwegError(Exception):
    """Root of all domain errors. `str(error)` is safe to show to a caller."""

    code: ClassVar[str] = "internal_error"


class InvalidInputError(ThalwegError):
    """A spec or query that breaks at least one rule; `errors` lists every mistake at once."""

    code = "invalid_request"

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__("; ".join(error.message for error in errors))
        self.errors = errors


class NotFoundError(ThalwegError):
    """The error for an id with which nothing exists."""

    code = "not_found"


def delivery_not_found(id_: str) -> NotFoundError:
    """Return the refusal of a delivery that is not there."""
    return NotFoundError(f"There is no delivery {id_!r} (any more).")


def use_not_found(id_: str) -> NotFoundError:
    """Return the refusal of a prediction that is not there."""
    return NotFoundError(f"There is no prediction {id_!r} (any more).")


class ConflictError(ThalwegError):
    """The call does not fit the state that the thing is in; `code` says how."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.conflict_code = code


class DataGoneError(ConflictError):
    """A data set that the call needs is not there (any more), or not ready."""

    def __init__(self, dataset_id: str) -> None:
        super().__init__(
            "data_unavailable",
            f"There is no data set {dataset_id} (any more): upload it again, and post the spec with"
            " the new id.",
        )
        self.dataset_id = dataset_id


class ChangedError(ThalwegError):
    """The thing is not as the call says that it must be (`If-Match`)."""

    code = "precondition_failed"


THE_STORE: Final = "The store (Redis)"
"""The words with which messages about it begin."""


class StoreUnavailableError(ThalwegError):
    """The Redis server does not answer, or refuses writes (out of memory, still loading)."""

    code = "store_unavailable"

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UnusableStoreError(ThalwegError):
    """The server is there, and this version must not, or cannot, keep anything in it."""

    code = "unusable_store"


class NewerFormatError(UnusableStoreError):
    """The store was written by a newer version: this one must not touch it (`core.formats`)."""

    code = "newer_format"


class StaleAttemptError(ThalwegError):
    """A write by an attempt that no longer holds the job's lease: it must stop at once."""

    code = "stale_attempt"


class LostRowsError(ThalwegError):
    """The store does not have rows any more that it had confirmed: it came back with an older
    state. The attempt cannot complete them; another goes on from a checkpoint before them."""

    code = "lost_rows"


class NotAuthenticatedError(ThalwegError):
    """The request carries no key, or one that is not taken.

    Attributes:
        was_given: it carries one.
    """

    code = "not_authenticated"

    def __init__(self, message: str, *, was_given: bool) -> None:
        super().__init__(message)
        self.was_given = was_given


class MissingScopeError(ThalwegError):
    """The key may not do this: it lacks `scope`."""

    code = "missing_scope"

    def __init__(self, scope: str, message: str) -> None:
        super().__init__(message)
        self.scope = scope


class NoKeysError(ThalwegError):
    """Keys are needed, and there is none that is taken."""

    code = "no_keys"


class LimitReachedError(ThalwegError):
    """The key has come to one of its limits: try again later."""

    code = "limit_reached"

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ArtifactError(ThalwegError):
    """Weights or checkpoints that cannot be written or read."""

    code = "artifact_store_unavailable"


class JobFailure(ThalwegError):
    """Ends a running job as `failed`, with a code from the published list `FAILURE_CODES`."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        if code not in FAILURE_CODES:
            raise ValueError(f"unpublished failure code {code!r}")
        self.failure_code = code
        self.param = param


FAILURE_CODES: dict[str, str] = {
    "out_of_memory": (
        "The device or the host ran out of memory: a smaller model or batch_size needs less."
    ),
    "time_limit_exceeded": "The operator's hard limit on a job's running time was reached.",
    "worker_lost": "The worker died on every one of the job's `max_attempts` attempts.",
    "data_unavailable": "The data could not be loaded or does not fit the spec.",
    "device_unavailable": "The device that the spec names is not on any worker.",
    "artifact_store_unavailable": "Weights or checkpoints could not be written.",
    "not_exportable": "The model has a layer that cannot be written in the format.",
    "cancel_unresponsive": "The step loop did not stop within the grace period and was killed.",
    "internal_error": "A fault in the service; the worker's log has the details.",
}


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether Python or torch say with this error that memory ran out, on a device or the
    host.

    torch's own class is told by its name: nothing here imports torch. For an allocation on a CPU
    that failed torch has no class.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "not enough memory" in text or "can't allocate memory" in text
    )


def is_device_lost(error: BaseException) -> bool:
    """Tell whether a device has failed so that this process can use it no more."""
    return "CUDA error" in str(error) or type(error).__name__ == "AcceleratorError"


def out_of_memory() -> JobFailure:
    """Return the failure of a job whose memory ran out, with the way out."""
    return JobFailure("out_of_memory", FAILURE_CODES["out_of_memory"])
