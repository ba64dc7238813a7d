"""The fused training loop: one stack of runs, from its specs to the endings."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from core.jobs import Outcome
from core.messages.parts import EndReason
from core.messages.reports import PopulationProgress
from core.specs.job import JobSpec
from core.specs.sizes.extent import history_widths
from core.train.events import Control, Emit
from core.train.fused.events import RunOver, RunPaused, StackEvent
from core.train.fused.history.best import StackedBest
from core.train.fused.history.buffer import StackedRows
from core.train.fused.history.evaluations import Evaluations
from core.train.fused.history.flush import StackFlush
from core.train.fused.problems.base import Part
from core.train.fused.problems.build import build_stacked
from core.train.fused.problems.compaction import kept_slots, places
from core.train.fused.stack.finalize import End, Endings
from core.train.fused.stack.splitting import WholeStack
from core.train.fused.stack.step import OptimizerStep
from core.train.fused.stack.stopping import OUTCOMES, Judges, Traces
from core.train.history.flush import Clock
from core.train.periodic import step_limit
from core.train.tensors.tree import Tree, from_tree, to_tree

Column = NDArray[np.float64]
Slots = NDArray[np.int64]
Left = Literal["ended", "cancelled", "handed_over", "paused"]


class Stack:
    """Runs of one structure that train together, each in a slot of its own.

    Attributes:
        step: updates made; the same for all slots.
        parts: what is kept a slot each, beside the problem's weights.
        earlier_s, earlier_share_s: by the runs' numbers, what each had of the time before it came
            into this stack.
    """

    def __init__(
        self,
        specs: Sequence[JobSpec],
        runs: Sequence[int],
        emit: Emit[StackEvent],
        device: torch.device,
        clock: Clock = perf_counter,
        whole: WholeStack | None = None,
    ) -> None:
        """Take the numbers by which the specs' runs are reported as `runs`, and the stack that this
        is a part of as `whole`."""
        first, count = specs[0], len(specs)
        among = whole or WholeStack(specs, 0)
        self.step = 0
        self.earlier_s, self.earlier_share_s = np.zeros(count), np.zeros(count)
        self._names = np.array(runs)
        self._emit = emit
        self._clock = clock
        self.problem = build_stacked(specs, device, among.specs)
        numbers = np.arange(among.first, among.first + count)
        self._mover = OptimizerStep(among.specs, self.problem.rows, self.problem.packing, numbers)
        initial = {name: weight.clone() for name, weight in self.problem.weights.items()}
        self._limits = np.array([step_limit(s, self.problem.steps_per_epoch) for s in specs])
        self._seconds = np.array([s.budget.max_seconds or math.inf for s in specs])
        self._timed = bool(np.isfinite(self._seconds).any())
        points = self.problem.points()
        dim = None if points is None else points.shape[1]
        self._rows = StackedRows(count, first.record.every, dim)
        self.traces = Traces(specs)
        self.judges = Judges(specs)
        evaluates = bool(history_widths(first)["eval"])
        self.best = StackedBest(self.judges.signs)
        self.evaluations = Evaluations(first.record.eval_every) if evaluates else None
        self.parts = self._parts()
        self._outgoing = StackFlush(
            self._rows, self.evaluations, emit, self._names, self.earlier_s,
            self.earlier_share_s, clock,
        )  # fmt: skip
        self._endings = Endings(
            self.problem, self.traces, self.best, self.evaluations, self.judges, initial
        )  # fmt: skip
        self._slots = np.arange(count)
        """The number of the run in each slot."""
        self._live, self._running = np.ones(count, dtype=bool), count
        self._first_limit = int(self._limits.min())
        self._evaluates_own = self._mover.evaluated is None
        """True where evaluations and results are of the parameters themselves."""
        self._places = places(first, self.problem.packing.shapes, self.problem.rows.dtype)
        self._compacts = device.type == "cpu"
        self._updates = 0
        self._share_s = 0.0
        self._elapsed_s = 0.0
        """Seconds that it had trained when it last went on from a checkpoint."""
        self._began = self._marked = clock()

    def _parts(self) -> dict[str, Part]:
        """Return what a checkpoint keeps of the stack, by name."""
        parts: dict[str, Part] = {
            "mover": self._mover,
            "rows": self._rows,
            "traces": self.traces,
            "best": self.best,
        }
        if self.evaluations is not None:
            parts["evaluations"] = self.evaluations
            if self.judges.any_chosen:
                parts["judges"] = self.judges
        return parts

    @property
    def allows_threads(self) -> bool:
        """Tell whether a second thread changes no bit when slots go: where bits depend on the
        place, the threads' shares of a tensor would move."""
        return self._places.tail == 1

    def training(self) -> tuple[Slots, Slots]:
        """Return the slots whose runs have not ended, and these runs' numbers."""
        slots = np.flatnonzero(self._live)
        return slots, self._slots[slots]

    def names(self, runs: Slots) -> list[int]:
        """Return the numbers by which the runs are reported."""
        names: list[int] = self._names[runs].tolist()
        return names

    def times(self, runs: Slots) -> tuple[Column, Column]:
        """Return how long the runs with these numbers have been training, and their share of it."""
        elapsed = self._clock() - self._began
        return self.earlier_s[runs] + elapsed, self.earlier_share_s[runs] + self._share_s

    def train(
        self,
        control: Control,
        *,
        stop_step: int | None = None,
        between: Callable[["Stack", float], None] | None = None,
    ) -> Left:
        """Train until every run has ended, or the control asks to stop, or until `stop_step`
        updates are made: what has not ended then can be paused.

        Args:
            between: called between two steps, with the clock's time: where `state` may be taken.
                Where it is given, a request to hand over ends no run.
        """
        left: Left = "ended"
        if self.step == 0:
            self.begin()
        self._outgoing.begin(self.step, self._elapsed_s)
        with np.errstate(all="ignore"):  # set once: it costs as much as several of a step's sums
            while True:
                self._end_spent()
                if not self._running:
                    break
                if self.step == stop_step:
                    return "paused"
                request = control.stop_requested
                if request == "hand_over" and between is not None:
                    return "handed_over"
                if request is not None:
                    left = "cancelled" if request == "cancel" else "handed_over"
                    self._end(self._live, "cancelled" if request == "cancel" else "handed_over")
                    break
                if control.dropped:
                    dropped = np.isin(self._names[self._slots], list(control.dropped))
                    self._end(self._live & dropped, "cancelled")
                if between is not None:
                    between(self, self._marked)
                self._take_step()
        self._emit(PopulationProgress(self._updates, 0))
        return left

    def begin(self) -> None:
        """Note the losses that the runs begin at; the weights are the initial ones."""
        self.traces.begin(self.problem.initial_losses())

    @contextmanager
    def at_result_weights(self) -> Iterator[None]:
        """Have the problem hold the weights that evaluations and results are of, and then its own
        again."""
        found, rows = self._mover.evaluated, self.problem.rows
        if found is None:
            yield
            return
        held = rows.clone()
        rows.copy_(found)
        try:
            yield
        finally:
            rows.copy_(held)

    def _take_step(self) -> None:
        """Make one step of gradient descent. Row k is step k's losses, rates and gradient norms,
        before update k + 1."""
        problem = self.problem
        if self.evaluations is not None and self.evaluations.due(self.step):
            self.evaluate()
        losses, gradient = problem.gradients(self.step)
        norms: torch.Tensor = torch.linalg.vector_norm(gradient, dim=1)
        row = torch.stack([losses, norms]).double().cpu().numpy()
        self._enter(row[0], np.where(np.isfinite(row[0]), row[1], math.nan))
        if not self._running:
            return
        self._mover.move(problem.rows, gradient, norms)
        problem.commit()
        problem.after_update()
        self._mover.next_step(row[0])
        self.step += 1
        self._account()

    def _enter(self, losses: Column, norms: Column) -> None:
        """Enter one row of every slot, and end the runs that end by it."""
        points = self.problem.points()
        where = None if points is None else points.cpu().numpy()
        rates = self._mover.rates
        kept = self._rows.put(self.step, losses, rates, norms, where, self._share_s)
        if self.evaluations is None:
            if self._evaluates_own:
                self.best.offer(self.step, losses, self.problem.weights, recorded=kept)
            elif self.best.is_beaten(losses):
                with self.at_result_weights():
                    self.best.offer(self.step, losses, self.problem.weights, recorded=kept)
        codes = self.traces.observe(losses, norms)
        if self.judges.any_chosen:
            codes = np.where(codes == 0, self.judges.codes, codes)
        if np.count_nonzero(codes):
            for code, outcome in enumerate(OUTCOMES):
                if outcome is not None:
                    self._end(self._live & (codes == code), "finished", outcome)
        if self._outgoing.due:
            self.flush()

    def _account(self) -> None:
        """Count what the step cost, and let ended slots go."""
        now, running = self._clock(), self._running
        self._updates += running
        self._share_s += (now - self._marked) / max(1, running)
        self._marked = now
        if running < len(self._live) and self._compacts:
            kept = kept_slots(self._live, self._places)
            if kept is not None:
                self.compact(kept)

    def evaluate(self) -> None:
        """Evaluate every slot's weights as they are, and record it."""
        assert self.evaluations is not None
        with self.at_result_weights():
            metrics = self.problem.evaluate()
            if metrics is not None:
                self.evaluations.enter(self.step, metrics, self._share_s)
                levels, losses = self.judges.levels(metrics), metrics["loss"]
                weights = self.problem.weights
                self.best.offer(self.step, levels, weights, recorded=True, beside=losses)
                self.judges.observe(self.step, levels)

    def _end_spent(self) -> None:
        """End the runs whose budget is spent."""
        if self.step < self._first_limit and not self._timed:
            return
        spent = self._live & (self._limits[self._slots] <= self.step)
        if self._timed and self.step > 0:
            elapsed, _ = self.times(self._slots)
            spent = spent | (self._live & (elapsed >= self._seconds[self._slots]))
        self._end(spent, "finished")

    def _end(
        self, which: NDArray[np.bool_], reason: EndReason, outcome: Outcome | None = None
    ) -> None:
        """End the runs in these slots; `outcome`: the row at hand showed it."""
        if not np.count_nonzero(which):
            return
        slots = np.flatnonzero(which)
        runs, now = self._slots[slots], self._now
        train_s, share_s = self.times(runs)
        names = self._names[runs]
        end = End(self.step, slots, runs, names, reason, outcome, train_s, share_s)
        with self.at_result_weights():
            self._endings.evaluate(end)
            self._outgoing.send(slots, runs, now, self._share_s, ends=reason != "handed_over")
            for ending, weights in self._endings.of(end):
                self._emit(RunOver(ending, weights))
        self._live = self._live & ~which
        self._running = int(self._live.sum())

    def flush(self) -> None:
        """Send all rows that have not left."""
        self._outgoing.flush(*self.training(), self._now, self._updates)

    @property
    def _now(self) -> list[float]:
        """The step, and how long the stack has trained."""
        return [self.step, self._clock() - self._began]

    def send_weights(self, is_best: NDArray[np.bool_]) -> None:
        """Send the weights of the runs that have not ended, which pause here. `is_best`: of each,
        whether it is at its best here."""
        slots, runs = self.training()
        with self.at_result_weights():
            weights = self._endings.weights_at_rung(self.step, slots, runs, is_best)
            for run, each in zip(self.names(runs), weights, strict=True):
                self._emit(RunPaused(run, each))

    def compact(self, kept: Slots) -> None:
        """Go on with these slots alone; no bit of theirs changes (see `compaction`)."""
        self.problem.compact(kept)
        for part in self.parts.values():
            part.compact(kept)
        if not self.judges.any_chosen:  # else it is one of them
            self.judges.compact(kept)
        self._slots, self._live = self._slots[kept], self._live[kept]

    def go_on_from(self, step: int, train_s: Column, share_s: Column) -> None:
        """Go on with every part as it was after `step` updates, which took the runs so long."""
        self.step = step
        self.earlier_s[:] = train_s
        self.earlier_share_s[:] = share_s
        self._began = self._marked = self._clock()

    def state(self) -> Tree:
        """Return the copies of all that the next step depends on, taken between two steps; all rows
        leave first. `core.train.tensors.tree.flatten` makes tensors and JSON of it."""
        self.flush()
        return to_tree(
            {
                "step": self.step,
                "slots": self._slots,
                "live": self._live,
                "weights": self.problem.weights,
                "parts": {name: part.state() for name, part in self.parts.items()},
                "elapsed": self._clock() - self._began,
                "share_s": self._share_s,
                "updates": self._updates,
                "earlier_s": self.earlier_s,
                "earlier_share_s": self.earlier_share_s,
            }
        )

    def load_state(self, tree: Tree) -> None:
        """Go on where `state` was taken, to the bit; on a new stack of the same specs."""
        state = from_tree(tree)
        if "initial" not in state["parts"]["traces"]:
            self.begin()  # an older version noted row 0's losses alone
        if len(state["slots"]) < len(self._slots):
            self.compact(state["slots"])
        for name, weight in state["weights"].items():
            self.problem.weights[name].copy_(weight)
        self._live, self._running = state["live"], int(state["live"].sum())
        for name, part in self.parts.items():
            part.load_state(state["parts"][name])
        self.step, self._updates = state["step"], state["updates"]
        self._share_s = state["share_s"]
        self.earlier_s[:] = state["earlier_s"]
        self.earlier_share_s[:] = state["earlier_share_s"]
        self._marked = self._clock()
        self._elapsed_s = state["elapsed"]
        self._began = self._marked - self._elapsed_s
