"""Work between the steps: evaluations, checkpoints, limits, and blocks of steps."""

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Final

from core.messages.parts import EndReason
from core.specs.base import Json
from core.specs.job import JobSpec
from core.train.checkpoint.snapshot import Snapshot
from core.train.checkpoint.writer import ArtifactWriter
from core.train.divergence_policy import DivergencePolicy
from core.train.events import CheckpointRequests, Control, Emit, NoRequests, RunEvent
from core.train.history.flush import Clock, Flusher
from core.train.history.metrics import Metrics
from core.train.history.row_check import RowBlock
from core.train.state import OptimizationState
from core.train.tensors.tree import copy_tree

NO_LIMIT: Final = 2**62
BLOCK_STEPS: Final = 32
"""Most steps that a GPU runs before the host looks at their rows."""
SHORT_BLOCK_S: Final = 0.05
LONG_BLOCK_S: Final = 0.1
"""Blocks grow while they are shorter and shrink when they are longer, so that rows leave soon.
Their size never changes a result."""
SLOW_EVALUATION_S: Final = 0.1
"""Rows leave before an evaluation that is expected to take longer."""


def step_limit(spec: JobSpec, steps_per_epoch: int) -> int:
    """Return the updates that the budget allows: the smaller of `max_steps` and `max_epochs`."""
    budget = spec.budget
    epochs = NO_LIMIT if budget.max_epochs is None else budget.max_epochs * steps_per_epoch
    return min(budget.max_steps or NO_LIMIT, epochs)


