"""Supervision of the trainer while it is at work. Everything that can happen meanwhile comes
through one mailbox: the trainer's reports, its death, and orders."""

import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Final, Literal

from core.messages.reports import (
    DataLoaded,
    Ending,
    Failed,
    JobReport,
    Measured,
    PhaseBegun,
    Restarted,
    Settled,
    TaskEnding,
    TaskReport,
)
from core.messages.requests import Cancel, HandOver, KeepCheckpoint
from core.settings import Settings
from worker.trainer.client import Heard, TrainerClient, TrainerDied

log = logging.getLogger("thalweg.worker")

Order = Literal["cancel", "hand_over", "pause", "lost"] | int
"""A pause hands over as a shutdown does, but has all the time it needs. A number asks for a
checkpoint on the way."""
Last = Ending | TaskEnding | Measured | Failed | TrainerDied | Literal["lost"]
"""The trainer's answer, its death, or that the work is another's now."""
Mailbox = SimpleQueue[Heard | Order]

_HAND_OVER_RESERVE_S: Final = 1.0
"""Seconds of the shutdown's grace that are kept for writing the last rows."""
_NOTHING_LOST_GRACE_S: Final = 1.0
"""Seconds that work of which nothing is kept has to hear a cancel, and work of which there is
nothing yet to hear a shutdown; then its trainer is killed."""
_DEATH_S: Final = 0.5
"""Seconds, of that reserve, for which the death of a killed trainer is waited for."""
_SHORT_RUN_S: Final = 0.05
"""Seconds below which a run is short, and is written by its close alone: one round trip, no
thread."""


@dataclass(frozen=True)
class TrainerLine:
    """The trainer, and what is heard of it during one claim.

    Attributes:
        run: a number that no other work of this trainer has.
        mailbox: where the trainer's reports and everybody's orders arrive.
    """

    client: TrainerClient
    run: int
    mailbox: Mailbox

    def order(self, what: Literal["cancel", "hand_over"]) -> None:
        """Ask the work in hand to stop."""
        self.client.send(Cancel(self.run) if what == "cancel" else HandOver(self.run))


class Supervision:
    """The supervision of one claim's work of the trainer: reports are passed on, orders carried
    out, deadlines kept.

    Args:
        name: what the work is called in the log.
        limit_s: how long it may take; None: as long as it likes.
        keeps_nothing: whether nothing is lost with the trainer, which is killed at a shutdown, and
            soon after a cancel that it does not hear.
        watch: done every so many seconds, while the work goes on.
        renew: done every third of a lease, where nobody else keeps the claim.
    """

    def __init__(
        self,
        name: str,
        line: TrainerLine,
        settings: Settings,
        *,
        limit_s: float | None,
        keeps_nothing: bool = False,
        renew: Callable[[], None] | None = None,
        watch: tuple[float, Callable[[], None]] | None = None,
    ) -> None:
        self.stopping: Literal["cancel", "hand_over", "pause", "time_limit"] | None = None
        """Reason for which the trainer was asked to stop."""
        self.kept = 0
        """The number of the last checkpoint that the trainer was asked for."""
        self._has_trained = False
        self._has_killed = False
        self._name = name
        self._line = line
        self._settings = settings
        self._keeps_nothing = keeps_nothing
        self._renew = renew
        self._watch_every_s = 0.0 if watch is None else watch[0]
        self._watch = None if watch is None else watch[1]
        self._started = time.monotonic()
        self._deadline = None if limit_s is None else self._started + limit_s

    @property
    def elapsed_s(self) -> float:
        """Seconds since the work began."""
        return time.monotonic() - self._started

    def allow(self, seconds: float) -> None:
        """Set the seconds that what comes next may take at most."""
        limit = time.monotonic() + seconds
        self._deadline = limit if self._deadline is None else min(limit, self._deadline)

    def keep_nothing(self) -> None:
        """Take what comes next for work of which nothing is lost with the trainer."""
        self._keeps_nothing = True

    def listen(
        self, report: Callable[[JobReport | TaskReport], None], write: Callable[[], None]
    ) -> Last:
        """Listen until the last word, which is returned; every report on the way goes to `report`.
        `write` is called once the work is no short one.

        A trainer that was killed for a shutdown is not waited for beyond `_DEATH_S`: it does
        nothing more of its own, while its end, which takes a processor that others want, may take
        seconds.
        """
        write_from: float | None = self._started + _SHORT_RUN_S
        renew_at = None if self._renew is None else time.monotonic() + self._settings.lease_s / 3
        watch_at = None if self._watch is None else time.monotonic() + self._watch_every_s
        while True:
            now = time.monotonic()
            if write_from is not None and now >= write_from:
                write()
                write_from = None
            if self._renew is not None and renew_at is not None and now >= renew_at:
                self._renew()
                renew_at = now + self._settings.lease_s / 3
            if self._watch is not None and watch_at is not None and now >= watch_at:
                self._watch()
                watch_at = now + self._watch_every_s
            if self._deadline is not None and now >= self._deadline:
                if self._has_killed:
                    return TrainerDied(-signal.SIGKILL)
                self._overdue()
            due = [at for at in (write_from, renew_at, watch_at, self._deadline) if at is not None]
            try:
                message = self._line.mailbox.get(timeout=max(0.0, min(due) - now) if due else None)
            except Empty:
                continue
            match message:
                case "cancel" | "hand_over" | "pause":
                    self._obey(message)
                case int():
                    self._keep(message)
                case Ending() | TaskEnding() | Measured() | Failed() | TrainerDied() | "lost":
                    return message
                case _:
                    if not isinstance(message, DataLoaded | PhaseBegun | Restarted | Settled):
                        self._has_trained = True
                    report(message)

    def _keep(self, number: int) -> None:
        """Have the trainer leave a checkpoint, once for each number."""
        if number > self.kept:
            self.kept = number
            self._line.client.send(KeepCheckpoint(self._line.run, number))

    def _obey(self, order: Literal["cancel", "hand_over", "pause"]) -> None:
        if self.stopping in {"cancel", "time_limit"} or self.stopping == order:
            return
        if order == "pause" and self.stopping == "hand_over":
            return
        self.stopping = order
        if order != "cancel" and self._keeps_nothing:
            self._kill()
            return
        self._line.order("cancel" if order == "cancel" else "hand_over")
        if order == "pause":
            return  # nobody waits for the worker: the limit on the running time still holds
        if order == "hand_over":
            grace = max(0.0, self._settings.shutdown_grace_s - _HAND_OVER_RESERVE_S)
            if not self._has_trained:  # it imports or reads: the next attempt begins with the same
                grace = min(_NOTHING_LOST_GRACE_S, grace)
        elif self._keeps_nothing:
            grace = min(_NOTHING_LOST_GRACE_S, self._settings.cancel_grace_s)
        else:
            grace = self._settings.cancel_grace_s
        self._deadline = time.monotonic() + grace

    def _overdue(self) -> None:
        """Act on a deadline that has passed: that of the work's running time, or that of an order
        not obeyed."""
        if self.stopping in {None, "pause"}:
            self.stopping = "time_limit"
            self._line.order("cancel")
            self._deadline = time.monotonic() + self._settings.cancel_grace_s
            return
        log.warning("%s: the step loop does not listen; its trainer is killed", self._name)
        self._kill()

    def _kill(self) -> None:
        """End the trainer, whose death is the last word; at a shutdown, which cannot wait, for a
        while."""
        self._line.client.kill()
        self._deadline = None
        if self.stopping == "hand_over":
            self._has_killed = True
            self._deadline = time.monotonic() + _DEATH_S
