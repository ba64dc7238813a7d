"""How far the processes that train stand back for the processors."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.environment.priority import TRAINER_NICE, stand_back, trainer_nice
from core.settings import Settings

VALUES = ["", " 5", "0", "10", "19", "-1", "20", "5.0", "1e1", "ten", "+3", "1_0", "nan", "inf"]


@pytest.mark.parametrize("name", [TRAINER_NICE, TRAINER_NICE.lower()])
@given(value=st.sampled_from(VALUES) | st.integers(-30, 30).map(str))
def test_a_worker_that_has_no_time_for_its_settings_reads_what_they_say(
    name: str, value: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(name, value)
        try:
            told = Settings().trainer_nice
        except ValidationError:
            return
        assert trainer_nice(os.environ) == told


def test_a_child_stands_back_from_the_start() -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    source = "import os; input(); print(os.getpriority(os.PRIO_PROCESS, 0))"
    with subprocess.Popen(
        [sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert stand_back(child.pid, 7) is None
        said, _ = child.communicate("\n")
    assert int(said) == min(own + 7, 19)
    assert os.getpriority(os.PRIO_PROCESS, 0) == own


def test_a_refusal_is_told_in_words() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    assert "No such process" in (stand_back(child.pid, 7) or "")
