"""What a shutdown waits for: what of its work there is, and never for long for a killed trainer."""

import signal
from collections.abc import Callable
from queue import SimpleQueue
from typing import cast

import numpy as np
import pytest

from core.messages.reports import (
    DataLoaded,
    Ending,
    HistoryRows,
    JobReport,
    PhaseBegun,
    Progress,
    Settled,
)
from core.messages.requests import Cancel, HandOver, Request
from core.settings import Settings
from worker.execution import supervision
from worker.execution.supervision import Last, Mailbox, Supervision, TrainerLine
from worker.trainer.client import TrainerClient, TrainerDied

DEATH = TrainerDied(-signal.SIGKILL)
END = Ending("finished", "budget_exhausted", {}, None)
PREPARING: list[JobReport] = [PhaseBegun("preparing"), DataLoaded({}), Settled({}, {})]
TRAINING: list[JobReport] = [
    HistoryRows("train", 0, {"step": np.zeros(1)}),
    Progress(1, None, None, None),
]


class Trainer:
    """A trainer that notes what it is asked, hears none of it, and is not seen to die."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.killed = False

    def send(self, request: Request) -> None:
        self.asked.append(request)

    def kill(self) -> None:
        self.killed = True


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "_NOTHING_LOST_GRACE_S", 0.02)
    monkeypatch.setattr(supervision, "_DEATH_S", 0.02)


def listened(
    trainer: Trainer,
    mailbox: Mailbox,
    *,
    at_last: Callable[[], None],
    looks: int = 8,
    shutdown_grace_s: float = 600.0,
    keeps_nothing: bool = False,
) -> Last:
    """The last word on work of which the mailbox holds what comes at once; after so many looks,
    several times the times above, what comes `at_last`."""
    num_looks = 0

    def look() -> None:
        nonlocal num_looks
        num_looks += 1
        if num_looks == looks:
            at_last()

    settings = Settings(shutdown_grace_s=shutdown_grace_s, cancel_grace_s=600.0)
    line = TrainerLine(cast(TrainerClient, trainer), 1, mailbox)
    it = Supervision(
        "work", line, settings, limit_s=None, keeps_nothing=keeps_nothing, watch=(0.02, look)
    )
    return it.listen(lambda report: None, lambda: None)


def holding(*messages: object) -> Mailbox:
    mailbox: SimpleQueue[object] = SimpleQueue()
    for message in messages:
        mailbox.put(message)
    return cast(Mailbox, mailbox)


def never() -> None:
    raise AssertionError("it waits")


@pytest.mark.parametrize("count", range(len(PREPARING) + 1))
def test_work_that_has_not_begun_to_train_is_not_waited_for(count: int) -> None:
    trainer = Trainer()
    mailbox = holding(*PREPARING[:count], "hand_over")
    assert listened(trainer, mailbox, at_last=never, looks=400) == DEATH
    assert trainer.asked == [HandOver(1)]
    assert trainer.killed


@pytest.mark.parametrize("report", TRAINING)
def test_work_that_trains_has_its_grace(report: JobReport) -> None:
    trainer = Trainer()
    mailbox = holding(*PREPARING, report, "hand_over")
    assert listened(trainer, mailbox, at_last=lambda: mailbox.put(END)) == END
    assert not trainer.killed


def test_the_death_of_a_trainer_that_has_had_its_grace_is_not_waited_for() -> None:
    trainer = Trainer()
    mailbox = holding(*TRAINING, "hand_over")
    assert listened(trainer, mailbox, at_last=never, looks=400, shutdown_grace_s=1.05) == DEATH
    assert trainer.killed


def test_nor_where_nothing_is_kept() -> None:
    trainer = Trainer()
    mailbox = holding("hand_over")
    assert listened(trainer, mailbox, at_last=never, looks=400, keeps_nothing=True) == DEATH
    assert (trainer.asked, trainer.killed) == ([], True)


def test_what_a_killed_trainer_had_said_before_is_heard() -> None:
    trainer = Trainer()
    mailbox = holding("hand_over", END)
    assert listened(trainer, mailbox, at_last=never, looks=400, keeps_nothing=True) == END


def test_after_a_cancel_the_death_is_waited_for_since_the_worker_goes_on() -> None:
    trainer = Trainer()
    mailbox = holding("cancel")

    def die() -> None:
        assert trainer.killed
        mailbox.put(TrainerDied(-signal.SIGKILL, out_of_memory=True))

    last = listened(trainer, mailbox, at_last=die, keeps_nothing=True)
    assert last == TrainerDied(-signal.SIGKILL, out_of_memory=True)
    assert trainer.asked == [Cancel(1)]
