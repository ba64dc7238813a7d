"""What a courier does with a reply, and how many it sends at a time."""

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from core.errors import StoreUnavailableError
from core.ids import utc_now
from core.settings import Settings
from core.store.protocols.webhooks import ClaimedDelivery
from core.webhooks.delivery import Delivery
from core.webhooks.message import new_secret
from tests.core.webhooks.test_message import delivery
from worker.webhooks.courier import AT_ONCE, Courier
from worker.webhooks.sending import Reply, SendError

SECRET = new_secret()


class Deliveries:
    """A store of deliveries that are due."""

    def __init__(self, *due: Delivery, secrets: Sequence[str] = (SECRET,)) -> None:
        self.due = list(due)
        self.secrets = secrets
        self.settled: list[tuple[Delivery, float | None]] = []
        self.away = False
        self.asked: list[int] = []
        self.under_way: list[list[Delivery]] = []
        self.changed = threading.Condition()

    def claim(
        self, most: int, lease_s: float, age_s: float, under_way: Sequence[Delivery] = ()
    ) -> tuple[Sequence[str], Sequence[ClaimedDelivery]]:
        self.asked.append(most)
        self.under_way.append(list(under_way))
        if self.away:
            raise StoreUnavailableError("away")
        taken = [self.due.pop(0) for _ in range(min(most, len(self.due)))]
        return self.secrets, [ClaimedDelivery(each, 1) for each in taken]

    def settle(self, claim: ClaimedDelivery, delivery: Delivery, due_in_s: float | None) -> bool:
        with self.changed:
            self.settled.append((delivery, due_in_s))
            self.changed.notify_all()
        return True


def fresh(**changes: Any) -> Delivery:
    return delivery(since_ms=round(1000 * utc_now().timestamp()), **changes)


def tried(
    answer: Callable[..., Reply],
    each: Delivery,
    secrets: Sequence[str] = (SECRET,),
    **settings: Any,
) -> tuple[Delivery, float | None]:
    store = Deliveries()
    courier = Courier(store, Settings(**settings), answer)
    courier.deliver(ClaimedDelivery(each, 1), tuple(secrets))
    ((after, due_in_s),) = store.settled
    return after, due_in_s


def replying(status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> Any:
    return lambda *_: Reply(status, headers or {}, body)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_a_reply_of_success_ends_it(status: int) -> None:
    after, due_in_s = tried(replying(status), fresh())
    assert (after.status, after.num_tries, due_in_s) == ("delivered", 1, None)
    assert (after.tries[0]["status_code"], after.tries[0]["error"]) == (status, None)


@pytest.mark.parametrize("status", [301, 302, 304, 307, 308, 400, 401, 404, 429, 500, 503, 599])
def test_any_other_reply_is_tried_again(status: int) -> None:
    after, due_in_s = tried(replying(status, {"location": "http://10.0.0.1/"}), fresh())
    assert (after.status, after.num_tries) == ("waiting", 1)
    assert due_in_s == pytest.approx(2.0, rel=0.21)
    assert str(status) in str(after.tries[0]["error"])


def test_a_reply_of_410_ends_it_for_good() -> None:
    after, due_in_s = tried(replying(410), fresh())
    assert (after.status, due_in_s) == ("gone", None)


@pytest.mark.parametrize("status", [429, 503, 500, 302])
def test_the_receiver_says_when_to_come_again(status: int) -> None:
    _, due_in_s = tried(replying(status, {"retry-after": "77"}), fresh())
    assert due_in_s == 77.0
    after, due_in_s = tried(replying(status, {"retry-after": "90000"}), fresh())
    assert (after.status, due_in_s) == ("failed", None), "that is after the day"


def test_after_a_day_it_has_failed() -> None:
    since = utc_now() - timedelta(days=1, seconds=1)
    old = delivery(since_ms=round(1000 * since.timestamp()), num_tries=12)
    after, due_in_s = tried(replying(500), old)
    assert (after.status, after.num_tries, due_in_s) == ("failed", 13, None)


def test_no_reply_is_tried_again_with_the_reason() -> None:
    def answer(*_: Any) -> Reply:
        raise SendError("no reply within 10 s")

    after, due_in_s = tried(answer, fresh())
    assert due_in_s is not None
    assert after.tries[0]["status_code"] is None
    assert after.tries[0]["error"] == "no reply within 10 s"


def test_a_fault_of_ours_counts_as_a_try() -> None:
    def answer(*_: Any) -> Reply:
        raise RuntimeError("a bug")

    after, due_in_s = tried(answer, fresh())
    assert (after.status, after.num_tries) == ("waiting", 1)
    assert due_in_s is not None
    after, _ = tried(replying(200), fresh(), secrets=["whsec_***"])
    assert after.status == "waiting"


def test_nothing_is_sent_unsigned() -> None:
    after, _ = tried(pytest.fail, fresh(), secrets=[])
    assert after.status == "waiting"
    assert "webhooks secret add" in str(after.tries[0]["error"])


def test_a_chat_that_refuses_with_a_200_is_tried_again() -> None:
    after, _ = tried(replying(200, body=b'{"errcode":93000}'), fresh(format="wecom"))
    assert after.status == "waiting"
    after, _ = tried(replying(200, body=b'{"errcode":0}'), fresh(format="wecom"))
    assert after.status == "delivered"


def test_a_trial_that_fails_has_failed() -> None:
    after, _ = tried(replying(500), fresh(once=True, subject=None, type="webhook.test"))
    assert after.status == "failed"


def test_the_log_keeps_the_last_tries() -> None:
    each = fresh()
    for _ in range(25):
        each, _ = tried(replying(500), each)
    assert (each.num_tries, len(each.tries)) == (25, 20)


def test_a_slow_receiver_holds_up_no_other() -> None:
    stall = threading.Event()

    def answer(url: str, *_: Any) -> Reply:
        if "slow" in url:
            stall.wait(60)
        return Reply(200, {}, b"")

    slow = [fresh(url="https://example.org/slow") for _ in range(AT_ONCE - 1)]
    quick = [fresh() for _ in range(20)]
    store = Deliveries(*slow, *quick)
    courier = Courier(store, Settings(), answer)
    courier.start()
    with store.changed:
        assert store.changed.wait_for(lambda: len(store.settled) == 20, 50)
    stall.set()
    with store.changed:
        assert store.changed.wait_for(lambda: len(store.settled) == 20 + AT_ONCE - 1, 60)
    courier.stop()
    assert max(store.asked) == AT_ONCE
    assert store.under_way[0] == []
    assert all(each in slow + quick for some in store.under_way for each in some)
    assert max(sum(each in slow for each in some) for some in store.under_way) == len(slow)


def test_a_store_that_is_away_is_asked_again() -> None:
    store = Deliveries(fresh())
    store.away = True
    courier = Courier(store, Settings(), replying(200))
    assert courier.look() == 0
    store.away = False
    assert courier.look() == 1
    with store.changed:
        assert store.changed.wait_for(lambda: len(store.settled) == 1, 60)
    courier.start()
    store.due.append(fresh())
    courier.stop()
    assert len(store.settled) == 2, "a worker that ends sends what is due by then"