@dataclass
class BlockSize:
    """The number of steps of the next block: a fixed one, or one that follows the blocks' times."""

    most: int
    fixed: bool
    now: int = 1

    def __post_init__(self) -> None:
        if self.fixed:
            self.now = self.most

    def took(self, steps: int, seconds: float) -> None:
        if self.fixed:
            return
        if seconds > LONG_BLOCK_S:
            self.now = max(1, steps // 2)
        elif seconds < SHORT_BLOCK_S and steps == self.now:
            self.now = min(self.most, 2 * self.now)


class PeriodicWork:
    """Counts the steps of a run and does what is due between them.

    Attributes:
        step: updates applied.
        reason: why the steps ended.
        began: the clock's time at which training began, earlier attempts' time taken off.
    """

    def __init__(
        self,
        spec: JobSpec,
        descent: OptimizationState,
        ledger: Metrics,
        saver: ArtifactWriter,
        reporter: Flusher,
        control: Control,
        clock: Clock,
        guard: DivergencePolicy | None = None,
        stop_step: int | None = None,
        asked: CheckpointRequests | None = None,
    ) -> None:
        self.step = 0
        self.reason: EndReason = "finished"
        self._descent = descent
        self._ledger = ledger
        self._saver = saver
        self._reporter = reporter
        self._control = control
        self._clock = clock
        self._guard = guard
        self._limit = step_limit(spec, descent.problem.steps_per_epoch)
        self._stop_step = NO_LIMIT if stop_step is None else stop_step
        self._max_seconds = spec.budget.max_seconds or math.inf
        self._eval_every = spec.record.eval_every if ledger.best_by_evaluation else None
        self._checkpoint_every = spec.checkpoint.every_steps
        self._next_evaluation = NO_LIMIT if self._eval_every is None else 0
        self._next_checkpoint = self._checkpoint_every or NO_LIMIT
        self._evaluation_s = 0.0
        self._state_bytes = 0
        self._asked = asked or NoRequests()
        self._answered = 0
        self.began = clock()
        reporter.begin(0, 0.0)

    @property
    def elapsed_s(self) -> float:
        """Training time, evaluations included, over all attempts."""
        return self._clock() - self.began

    def resume(self, snapshot: Snapshot) -> None:
        """Go on after `snapshot.step` updates, whose evaluation and checkpoint are done."""
        self.step = snapshot.step
        self.began = self._clock() - snapshot.elapsed_s
        self._reporter.begin(snapshot.step, snapshot.elapsed_s)
        self._look_ahead()

    def go_back(self, step: int) -> None:
        """Go back, from within `rows`: the next step is `step`, whose evaluation and checkpoint are
        done."""
        self.step = step
        self._look_ahead()
        self.step -= 1  # `rows` counts the step that it gave

    def _look_ahead(self) -> None:
        if self._eval_every is not None:
            self._next_evaluation = _next_multiple(self._eval_every, self.step)
            if self._ledger.evaluated_step != self.step and self.step % self._eval_every == 0:
                self._next_evaluation = self.step
        if self._checkpoint_every is not None:
            self._next_checkpoint = _next_multiple(self._checkpoint_every, self.step)

    def rows(self) -> Generator[int]:
        """Yield the steps, one by one, until a limit or a request ends them.

        The loop leaves early at a row that ends the run; `step` then counts the updates before it.
        """
        while self.step < self._limit and not self._asked_to_stop():
            self._do_what_is_due()
            if (asked := self._asked.keep) != self._answered:
                self._keep(asked)
            self._descent.begin_row()
            yield self.step
            self.step += 1
            if self.elapsed_s >= self._max_seconds:
                return

    def blocks(self, watch: RowBlock, size: BlockSize) -> Generator[int]:
        """Yield as `rows`, for a watch that reads the rows of a block at its end.

        When one of them ends the run, the steps before it are repeated from the block's start.
        """
        while self.step < self._limit and not self._asked_to_stop():
            self._do_what_is_due()
            if (asked := self._asked.keep) != self._answered:
                self._keep(asked)
            start = self.step
            due = min(self._limit, self._stop_step, self._next_evaluation, self._next_checkpoint)
            stop = min(start + size.now, due)
            before = self._descent.moment()
            began = self._clock()
            watch.begin(start)
            for step in range(start, stop):
                watch.begin_row(step)
                yield step
            last = watch.settle()
            if last is not None:
                self._descent.go_back_to(before)
                yield from range(start, last)
                self.step = last
                return
            self.step = stop
            size.took(stop - start, self._clock() - began)
            if self.elapsed_s >= self._max_seconds:
                return

    def evaluate(self, *, last: bool = False) -> None:
        """Evaluate the weights as they are, unless that was done already; `last`: no step
        follows."""
        if not self._ledger.best_by_evaluation or self._ledger.evaluated_step == self.step:
            return
        if self._evaluation_s > SLOW_EVALUATION_S:
            self._reporter.send_rows(self.step)
        began = self._clock()
        with self._descent.at_result_weights():
            metrics = self._descent.problem.evaluate()
        if metrics is not None:
            weights = self._descent.result_weights()
            self._ledger.enter_evaluation(self.step, metrics, weights, last=last)
            self._saver.learned(self.step, {"eval": metrics})
        self._evaluation_s = self._clock() - began

    def metrics(self) -> Json:
        """Return what is known of the weights as they are, before their row."""
        known = self._ledger.evaluated_step == self.step
        return {"eval": self._ledger.evaluation} if known else {}

    def snapshot(self, *, last: bool = False, row_entered: bool = False) -> Snapshot:
        """Copy everything that the next step depends on; the rows before it have left.

        `last`: no step follows here, so nothing is copied (but where the results are of other
        weights, which then take these ones' place). `row_entered`: this step's row has been
        entered, and whoever goes on enters it again.
        """
        self._reporter.send_rows(self.step)
        copied = not last or self._descent.evaluated_elsewhere
        return self._snapshot(copied=copied, row_entered=row_entered)

    def _snapshot(self, *, copied: bool, row_entered: bool = False) -> Snapshot:
        best, best_weights, candidate = self._ledger.best.state()
        return Snapshot(
            self.step,
            self._descent.moment(copied=copied),
            self._ledger.state(row_entered=row_entered),
            best,
            best_weights,
            candidate,
            self.elapsed_s,
            None if self._guard is None else self._guard.state(),
            None if self._guard is None else self._guard.good,
        )

    def _asked_to_stop(self) -> bool:
        request = self._control.stop_requested
        if request is None and self.step >= self._stop_step:
            request = "hand_over"
        if request is None:
            return False
        self.reason = "cancelled" if request == "cancel" else "handed_over"
        return True

    def _do_what_is_due(self) -> None:
        if self.step == self._next_evaluation:
            assert self._eval_every is not None
            self._next_evaluation += self._eval_every
            self.evaluate()
        if self.step == self._next_checkpoint:
            assert self._checkpoint_every is not None
            self._next_checkpoint += self._checkpoint_every
            if self._saver.has_room(self._state_bytes):
                # Its rows leave when they would have: until they have arrived, an earlier
                # checkpoint is resumed from.
                snapshot = self._snapshot(copied=False)
                self._state_bytes = snapshot.size_bytes
                self._saver.save_resume(snapshot, self.metrics(), passing=True)

    def _keep(self, number: int) -> None:
        """Write the checkpoint that was asked for, once there is room for it on the way to disk."""
        if not self._saver.has_room(self._state_bytes):
            return
        self._answered = number
        snapshot = self._snapshot(copied=False)
        self._state_bytes = snapshot.size_bytes
        weights = self._descent.result_weights()
        named = dict(zip(self._descent.weights, copy_tree(weights), strict=True))
        self._saver.save_kept(snapshot, named, self.metrics())


@dataclass(frozen=True)
class RunParts:
    """The parts of a run while it trains; `emit` takes its events."""

    descent: OptimizationState
    ledger: Metrics
    saver: ArtifactWriter
    reporter: Flusher
    course: PeriodicWork
    emit: Emit[RunEvent]


def _next_multiple(of: int, after: int) -> int:
    return (after // of + 1) * of
