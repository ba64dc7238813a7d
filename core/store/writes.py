"""The writes of whoever holds a job or a task: the calls, and how their answers are read."""

from typing import Any, cast

from core.errors import ConflictError, StaleAttemptError
from core.jobs import Status
from core.store.base import Claim, Columns, HistoryKind, HistoryLayout
from core.store.history import chunk_name, pack
from core.store.link import Call, run
from core.store.studies_base import TaskClaim


def held(claim: Claim | TaskClaim) -> tuple[str, int]:
    """What fences a write: the name of what is held, and the token."""
    return (claim.task.id if isinstance(claim, TaskClaim) else claim.job.id), claim.token


def append_call(
    claim: Claim | TaskClaim,
    of_run: str,
    kind: HistoryKind,
    layout: HistoryLayout,
    first_row: int,
    columns: Columns,
) -> Call:
    """Append rows to the claimed job's history, or to that of the run of this name."""
    batch = pack(layout, kind, first_row, columns)
    nonfinite = batch.first_nonfinite_step
    pieces: list[Any] = []
    for piece in batch.pieces:
        pieces += [piece.name, piece.offset, piece.full, piece.data]
    return run(
        "append", *held(claim), of_run, kind, batch.first_row, batch.stop_row, batch.last_step,
        layout.first_step, layout.every, "" if nonfinite is None else nonfinite, *pieces,
    )  # fmt: skip


def truncate_call(
    claim: Claim | TaskClaim, of_run: str, kind: HistoryKind, layout: HistoryLayout, num_rows: int
) -> Call:
    """Forget the rows from `num_rows` on."""
    last = layout.step_of(num_rows - 1) if num_rows else ""
    names: list[Any] = []
    for series in layout.widths:
        names += [chunk_name(kind, series), layout.chunk_rows(series)]
    return run("truncate", *held(claim), of_run, kind, num_rows, last, *names)


def status_in(answer: Any, claim: Claim | TaskClaim) -> Status:
    """The status in the answer of a write that gives one."""
    accept(answer, claim)
    return cast(Status, answer[1].decode())


def accept(answer: Any, claim: Claim | TaskClaim) -> None:
    """Raises what the tag of a refused write says."""
    name, _ = held(claim)
    match answer:
        case [b"ok", _]:
            return
        case [b"stale"]:
            raise StaleAttemptError(f"Attempt {claim.attempt} of {name} no longer holds it.")
        case [b"illegal", status]:
            raise ConflictError("illegal_move", f"{name} is {status.decode()}: it cannot end so.")
        case [b"gap", rows]:
            raise ValueError(f"rows beyond the {rows} that {name} has leave a gap")
        case [b"irregular", row]:
            raise ValueError(f"row {row} of {name} is off the grid, but not the last")
        case _:
            raise AssertionError(answer)
