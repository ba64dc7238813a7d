"""Form of the messages of `core.messages` between a worker and its trainer: each is a frame
(`worker.trainer.frames`) whose header holds its `type` and its fields."""

from collections.abc import Callable, Iterator, Mapping
from io import BufferedIOBase
from typing import Any, Final, TypeVar

from core.messages.parts import Columns
from core.messages.reports import (
    Concluded,
    DataLoaded,
    Ending,
    Failed,
    HistoryRows,
    Intervened,
    Measured,
    PhaseBegun,
    PopulationProgress,
    Progress,
    Ready,
    Report,
    Restarted,
    RowsOfRuns,
    RunEnded,
    RunFailed,
    SavedCheckpoint,
    Settled,
    TaskEnding,
)
from core.messages.requests import (
    Cancel,
    HandOver,
    KeepCheckpoint,
    Measure,
    Request,
    TrainJob,
    TrainTask,
    TrySteps,
    UseWeights,
)
from core.specs.base import Json
from worker.trainer import frames

Sent = TypeVar("Sent")

REQUESTS: Final[Mapping[str, Callable[..., Request]]] = {
    "run": TrainJob,
    "population": TrainTask,
    "measure": Measure,
    "try": TrySteps,
    "use": UseWeights,
    "cancel": Cancel,
    "hand_over": HandOver,
    "keep": KeepCheckpoint,
}
"""Requests by the `type` in their headers."""
REPORTS: Final[Mapping[str, Callable[..., Report]]] = {
    "ready": Ready,
    "rows": HistoryRows,
    "progress": Progress,
    "phase": PhaseBegun,
    "data": DataLoaded,
    "settled": Settled,
    "checkpoint": SavedCheckpoint,
    "intervened": Intervened,
    "restarted": Restarted,
    "concluded": Concluded,
    "run_rows": RowsOfRuns,
    "population_progress": PopulationProgress,
    "run_ended": RunEnded,
    "run_failed": RunFailed,
    "ended": Ending,
    "measured": Measured,
    "failed": Failed,
}
"""Reports by the `type` in their headers. An `ended` with `paused` is of a task."""
_TAGS: Final[dict[Callable[..., Request | Report], str]] = {
    **{kind: tag for tag, kind in REQUESTS.items()},
    **{kind: tag for tag, kind in REPORTS.items()},
    TaskEnding: "ended",
}
_USUAL: Final[Json] = {"truncate": False, "times": [], "unit": 0, "earlier_s": [],
    "device_percent": None, "device_memory_bytes": None, "uploads": "",
    "memory_bytes": [],
}  # fmt: skip
"""Values of fields that are left out of a header."""
_WITH_COLUMNS: Final[frozenset[object]] = frozenset({HistoryRows, RowsOfRuns})


def pack(message: Request | Report) -> bytes:
    """Return the message's frame."""
    return frames.pack(*_header_and_columns(message))


def pieces(message: Request | Report) -> Iterator[bytes | memoryview]:
    """Yield the bytes of `pack` in order: a small message's as one, large columns without a
    copy."""
    return frames.pieces(*_header_and_columns(message))


def _header_and_columns(message: Request | Report) -> tuple[Json, Columns]:
    header: Json = {**vars(message), "type": _TAGS[type(message)]}
    for name, usual in _USUAL.items():
        if name in header and header[name] == usual:
            del header[name]
    return header, header.pop("columns", {})


def read_request(stream: BufferedIOBase) -> Request | None:
    """Read the next request; None at the stream's end. Raises `ValueError` for bytes that are
    none."""
    return _read(stream, lambda tag, header: REQUESTS.get(tag))


def read_report(stream: BufferedIOBase) -> Report | None:
    """Read the next report; None at the stream's end. Raises `ValueError` for bytes that are
    none."""
    return _read(stream, _kind_of_report)


def _kind_of_report(tag: str, header: Json) -> Callable[..., Report] | None:
    return TaskEnding if tag == "ended" and "paused" in header else REPORTS.get(tag)


def _read(
    stream: BufferedIOBase, kind_of: Callable[[str, Json], Callable[..., Sent] | None]
) -> Sent | None:
    frame = frames.read(stream)
    if frame is None:
        return None
    header, columns = frame
    tag = header.pop("type")
    kind = kind_of(tag, header)
    if kind is None:
        raise ValueError(f"a frame of type {tag!r}")
    if kind in _WITH_COLUMNS:
        header["columns"] = columns
    try:
        for name, convert in _FROM_JSON.get(kind, {}).items():
            header[name] = convert(header[name])
        return kind(**header)
    except (KeyError, TypeError) as error:
        raise ValueError(f"a frame of type {tag!r}: {error}") from error


def _by_index(value: dict[str, Any] | None) -> dict[int, Any] | None:
    return None if value is None else {int(index): each for index, each in value.items()}


def _weights(value: Json | None) -> Json | None:
    if value is None:
        return None
    return {**value, "rows": _by_index(value["rows"]), "steps": _by_index(value["steps"])}


_FROM_JSON: Final[Mapping[object, Mapping[str, Callable[[Any], Any]]]] = {
    TrainTask: {"stored_rows": _by_index, "sources": _by_index},
    TaskEnding: {"weights": _weights, "paused": _by_index},
    SavedCheckpoint: {"dropped": tuple},
    Intervened: {"dropped": tuple},
}
"""Conversions of what JSON does not keep: numbers as keys, and tuples."""
