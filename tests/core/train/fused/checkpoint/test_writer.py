"""When a task is saved, and how its files stand in for each other."""

from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch

from core.artifacts.base import Buffer, JobArtifacts, Stored
from core.artifacts.local import LocalJob
from core.errors import ArtifactError
from core.train.fused.checkpoint.memory_files import MemoryFiles
from core.train.fused.checkpoint.writer import Pace, TaskCheckpointer
from core.train.tensors.tree_file import decode, encode
from tests.core.train.fused.task_harness import STUDY


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow(MemoryFiles):
    """Takes so long to write, by the test's clock."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        super().__init__()
        self._clock = clock
        self._seconds = seconds

    def write(self, name: str, pieces: Iterable[Buffer]) -> Stored:
        self._clock.now += self._seconds
        return super().write(name, pieces)


def when_due(keeper: TaskCheckpointer, clock: Clock) -> float:
    """The time at which the next save is due, to a tenth of a second."""
    while not keeper.due(clock.now):
        clock.now += 0.1
    return round(clock.now, 1)


def saved(keeper: TaskCheckpointer, value: Any) -> None:
    keeper.save(lambda: value)
    written = keeper._writing
    assert written is not None
    written.exception()


def test_a_task_is_saved_every_ten_seconds() -> None:
    clock = Clock()
    with TaskCheckpointer(Slow(clock, 0.0), "0_1", "", clock, Pace()) as keeper:
        assert when_due(keeper, clock) == pytest.approx(10.0, abs=0.11)
        saved(keeper, 1)
        assert when_due(keeper, clock) == pytest.approx(20.0, abs=0.31)


def test_saving_takes_a_fiftieth_of_the_time_at_most() -> None:
    clock = Clock()
    with TaskCheckpointer(Slow(clock, 1.5), "0_1", "", clock, Pace()) as keeper:
        clock.now = 10.0

        def slowly() -> int:
            clock.now += 0.5
            return 1

        keeper.save(slowly)
        assert keeper._writing is not None
        keeper._writing.exception()
        # 2 s in all, so not before 100 s more have passed.
        assert when_due(keeper, clock) == pytest.approx(10.5 + 100.0, abs=0.21)


def test_what_a_save_costs_afterwards_counts_too() -> None:
    clock = Clock()
    with TaskCheckpointer(Slow(clock, 0.5), "0_1", "", clock, Pace()) as keeper:
        clock.now = 10.0
        saved(keeper, 1)
        keeper.spent(0.7)
        assert when_due(keeper, clock) == pytest.approx(10.0 + 60.0, abs=0.21)


def test_no_save_is_due_while_one_is_written() -> None:
    clock, go_on = Clock(), Event()

    class Stuck(MemoryFiles):
        def write(self, name: str, pieces: Iterable[Buffer]) -> Stored:
            go_on.wait(30)
            return super().write(name, pieces)

    with TaskCheckpointer(Stuck(), "0_1", "", clock, Pace()) as keeper:
        clock.now = 10.0
        keeper.save(lambda: 1)
        assert not keeper.due(1000.0)
        go_on.set()
        assert keeper._writing is not None
        keeper._writing.result(30)
        assert keeper.due(1000.0)


def test_the_latest_of_two_files_counts_and_the_other_is_replaced_next() -> None:
    clock, files = Clock(), MemoryFiles()
    anything: Callable[[Any], bool] = lambda tree: True  # noqa: E731
    with TaskCheckpointer(files, "0_1", "x", clock, Pace()) as keeper:
        for value in (1, 2, 3):
            keeper.save_last(lambda value=value: value)  # type: ignore[misc]
    assert sorted(files.files) == ["tasks/0_1_a.safetensors", "tasks/0_1_b.safetensors"]
    with TaskCheckpointer(files, "0_1", "x", clock, Pace()) as keeper:
        assert keeper.load("cpu", anything) == 3
        assert keeper.load("cpu", lambda tree: tree < 3) == 2
        keeper.save_last(lambda: 4)
        # 3 was not usable; the file of 2, which was, is still there.
        assert keeper.load("cpu", lambda tree: tree < 4) == 2
        assert keeper.load("cpu", anything) == 4
    with TaskCheckpointer(files, "0_1", "another task", clock, Pace()) as keeper:
        assert keeper.load("cpu", anything) is None


def test_a_checkpoint_that_fails_is_left_out_and_the_last_one_raises() -> None:
    clock = Clock()

    class Full(MemoryFiles):
        def write(self, name: str, pieces: Iterable[Buffer]) -> Stored:
            raise ArtifactError("the disk is full")

    with TaskCheckpointer(Full(), "0_1", "", clock, Pace()) as keeper:
        clock.now = 10.0
        saved(keeper, 1)
        assert when_due(keeper, clock) == pytest.approx(20.0, abs=0.21)
        with pytest.raises(ArtifactError, match="full"):
            keeper.save_last(lambda: 1)


def test_a_checkpoint_that_finds_no_memory_is_left_out() -> None:
    clock = Clock()

    def take() -> int:
        raise torch.OutOfMemoryError("no room for copies")

    with TaskCheckpointer(MemoryFiles(), "0_1", "", clock, Pace()) as keeper:
        clock.now = 10.0
        assert keeper.due(clock.now)
        keeper.save(take)
        assert not keeper.due(clock.now)
        assert when_due(keeper, clock) == pytest.approx(20.0, abs=0.21)


TREE = {
    "numbers": [1, 2.5, float("inf"), None, True, "text", (1, 2)],
    "tensors": {3: torch.arange(5.0), "b": torch.tensor([True, False])},
}


def test_a_tree_comes_back_from_its_file_and_every_flipped_bit_is_found(tmp_path: Path) -> None:
    artifacts: JobArtifacts = LocalJob(tmp_path, STUDY)
    artifacts.write("tasks/x", encode(TREE, "sort", "about"))
    data = artifacts.read("tasks/x")
    back = decode(data, "sort", "cpu", "about")
    assert repr(back) == repr(TREE)
    for at in range(8, len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 1
        try:
            found = decode(bytes(damaged), "sort", "cpu", "about")
        except ArtifactError:
            continue
        # What the checksum does not cover is how the file is laid out, not what is taken from it.
        assert repr(found) == repr(TREE)


@pytest.mark.parametrize(("kind", "about"), [("other", "about"), ("sort", "other")])
def test_a_file_of_another_kind_or_task_is_refused(kind: str, about: str) -> None:
    data = b"".join(bytes(piece) for piece in encode(TREE, "sort", "about"))
    with pytest.raises(ArtifactError, match=r"^no other$|of another task"):
        decode(data, kind, "cpu", about)
