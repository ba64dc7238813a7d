"""The hub of streams: one look for all, no queue, and an end for who takes nothing."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import pytest

from api.events.stream import BEGIN, PING, EventStream
from api.services import hub as hub_module
from api.services.hub import EventHub, Known, Reader
from core.errors import StoreUnavailableError
from core.jobs import JobRecord
from core.store.protocols.api import ApiEvents
from core.store.protocols.types import Snapshot

pytestmark = pytest.mark.anyio


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Store:
    """Jobs with versions, and a count of looks."""

    def __init__(self, **versions: int) -> None:
        self.versions = versions
        self.looks = 0
        self.is_away = False

    async def changed(self, stamps: Mapping[str, str]) -> Mapping[str, Known]:
        self.looks += 1
        await asyncio.sleep(0)
        if self.is_away:
            raise StoreUnavailableError("away")
        return {
            name: _snapshot(name, self.versions.get(name))
            for name, stamp in stamps.items()
            if stamp != str(self.versions.get(name, "gone"))
        }


def _snapshot(name: str, version: int | None) -> Snapshot | None:
    if version is None:
        return None
    return Snapshot(str(version), JobRecord(name, "running", {}, "", version=version))


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)


def hub_on(store: Store, **options: Any) -> tuple[EventHub, Clock]:
    clock = Clock()
    return EventHub(cast(ApiEvents, store), clock=clock, **options), clock


def reader(hub: EventHub, cut: list[str] | None = None) -> Reader:
    return Reader(lambda: (cut if cut is not None else []).append("cut"), hub.now())


async def test_a_thousand_readers_cost_the_looks_of_one() -> None:
    store = Store(a=1, b=1)
    hub, _ = hub_on(store)
    many = [reader(hub) for _ in range(1000)]
    with contextlib.ExitStack() as joined:
        joined.enter_context(hub.joined(reader(hub), await hub.look(["a"])))
        looks = store.looks
        for each in many:
            joined.enter_context(hub.joined(each, await hub.look(["a"])))
        assert store.looks == looks
        store.versions["a"] = 2
        await hub.refresh()
        assert store.looks == looks + 1
        assert all(each.wake.is_set() for each in many)
        known = hub.known("a")
        assert isinstance(known, Snapshot)
        assert known.stamp == "2"


async def test_only_those_are_woken_whose_names_have_changed() -> None:
    store = Store(a=1, b=1)
    hub, _ = hub_on(store)
    of_a, of_both = reader(hub), reader(hub)
    with hub.joined(of_a, await hub.look(["a"])), hub.joined(of_both, await hub.look(["a", "b"])):
        await hub.refresh()
        assert (of_a.wake.is_set(), of_both.wake.is_set()) == (False, False)
        store.versions["b"] = 5
        await hub.refresh()
        assert (of_a.wake.is_set(), of_both.wake.is_set()) == (False, True)
        del store.versions["a"]
        await hub.refresh()
        assert of_a.wake.is_set()
        assert hub.known("a") is None


async def test_who_leaves_while_another_looks_takes_nothing_away() -> None:
    hub, _ = hub_on(Store(a=1, b=1))
    with hub.joined(reader(hub), await hub.look(["a"])):
        looking = asyncio.ensure_future(hub.look(["a", "b"]))
        await asyncio.sleep(0)
    found = await looking
    assert all(isinstance(known, Snapshot) for _, known in found.values())


async def test_what_nobody_follows_is_looked_at_no_more() -> None:
    store = Store(a=1)
    hub, _ = hub_on(store)
    first, second = reader(hub), reader(hub)
    found = await hub.look(["a"])
    with hub.joined(first, found):
        with hub.joined(second, found):
            assert hub.num_readers == 2
        assert hub.num_readers == 1
        assert isinstance(hub.known("a"), Snapshot)
    assert hub.num_readers == 0
    with pytest.raises(KeyError):
        hub.known("a")


async def test_the_silent_are_pinged_and_those_who_take_nothing_are_cut_off() -> None:
    hub, clock = hub_on(Store(a=1), ping_s=10.0, patience_s=5.0)
    cuts: list[str] = []
    idle, stuck = reader(hub), reader(hub, cuts)
    found = await hub.look(["a"])
    with hub.joined(idle, found), hub.joined(stuck, found):
        stuck.is_sending = True
        clock.now += 4.9
        hub.sweep()
        assert (idle.is_due, stuck.is_gone, cuts) == (False, False, [])
        clock.now += 0.1
        hub.sweep()
        assert (idle.is_due, stuck.is_gone, cuts) == (False, True, ["cut"])
        clock.now += 5.0
        hub.sweep()
        assert idle.is_due
        assert idle.wake.is_set()


async def test_what_is_made_for_one_is_made_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "SHARED_BYTES", 100)
    hub, _ = hub_on(Store())
    made: list[int] = []

    def making(number: int, size: int = 40) -> Callable[[], Awaitable[bytes]]:
        async def make() -> bytes:
            made.append(number)
            await asyncio.sleep(0)
            return bytes([number]) * size

        return make

    several = await asyncio.gather(*(hub.shared((1,), making(1)) for _ in range(50)))
    assert several == [b"\1" * 40] * 50
    assert made == [1]
    await hub.shared((2,), making(2))
    await hub.shared((3,), making(3))  # the first goes: it was made first
    await hub.shared((2,), making(2))
    await hub.shared((1,), making(1))
    assert made == [1, 2, 3, 1]
    await hub.shared((4,), making(4, 1000))  # larger than all that is kept
    assert await hub.shared((4,), making(4, 1)) == b"\4"


async def test_a_failure_is_told_to_all_and_not_kept() -> None:
    hub, _ = hub_on(Store())

    async def fail() -> bytes:
        raise StoreUnavailableError("away")

    async def succeed() -> bytes:
        return b"x"

    found = await asyncio.gather(
        *(hub.shared((1,), fail) for _ in range(3)), return_exceptions=True
    )
    assert [type(each) for each in found] == [StoreUnavailableError] * 3
    assert await hub.shared((1,), succeed) == b"x"


async def test_a_store_that_is_away_ends_nothing() -> None:
    store = Store(a=1)
    hub = EventHub(cast(ApiEvents, store), tick_s=0.0)
    hub.start()
    each = Reader(lambda: None, hub.now())
    with hub.joined(each, await hub.look(["a"])):
        store.is_away = True
        before = store.looks
        await until(lambda: store.looks >= before + 5)
        store.is_away, store.versions["a"] = False, 2
        async with asyncio.timeout(10):
            await each.wake.wait()
    await hub.stop()


class Pieces:
    """A follower whose pieces come from the test."""

    def __init__(self, *pieces: bytes, is_over: bool = True) -> None:
        self.pieces = list(pieces)
        self.due: float | None = None
        self.is_over = False
        self._ends = is_over

    async def next(self, now: float) -> bytes | None:
        if self.pieces:
            return self.pieces.pop(0)
        self.is_over = self._ends
        return None


class Client:
    """The server's side of a connection: what was sent, and when the client leaves."""

    def __init__(self, room: int = 1000) -> None:
        """It takes `room` messages, and then no more."""
        self.sent: list[Any] = []
        self.left = asyncio.Event()
        self.full = asyncio.Event()
        self._room = room

    async def receive(self) -> Any:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if len(self.sent) == self._room:
            self.full.set()
            await self.left.wait()
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(each.get("body", b"") for each in self.sent)

    def has_said(self, text: bytes) -> Callable[[], bool]:
        return lambda: self.body == text

    async def ask(self, stream: EventStream, method: str = "GET") -> None:
        scope = {"type": "http", "method": method}
        await stream(scope, self.receive, self.send)


