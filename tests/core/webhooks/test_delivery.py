"""When a delivery that failed is tried again."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.webhooks.delivery import (
    FIRST_PAUSE_S,
    JITTER,
    LONGEST_PAUSE_S,
    next_due_s,
    pause_s,
    retry_after_s,
)
from tests.core.webhooks.test_message import delivery

DAY_S = 86_400.0
NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


@given(st.integers(1, 100), st.floats(0, 1))
def test_pauses_grow_fourfold_to_four_hours(num_tries: int, draw: float) -> None:
    middle = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 4.0 ** (num_tries - 1))
    assert pause_s(num_tries, draw) == pytest.approx(middle, rel=JITTER + 1e-9)


def test_pauses_are_drawn_apart() -> None:
    assert pause_s(3, 0.0) < pause_s(3, 0.5) < pause_s(3, 1.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0), (" 7 ", 7.0), ("0", 0.0), ("9" * 40, 999_999_999.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0.0),
        ("", None), ("soon", None), ("-5", None), ("1.5", None), ("\u0665", None), ("1e3", None),
    ],
)  # fmt: skip
def test_retry_after_is_read_as_seconds_or_as_a_date(text: str, seconds: float | None) -> None:
    assert retry_after_s({"retry-after": text}, NOW) == seconds
    assert retry_after_s({}, NOW) is None


def test_it_is_tried_for_a_day_and_no_longer() -> None:
    at, pauses = 0.0, []
    for number in range(1, 100):
        each = delivery(num_tries=number)
        wait_s = next_due_s(each, at, None, 0.5, DAY_S)
        if wait_s is None:
            break
        at += wait_s
        pauses.append(wait_s)
    assert at == pytest.approx(DAY_S)
    assert pauses[:3] == [2.0, 8.0, 32.0]
    assert max(pauses) == LONGEST_PAUSE_S
    assert 10 <= len(pauses) <= 16


@given(st.integers(1, 20), st.floats(0, 2 * DAY_S), st.floats(0, 2 * DAY_S), st.floats(0, 1))
def test_it_is_never_tried_before_the_receiver_asks(
    num_tries: int, at: float, asked_s: float, draw: float
) -> None:
    wait_s = next_due_s(delivery(num_tries=num_tries), at, asked_s, draw, DAY_S)
    if wait_s is None:
        assert at >= DAY_S or at + asked_s > DAY_S
    else:
        assert wait_s >= asked_s
        assert at + wait_s <= DAY_S + 1e-6


def test_a_trial_is_tried_once() -> None:
    assert next_due_s(delivery(num_tries=1, once=True), 0.0, None, 0.5, DAY_S) is None


def test_without_a_time_to_retry_there_is_one_try() -> None:
    assert next_due_s(delivery(num_tries=1), 0.1, None, 0.5, 0.0) is None
