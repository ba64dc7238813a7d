"""Followers of all jobs and studies: the events that their readers are sent next."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from api.events.followers import Rows, diagnosis_json, due_first, record_json
from api.events.ids import EventType, LogPlace, frame
from api.http.encoding import to_json
from api.services.dependencies import Services
from api.studies.views import run_json
from core.jobs import JobRecord
from core.store.protocols.api import LOG
from core.store.protocols.types import LogEntry, Snapshot
from core.studies import RunRecord, StudyRecord, study_of

PRESENT_ENDED: Final = 100
"""Jobs and studies that have ended, of those that the present state shows."""
AT_ONCE: Final = 50
_RESET: Final = to_json(
    {
        "reason": "What came after that id is not kept any more: the present state follows, of all"
        " that has not ended and of what ended last. The lists have the rest."
    }
)


@dataclass(frozen=True)
class _Happened:
    """An entry of the log, and the JSON of its event."""

    number: int
    event: EventType
    body: bytes
    owner: str | None


@dataclass(frozen=True)
class _Page:
    """Entries of the log, up to the number `until`; `is_lost`: some before them are gone."""

    happened: tuple[_Happened, ...]
    until: int
    is_lost: bool = False


class EverythingFollower:
    """The stream of all jobs and studies: the present state, then what happens; and the rows of the
    jobs that were asked for."""

    def __init__(
        self, services: Services, histories: Mapping[str, Rows], place: LogPlace, check: str
    ) -> None:
        self._services = services
        self._histories = histories
        self._place = place
        self._check = check
        self._present: deque[str] | None = None
        self._shown: deque[tuple[str, bytes]] = deque()
        self._happened: deque[_Happened] = deque()
        self._until = place.number
        self.due: float | None = None
        self.is_over = False

    async def next(self, now: float) -> bytes | None:
        """Return the next event (`api.events.stream.Follower`)."""
        if self._place.present is not None:
            found = await self._next_present()
            if found is not None:
                return found
        happened = await self._next_happened()
        if happened is not None:
            return happened
        return await self._next_points(now)

    async def _next_present(self) -> bytes | None:
        """Return the next of the present state; None once all of it was told."""
        told = self._place.present or ""
        if self._present is None:
            ids = await self._services.store.events.present(PRESENT_ENDED, self._services.owner)
            self._present = deque(id_ for id_ in ids if id_ > told)
        while not self._shown and self._present:
            some = list(islice(self._present, AT_ONCE))
            known = await self._services.store.events.changed(dict.fromkeys(some, ""))
            shown: list[tuple[str, bytes]] = []
            for id_ in some:
                snapshot = known.get(id_)
                if isinstance(snapshot, Snapshot):
                    assert not isinstance(snapshot.record, RunRecord)
                    body = await record_json(self._services, snapshot.record)
                    shown.append((id_, body))
            # Only now, since each of these calls may fail, and is then asked again.
            for _ in some:
                self._present.popleft()
            self._shown.extend(shown)
        if self._shown:
            id_, body = self._shown.popleft()
            return self._event("status", replace(self._place, present=id_), body)
        self._present = None
        self._place = replace(self._place, present=None)
        return None

    async def _next_happened(self) -> bytes | None:
        """Return what happened next, or that it is not known any more; None while nothing has."""
        last = self._services.hub.known(LOG)
        assert isinstance(last, str)
        while not self._happened and self._until != int(last):
            number = self._until

            async def read(number: int = number) -> _Page:
                return await _page(self._services.whole or self._services, number)

            page = await self._services.hub.shared((LOG, number, last), read, _size)
            self._until = page.until
            if page.is_lost:
                place = replace(self._place, number=page.until, present="")
                return self._event("reset", place, _RESET)
            self._happened.extend(filter(self._is_seen, page.happened))
            if page.until == number:
                break
        if not self._happened:
            return None
        first = self._happened.popleft()
        return self._event(first.event, replace(self._place, number=first.number), first.body)

    def _is_seen(self, happened: _Happened) -> bool:
        """Tell whether the reader sees whom it happened to."""
        return self._services.owner in {None, happened.owner}

    async def _next_points(self, now: float) -> bytes | None:
        self.due = None
        for index, (job_id, rows) in enumerate(self._histories.items()):
            found = self._services.hub.known(job_id)
            if not isinstance(found, Snapshot):
                continue
            meta = found.histories[rows.wanted.kind]
            after, due, points = await rows.next(self._place.rows[index], meta, now)
            place = self._place.with_rows(index, after)
            if points is not None:
                return self._event("points", place, points)
            self._place, self.due = place, due_first(self.due, due)
        return None

    def _event(self, event: EventType, after: LogPlace, body: bytes) -> bytes:
        self._place = after
        return frame(event, after.id(self._check), body)


async def _page(services: Services, number: int) -> _Page:
    """Read what happened after this entry."""
    found = await services.store.events.log(number, AT_ONCE)
    if number > found.last or number + 1 < found.first:
        return _Page((), found.last, is_lost=True)
    if not found.entries:
        return _Page((), number)
    # A record is shown as it is now: what it was in between was not kept.
    later = {(entry.what, entry.name): entry.number for entry in found.entries}
    entries = [entry for entry in found.entries if later[entry.what, entry.name] == entry.number]
    known = await services.store.events.changed(dict.fromkeys((each.name for each in entries), ""))
    happened = [
        _Happened(entry.number, entry.what, await _body(services, entry, snapshot), entry.owner)
        for entry in entries
        if isinstance(snapshot := known.get(entry.name), Snapshot)  # else it was deleted
    ]
    return _Page(tuple(happened), found.entries[-1].number)


async def _body(services: Services, entry: LogEntry, snapshot: Snapshot) -> bytes:
    record: JobRecord | StudyRecord | RunRecord = snapshot.record
    if isinstance(record, RunRecord):
        return to_json(run_json(services, study_of(entry.name) or "", record))
    if entry.what == "diagnosis" and isinstance(record, JobRecord):
        return await diagnosis_json(services, record)
    return await record_json(services, record)


def _size(page: _Page) -> int:
    return sum(len(each.body) for each in page.happened) + 100
