"""Hints to the workers: at once when alone, merged when many or heard of, never in the caller's
way."""

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from api.services import dispatch
from api.services.dispatch import BURST, CeleryDispatcher, Send
from core.broker import QUEUE
from core.settings import Settings
from thalweg_service.embedded_redis import EmbeddedServer

PATIENCE_S = 20.0


class Broker:
    """Counts what arrives; fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.sent = 0
        self.connections = 0
        self._failures = failures
        self._arrived = threading.Condition()
        self.gate = threading.Event()
        self.gate.set()
        self.blocked = threading.Event()

    def connect(self, settings: Settings) -> Send:
        self.connections += 1
        return self.send

    def send(self) -> None:
        if not self.gate.is_set():
            self.blocked.set()
        assert self.gate.wait(PATIENCE_S)
        if self._failures:
            self._failures -= 1
            raise ConnectionError("away")
        with self._arrived:
            self.sent += 1
            self._arrived.notify_all()

    def wait_for(self, number: int) -> None:
        with self._arrived:
            assert self._arrived.wait_for(lambda: self.sent >= number, PATIENCE_S)


@pytest.fixture
def settings() -> Settings:
    return Settings()


def running(broker: Broker, settings: Settings) -> CeleryDispatcher:
    dispatcher = CeleryDispatcher(settings, broker.connect)
    dispatcher.start()
    return dispatcher


def test_each_announcement_is_sent_while_there_are_few(settings: Settings) -> None:
    broker = Broker()
    dispatcher = running(broker, settings)
    for number in range(1, 6):
        dispatcher.announce()
        broker.wait_for(number)
    dispatcher.stop()
    assert (broker.sent, broker.connections) == (5, 1)


def test_one_hint_follows_of_all_the_work_that_workers_have_heard_of(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "LINGER_S", 0.0)
    broker = Broker()
    dispatcher = CeleryDispatcher(settings, broker.connect)
    for _ in range(1_000):
        dispatcher.announce(heard=True)
    dispatcher.start()
    broker.wait_for(1)
    dispatcher.announce(heard=True)
    broker.wait_for(2)
    dispatcher.stop()
    assert broker.sent == 2


def test_a_hint_that_leaves_at_once_is_one_of_all_that_was_heard_of_before(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "LINGER_S", 600.0)
    broker = Broker()
    dispatcher = running(broker, settings)
    dispatcher.announce(heard=True)
    dispatcher.announce()
    broker.wait_for(1)
    monkeypatch.setattr(dispatch, "LINGER_S", 0.5)
    dispatcher.announce(heard=True)
    broker.wait_for(2)
    dispatcher.stop()
    assert broker.sent == 2


def test_announcing_never_waits_and_many_announcements_are_merged(settings: Settings) -> None:
    broker = Broker()
    broker.gate.clear()
    dispatcher = running(broker, settings)
    dispatcher.announce()
    assert broker.blocked.wait(PATIENCE_S)
    for _ in range(1_000):
        dispatcher.announce()  # the broker hangs, and this returns all the same
    broker.gate.set()
    broker.wait_for(1 + BURST)
    dispatcher.stop()
    assert broker.sent == 1 + BURST


def test_a_broker_that_is_away_is_tried_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dispatch, "_LONGEST_BACKOFF_S", 0.001)
    broker = Broker(failures=3)
    dispatcher = running(broker, settings)
    dispatcher.announce()
    broker.wait_for(1)
    dispatcher.stop()
    assert [record.message for record in caplog.records].count(
        "work is not announced; retrying"
    ) == 1


def test_stopping_ends_the_thread_even_while_it_backs_off(settings: Settings) -> None:
    failed = threading.Event()

    def refuse(settings: Settings) -> Send:
        failed.set()
        raise ConnectionError("away")

    before = {*threading.enumerate()}
    dispatcher = CeleryDispatcher(settings, refuse)
    dispatcher.start()
    assert {*threading.enumerate()} - before
    assert failed.wait(PATIENCE_S)
    dispatcher.stop()
    assert not {*threading.enumerate()} - before  # others' threads may have ended meanwhile


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether it comes to hold; looks every few milliseconds for what another process tells."""
    pause = threading.Event()
    return any(condition() or pause.wait(0.01) for _ in range(2_000))


@pytest.fixture
def own_server() -> Iterator[EmbeddedServer]:
    """A server that this test may stop."""
    folder = Path(tempfile.mkdtemp(prefix="thw-"))
    try:
        with EmbeddedServer(folder, fsync=False) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_hints_flow_again_after_the_broker_was_away(own_server: EmbeddedServer) -> None:
    dispatcher = CeleryDispatcher(Settings(redis_url=own_server.url, namespace="ours"))
    dispatcher.start()
    key = f"ours:celery:{QUEUE}"
    dispatcher.announce()
    with redis.Redis.from_url(own_server.url) as client:
        assert eventually(lambda: client.llen(key) == 1)
    own_server.stop()
    dispatcher.announce()
    own_server.start()
    with redis.Redis.from_url(own_server.url) as client:
        assert eventually(lambda: client.llen(key) >= 2)
    dispatcher.stop()


def test_a_hint_reaches_the_workers_queue(redis_url: str, namespace: str) -> None:
    dispatcher = CeleryDispatcher(Settings(redis_url=redis_url, namespace=namespace))
    dispatcher.start()
    with redis.Redis.from_url(redis_url) as client:
        for number in (1, 2):
            dispatcher.announce()
            key = f"{namespace}:celery:{QUEUE}"
            assert eventually(lambda: client.llen(key) == number)  # noqa: B023
    dispatcher.stop()
