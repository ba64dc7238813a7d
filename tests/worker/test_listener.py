"""An idle worker hears the store's word; a busy one leaves it to others, an outage is sat out."""

import threading
from collections.abc import Callable, Sequence
from typing import cast

import pytest

from core.errors import StoreUnavailableError
from core.store.protocols.worker import WorkerStore
from worker import listener
from worker.listener import Listener

PATIENCE_S = 20.0


class Words:
    """As much of a store as a listener asks: a word, silence, or an outage, in this order."""

    def __init__(self, *answers: bool | Exception) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, ...]] = []
        self.silent = threading.Event()

    def await_work(self, devices: Sequence[str], timeout_s: float) -> bool:
        self.asked.append(tuple(devices))
        if not self._answers:
            self.silent.set()
            return False
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def listening(
    words: Words, idle: Callable[[float], bool], closing: Callable[[], bool] = lambda: False
) -> tuple[Listener, list[bool]]:
    """A listener that runs, and what it has woken the worker for."""
    woken: list[bool] = []
    it = Listener(
        cast(WorkerStore, words),
        devices=lambda: ("cpu",),
        idle=idle,
        closing=closing,
        wake=lambda: woken.append(True),
    )
    it.start()
    return it, woken


def heard(words: Words) -> int:
    """How often an idle worker is woken until the store falls silent."""
    it, woken = listening(words, lambda timeout_s: True)
    assert words.silent.wait(PATIENCE_S)
    it.stop()
    return len(woken)


def test_every_word_wakes_the_worker_and_silence_does_not() -> None:
    assert heard(Words(True, False, True)) == 2


def test_a_busy_worker_takes_no_word() -> None:
    words = Words(True)
    asked = threading.Event()

    def busy(timeout_s: float) -> bool:
        asked.set()
        return False

    it, woken = listening(words, busy)
    assert asked.wait(PATIENCE_S)
    it.stop()
    assert (words.asked, woken) == ([], [])


def test_an_outage_is_sat_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "_BACKOFF_S", 0.001)
    assert heard(Words(StoreUnavailableError("away"), RuntimeError("odd"), True)) == 1


def test_a_worker_that_shuts_down_takes_no_word() -> None:
    words = Words(True)
    over = threading.Event()

    def closes_meanwhile(timeout_s: float) -> bool:
        over.set()
        return False

    it, woken = listening(words, closes_meanwhile, over.is_set)
    it._thread.join(PATIENCE_S)
    assert not it._thread.is_alive()
    assert (words.asked, woken) == ([], [])
