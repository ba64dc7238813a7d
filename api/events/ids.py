"""Ids of events, which say where a reader stands, and the form in which events leave.

An id is all that is needed to go on: no process remembers a reader. It names the version of the
record that was told last and the row that comes next, so that whoever stores the rows need keep no
log of what was sent.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from core.errors import FieldError, InvalidInputError

PARAM: Final = "Last-Event-ID"
EventType = Literal["status", "points", "diagnosis", "run", "end", "reset"]


@dataclass(frozen=True)
class RowPlace:
    """A place in a history: the row that comes next, and how often the run had gone back (and
    others rows come) when those before it were sent."""

    row: int = 0
    rewinds: int = 0

    @property
    def text(self) -> str:
        return f"{self.row}.{self.rewinds}"

    def after(self, rewinds: Sequence[int]) -> "RowPlace | None":
        """Return the place once a history has gone back to these rows; None while it stands before
        what was seen already: a resumed attempt repeats it."""
        if len(rewinds) < self.rewinds:
            return None
        return RowPlace(min([self.row, *rewinds[self.rewinds :]]), len(rewinds))


@dataclass(frozen=True)
class Place:
    """A place in the stream of a job or a study.

    Attributes:
        version: of the record that was told last; 0: none.
        rows: in the history that is followed.
        diagnosis: the mark of the diagnosis that was told last (`Snapshot.diagnosis_mark`).
        runs: how many ends of runs were told.
        is_end: nothing follows.
    """

    version: int = 0
    rows: RowPlace = RowPlace()
    diagnosis: str = ""
    runs: int = 0
    is_end: bool = False

    def id(self, check: str) -> str:
        """Write the id of an event after which this is the place."""
        end = "-end" if self.is_end else ""
        mark = self.diagnosis or "0"
        return f"v{self.version}-r{self.rows.text}-n{self.runs}-d{mark}-{check}{end}"


@dataclass(frozen=True)
class LogPlace:
    """A place in the stream of everything.

    Attributes:
        number: of the last entry of the log that was told.
        present: while the present state is told, the id that was told last (empty: none yet).
        rows: in the histories that are followed.
    """

    number: int
    present: str | None = None
    rows: tuple[RowPlace, ...] = ()

    def id(self, check: str) -> str:
        """Write the id of an event after which this is the place."""
        state = "" if self.present is None else f"-s{self.present}"
        rows = "-r" + "_".join(each.text for each in self.rows) if self.rows else ""
        return f"e{self.number}{state}{rows}-{check}"

    def with_rows(self, index: int, rows: RowPlace) -> "LogPlace":
        """Return the place after rows of one of the histories."""
        return replace(self, rows=(*self.rows[:index], rows, *self.rows[index + 1 :]))


def check_of(*words: str) -> str:
    """Return what tells the ids of one stream from those of another: of another job, or kind of
    rows."""
    return f"{zlib.crc32(' '.join(words).encode()) & 0xFFFF:04x}"


_ROWS: Final = r"[0-9]{1,15}\.[0-9]{1,9}"
_PLACE: Final = re.compile(
    rf"v([0-9]{{1,15}})-r({_ROWS})-n([0-9]{{1,9}})-d(0|[0-9a-f]{{8}})-([0-9a-f]{{4}})(-end)?"
)
_LOG_PLACE: Final = re.compile(
    rf"e([0-9]{{1,15}})(?:-s((?:(?:job|study)_[0-9a-z]{{26}})?))?(?:-r({_ROWS}(?:_{_ROWS})*))?"
    r"-([0-9a-f]{4})"
)


def place_in(text: str, check: str) -> Place:
    """Read an id of a job's or a study's stream. Raises `InvalidInputError`."""
    found = _PLACE.fullmatch(text)
    if found is None or found[5] != check:
        raise _malformed(text)
    mark = "" if found[4] == "0" else found[4]
    return Place(int(found[1]), _rows_in(found[2]), mark, int(found[3]), found[6] is not None)


def log_place_in(text: str, check: str, num_histories: int) -> LogPlace:
    """Read an id of the stream of everything. Raises `InvalidInputError`."""
    found = _LOG_PLACE.fullmatch(text)
    if found is None or found[4] != check:
        raise _malformed(text)
    rows = tuple(map(_rows_in, found[3].split("_"))) if found[3] else ()
    if len(rows) != num_histories:
        raise _malformed(text)
    return LogPlace(int(found[1]), found[2], rows)


def _rows_in(text: str) -> RowPlace:
    row, _, rewinds = text.partition(".")
    return RowPlace(int(row), int(rewinds))


def _malformed(text: str) -> InvalidInputError:
    message = (
        f"{PARAM}: is no id of an event of this stream; given {text[:80]!r}. Send the last id that"
        " came, with the same query; or leave it out, and the stream begins anew."
    )
    return InvalidInputError([FieldError(PARAM, "malformed", message)])


def frame(event: EventType, id_: str, data: bytes) -> bytes:
    """Write an event as it leaves. `data`: JSON, without line ends."""
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (id_.encode(), event.encode(), data)
