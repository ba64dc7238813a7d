"""The link to the trainer: a real process, without torch."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest

from worker.trainer.client import Heard, TrainerClient, TrainerDied, TrainerUnavailableError
from worker.trainer.protocol import Frame, Json

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


def job(act: str) -> Json:
    return {"job_id": "job_1", "spec": {"labels": {"act": act}}, "resume": False}


def last_of(heard: SimpleQueue[Heard]) -> Frame | TrainerDied:
    while True:
        message = heard.get(timeout=10)
        if isinstance(message, TrainerDied) or message.type in {"ended", "failed"}:
            return message


def test_runs_follow_each_other_in_one_process(
    link: TrainerClient, heard: SimpleQueue[Heard]
) -> None:
    pid = link.pid
    for run in (1, 2, 3):
        link.run(run, job("finish:4"))
        first = heard.get(timeout=10)
        assert isinstance(first, Frame)
        assert first.columns["step"].tolist() == [0, 1, 2, 3]
        ended = last_of(heard)
        assert isinstance(ended, Frame)
        assert ended.fields["outcome"] == "budget_exhausted"
    assert link.pid == pid
    assert link.devices == ("cpu",)


@pytest.mark.parametrize(
    ("order", "reason"), [("cancel", "cancelled"), ("hand_over", "handed_over")]
)
def test_an_order_stops_the_run_it_was_meant_for(
    link: TrainerClient, heard: SimpleQueue[Heard], order: str, reason: str
) -> None:
    link.order(order, 6)  # type: ignore[arg-type]
    link.run(7, job("wait"))
    link.order(order, 6)  # type: ignore[arg-type]  # crossed the answer of run 6
    heard.get(timeout=10)
    assert link.alive
    link.order(order, 7)  # type: ignore[arg-type]
    ended = last_of(heard)
    assert isinstance(ended, Frame)
    assert ended.fields["reason"] == reason


@pytest.mark.parametrize(
    ("act", "code", "message"),
    [
        ("memory", "out_of_memory", "smaller model"),
        ("disk", "artifact_store_unavailable", "the disk is full"),
        ("data", "data_unavailable", "no such rows"),
        ("fault", "internal_error", "the worker's log"),
    ],
)
def test_a_failure_has_a_published_code_and_tells_no_secrets(
    link: TrainerClient, heard: SimpleQueue[Heard], act: str, code: str, message: str
) -> None:
    link.run(1, job(f"fail:{act}"))
    failed = last_of(heard)
    assert isinstance(failed, Frame)
    assert failed.fields["code"] == code
    assert message in failed.fields["message"]
    assert "secret" not in failed.fields["message"]
    assert link.alive


def test_a_trainer_that_dies_is_heard_and_replaced(
    link: TrainerClient, heard: SimpleQueue[Heard]
) -> None:
    link.run(1, job("die"))
    assert last_of(heard) == TrainerDied(-signal.SIGKILL)
    link.start()
    link.run(2, job("finish:1"))
    assert isinstance(last_of(heard), Frame)


def test_ctrl_c_and_sigterm_are_the_workers_affair(
    link: TrainerClient, heard: SimpleQueue[Heard]
) -> None:
    assert link.pid is not None
    os.kill(link.pid, signal.SIGINT)
    os.kill(link.pid, signal.SIGTERM)
    link.run(1, job("finish:1"))
    assert isinstance(last_of(heard), Frame)


def test_a_trainer_that_cannot_start_says_so() -> None:
    link = TrainerClient(command=(sys.executable, "-c", "raise SystemExit(3)"))
    with pytest.raises(TrainerUnavailableError, match="status 3"):
        link.start()
    assert not link.alive


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")
def test_a_trainer_dies_with_its_worker() -> None:
    source = f"""
        import sys, time
        from worker.trainer.client import TrainerClient
        link = TrainerClient(command={FAKE!r})
        link.start()
        link.run(1, {job("deaf")!r})
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

        assert select.select([trainer], [], [], 5.0)[0]
    finally:
        os.close(trainer)
