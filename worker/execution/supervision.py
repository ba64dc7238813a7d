"""Hearing the trainer while it is at work. Everything that can happen meanwhile comes through one
mailbox: the trainer's frames, its death, and orders."""

import logging
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final, Literal

from core.settings import Settings
from worker.trainer.client import Heard, TrainerClient, TrainerDied
from worker.trainer.protocol import Frame

log = logging.getLogger("thalweg.worker")

Order = Literal["cancel", "hand_over", "lost"]
Message = Heard | Order
Last = Frame | TrainerDied | Literal["lost"]
"""A frame of type `ended`, `failed` or `measured`, a death, or that the work is another's now."""
Mailbox = SimpleQueue[Message]

_HAND_OVER_RESERVE_S: Final = 1.0
"""Kept of the shutdown's grace for writing the last rows."""
_SHORT_RUN_S: Final = 0.05
"""A run shorter than this is written by its close alone: one round trip, no thread."""


class Supervision:
    """One piece of work of the trainer, until its last word: reports are passed on, orders carried
    out, deadlines kept.

    Args:
        name: what the work is called in the log.
        run: a number that no other work of this trainer has.
        mailbox: where the trainer's frames and everybody's orders arrive.
    """

    def __init__(
        self, name: str, *, run: int, link: TrainerClient, mailbox: Mailbox, settings: Settings
    ) -> None:
        self.stopping: Literal["cancel", "hand_over", "time_limit"] | None = None
        """Why the trainer was asked to stop."""
        self.run = run
        self._name = name
        self._link = link
        self._mailbox = mailbox
        self._settings = settings
        self._started = time.monotonic()
        limit = settings.max_job_seconds
        self._deadline = None if limit is None else self._started + limit

    @property
    def elapsed_s(self) -> float:
        """Since the work began."""
        return time.monotonic() - self._started

    def allow(self, seconds: float) -> None:
        """What comes next may take no longer than this."""
        limit = time.monotonic() + seconds
        self._deadline = limit if self._deadline is None else min(limit, self._deadline)

    def listen(self, report: Callable[[Frame], None], write: Callable[[], None]) -> Last:
        """Until the last word, which is returned; every other frame goes to `report`. `write` is
        called once the work is no short one."""
        write_from: float | None = self._started + _SHORT_RUN_S
        while True:
            now = time.monotonic()
            if write_from is not None and now >= write_from:
                write()
                write_from = None
            if self._deadline is not None and now >= self._deadline:
                self._overdue()
            due = [at for at in (write_from, self._deadline) if at is not None]
            try:
                message = self._mailbox.get(timeout=max(0.0, min(due) - now) if due else None)
            except Empty:
                continue
            match message:
                case "cancel" | "hand_over":
                    self._obey(message)
                case Frame(type="ended" | "failed" | "measured") | TrainerDied() | "lost":
                    return message
                case Frame():
                    report(message)

    def _obey(self, order: Literal["cancel", "hand_over"]) -> None:
        if self.stopping in {"cancel", "time_limit"} or self.stopping == order:
            return
        self.stopping = order
        self._link.order(order, self.run)
        grace = (
            self._settings.cancel_grace_s
            if order == "cancel"
            else max(0.0, self._settings.shutdown_grace_s - _HAND_OVER_RESERVE_S)
        )
        self._deadline = time.monotonic() + grace

    def _overdue(self) -> None:
        """A deadline has passed: of the work's running time, or of an order not obeyed."""
        if self.stopping is None:
            self.stopping = "time_limit"
            self._link.order("cancel", self.run)
            self._deadline = time.monotonic() + self._settings.cancel_grace_s
            return
        log.warning("%s: the step loop does not listen; its trainer is killed", self._name)
        self._link.kill()
        self._deadline = None
