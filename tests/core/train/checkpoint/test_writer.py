"""Files on their way to disk: what is written, kept, listed and left out."""

import errno
import json
import threading
from collections.abc import Iterable
from concurrent.futures import Future, wait
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load

from core.artifacts.base import Buffer, JobArtifacts, Staged, Stored
from core.artifacts.local import LocalJob
from core.errors import ArtifactError
from core.train.checkpoint import writer
from core.train.checkpoint.snapshot import resume_points
from core.train.checkpoint.writer import MAX_WAITING, ArtifactWriter, WriterThreads
from core.train.loop import run
from core.train.tensors.tensor_file import parse, pieces
from tests.core.train.harness import JOB, Received, StopAt, blobs_job, parabola, train


def test_model_files_are_plain_safetensors_with_what_use_needs(tmp_path: Path) -> None:
    done = train(blobs_job(), tmp_path)
    path = tmp_path / JOB / "final.safetensors"
    with safe_open(path, "np") as file:
        metadata = file.metadata()
        names = sorted(file.keys())
    assert metadata["step"] == "12"
    assert metadata["checkpoint"] == "final"
    assert json.loads(metadata["spec"])["budget"]["max_steps"] == 12
    assert names == sorted(done.weights("initial"))


def test_events_tell_size_and_checksum_of_the_file_that_is_there(tmp_path: Path) -> None:
    import hashlib

    done = train(blobs_job(checkpoint={"every_steps": 5}), tmp_path)
    assert len(done.events.checkpoints) == 6
    for saved in done.events.checkpoints:
        data = done.artifacts.read(saved.path)
        assert len(data) == saved.size_bytes
        assert hashlib.sha256(data).hexdigest() == saved.sha256


def test_checkpoints_stand_at_the_steps_asked_for_and_at_the_end(tmp_path: Path) -> None:
    done = train(blobs_job(max_steps=20, checkpoint={"every_steps": 4}), tmp_path)
    resume = [saved for saved in done.events.checkpoints if saved.name == "resume"]
    assert [saved.step for saved in resume] == [4, 8, 12, 16, 20]
    assert all(saved.path == f"checkpoints/step_{saved.step}.safetensors" for saved in resume)


def test_metrics_are_those_of_the_saved_weights(tmp_path: Path) -> None:
    done = train(blobs_job(max_steps=12, checkpoint={"every_steps": 5}), tmp_path)
    loss = done.column("loss")
    evaluated = dict(zip(done.column("step", "eval"), done.column("loss", "eval"), strict=True))
    for saved in done.events.checkpoints:
        if saved.name in ("initial", "resume") and saved.step < 12:
            assert saved.metrics["loss"] == loss[saved.step]
        assert saved.metrics["eval"]["loss"] == evaluated[saved.step]
    final = train(parabola(0.2), tmp_path / "f").events.checkpoints[-1]
    assert final.metrics == {"loss": pytest.approx((10 * 0.6**10) ** 2, rel=1e-9)}


def test_old_resume_checkpoints_make_room_and_are_named_as_dropped(tmp_path: Path) -> None:
    done = train(parabola(0.01, 60, checkpoint={"every_steps": 2}), tmp_path)
    listed: list[str] = []
    for saved in done.events.checkpoints:
        listed = [path for path in listed if path not in saved.dropped] + [saved.path]
    assert sorted(listed) == sorted(done.artifacts.list())
    assert len(resume_points(done.artifacts)) <= 20
    steps = [int(p.split("_")[1].split(".")[0]) for p in resume_points(done.artifacts)]
    assert steps == sorted(steps, reverse=True)


class Blocked(LocalJob):
    """A disk that takes no file until it is released."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, JOB)
        self.begun = threading.Semaphore(0)
        """Counts the files that threads have begun to write."""
        self.released = threading.Event()

    def write(self, name: str, pieces: Iterable[Buffer]) -> Stored:
        self.begun.release()
        assert self.released.wait(60)
        return super().write(name, pieces)


def release_when_waited_for(blocked: Blocked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Release the disk at the moment a writer that ends waits for what its threads have begun."""

    def released_and_waited_for(writings: list["Future[object]"]) -> None:
        blocked.released.set()
        wait(writings)

    monkeypatch.setattr(writer, "wait", released_and_waited_for)


def test_the_training_does_not_wait_for_a_slow_disk_and_leaves_checkpoints_out(
    tmp_path: Path,
) -> None:
    artifacts = Blocked(tmp_path)
    events = Received()
    steps: list[int] = []

    class Release:
        dropped: tuple[int, ...] = ()

        @property
        def stop_requested(self) -> None:
            steps.append(len(steps))
            if len(steps) == 100:
                artifacts.released.set()

    spec = parabola(0.01, 100, checkpoint={"every_steps": 1})
    run(spec, artifacts=artifacts, emit=events.emit, control=Release(), device="cpu")
    resume = [saved.step for saved in events.checkpoints if saved.name == "resume"]
    # The initial weights wait too.
    assert resume[: MAX_WAITING - 1] == list(range(1, MAX_WAITING))
    assert len(events.histories["train"]) == 100


