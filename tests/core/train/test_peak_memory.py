"""The peak of the memory since a moment."""

import sys

import numpy as np
import pytest

from core.train.peak_memory import PeakMemory

HELD = 200 * 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")
def test_the_peak_is_of_what_was_held_since_the_start() -> None:
    peak = PeakMemory()
    peak.start("cpu")
    before = peak.read()
    held = np.ones(HELD, np.uint8)
    del held
    after = peak.read()
    peak.start("cpu")
    again = peak.read()
    assert before is not None
    assert after is not None
    assert again is not None
    assert after > before + HELD / 2
    assert again < after - HELD / 2


def test_a_gpu_that_is_not_there_has_held_nothing() -> None:
    peak = PeakMemory()
    peak.start("cuda:63")
    assert not peak.read()
