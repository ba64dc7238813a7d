"""The services that tests start end with them, also where a test fails."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.thalweg_service.running import end, starting


def test_a_service_ends_with_a_test_that_fails(tmp_path: Path) -> None:
    started = []

    def fail() -> None:
        with starting() as start:
            started.append(start(tmp_path))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [process.returncode is None for process in started] == [False]


def test_a_process_that_does_not_hear_is_killed() -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        " print('deaf', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "deaf\n"
    end(process, patience_s=0.1)
    assert process.returncode == -signal.SIGKILL
    end(process)  # there is nothing left to do
