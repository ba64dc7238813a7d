"""A trainer without work warms up what takes long to import; one with work does not wait for it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import pytest

from core.messages.reports import Ending
from core.messages.requests import TrainJob
from tests.thalweg_service.running import until
from worker.trainer.client import Heard, TrainerClient

ROOT = Path(__file__).resolve().parents[3]

SOURCE = """
import pathlib, sys
from core.messages.reports import Ending
from worker.trainer.server import Handlers, main

def answer(job, emit, control):
    return Ending("finished", None, {{}}, None)

def rest():
    pathlib.Path({mark!r}).touch()
    if {fails}:
        raise ImportError("no scikit-learn")

main(Handlers(train_job=answer, warm_up_rest=rest), idle_s={idle_s})
"""


class Trainer:
    """A trainer in a process of its own, whose rest of a warm-up leaves a mark."""

    def __init__(self, mark: Path, idle_s: float, fails: bool) -> None:
        self.mark = mark
        source = SOURCE.format(mark=str(mark), idle_s=idle_s, fails=fails)
        self.link = TrainerClient(command=(sys.executable, "-c", source))
        self._heard: SimpleQueue[Heard] = SimpleQueue()
        self.link.hear = self._heard.put

    def work(self) -> None:
        self.link.send(TrainJob("job_1", {}, "", "cpu", False, None, 1))
        assert isinstance(self._heard.get(timeout=60), Ending)


@contextmanager
def trainer(folder: Path, idle_s: float, *, fails: bool = False) -> Iterator[Trainer]:
    it = Trainer(folder / "mark", idle_s, fails)
    it.link.start()
    yield it
    it.link.stop()


@pytest.mark.parametrize("fails", [False, True])
def test_who_has_no_work_warms_up_the_rest_and_works_on(tmp_path: Path, fails: bool) -> None:
    with trainer(tmp_path, 0.01, fails=fails) as it:
        until(it.mark.exists)
        it.work()


def test_work_comes_before_the_rest(tmp_path: Path) -> None:
    with trainer(tmp_path, 60.0) as it:
        it.work()
        it.work()
        assert not it.mark.exists()


def test_what_comes_before_the_first_job_does_not_import_scikit_learn() -> None:
    source = """
import sys
from worker.trainer.handlers import warm_up, warm_up_rest
warm_up("cpu")
assert "torch" in sys.modules
assert "sklearn" not in sys.modules
warm_up_rest()
assert "sklearn" in sys.modules
"""
    subprocess.run([sys.executable, "-c", source], check=True, cwd=ROOT)


def test_a_trainer_killed_at_any_moment_of_its_warm_up_leaves_nothing(tmp_path: Path) -> None:
    """It dies at the first thing that it would leave among the temporary files."""
    source = """
import os, signal, sys
folder = os.environ["TMPDIR"]
def die(event, arguments):
    if event in ("open", "os.mkdir", "tempfile.mkdtemp", "tempfile.mkstemp"):
        if str(arguments[0]).startswith(folder):
            print(event, arguments, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(die)
from worker.trainer.handlers import warm_up, warm_up_rest
warm_up("cpu")
warm_up_rest()
"""
    done = subprocess.run(
        [sys.executable, "-c", source],
        check=False,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert list(tmp_path.iterdir()) == []
