"""Children are started whole or not at all, whatever signal comes meanwhile, and again until they
can be."""

import signal
import sys
import time
from pathlib import Path
from types import FrameType

import pytest

from tests.thalweg_service.running import until
from thalweg_service.child_process import Part, signals_deferred


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


def test_a_part_whose_log_cannot_be_written_runs_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    part = Part("one", (sys.executable, "-c", ""), {}, tmp_path / "file" / "one.log")
    part.start()
    told = until(part.tend)
    part.wait(time.monotonic() + 5)
    assert told == "one ended (status 0); starting it again"
    assert part.last_words() == ""


def test_a_part_that_cannot_be_started_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = f"import pathlib, time; p = pathlib.Path({str(tmp_path / 'mark')!r})\n"
    once += "if p.exists(): time.sleep(60)\np.touch()"
    part = Part("one", (sys.executable, "-c", once), {}, tmp_path / "one.log")
    part.start()
    assert "starting it again" in until(part.tend)
    # Nothing can be started with an environment of this size.
    monkeypatch.setenv("TOO_LARGE", "x" * 2**22)
    assert "one cannot be started (" in until(part.tend)
    monkeypatch.delenv("TOO_LARGE")
    until(lambda: part.tend() or part.running)
    part.wait(time.monotonic())
