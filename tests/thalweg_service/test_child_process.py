"""Children are started whole or not at all, whatever signal comes meanwhile."""

import signal
from types import FrameType

import pytest

from thalweg_service.child_process import signals_deferred


class Stop(BaseException):
    """What the supervisor's handler raises."""


def raise_stop(number: int, frame: FrameType | None) -> None:
    raise Stop


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_until_the_block_has_ended(number: signal.Signals) -> None:
    before = signal.signal(number, raise_stop)
    done = []
    try:
        with pytest.raises(Stop):  # noqa: PT012
            with signals_deferred():
                signal.raise_signal(number)
                done.append("started")
            done.append("not reached")
        assert signal.getsignal(number) is raise_stop
    finally:
        signal.signal(number, before)
    assert done == ["started"]


def test_without_a_signal_nothing_happens() -> None:
    before = signal.getsignal(signal.SIGINT)
    with signals_deferred():
        pass
    assert signal.getsignal(signal.SIGINT) is before
