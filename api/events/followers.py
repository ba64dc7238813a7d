"""Followers of one job or one study: the events that their readers are sent next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from api.events.ids import EventType, Place, RowPlace, frame
from api.history.formats import as_json
from api.history.selection import (
    DERIVED,
    Question,
    answer_of,
    derived_series,
    possible_series,
    wanted_series,
)
from api.http.encoding import strict, to_json
from api.jobs.submission import JOBS
from api.services.dependencies import Services
from api.services.places import place
from api.studies.routes import STUDIES
from api.studies.views import run_json
from core.jobs import TERMINAL, JobRecord
from core.store.history.layout import Columns, HistoryKind, HistoryMeta
from core.store.protocols.types import Snapshot
from core.studies import RunRecord, StudyRecord

POINTS_EVERY_S: Final = 0.1
"""Time between two events with rows of a history that still grows."""
PROGRESS_EVERY_S: Final = 1.0
"""Time between two `status` events that tell of progress alone."""
MOST_ROWS: Final = 1_000
MOST_NUMBERS: Final = 100_000
"""Numbers of an event: of a wide series it has fewer rows."""
RUNS_AT_ONCE: Final = 100
_RUN_BYTES: Final = 1_000


@dataclass(frozen=True)
class RowsWanted:
    """The rows that a reader asks for. `after`: those with a larger step only; `is_latest`: those
    that come from now on."""

    kind: HistoryKind = "train"
    series: tuple[str, ...] | None = None
    after: int | None = None
    is_latest: bool = False

    def check(self, meta: HistoryMeta | None) -> None:
        """Raise `InvalidInputError` for a series that the history has not; None: it is not planned
        yet, and none that it cannot have."""
        if meta is not None:
            wanted_series(Question(self.kind, self.series, None, MOST_ROWS, None), meta)
        elif self.series is not None:
            possible_series(self.series, self.kind)

    def names(self, meta: HistoryMeta) -> list[str]:
        """List the series of a history to send."""
        return [name for name in meta.layout.widths if self.series is None or name in self.series]

    @property
    def derived(self) -> list[str]:
        """The series to send that are made from the steps."""
        return [name for name in DERIVED if name in (self.series or ())]

    def start(self, meta: HistoryMeta | None) -> RowPlace:
        """Return the place at which a new reader begins."""
        if meta is None:
            return RowPlace()
        row = 0
        if self.is_latest:
            row = meta.num_rows
        elif self.after is not None and meta.layout.widths:
            row = max(0, (self.after - meta.layout.first_step) // meta.layout.every + 1)
            if meta.status in TERMINAL or self.after < (meta.last_step or 0):
                row = min(row, max(0, meta.num_rows - 1))
        return RowPlace(row, len(meta.rewinds))


class Rows:
    """Sends the rows of one history (`name`), in events of at most `MOST_ROWS`."""

    def __init__(
        self, services: Services, name: str, whose: Mapping[str, str | int], wanted: RowsWanted
    ) -> None:
        self._services = services
        self._name = name
        self._whose = whose
        self._wanted = wanted
        self._not_before = 0.0

    @property
    def wanted(self) -> RowsWanted:
        return self._wanted

    async def come(
        self, place: Place, meta: HistoryMeta, now: float
    ) -> tuple[Place, float | None, bytes | None]:
        """Return the place after the rows that come next, and the JSON of their event. Where none
        may be sent now: when some may (None: there are none), and no JSON."""
        rows, due, points = await self.next(place.rows, meta, now)
        return replace(place, rows=rows), due, points

    async def next(
        self, place: RowPlace, meta: HistoryMeta, now: float
    ) -> tuple[RowPlace, float | None, bytes | None]:
        """Do what `come` does, with the place of the rows alone."""
        while True:
            begin = place.after(meta.rewinds)
            if begin is None or begin.row >= meta.num_rows:
                return place, None, None
            due = 0.0 if meta.status in TERMINAL else self._not_before
            if due > now:
                return place, due, None
            place, points = await self._page(begin, meta)
            if points:  # else all of them have steps that were not asked for
                self._not_before = now + POINTS_EVERY_S
                return place, None, points

    async def _page(self, begin: RowPlace, meta: HistoryMeta) -> tuple[RowPlace, bytes]:
        wanted, store = self._wanted, self._services.store
        names = wanted.names(meta)
        derived = wanted.derived
        width = 1 + len(derived) + sum(meta.layout.widths[name] for name in names)
        count = min(MOST_ROWS, max(1, MOST_NUMBERS // width), meta.num_rows - begin.row)
        stop = begin.row + count

        async def write() -> bytes:
            series = ("step", *names)
            columns = await store.history_rows(
                self._name, wanted.kind, meta, series, begin.row, count
            )
            columns |= await self._made(meta, columns["step"])
            found = answer_of(self._whose, wanted.kind, meta, [*names, *derived], columns, stop)
            steps = found.columns["step"]
            if wanted.after is not None and len(steps) and steps[0] <= wanted.after:
                keep = steps > wanted.after
                kept = {name: column[keep] for name, column in found.columns.items()}
                found = replace(found, columns=kept)
            return as_json(found) if found.returned else b""

        of = (self._name, wanted, meta.num_rows, meta.status, len(meta.rewinds))
        body = await self._services.hub.shared(("points", *of, begin.row), write)
        return RowPlace(stop, begin.rewinds), body

    async def check(self, meta: HistoryMeta) -> None:
        """Raise `InvalidInputError` for a series that cannot be made of this history."""
        await self._made(meta, np.zeros(0))

    async def _made(self, meta: HistoryMeta, steps: NDArray[np.float64]) -> Columns:
        store = self._services.store
        return {
            each: await derived_series(each, store, self._name, meta, steps)
            for each in self._wanted.derived
        }


class StatusClock:
    """Decides when a change of a record is told: at once, but for progress alone."""

    def __init__(self) -> None:
        self._told: object = None
        self._not_before = 0.0

    def due(self, record: JobRecord | StudyRecord) -> float:
        """Return when the record may be told."""
        return 0.0 if record.terminal or self._told != _landmarks(record) else self._not_before

    def told(self, record: JobRecord | StudyRecord, now: float) -> None:
        self._told = _landmarks(record)
        self._not_before = now + PROGRESS_EVERY_S


def _landmarks(record: JobRecord | StudyRecord) -> object:
    """Return what of a record is told as soon as it changes."""
    common = (record.status, record.cancel_requested_at)
    if isinstance(record, StudyRecord):
        return (*common, record.round)
    settled = record.phase, len(record.attempts), len(record.interventions), len(record.resolved)
    return (*common, *settled)


async def record_json(services: Services, record: JobRecord | StudyRecord) -> bytes:
    """Write a job or study as `GET` does, once for all readers."""

    async def write() -> bytes:
        where = await place(services, record)
        if isinstance(record, StudyRecord):
            return to_json(await STUDIES.show(services, record, where))
        return to_json(await JOBS.show(services, record, where))

    # Its place in the queue, its rate and what it has left go on changing though it does not.
    second = 0 if record.terminal else int(services.hub.now())
    return await services.hub.shared(("record", record.id, record.version, second), write)


async def diagnosis_json(services: Services, job: JobRecord) -> bytes:
    """Write a job's diagnosis as `GET` does, with the job's id."""

    async def write() -> bytes:
        return to_json(strict({"job_id": job.id, **(job.diagnosis or {})}))

    return await services.hub.shared(("diagnosis", job.id, job.version), write)


def due_first(*times: float | None) -> float | None:
    """Return the earliest of these times; None where there is none."""
    return min((time for time in times if time is not None), default=None)


class JobFollower:
    """The stream of one job: its `status`, its rows, its diagnosis, and its end."""

    def __init__(
        self, services: Services, job_id: str, rows: Rows, place: Place, check: str
    ) -> None:
        self._services = services
        self._job_id = job_id
        self._rows = rows
        self._place = place
        self._check = check
        self._status = StatusClock()
        self.due: float | None = None
        self.is_over = False

    async def next(self, now: float) -> bytes | None:
        """Return the next event (`api.events.stream.Follower`)."""
        found = self._services.hub.known(self._job_id)
        if not isinstance(found, Snapshot) or self._place.is_end:
            self.is_over = True
            return None
        job, meta, place = found.record, found.histories[self._rows.wanted.kind], self._place
        assert isinstance(job, JobRecord)
        status_at = None if job.version == place.version else self._status.due(job)
        if status_at is not None and status_at <= now:
            body = await record_json(self._services, job)
            self._status.told(job, now)
            return self._event("status", replace(place, version=job.version), body)
        place, rows_at, points = await self._rows.come(place, meta, now)
        if points is not None:
            return self._event("points", place, points)
        if found.diagnosis_mark and found.diagnosis_mark != place.diagnosis:
            body = await diagnosis_json(self._services, job)
            return self._event("diagnosis", replace(place, diagnosis=found.diagnosis_mark), body)
        if job.terminal:
            body = await record_json(self._services, job)
            return self._event("end", replace(place, is_end=True), body)
        self.due = due_first(status_at, rows_at)
        return None

    def _event(self, event: EventType, after: Place, body: bytes) -> bytes:
        self._place = after
        return frame(event, after.id(self._check), body)


class StudyFollower:
    """The stream of one study: its `status`, the ends of its runs, the rows of one run where that
    is asked for (`run`: the run's name in the store), and its end."""

    def __init__(
        self,
        services: Services,
        study_id: str,
        run: tuple[str, Rows] | None,
        place: Place,
        check: str,
    ) -> None:
        self._services = services
        self._study_id = study_id
        self._run = run
        self._place = place
        self._check = check
        self._status = StatusClock()
        self.due: float | None = None
        self.is_over = False

    async def next(self, now: float) -> bytes | None:
        """Return the next event (`api.events.stream.Follower`)."""
        found = self._services.hub.known(self._study_id)
        if not isinstance(found, Snapshot) or self._place.is_end:
            self.is_over = True
            return None
        study, place = found.record, self._place
        assert isinstance(study, StudyRecord)
        status_at = None if study.version == place.version else self._status.due(study)
        if status_at is not None and status_at <= now:
            body = await record_json(self._services, study)
            self._status.told(study, now)
            return self._event("status", replace(place, version=study.version), body)
        rows_at = None
        if self._run is not None:
            name, rows = self._run
            of_run = self._services.hub.known(name)
            if isinstance(of_run, Snapshot):
                meta = of_run.histories[rows.wanted.kind]
                place, rows_at, points = await rows.come(place, meta, now)
                if points is not None:
                    return self._event("points", place, points)
        run = await next_ended_run(self._services, study, place.runs)
        if run is not None:
            body = to_json(run_json(self._services, study.id, run))
            return self._event("run", replace(place, runs=place.runs + 1), body)
        if study.terminal and self._has_all_rows():
            body = await record_json(self._services, study)
            return self._event("end", replace(place, is_end=True), body)
        self.due = due_first(status_at, rows_at)
        return None

    def _has_all_rows(self) -> bool:
        """Tell whether the followed run, if any, is known as it has ended: a study may be seen to
        end a moment before its run is."""
        if self._run is None:
            return True
        of_run = self._services.hub.known(self._run[0])
        return not isinstance(of_run, Snapshot) or of_run.record.terminal

    def _event(self, event: EventType, after: Place, body: bytes) -> bytes:
        self._place = after
        return frame(event, after.id(self._check), body)


_ENDED: Final = ("succeeded", "failed", "cancelled")


async def next_ended_run(services: Services, study: StudyRecord, told: int) -> RunRecord | None:
    """Return the run that ended after `told` others, in an order that does not change; None while
    there is none."""
    num_ended = sum(study.counts.get(name, 0) for name in _ENDED)
    if told >= num_ended:
        return None
    first = told - told % RUNS_AT_ONCE

    async def read() -> Sequence[RunRecord]:
        return await _ended_runs(services, study, first)

    key: tuple[Any, ...] = ("runs", study.id, first, min(num_ended, first + RUNS_AT_ONCE))
    page = await services.hub.shared(
        (*key, study.terminal), read, lambda runs: _RUN_BYTES * len(runs)
    )
    return page[told - first] if told - first < len(page) else None


async def _ended_runs(services: Services, study: StudyRecord, first: int) -> Sequence[RunRecord]:
    """Read a page of the runs that have ended, in the order of their ends. Those of an older study
    that ended before their order was kept come last, once it has ended."""
    store = services.store
    indices = list(await store.events.ended_runs(study.id, first, RUNS_AT_ONCE))
    if len(indices) < RUNS_AT_ONCE and study.terminal:
        ordered = await store.events.ended_runs(study.id, 0, study.num_runs)
        others = {run.index for run in await store.studies.runs(study.id) if run.terminal}
        whole = [*ordered, *sorted(others.difference(ordered))]
        indices = whole[first : first + RUNS_AT_ONCE]
    runs = {run.index: run for run in await store.studies.runs(study.id, sorted(indices))}
    return [runs[index] for index in indices if index in runs]