@pytest.mark.parametrize("evaluated", [0.0, 0.25])
def test_a_checkpoint_is_of_its_step_however_late_it_is_written(
    evaluated: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made at once (the first is not), or copied for a thread that waits for the disk."""
    spec = blobs_job({"kind": "adam"}, 30, eval_fraction=evaluated, checkpoint={"every_steps": 5})

    def checkpoints(artifacts: LocalJob) -> dict[str, bytes]:
        class Release(StopAt):
            def __init__(self) -> None:
                super().__init__()
                self.steps = 0

            @property
            def stop_requested(self) -> None:
                self.steps += 1
                if self.steps == 30 and isinstance(artifacts, Blocked):
                    artifacts.released.set()

        run(spec, artifacts=artifacts, emit=Received().emit, control=Release(), clock=lambda: 0.0)
        return {name: artifacts.read(name) for name in resume_points(artifacts)}

    at_once = checkpoints(LocalJob(tmp_path / "a", JOB))
    monkeypatch.setattr(writer, "AT_ONCE_BYTES", 0)
    assert len(at_once) == 6
    assert checkpoints(Blocked(tmp_path / "b")) == at_once


def test_the_store_is_listed_once(tmp_path: Path) -> None:
    class Counted(LocalJob):
        listed = 0

        def list(self) -> dict[str, int]:
            self.listed += 1
            return super().list()

    artifacts = Counted(tmp_path, JOB)
    spec = parabola(0.01, 60, checkpoint={"every_steps": 2})
    run(spec, artifacts=artifacts, emit=Received().emit, control=StopAt())
    assert artifacts.listed == 1


class Broken(LocalJob):
    """A disk on which the files named are refused: all of a write, or `late`, what is left of it
    once the bytes have been taken."""

    def __init__(self, root: Path, *refused: str, late: bool = False) -> None:
        super().__init__(root, JOB)
        self._refused = refused
        self._late = late

    def write(self, name: str, pieces: Iterable[Buffer]) -> Stored:
        if name.startswith(self._refused):
            raise ArtifactError(f"{name}: {errno.errorcode[errno.ENOSPC]}")
        return super().write(name, pieces)

    def stage(self, name: str, pieces: Iterable[Buffer]) -> Staged:
        if not name.startswith(self._refused):
            return super().stage(name, pieces)
        if self._late:
            return JobArtifacts.stage(self, name, pieces)
        raise ArtifactError(f"{name}: {errno.errorcode[errno.ENOSPC]}")


def test_a_checkpoint_that_fails_on_the_way_does_not_end_the_training(tmp_path: Path) -> None:
    events = Received()
    spec = parabola(0.01, 10, checkpoint={"every_steps": 3})
    ending = run(
        spec, artifacts=Broken(tmp_path, "checkpoints"), emit=events.emit, control=StopAt()
    )
    assert ending.outcome == "budget_exhausted"
    assert {saved.name for saved in events.checkpoints} == {"initial", "best", "final"}


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("name", ["initial", "best", "final"])
def test_weights_that_cannot_be_written_raise(name: str, late: bool, tmp_path: Path) -> None:
    artifacts = Broken(tmp_path, name, late=late)
    with pytest.raises(ArtifactError):
        run(parabola(0.1, 3), artifacts=artifacts, emit=Received().emit, control=StopAt())
    assert f"{name}.safetensors" not in artifacts.list()


@pytest.mark.parametrize("late", [False, True])
def test_a_hand_over_that_cannot_be_written_raises(late: bool, tmp_path: Path) -> None:
    artifacts = Broken(tmp_path, "checkpoints", late=late)
    control = StopAt("hand_over", 3)
    with pytest.raises(ArtifactError):
        run(parabola(0.1, 30), artifacts=artifacts, emit=Received().emit, control=control)


def test_no_thread_is_left_when_the_training_fails(tmp_path: Path) -> None:
    class Failing(Received):
        def progress(self, *_: object) -> None:
            raise RuntimeError("the pipe is gone")

    before = {*threading.enumerate()}
    with pytest.raises(RuntimeError, match="the pipe is gone"):
        run(
            parabola(0.1, 3),
            artifacts=LocalJob(tmp_path, JOB),
            emit=Failing().emit,
            control=StopAt(),
            device="cpu",
        )
    new = {*threading.enumerate()} - before
    assert not [thread for thread in new if thread.name.startswith("saver")]


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.uint8]
)
def test_the_library_reads_back_every_dtype(dtype: torch.dtype) -> None:
    tensors = {
        "odd": torch.tensor([1, 0, 1]).to(torch.uint8),
        "b": torch.arange(6).reshape(2, 3).to(dtype),
        "scalar": torch.tensor(1).to(dtype),
        "none": torch.empty((0, 2), dtype=dtype),
        "turned": torch.arange(6).reshape(2, 3).T.to(dtype),
    }
    (data,) = pieces(tensors, {"ä": "ö"})  # small ones go together
    assert isinstance(data, bytes)
    back = load(data)
    assert {name: tensor.tolist() for name, tensor in back.items()} == {
        name: tensor.tolist() for name, tensor in tensors.items()
    }
    assert all(back[name].dtype == tensors[name].dtype for name in back)
    assert parse(data)[1] == {"ä": "ö"}


def test_a_large_tensor_is_a_piece_of_its_own_and_no_copy() -> None:
    large, small = torch.arange(2**16, dtype=torch.float32), torch.tensor([1.0, 2.0])
    head, view, rest = pieces({"a": small, "b": large, "c": small}, {})
    assert isinstance(view, memoryview)
    assert np.frombuffer(view, np.float32).ctypes.data == large.data_ptr()
    back = load(b"".join((head, view, rest)))
    assert torch.equal(back["b"], large)
    assert torch.equal(back["c"], small)


@pytest.mark.parametrize("data", [b"", b"\x00" * 8, b"\xff" * 40, b"\x09" + b"\x00" * 7 + b"{}"])
def test_what_is_no_safetensors_file_is_refused(data: bytes) -> None:
    with pytest.raises(ArtifactError):
        parse(data)


def test_waiting_bytes_are_bounded(tmp_path: Path) -> None:
    artifacts = Blocked(tmp_path)
    spec = parabola(0.1)
    with ArtifactWriter(artifacts, spec, {}) as saver:
        assert saver.has_room(10**12), "one is always taken"
        saver.save_model("initial", 0, {"x": torch.zeros(1)}, {})
        assert saver.has_room(10**6)
        assert not saver.has_room(10**12)
        artifacts.released.set()
        assert [saved.name for saved in saver.wait()] == ["initial"]
    assert np.array_equal(load(artifacts.read("initial.safetensors"))["x"].numpy(), [0.0])


def test_threads_serve_one_run_after_another(tmp_path: Path) -> None:
    threads = WriterThreads()
    names = []
    for place in ("first", "second"):
        received, artifacts = Received(), LocalJob(tmp_path / place, JOB)
        run(
            blobs_job(),
            artifacts=artifacts,
            emit=received.emit,
            control=StopAt(),
            threads=threads,
        )
        names.append({saved.path for saved in received.checkpoints})
        assert names[-1] <= artifacts.list().keys()
    threads.close()
    assert len(names[0]) == 4
    assert names[0] == names[1]


def test_what_was_taken_of_files_is_dropped_with_a_run_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads, blocked = WriterThreads(), Blocked(tmp_path)
    release_when_waited_for(blocked, monkeypatch)
    weights = {"x": torch.zeros(1)}

    def fail() -> None:
        with ArtifactWriter(blocked, parabola(0.1), {}, threads) as saver:
            for step in range(writer.MODEL_THREADS):
                saver.save_model("initial", step, weights, {})
            for _ in range(writer.MODEL_THREADS):
                assert blocked.begun.acquire(timeout=60)
            saver.save_model("best", 3, weights, {})
            saver.save_model("final", 4, weights, {})
            assert len(list((tmp_path / JOB).glob(".*"))) == 2
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    threads.close()
    assert [path.name for path in (tmp_path / JOB).iterdir()] == ["initial.safetensors"]


def test_a_run_that_fails_leaves_no_file_to_threads_that_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []

    class Counted(Blocked):
        def write(self, name: str, pieces: Iterable[Buffer]) -> Stored:
            stored = super().write(name, pieces)
            written.append(name)
            return stored

    threads, blocked = WriterThreads(), Counted(tmp_path / "blocked")
    release_when_waited_for(blocked, monkeypatch)
    weights = {"x": torch.zeros(1)}

    def fail() -> None:
        with ArtifactWriter(blocked, parabola(0.1), {}, threads) as saver:
            for step in range(writer.MODEL_THREADS + 3):
                saver.save_model("initial", step, weights, {})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    before = len(written)
    with ArtifactWriter(LocalJob(tmp_path / "next", JOB), parabola(0.1), {}, threads) as saver:
        saver.save_model("final", 1, weights, {})
        assert [saved.name for saved in saver.wait()] == ["final"]
    assert len(written) == before, "nothing is written after the run has left"
    threads.close()
