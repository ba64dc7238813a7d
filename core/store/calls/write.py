"""Writes of whoever holds a job or a task: the calls, and the reading of their answers."""

from collections.abc import Mapping, Sequence
from secrets import token_hex
from typing import Any, cast

from core.errors import ConflictError, LostRowsError, StaleAttemptError
from core.jobs import Status
from core.store.calls.job_codec import encode_segment
from core.store.connection.client import Call, call_script
from core.store.history.bundles import Bundle
from core.store.history.chunks import chunk_name, first_nonfinite, pack
from core.store.history.layout import Columns, HistoryKind, HistoryLayout, Segment
from core.store.history.samples import Samples, pack_samples
from core.store.history.times import RunTimes, Times, job_name, unit_name
from core.store.history.times import pack as pack_times
from core.store.protocols.types import Claim, TaskClaim
from core.studies import run_id


def held(claim: Claim | TaskClaim) -> tuple[str, int]:
    """Return what fences a write: the name of what is held, and the token."""
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
    return call_script(
        "append", *held(claim), of_run, kind, batch.first_row, batch.stop_row, batch.last_step,
        layout.first_step, layout.every, "" if nonfinite is None else nonfinite, *pieces,
    )  # fmt: skip


def bundle_call(claim: TaskClaim, bundle: Bundle) -> Call:
    """Write rows of the claimed task's runs, under a name that nothing had before: others may refer
    to what a former call has written, whatever became of its answer."""
    kind = bundle.parts[0].kind
    name = f"{claim.task.id}:{claim.token}:{token_hex(6)}"
    words: list[Any] = []
    for rows, offset in zip(bundle.parts, bundle.offsets, strict=True):
        steps, first_row = rows.columns["step"], rows.first_row
        nonfinite = first_nonfinite(rows.columns)
        words += [
            run_id(claim.study.id, rows.index),
            first_row, rows.layout.step_of(first_row - 1), first_row + len(steps), int(steps[-1]),
            "" if nonfinite is None else nonfinite,
            encode_segment(Segment(name, offset, len(steps))),
        ]  # fmt: skip
    return call_script("bundle", *held(claim), kind, name, bundle.data, *words)


def time_calls(claim: Claim, times: Times) -> list[Call]:
    """Note when the claimed job came to its steps."""
    if not times:
        return []
    words = (1, job_name(claim.job.id), pack_times(times))
    return [call_script("stamp", *held(claim), *words)]


def sample_calls(claim: Claim, samples: Samples) -> list[Call]:
    """Write samples of the claimed job's process."""
    if not samples:
        return []
    return [call_script("sample", *held(claim), *pack_samples(samples))]


def task_time_calls(
    claim: TaskClaim, times: Mapping[int, Times], runs: Mapping[int, RunTimes]
) -> list[Call]:
    """Note when the groups of the claimed task's runs came to their steps, and which group each run
    is in."""
    if not times and not runs:
        return []
    words: list[Any] = [len(times)]
    for unit, pairs in times.items():
        words += [unit_name(claim.task.id, unit), pack_times(pairs)]
    for index, entry in runs.items():
        words += [run_id(claim.study.id, index), f"{entry.task} ", entry.text]
    return [call_script("stamp", *held(claim), *words)]


def truncate_call(
    claim: Claim | TaskClaim,
    of_run: str,
    kind: HistoryKind,
    layout: HistoryLayout,
    num_rows: int,
    rewinds: int | None = None,
    *,
    is_rewind: bool = False,
) -> Call:
    """Forget the rows from `num_rows` on; the others as of `WorkerStore.truncate_rows`."""
    last = layout.step_of(num_rows - 1) if num_rows else ""
    names: list[Any] = []
    for series in layout.widths:
        names += [chunk_name(kind, series), layout.chunk_rows(series), 8 * layout.widths[series]]
    counted = ("" if rewinds is None else rewinds, "1" if is_rewind else "")
    return call_script("truncate", *held(claim), of_run, kind, num_rows, last, *counted, *names)


def status_in(answer: Any, claim: Claim | TaskClaim) -> Status:
    """Read the status in the answer of a write that gives one."""
    accept(answer, claim)
    return cast(Status, answer[1].decode())


def expected_rows(num_rows: Mapping[HistoryKind, int] | None) -> str:
    """Write how many rows of each kind there must be for an end to be written."""
    return " ".join(f"{kind} {count}" for kind, count in (num_rows or {}).items())


def accept_before_close(answers: Sequence[Any], claim: Claim | TaskClaim) -> None:
    """Accept answers as `accept`, of writes that went out with a close that holds: where they are
    stale, the close was repeated, and they were written the first time."""
    for answer in answers:
        if answer[0] != b"stale":
            accept(answer, claim)


def accept(answer: Any, claim: Claim | TaskClaim) -> None:
    """Raise what the tag of a refused write says."""
    name, _ = held(claim)
    match answer:
        case [b"ok", _]:
            return
        case [b"stale"]:
            raise StaleAttemptError(f"Attempt {claim.attempt} of {name} no longer holds it.")
        case [b"illegal", status]:
            raise ConflictError("illegal_move", f"{name} is {status.decode()}: it cannot end so.")
        case [b"gap", rows]:
            raise LostRowsError(
                f"{name}: the store has {int(rows)} rows of a history of which it had confirmed"
                " more; those that follow would leave a gap"
            )
        case [b"bundled"]:
            raise LostRowsError(f"{name}: the store has lost that rows of a history have moved")
        case [b"irregular", row]:
            raise ValueError(f"row {row} of {name} is off the grid, but not the last")
        case _:
            raise AssertionError(answer)
