"""The link to the trainer: a real process, without torch."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

import pytest

from core.messages.reports import Ending, Failed, HistoryRows
from core.messages.requests import Cancel, HandOver, TrainJob
from tests.worker.scenarios import (
    Allocate,
    Deaf,
    Die,
    Fail,
    Fault,
    Finish,
    JobScenario,
    Wait,
    labels,
)
from worker.trainer.client import (
    Heard,
    TrainerClient,
    TrainerDied,
    TrainerUnavailableError,
    kills_for_memory,
)
from worker.trainer.process import TrainerProcess, start_trainer

FAKE = (sys.executable, "-P", str(Path(__file__).parents[1] / "fake_trainer.py"))


@pytest.fixture
def heard() -> SimpleQueue[Heard]:
    return SimpleQueue()


@pytest.fixture
def link(heard: SimpleQueue[Heard]) -> Iterator[TrainerClient]:
    link = TrainerClient(command=FAKE)
    link.hear = heard.put
    link.start()
    yield link
    link.stop()


def job(scenario: JobScenario, run: int = 1) -> TrainJob:
    return TrainJob(
        job_id="job_1",
        spec={"labels": labels(scenario)},
        artifacts="",
        device="cpu",
        resume=False,
        stored_rows=None,
        run=run,
    )


def last_of(heard: SimpleQueue[Heard]) -> Ending | Failed | TrainerDied:
    while True:
        message = heard.get(timeout=60)
        if isinstance(message, Ending | Failed | TrainerDied):
            return message


def ended(heard: SimpleQueue[Heard]) -> Ending:
    last = last_of(heard)
    assert isinstance(last, Ending)
    return last


def test_runs_follow_each_other_in_one_process(
    link: TrainerClient, heard: SimpleQueue[Heard]
) -> None:
    pid = link.pid
    for run in (1, 2, 3):
        link.send(job(Finish(4), run=run))
        first = heard.get(timeout=60)
        assert isinstance(first, HistoryRows)
        assert first.columns["step"].tolist() == [0, 1, 2, 3]
        assert ended(heard).outcome == "budget_exhausted"
    assert link.pid == pid
    assert link.devices == ("cpu",)


@pytest.mark.parametrize(("order", "reason"), [(Cancel, "cancelled"), (HandOver, "handed_over")])
def test_an_order_stops_the_run_it_was_meant_for(
    link: TrainerClient, heard: SimpleQueue[Heard], order: type[Cancel | HandOver], reason: str
) -> None:
    link.send(order(6))
    link.send(job(Wait(), run=7))
    link.send(order(6))  # crossed the answer of run 6
    heard.get(timeout=60)
    assert link.alive
    link.send(order(7))
    assert ended(heard).reason == reason


@pytest.mark.parametrize(
    ("how", "code", "message"),
    [
        ("memory", "out_of_memory", "smaller model"),
        ("disk", "artifact_store_unavailable", "the disk is full"),
        ("data", "data_unavailable", "no such rows"),
        ("fault", "internal_error", "the worker's log"),
    ],
)
def test_a_failure_has_a_published_code_and_tells_no_secrets(
    link: TrainerClient, heard: SimpleQueue[Heard], how: Fault, code: str, message: str
) -> None:
    link.send(job(Fail(how)))
    failed = last_of(heard)
    assert isinstance(failed, Failed)
    assert failed.code == code
    assert message in failed.message
    assert "secret" not in failed.message
    assert link.alive


def test_a_trainer_that_was_begun_before_is_used_first_and_replaced_by_one_of_ours() -> None:
    begun = start_trainer(FAKE)
    link = TrainerClient(command=FAKE, begun=begun)
    link.start()
    assert link.pid == begun.process.pid
    link.stop()
    link.start()
    assert link.pid != begun.process.pid
    link.stop()


def niceness(pid: int) -> set[int]:
    """Of all threads of a process, how far each is above our own."""
    own = os.getpriority(os.PRIO_PROCESS, 0)
    return {
        os.getpriority(os.PRIO_PROCESS, int(thread.name)) - own
        for thread in Path(f"/proc/{pid}/task").iterdir()
    }


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_trainer_stands_back_and_so_does_the_next_one(heard: SimpleQueue[Heard]) -> None:
    back = min(3, 19 - os.getpriority(os.PRIO_PROCESS, 0))  # there is nothing below 19
    link = TrainerClient(command=FAKE, nice=3)
    link.hear = heard.put
    link.start()
    assert link.pid is not None
    assert niceness(link.pid) == {back}
    link.send(job(Die()))
    assert isinstance(last_of(heard), TrainerDied)
    link.start()
    assert niceness(link.pid) == {back}
    link.stop()


def test_a_priority_that_is_refused_is_told_once_and_keeps_nobody_from_work(
    heard: SimpleQueue[Heard], caplog: pytest.LogCaptureFixture
) -> None:
    begun = replace(start_trainer(FAKE), not_nice="Operation not permitted")
    link = TrainerClient(command=FAKE, begun=begun)
    link.hear = heard.put
    link.start()
    link.send(job(Finish(1)))
    assert ended(heard).outcome == "budget_exhausted"
    link.stop()
    assert caplog.text.count("trainers keep the worker's priority: Operation not permitted") == 1


def test_what_starts_a_trainer_imports_nothing_that_takes_long() -> None:
    source = (
        "import sys, worker.trainer.process; print('numpy' in sys.modules, 'redis' in sys.modules)"
    )
    said = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True
    )
    assert said.stdout == "False False\n"


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")
def test_an_answer_says_the_peak_of_its_own_work_alone(
    link: TrainerClient, heard: SimpleQueue[Heard]
) -> None:
    held = 200 * 2**20
    peaks: list[int] = []
    for scenario in (Finish(1), Allocate(held), Finish(1)):
        link.send(job(scenario))
        peak = ended(heard).peak_memory_bytes
        assert peak is not None
        peaks.append(peak)
    before, large, after = peaks
    assert 0 < before < large - held / 2
    assert after < large - held / 2
    link.send(job(Fail("memory")))
    failed = last_of(heard)
    assert isinstance(failed, Failed)
    assert failed.peak_memory_bytes is not None


def test_a_trainer_that_dies_is_heard_and_replaced(
    link: TrainerClient, heard: SimpleQueue[Heard]
) -> None:
    link.send(job(Die()))
    assert last_of(heard) == TrainerDied(-signal.SIGKILL)
    link.start()
    link.send(job(Finish(1), run=2))
    ended(heard)


def test_ctrl_c_and_sigterm_are_the_workers_affair(
    link: TrainerClient, heard: SimpleQueue[Heard]
) -> None:
    assert link.pid is not None
    os.kill(link.pid, signal.SIGINT)
    os.kill(link.pid, signal.SIGTERM)
    link.send(job(Finish(1)))
    ended(heard)


def test_a_trainer_whose_end_takes_long_is_left_to_it() -> None:
    class Lingering(subprocess.Popen[bytes]):
        def wait(self, timeout: float | None = None) -> int:
            if timeout is not None:
                raise subprocess.TimeoutExpired(self.args, timeout)
            return super().wait()

    ours, theirs = socket.socketpair()
    with ours, theirs, Lingering([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as it:
        link = TrainerClient(begun=TrainerProcess(it, ours))
        link.launch()
        link.stop(0.01)
        assert link.pid is None


def test_a_trainer_that_cannot_start_says_so() -> None:
    link = TrainerClient(command=(sys.executable, "-c", "raise SystemExit(3)"))
    with pytest.raises(TrainerUnavailableError, match="status 3"):
        link.start()
    assert not link.alive


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")
def test_a_trainer_dies_with_its_worker() -> None:
    source = f"""
        import sys, time
        from core.messages.requests import TrainJob
        from worker.trainer.client import TrainerClient
        link = TrainerClient(command={FAKE!r})
        link.start()
        link.send({job(Deaf())!r})
        print(link.pid, flush=True)
        time.sleep(60)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(source)], stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        trainer = os.pidfd_open(int(worker.stdout.readline()))
        worker.kill()
    try:
        # It is no child of ours, but its descriptor becomes readable when it ends.
        import select

        assert select.select([trainer], [], [], 60.0)[0]
    finally:
        os.close(trainer)


@pytest.mark.parametrize(
    ("died", "said"),
    [
        (TrainerDied(-9, out_of_memory=True), "memory limit of this container or machine"),
        (TrainerDied(-9), "killed (signal 9), as the system does where memory runs out"),
        (TrainerDied(-11), "crashed (signal 11)"),
        (TrainerDied(3), "ended with status 3"),
    ],
)
def test_a_death_says_its_cause_and_what_to_do(died: TrainerDied, said: str) -> None:
    assert said in died.words
    assert '"' not in died.words


def test_kills_for_want_of_memory_are_counted_where_the_system_counts_them(tmp_path: Path) -> None:
    second, first = tmp_path / "memory.events", tmp_path / "memory.oom_control"
    assert kills_for_memory([second, first]) == 0
    first.write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    assert kills_for_memory([second, first]) == 2
    second.write_text("low 0\nhigh 0\nmax 7\noom 3\noom_kill 3\noom_group_kill 0\n")
    assert kills_for_memory([second, first]) == 3
