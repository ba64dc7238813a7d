"""A worker's side of studies, on Redis."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

from core.jobs import AttemptEnd, Status, Timeline, TimelineEntry, Usage
from core.specs.base import Json
from core.store.calls import studies as calls
from core.store.calls.codec import dumps, encode_usage
from core.store.calls.jobs import read_trash
from core.store.calls.nouns import STUDIES, record_key
from core.store.calls.study_codec import encode_round, encode_runs
from core.store.calls.write import (
    accept,
    accept_before_close,
    append_call,
    bundle_call,
    expected_rows,
    held,
    status_in,
    task_time_calls,
    truncate_call,
)
from core.store.connection.client import Call, SyncClient, call_script, command
from core.store.history.bundles import bundles
from core.store.history.layout import HistoryKind, RowCounts, RunRows
from core.store.history.times import RunTimes, Times
from core.store.protocols.types import Layouts, Round, TaskClaim
from core.studies import RunRecord, StudyRecord, run_id

WRITES_AT_A_TIME: Final = 500
"""Calls in one round trip: Redis goes on with others in between."""
RUNS_A_CALL: Final = 500


class RedisStudies:
    """The `core.store.protocols.worker.WorkerStudies` on one Redis server."""

    def __init__(self, link: SyncClient) -> None:
        self._link = link

    def get(self, study_id: str) -> StudyRecord:
        answer = self._link.call(STUDIES.read(self._link.key(), study_id))
        return STUDIES.record_in(answer, study_id)

    def runs(self, study_id: str, indices: Sequence[int] | None = None) -> list[RunRecord]:
        wanted = range(self._planned(study_id)) if indices is None else indices
        found: list[RunRecord] = []
        for some in calls.batches(wanted):
            reads = calls.read_runs(self._link.key(), study_id, some)
            found += calls.runs_in(self._link.calls(reads))
        return found

    def inherited(self, study_id: str) -> list[RunRecord]:
        return calls.inherited_in(self._link.call(calls.read_inherited(self._link.key(), study_id)))

    def num_rows(self, study_id: str, indices: Sequence[int]) -> dict[int, dict[HistoryKind, int]]:
        found: dict[int, dict[HistoryKind, int]] = {}
        for some in calls.batches(indices):
            reads = [
                command("HMGET", self._key(run_id(study_id, index)), "rows:train", "rows:eval")
                for index in some
            ]
            for index, (train, evaluation) in zip(some, self._link.calls(reads), strict=True):
                found[index] = {"train": int(train or 0), "eval": int(evaluation or 0)}
        return found

    def layouts(self, study_id: str, indices: Sequence[int]) -> dict[int, Layouts]:
        found: dict[int, Layouts] = {}
        for some in calls.batches(indices):
            reads = calls.read_layouts(self._link.key(), study_id, some)
            found |= zip(some, map(calls.layouts_in, self._link.calls(reads)), strict=True)
        return found

    def write(
        self,
        claim: TaskClaim,
        *,
        rows: Sequence[RunRows] = (),
        runs: Sequence[RunRecord] = (),
        num_updates: int | None = None,
        device: str | None = None,
        usage: Usage | None = None,
        times: Mapping[int, Times] | None = None,
        timed: Mapping[int, RunTimes] | None = None,
        num_rows: RowCounts | None = None,
    ) -> None:
        stamps = task_time_calls(claim, times or {}, timed or {})
        writes = [
            *stamps,
            *_appends(claim, rows),
            *_run_calls(claim, runs, num_updates, device, num_rows or {}),
        ]
        if usage is not None:
            writes.append(call_script("update", *held(claim), *encode_usage(usage)))
        for answer in self._send(writes):
            accept(answer, claim)

    def tell(self, claim: TaskClaim, entry: TimelineEntry) -> None:
        accept(self._link.call(call_script("tell", *held(claim), Timeline.of([entry]).text)), claim)

    def plan(self, claim: TaskClaim, round_: Round) -> None:
        if not round_.tasks:
            raise ValueError("a round without tasks: finish the study instead")
        accept(self._link.call(call_script("plan", *held(claim), *encode_round(round_))), claim)

    def finish(self, claim: TaskClaim, status: Status, fields: Json) -> Status | None:
        if unknown := fields.keys() - {"result", "error"}:
            raise ValueError(f"a plan may not set {sorted(unknown)}")
        words = [
            word for name, value in fields.items() if value is not None
            for word in (name, dumps(value))
        ]  # fmt: skip
        num_extensions = claim.study.num_extensions
        answer = self._link.call(
            call_script("finish", *held(claim), status, num_extensions, *words)
        )
        return None if answer[0] == b"extended" else status_in(answer, claim)

    def close(
        self,
        claim: TaskClaim,
        status: Status,
        end: AttemptEnd,
        *,
        rows: Sequence[RunRows] = (),
        runs: Sequence[RunRecord] = (),
        num_updates: int | None = None,
        usage: Usage | None = None,
        times: Mapping[int, Times] | None = None,
        timed: Mapping[int, RunTimes] | None = None,
        num_rows: RowCounts | None = None,
    ) -> Status:
        used = [] if usage is None else encode_usage(usage)
        stamps = task_time_calls(claim, times or {}, timed or {})
        before = [
            *stamps,
            *_appends(claim, rows),
            *_run_calls(claim, runs, num_updates, None, num_rows or {}),
        ]
        *earlier, last, study_status = self._send(
            [
                *before,
                call_script("close", *held(claim), "", status, end, *used),
                command("HGET", self._key(claim.study.id), "status"),
            ]
        )
        accept(last, claim)
        accept_before_close(earlier, claim)
        return cast(Status, study_status.decode())

    def free(self, study_id: str) -> None:
        """Free what a study in the trash leaves behind; may be repeated."""
        namespace = self._link.key()
        trashed = self._link.call(read_trash(study_id, namespace))
        planned = calls.planned_in(trashed)
        for some in calls.batches(range(planned)):
            metas = self._link.calls(calls.read_rows_of(namespace, study_id, some))
            for batch in calls.free_runs(namespace, study_id, some, metas):
                self._link.calls(batch)
        tasks, bundled = self._link.calls(calls.read_rest(namespace, study_id))
        for batch in calls.free_rest(namespace, study_id, tasks, bundled):
            self._link.calls(batch)

    def _planned(self, study_id: str) -> int:
        found = self._link.call(command("HMGET", self._key(study_id), "id", "planned"))
        return calls.planned(found, study_id)

    def _key(self, name: str) -> str:
        return record_key(self._link.key(), name)

    def _send(self, writes: Sequence[Call]) -> list[Any]:
        answers: list[Any] = []
        for start in range(0, len(writes), WRITES_AT_A_TIME):
            answers += self._link.calls(writes[start : start + WRITES_AT_A_TIME])
        return answers


def _appends(claim: TaskClaim, rows: Sequence[RunRows]) -> Iterator[Call]:
    together: list[RunRows] = []
    for each in rows:
        name = run_id(claim.study.id, each.index)
        if each.truncate:
            yield truncate_call(
                claim, name, each.kind, each.layout, each.first_row, is_rewind=each.is_rewind
            )
        if not len(each.columns["step"]):
            continue
        if each.bundled:
            together.append(each)
        else:
            yield append_call(claim, name, each.kind, each.layout, each.first_row, each.columns)
    for bundle in bundles(together):
        yield bundle_call(claim, bundle)


def _run_calls(
    claim: TaskClaim,
    runs: Sequence[RunRecord],
    num_updates: int | None,
    device: str | None,
    num_rows: RowCounts,
) -> Iterator[Call]:
    """Make the calls that write runs. The last of them brings the record's version on; without any
    there is nothing to write."""
    if not runs and num_updates is None and device is None:
        return
    words: list[str | int] = []
    for run in runs:
        words += [*encode_runs([run]), expected_rows(num_rows.get(run.index))]
    for start in range(0, max(1, len(words)), 5 * RUNS_A_CALL):
        yield call_script(
            "runs", *held(claim), "" if num_updates is None else num_updates, device or "",
            *words[start : start + 5 * RUNS_A_CALL],
        )  # fmt: skip