async def test_a_stream_begins_says_all_and_ends_in_good_order() -> None:
    hub, _ = hub_on(Store(a=1))
    client = Client()
    await client.ask(EventStream(hub, await hub.look(["a"]), Pieces(b"x\n\n", b"y\n\n")))
    assert client.body == BEGIN + b"x\n\ny\n\n"
    assert [each.get("more_body") for each in client.sent] == [None, True, True, True, None]
    head = dict(client.sent[0]["headers"])
    assert head[b"cache-control"] == b"no-cache"
    assert head[b"x-accel-buffering"] == b"no"
    assert b"content-length" not in head
    assert hub.num_readers == 0


async def test_a_head_has_no_body_and_no_reader() -> None:
    hub, _ = hub_on(Store(a=1))
    client = Client()
    await client.ask(EventStream(hub, await hub.look(["a"]), Pieces(b"x\n\n")), "HEAD")
    assert (client.body, len(client.sent)) == (b"", 2)


@pytest.mark.parametrize("how", ["leaves", "ends"])
async def test_an_open_stream_ends_with_its_client_and_with_the_process(how: str) -> None:
    hub, _ = hub_on(Store(a=1))
    client = Client()
    asking = asyncio.create_task(
        client.ask(EventStream(hub, await hub.look(["a"]), Pieces(is_over=False)))
    )
    await until(lambda: client.body == BEGIN)
    if how == "leaves":
        client.left.set()
    else:
        hub.close()
    async with asyncio.timeout(10):
        await asking
    assert hub.num_readers == 0
    is_whole = client.sent[-1] == {"type": "http.response.body", "body": b""}
    assert is_whole is (how == "ends")


async def test_one_who_takes_nothing_holds_one_piece_and_is_let_go() -> None:
    hub, clock = hub_on(Store(a=1), patience_s=5.0)
    client = Client(room=4)
    follower = Pieces(*(b"%d\n\n" % number for number in range(100)))
    asking = asyncio.create_task(client.ask(EventStream(hub, await hub.look(["a"]), follower)))
    await client.full.wait()
    assert client.body == BEGIN + b"0\n\n1\n\n"
    assert len(follower.pieces) == 97  # one is on its way
    clock.now += 5.0
    hub.sweep()
    with pytest.raises(asyncio.CancelledError):  # here nothing else can be broken off
        await asking
    assert len(follower.pieces) == 97
    assert hub.num_readers == 0


async def test_a_silent_stream_says_that_it_is_there() -> None:
    hub, clock = hub_on(Store(a=1), ping_s=10.0)
    client = Client()
    asking = asyncio.create_task(
        client.ask(EventStream(hub, await hub.look(["a"]), Pieces(is_over=False)))
    )
    for count in range(1, 4):
        await until(client.has_said(BEGIN + (count - 1) * PING))
        clock.now += 10.0
        hub.sweep()
    await until(lambda: client.body == BEGIN + 3 * PING)
    hub.close()
    await asking
