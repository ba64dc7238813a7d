"""`make demo` as a newcomer runs it, and as one who changes his mind."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.thalweg_service.running import alive, descendants, end, until
from thalweg_service.demo import Interrupts, remove_left


@pytest.fixture
def process(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The demo, which ends with the test."""
    started = subprocess.Popen(
        [sys.executable, "-P", "-m", "thalweg_service.demo"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120", "TMPDIR": str(tmp_path)},
        process_group=0,
    )
    yield started
    end(started)


@pytest.mark.slow
def test_the_demo_trains_minimizes_draws_and_stops(
    tmp_path: Path, process: subprocess.Popen[str]
) -> None:
    out, _ = process.communicate(timeout=250)
    assert process.returncode == 0, out
    assert "POST /v1/jobs" in out
    assert "Accuracy on the digits it has not seen: 9" in out
    assert "Minimum found at (0.99" in out or "Minimum found at (1.00" in out
    pictures = sorted(path.name for path in (tmp_path / "demo-output").iterdir())
    assert pictures == ["digits-loss.png", "rosenbrock-loss.png"]
    assert (tmp_path / "demo-output" / pictures[0]).read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_demo_leaves_no_process(
    tmp_path: Path, process: subprocess.Popen[str], number: signal.Signals
) -> None:

    def parts() -> list[int]:
        found = descendants(process.pid)
        return list(found) if len(found) >= 4 else []  # supervisor, server, worker, API

    running = until(parts)
    os.killpg(process.pid, number)  # a terminal's Ctrl-C goes to the whole group
    process.communicate(timeout=60)
    assert process.returncode == {signal.SIGKILL: -signal.SIGKILL}.get(number, 130)
    until(lambda: not any(map(alive, running)))
    remove_left(tmp_path)  # as the next demo does
    assert not list(tmp_path.glob("thalweg-demo-*"))


def test_the_folder_of_a_demo_that_runs_or_starts_is_left_alone(tmp_path: Path) -> None:
    runs, starts = tmp_path / "thalweg-demo-1", tmp_path / "thalweg-demo-2"
    for folder in (runs, starts):
        folder.mkdir()
    with (runs / "serve.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        remove_left(tmp_path)
    assert runs.is_dir()
    assert starts.is_dir()
    remove_left(tmp_path)
    assert not runs.exists()


class _Dropped:
    """Where Python drops what is raised."""

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts

    def __del__(self) -> None:
        self._interrupts(signal.SIGINT, None)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_python_drops_is_remembered() -> None:
    interrupts = Interrupts()
    interrupts.check()
    _Dropped(interrupts)  # is destroyed at once; nothing is raised here
    with pytest.raises(KeyboardInterrupt):
        interrupts.check()
