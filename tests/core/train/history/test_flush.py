"""Rows leave soon at first, and never more than half a second late."""

from pathlib import Path

import pytest
import torch

from core.artifacts.local import LocalJob
from core.messages.parts import Columns
from core.specs.job import JobSpec
from core.train.checkpoint.writer import ArtifactWriter
from core.train.history.flush import Flusher
from core.train.loop import descend, new_ledger, watching
from core.train.periodic import PeriodicWork
from core.train.problems.build import build_problem
from core.train.state import OptimizationState
from tests.core.train.harness import JOB, Kind, Received, StopAt, blobs_job, function_job, parabola


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Stamped(Received):
    """Notes when each row arrives."""

    def __init__(self, time: Time) -> None:
        super().__init__()
        self.time = time
        self.arrived: dict[int, float] = {}

    def rows(self, kind: Kind, first_row: int, columns: Columns) -> None:
        super().rows(kind, first_row, columns)
        if kind == "train":
            for step in columns["step"]:
                self.arrived.setdefault(int(step), self.time.now)


def timed(
    spec: JobSpec, folder: Path, monkeypatch: pytest.MonkeyPatch, loss_s: float, eval_s: float = 0
) -> tuple[Stamped, dict[int, float]]:
    """Run the steps with a clock that only losses and evaluations move; returns when each row
    arrived and when it was computed (LBFGS: first)."""
    time = Time()
    events = Stamped(time)
    computed: dict[int, float] = {}
    dtype = torch.float64 if spec.precision == "float64" else torch.float32
    problem = build_problem(spec, torch.device("cpu"), dtype)
    real_loss, real_evaluate = problem.loss, problem.evaluate

    def loss(step: int) -> torch.Tensor:
        time.now += loss_s
        computed.setdefault(step, time.now)
        return real_loss(step)

    def evaluate() -> dict[str, float] | None:
        time.now += eval_s
        return real_evaluate()

    monkeypatch.setattr(problem, "loss", loss)
    monkeypatch.setattr(problem, "written_out", lambda: None)  # whose losses have no such clock
    monkeypatch.setattr(problem, "evaluate", evaluate)
    with ArtifactWriter(LocalJob(folder, JOB), spec, {}) as saver:
        descent = OptimizationState(spec, problem)
        ledger = new_ledger(spec, problem)
        reporter = Flusher(events.emit, ledger, saver, time)
        course = PeriodicWork(spec, descent, ledger, saver, reporter, StopAt(), time)
        watch, steps = watching(descent, ledger, reporter, course, 1)
        descend(descent, steps, watch)
        reporter.report(course.step)
    return events, computed


@pytest.mark.parametrize("loss_s", [0.0003, 0.02, 0.2, 0.3, 2.0])
def test_no_row_is_more_than_half_a_second_late(
    loss_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, computed = timed(parabola(0.01, 300), tmp_path, monkeypatch, loss_s)
    assert set(events.arrived) == set(computed)
    assert max(events.arrived[step] - computed[step] for step in computed) <= 0.5


def test_a_row_leaves_before_a_slow_line_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lbfgs = {"kind": "lbfgs", "max_iter": 20}
    spec = function_job("x1**4 + x2**2", {"x1": 3, "x2": 2}, lbfgs, 5)
    events, computed = timed(spec, tmp_path, monkeypatch, 0.3)
    assert max(events.arrived[step] - computed[step] for step in computed) <= 0.5


def test_rows_leave_before_a_slow_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = blobs_job(max_steps=60)
    events, computed = timed(spec, tmp_path, monkeypatch, 0.01, eval_s=3.0)
    assert max(events.arrived[step] - computed[step] for step in computed) <= 0.5


def test_the_first_rows_leave_soon_and_later_ones_in_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, computed = timed(
        parabola(0.001, 5000, checkpoint={"every_steps": None}), tmp_path, monkeypatch, 0.001
    )
    assert events.arrived[0] - computed[0] <= 0.03
    assert len(events.batches) <= 5000 * 0.001 / 0.25 + 10


def test_a_full_buffer_leaves_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events, _ = timed(parabola(0.001, 5000), tmp_path, monkeypatch, 0.0)
    assert len(events.histories["train"]) == 5000
    assert max(count for _, _, count in events.batches) < 4096


def test_progress_tells_the_speed_of_the_last_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, _ = timed(parabola(0.001, 3000), tmp_path, monkeypatch, 0.001)
    speeds = [speed for _, speed, _, _ in events.progressed[1:-1]]
    assert speeds
    assert speeds == pytest.approx([1000.0] * len(speeds), rel=0.01)
