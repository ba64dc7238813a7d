"""One stack of runs, from its specs to the endings: the fused training loop."""

import math
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.jobs import Outcome
from core.population.best import StackedBest
from core.population.build import build_stacked
from core.population.compaction import kept_slots, places
from core.population.evaluations import Evaluations
from core.population.events import (
    PopulationControl,
    PopulationEvents,
    RunEnding,
    RunWeights,
)
from core.population.mover import Mover, flat, joint_norms
from core.population.problem import Part
from core.population.rows import StackedRows
from core.population.saved import from_tree, to_tree
from core.population.trace import OUTCOMES, Traces
from core.spec.job import JobSpec
from core.spec.shapes import history_widths
from core.train.course import Reason, step_limit
from core.train.ending import all_finite
from core.train.events import Ending
from core.train.reporting import FIRST_INTERVAL_S, INTERVAL_S, Clock
from core.train.stopping import final_outcome
from core.train.tree import Tree

Column = NDArray[np.float64]
Json = dict[str, Any]


class Stack:
    """Runs of one structure that train together, each in a slot of its own.

    Attributes:
        step: updates made; the same for all slots.
    """

    def __init__(
        self,
        specs: Sequence[JobSpec],
        runs: Sequence[int],
        events: PopulationEvents,
        device: torch.device,
        clock: Clock = perf_counter,
    ) -> None:
        """`runs` are the numbers by which the specs' runs are reported."""
        first = specs[0]
        self.step = 0
        self._specs = list(specs)
        self._runs = np.array(runs)
        self._events = events
        self._clock = clock
        self.problem = build_stacked(specs, device)
        self._mover = Mover(specs, self.problem.parameters)
        self._initial = {name: weight.clone() for name, weight in self.problem.weights.items()}
        self._limits = np.array([step_limit(s, self.problem.steps_per_epoch) for s in specs])
        self._seconds = np.array([s.budget.max_seconds or math.inf for s in specs])
        points = self.problem.points()
        dim = None if points is None else points.shape[1]
        self._rows = StackedRows(len(specs), first.record.every, dim)
        self._traces = Traces(specs)
        self._best = StackedBest(len(specs))
        evaluates = bool(history_widths(first)["eval"])
        self._evaluations = Evaluations(first.record.eval_every) if evaluates else None
        self._parts: list[Part] = [self._mover, self._rows, self._traces, self._best]
        if self._evaluations is not None:
            self._parts.append(self._evaluations)
        self._slots = np.arange(len(specs))
        self._live = np.ones(len(specs), dtype=bool)
        self._places = places(first, self.problem.parameters)
        self._ones = torch.ones_like(self.problem.parameters[0].detach().view(len(specs), -1)[:, 0])
        self._updates = 0
        self._share_s = 0.0
        self._began = self._marked = clock()
        self._interval = FIRST_INTERVAL_S
        self._due = self._began + self._interval

    @property
    def allows_threads(self) -> bool:
        """Whether a second thread changes no bit when slots go: where bits depend on the place,
        the threads' shares of a tensor would move."""
        return self._places.tail == 1

    def train(self, control: PopulationControl) -> None:
        """Train until every run has ended, or the control asks to stop."""
        while True:
            self._end_spent()
            if not self._live.any():
                break
            request = control.stop_requested
            if request is not None:
                self._end(self._live, "cancelled" if request == "cancel" else "handed_over")
                break
            if control.dropped:
                dropped = np.isin(self._runs[self._slots], list(control.dropped))
                self._end(self._live & dropped, "cancelled")
            self._take_step()
        self._events.progress(self._updates, 0)

    def _take_step(self) -> None:
        """Gradient descent. Row k is step k's losses, rates and gradient norms, before update
        k + 1."""
        problem = self.problem
        if self._evaluations is not None and self._evaluations.due(self.step):
            self._evaluate()
        losses = problem.losses(self.step)
        found = torch.autograd.grad(losses, problem.parameters, self._ones)
        gradients = [flat(gradient) for gradient in found]
        norms = joint_norms(gradients)
        row = torch.stack([losses.detach(), norms]).double().cpu().numpy()
        self._enter(row[0], np.where(np.isfinite(row[0]), row[1], math.nan))
        if not self._live.any():
            return
        self._mover.move(problem.parameters, gradients, norms)
        problem.commit()
        problem.after_update()
        self._mover.next_step(row[0])
        self.step += 1
        self._account()

    def _enter(self, losses: Column, norms: Column) -> None:
        """Enter one row of every slot, and end the runs that end by it."""
        points = self.problem.points()
        where = None if points is None else points.cpu().numpy()
        kept = self._rows.put(self.step, losses, self._mover.rates, norms, where)
        if self._evaluations is None:
            self._best.offer(self.step, losses, self.problem.weights, recorded=kept)
        codes = self._traces.observe(losses, norms)
        if codes.any():
            for code, outcome in enumerate(OUTCOMES):
                if outcome is not None:
                    self._end(self._live & (codes == code), "finished", outcome)
        if self._rows.full or self._clock() >= self._due:
            self._report()

    def _account(self) -> None:
        """Count what the step cost, and let ended slots go."""
        now, running = self._clock(), int(self._live.sum())
        self._updates += running
        self._share_s += (now - self._marked) / max(1, running)
        self._marked = now
        if running < len(self._live):
            kept = kept_slots(self._live, self._places)
            if kept is not None:
                self.compact(kept)

    def _evaluate(self) -> None:
        assert self._evaluations is not None
        metrics = self.problem.evaluate()
        if metrics is not None:
            losses = self._evaluations.enter(self.step, metrics)
            self._best.offer(self.step, losses, self.problem.weights, recorded=True)

    def _end_spent(self) -> None:
        """End the runs whose budget is spent."""
        spent = self._live & (self._limits[self._slots] <= self.step)
        timed = self._seconds[self._slots]
        if np.isfinite(timed).any() and self.step > 0:
            spent = spent | (self._live & (self._clock() - self._began >= timed))
        self._end(spent, "finished")

    def _end(
        self,
        which: NDArray[np.bool_],
        reason: Reason,
        outcome: Outcome | None = None,
    ) -> None:
        """End the runs in these slots; `outcome`: the row at hand showed it."""
        if not which.any():
            return
        values = self.problem.values() if reason != "handed_over" else None
        for slot in np.flatnonzero(which).tolist():
            value = None if values is None else float(values[slot])
            self._end_one(slot, reason, outcome, value)
        self._live = self._live & ~which

    def _end_one(
        self, slot: int, reason: Reason, row_outcome: Outcome | None, value: float | None
    ) -> None:
        weights = {name: weight[slot].clone() for name, weight in self.problem.weights.items()}
        trace = self._traces.one(slot)
        outcome: Outcome | None = None
        if reason == "finished":
            self._evaluate_last(slot)
            finite = all_finite(weights.values()) and math.isfinite(value or 0.0)
            outcome = final_outcome(row_outcome or "budget_exhausted", trace, finite=finite)
        best_step, best_loss, best = self._best_of(slot, row_outcome is not None, weights)
        result: Json = {
            "final_loss": trace.last if trace.tail else None,
            "best_loss": None if best is None else best_loss,
            "num_steps": self.step,
            "train_s": self._clock() - self._began,
            "num_parameters": self.problem.num_parameters,
            "eval": None if self._evaluations is None else self._evaluations.last(slot),
        }
        if value is not None:
            result |= {"solution": self.problem.solution(slot), "value": value}
        handed_over = reason == "handed_over"
        self._send(slot, ends=not handed_over)
        number = int(self._slots[slot])
        summary = None if best is None else {"step": best_step, "loss": best_loss}
        ending = Ending(reason, outcome, {} if handed_over else result, summary)
        initial = {name: weight[number].clone() for name, weight in self._initial.items()}
        metadata = self.problem.metadata(number)
        self._events.ended(
            RunEnding(int(self._runs[number]), ending, True, self._share_s),
            RunWeights(initial, best, weights, best_step, self.step, metadata),
        )

    def _best_of(
        self, slot: int, ended_by_row: bool, final: dict[str, Tensor]
    ) -> tuple[int, float, dict[str, Tensor] | None]:
        """Step, loss and weights of an ended run's best; `final` are its last weights."""
        if self._evaluations is None:
            return self._best.of(slot, self.step if ended_by_row else self.step - 1)
        step, loss, weights = self._best.of(slot, -1)
        last = self._evaluations.last(slot)
        if last is not None and last["loss"] < loss:
            return last["step"], last["loss"], final
        return step, loss, weights

    def _evaluate_last(self, slot: int) -> None:
        """Evaluate a finished run's weights as they are, unless that was done already."""
        if self._evaluations is not None and not self._evaluations.known(slot, self.step):
            metrics = self.problem.evaluate([slot])
            if metrics is not None:
                self._evaluations.enter_last(slot, self.step, metrics[0])

    def _send(self, slot: int, *, ends: bool) -> None:
        run = int(self._runs[self._slots[slot]])
        rows = self._rows.of(slot, ends=ends)
        if rows is not None:
            self._events.rows(run, "train", *rows)
        evaluated = None if self._evaluations is None else self._evaluations.of(slot)
        if evaluated is not None:
            self._events.rows(run, "eval", *evaluated)

    def _report(self) -> None:
        """Send all rows that have not left."""
        for slot in np.flatnonzero(self._live).tolist():
            self._send(slot, ends=False)
        self._rows.clear()
        if self._evaluations is not None:
            self._evaluations.clear()
        self._events.progress(self._updates, int(self._live.sum()))
        self._interval = min(INTERVAL_S, 2 * self._interval)
        self._due = self._clock() + self._interval

    def compact(self, kept: NDArray[np.int64]) -> None:
        """Go on with these slots alone; no bit of theirs changes (see `compaction`)."""
        index = torch.from_numpy(kept).to(self._ones.device)
        self.problem.compact(kept)
        for part in self._parts:
            part.compact(kept)
        self._slots, self._live = self._slots[kept], self._live[kept]
        self._ones = self._ones.index_select(0, index)

    def state(self) -> Tree:
        """Copies of all that the next step depends on, taken between two steps; all rows leave
        first. `core.train.tree.flatten` makes tensors and JSON of it."""
        self._report()
        return to_tree(
            {
                "step": self.step,
                "slots": self._slots,
                "live": self._live,
                "weights": self.problem.weights,
                "parts": [part.state() for part in self._parts],
                "elapsed": self._clock() - self._began,
                "share_s": self._share_s,
                "updates": self._updates,
            }
        )

    def load_state(self, tree: Tree) -> None:
        """Go on where `state` was taken, to the bit; on a new stack of the same specs."""
        state = from_tree(tree)
        if len(state["slots"]) < len(self._slots):
            self.compact(state["slots"])
        for name, weight in state["weights"].items():
            self.problem.weights[name].copy_(weight)
        self._live = state["live"]
        for part, saved in zip(self._parts, state["parts"], strict=True):
            part.load_state(saved)
        self.step, self._updates = state["step"], state["updates"]
        self._share_s = state["share_s"]
        self._marked = self._clock()
        self._began = self._marked - state["elapsed"]
