"""Lost messages and dead workers are noticed, and an outage is nobody's death."""

import threading
import time
from collections.abc import Sequence
from typing import cast

import pytest

from core.errors import StoreUnavailableError
from core.store.protocols.worker import WorkerStore
from worker.reconciler import Reconciler


class Queue:
    """As much of a store as a reconciler asks."""

    def __init__(self, queued: int = 0, expired: Sequence[str] = ()) -> None:
        self.queued = queued
        self.expired = list(expired)
        self.away = False
        self.num_reaps = 0
        self.ahead_s = 1e9

    def num_queued(self) -> int:
        if self.away:
            raise StoreUnavailableError("away")
        return self.queued

    def clock_s(self) -> float:
        return time.monotonic() + self.ahead_s

    def reap(self, lease_s: float) -> Sequence[str]:
        self.num_reaps += 1
        reaped, self.expired = self.expired, []
        return reaped


def looked(queue: Queue, *, idle: bool = True, times: int = 1) -> int:
    """How often a look wakes the runner."""
    woken: list[bool] = []
    it = Reconciler(
        cast(WorkerStore, queue),
        every_s=1,
        lease_s=6,
        idle=lambda: idle,
        wake=lambda: woken.append(True),
    )
    for _ in range(times):
        it.look()
    return len(woken)


def test_an_idle_worker_is_woken_for_a_queued_job() -> None:
    assert looked(Queue(queued=1)) == 1


def test_a_job_whose_lease_expired_is_taken_up_at_once() -> None:
    assert looked(Queue(expired=["job_1"])) == 1


def test_what_was_reaped_wakes_a_worker_that_may_just_have_looked_in_vain() -> None:
    assert looked(Queue(expired=["job_1"]), idle=False) == 1


def test_it_looks_as_soon_as_it_starts() -> None:
    woken = threading.Event()
    it = Reconciler(
        cast(WorkerStore, Queue(expired=["job_1"])),
        every_s=3600,
        lease_s=6,
        idle=lambda: True,
        wake=woken.set,
    )
    it.start()
    assert woken.wait(60)
    it.stop()


def test_nobody_is_woken_for_nothing_or_while_busy() -> None:
    assert looked(Queue()) == 0
    assert looked(Queue(queued=1), idle=False) == 0


def test_after_an_outage_a_lease_goes_by_before_anything_is_reaped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    queue = Queue(expired=["job_1"])
    it = Reconciler(
        cast(WorkerStore, queue), every_s=1, lease_s=6, idle=lambda: True, wake=lambda: None
    )
    queue.away = True
    it.look()
    queue.away = False
    now = 105.9
    it.look()
    assert queue.num_reaps == 0
    now = 106.0
    it.look()
    assert queue.num_reaps == 1


@pytest.mark.parametrize(("gained_s", "waits"), [(120, True), (3, True), (1, False), (-120, False)])
def test_after_a_clock_was_set_forward_a_lease_goes_by_before_anything_is_reaped(
    monkeypatch: pytest.MonkeyPatch, gained_s: float, waits: bool
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    queue = Queue()
    it = Reconciler(
        cast(WorkerStore, queue), every_s=1, lease_s=6, idle=lambda: True, wake=lambda: None
    )
    it.look()
    queue.ahead_s += gained_s
    now = 101.0
    it.look()
    now = 106.9
    it.look()
    assert queue.num_reaps == (1 if waits else 3)
    now = 107.0
    it.look()
    assert queue.num_reaps == (2 if waits else 4)
