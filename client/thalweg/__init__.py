"""Client of Thalweg, a service that runs gradient descents as jobs.

Example:
    >>> from thalweg import Client
    >>> client = Client()
    >>> job = client.jobs.create({
    ...     "problem": {"kind": "function", "function": {"kind": "rosenbrock"}},
    ...     "optimizer": {"kind": "adam", "lr": 0.05},
    ...     "budget": {"max_steps": 2000},
    ... }).wait()
    >>> [round(x, 1) for x in job.result["solution"]]
    [1.0, 1.0]
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from thalweg._async.client import AsyncClient
    from thalweg._async.datasets import AsyncDataset
    from thalweg._async.jobs import AsyncDiagnosis, AsyncJob, AsyncRemedy
    from thalweg._async.studies import AsyncRun, AsyncStudy
    from thalweg._sync.client import Client
    from thalweg._sync.datasets import Dataset
    from thalweg._sync.jobs import Diagnosis, Job, Remedy
    from thalweg._sync.studies import Run, Study
    from thalweg.comparison import Comparison
    from thalweg.errors import (
        BusyError,
        ConflictError,
        InvalidRequestError,
        Mistake,
        NotAllowedError,
        NotFoundError,
        RefusedFileError,
        ServiceError,
        ThalwegError,
        UnreachableError,
        UnsendableError,
        WaitTimeoutError,
    )
    from thalweg.events import Event
    from thalweg.history import History
    from thalweg.predictions import PredictionError, Predictions
    from thalweg.records import Finding

__version__ = "0.1.0"

__all__ = [
    "AsyncClient",
    "AsyncDataset",
    "AsyncDiagnosis",
    "AsyncJob",
    "AsyncRemedy",
    "AsyncRun",
    "AsyncStudy",
    "BusyError",
    "Client",
    "Comparison",
    "ConflictError",
    "Dataset",
    "Diagnosis",
    "Event",
    "Finding",
    "History",
    "InvalidRequestError",
    "Job",
    "Mistake",
    "NotAllowedError",
    "NotFoundError",
    "PredictionError",
    "Predictions",
    "RefusedFileError",
    "Remedy",
    "Run",
    "ServiceError",
    "Study",
    "ThalwegError",
    "UnreachableError",
    "UnsendableError",
    "WaitTimeoutError",
]

_PLACES: Final = {
    "thalweg._async.client": ("AsyncClient",),
    "thalweg._async.datasets": ("AsyncDataset",),
    "thalweg._async.jobs": ("AsyncDiagnosis", "AsyncJob", "AsyncRemedy"),
    "thalweg._async.studies": ("AsyncRun", "AsyncStudy"),
    "thalweg._sync.client": ("Client",),
    "thalweg._sync.datasets": ("Dataset",),
    "thalweg._sync.jobs": ("Diagnosis", "Job", "Remedy"),
    "thalweg._sync.studies": ("Run", "Study"),
    "thalweg.comparison": ("Comparison",),
    "thalweg.events": ("Event",),
    "thalweg.history": ("History",),
    "thalweg.predictions": ("PredictionError", "Predictions"),
    "thalweg.records": ("Finding",),
}
"""Modules, and the names of ours that lie there; all others lie in `thalweg.errors`."""
_PLACE_OF: Final = {name: place for place, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import what is asked for: the command needs little of it, and quickly."""
    if name not in __all__:
        raise AttributeError(f"module 'thalweg' has no attribute {name!r}")
    return getattr(import_module(_PLACE_OF.get(name, "thalweg.errors")), name)
