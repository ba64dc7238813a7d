"""End of runs of a stack: outcomes, results and weights, many at once."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.jobs import Outcome
from core.messages.parts import EndReason
from core.messages.reports import Ending
from core.specs.base import Json
from core.train.fused.events import RunEnding, RunWeights
from core.train.fused.history.best import StackedBest
from core.train.fused.history.evaluations import Evaluations
from core.train.fused.problems.base import Metrics, StackedProblem
from core.train.fused.stack.stopping import Judges, Traces
from core.train.stopping import Trace, final_outcome

Slots = NDArray[np.int64]
Weights = dict[str, Tensor]


@dataclass(frozen=True)
class End:
    """The end of some runs of a stack, after `step` updates.

    Attributes:
        slots, runs: where they are, and their numbers among those that the stack began with.
        names: by which they are reported.
        outcome: the row at hand showed it; None: no row did.
        train_s, share_s: of each run.
    """

    step: int
    slots: Slots
    runs: Slots
    names: Slots
    reason: EndReason
    outcome: Outcome | None
    train_s: NDArray[np.float64]
    share_s: NDArray[np.float64]


class Endings:
    """The parts of which the endings of a stack's runs are made, and their weights at a rung.
    `initial` are the weights before the first step, of all runs that the stack began with."""

    def __init__(
        self,
        problem: StackedProblem,
        traces: Traces,
        best: StackedBest,
        evaluations: Evaluations | None,
        judges: Judges,
        initial: Weights,
    ) -> None:
        self._problem: Final = problem
        self._traces: Final = traces
        self._best: Final = best
        self._evaluations: Final = evaluations
        self._judges: Final = judges
        self._initial: Final = initial

    def evaluate(self, end: End) -> None:
        """Evaluate finished runs' weights as they are, unless that was done."""
        found = self._evaluations
        if found is None or end.reason != "finished" or found.known(end.step):
            return
        metrics = self._problem.evaluate(end.slots)
        if metrics is not None:
            found.enter_last(end.slots, end.step, metrics)

    def of(self, end: End) -> Iterator[tuple[RunEnding, RunWeights]]:
        """Yield each run's ending and weights, which are on the CPU; `evaluate` came before."""
        problem = self._problem
        values = problem.values() if end.reason != "handed_over" else None
        heights = None if values is None else values.double().cpu().numpy()[end.slots]
        final = _rows(problem.weights, end.slots)
        initial = _rows(self._initial, end.runs)
        finite = _all_finite(final) & (True if heights is None else np.isfinite(heights))
        last_row = end.step if end.outcome is not None else end.step - 1
        found = self._best.of(end.slots, last_row if self._evaluations is None else -1)
        steps, losses, best = found[0], found[1], {k: w.cpu() for k, w in found[2].items()}
        metadata = problem.metadata()
        count = len(end.slots)
        each_initial, each_final = _each(initial, count), _each(final, count)
        each_best = _each(best, count)
        tests = self._tests(end, found[2])
        matrices = self._matrices(end)
        for row, slot in enumerate(end.slots.tolist()):
            value = None if heights is None else float(heights[row])
            of_final = each_final[row]
            of_best = int(steps[row]), float(losses[row]), each_best[row]
            step, level, weights, loss = self._best_of(slot, of_best, of_final)
            trace = self._traces.one(slot)
            outcome = self._outcome(end, slot, trace, finite=bool(finite[row]))
            result = self._result(end, row, slot, trace, loss if step >= 0 else None, value)
            result["test"] = None if tests is None else tests.of(row, step)
            summary = self._judges.rules[slot].best_at(step, level) if step >= 0 else None
            if matrices[row] is not None:
                result["eval"] = {**result["eval"], "confusion_matrix": matrices[row]}
            handed_over = end.reason == "handed_over"
            ending = Ending(end.reason, outcome, {} if handed_over else result, summary)
            yield (
                RunEnding(int(end.names[row]), ending, True, float(end.share_s[row])),
                RunWeights(
                    each_initial[row], weights if step >= 0 else None, of_final, step, end.step,
                    metadata,
                ),
            )  # fmt: skip

    def _tests(self, end: End, best: Weights) -> "_Tests | None":
        """Measure the runs' weights on the rows of the test; None where there are none, or where a
        run is not at its end. `best`: those of each slot."""
        if end.reason == "handed_over":
            return None
        final = self._problem.evaluate(end.slots, "test")
        if final is None:
            return None
        matrices = self._problem.confusion_matrices(end.slots, "test")
        if not best:
            return _Tests(end.step, final, matrices, None, [])
        others = self._problem.evaluate_weights(best, "test")
        rows = np.arange(len(end.slots))
        of_best = self._problem.confusion_matrices(rows, "test", best)
        return _Tests(end.step, final, matrices, others, of_best)

    def _matrices(self, end: End) -> list[list[list[int]] | None]:
        """Return the confusion matrices of runs whose weights, as they are, were evaluated."""
        found = self._evaluations
        if found is None or not (end.reason == "finished" or found.known(end.step)):
            return [None] * len(end.slots)
        return self._problem.confusion_matrices(end.slots)

    def weights_at_rung(
        self, step: int, slots: Slots, runs: Slots, is_best: NDArray[np.bool_]
    ) -> Iterator[RunWeights]:
        """Yield the weights of the runs in these slots, after `step` updates; they are on the
        CPU. `is_best`: whether the evaluation at hand is a run's best, recorded or not."""
        final, initial = _rows(self._problem.weights, slots), _rows(self._initial, runs)
        steps, _, best = self._best.of(slots, -1)
        best = {name: weight.cpu() for name, weight in best.items()}
        metadata = self._problem.metadata()
        count = len(slots)
        each_initial, each_final = _each(initial, count), _each(final, count)
        each_best = _each(best, count)
        for row, best_step in enumerate(steps.tolist()):
            of_best = each_best[row] if best_step >= 0 else None
            at = best_step
            if is_best[row]:
                of_best, at = each_final[row], step
            yield RunWeights(each_initial[row], of_best, each_final[row], at, step, metadata)

    def _best_of(
        self, slot: int, best: tuple[int, float, Weights], final: Weights
    ) -> tuple[int, float, Weights, float]:
        """Return the best of a run, its evaluation at the end included, and the loss there."""
        last = None if self._evaluations is None else self._evaluations.last(slot)
        rules = self._judges.rules[slot]
        if last is not None and rules.sign * last[rules.metric] < rules.sign * best[1]:
            return last["step"], last[rules.metric], final, last["loss"]
        return *best, self._best.beside(slot) if rules.chosen else best[1]

    def _outcome(self, end: End, slot: int, trace: Trace, *, finite: bool) -> Outcome | None:
        if end.reason != "finished":
            return None
        shown, sign = end.outcome or "budget_exhausted", self._traces.sign(slot)
        outcome = final_outcome(shown, trace, finite=finite, sign=sign)
        last, rules = self._evaluations and self._evaluations.last(slot), self._judges.rules[slot]
        if outcome == "budget_exhausted" and last and rules.reached(last[rules.metric]):
            return "converged"  # by the last evaluation, which no row follows
        return outcome

    def _result(
        self,
        end: End,
        row: int,
        slot: int,
        trace: Trace,
        best_loss: float | None,
        value: float | None,
    ) -> Json:
        result: Json = {
            "initial_loss": trace.began_at,
            "final_loss": float(self._traces.last[slot]) if self._traces.num_rows else None,
            "best_loss": best_loss,
            "num_steps": end.step,
            "train_s": float(end.train_s[row]),
            "num_parameters": self._problem.num_parameters,
            "eval": None if self._evaluations is None else self._evaluations.last(slot),
        }
        if value is not None:
            result |= {"solution": self._problem.solution(slot), "value": value}
        return result


@dataclass(frozen=True)
class _Tests:
    """Metrics on the rows of the test, of the final weights and of the recorded best."""

    step: int
    final: Metrics
    matrices: list[list[list[int]] | None]
    best: Metrics | None
    best_matrices: list[list[list[int]] | None]

    def of(self, row: int, best_step: int) -> Json:
        """Return the `test` of a run's result; `best_step`: -1 without a best."""
        final = _at(self.step, self.final, self.matrices, row)
        if best_step < 0:
            return {"best": None, "final": final}
        if best_step == self.step or self.best is None:
            return {"best": final, "final": final}
        best = _at(best_step, self.best, self.best_matrices, row)
        return {"best": best, "final": final}


def _at(step: int, metrics: Metrics, matrices: list[list[list[int]] | None], row: int) -> Json:
    found: Json = {name: float(column[row]) for name, column in metrics.items()}
    matrix = matrices[row]
    return {"step": step, **found, **({} if matrix is None else {"confusion_matrix": matrix})}


def _rows(weights: Weights, index: Slots) -> Weights:
    """Return the copies of these rows, on the CPU."""
    at = torch.from_numpy(index)
    return {name: w.index_select(0, at.to(w.device)).cpu() for name, w in weights.items()}


def _each(weights: Weights, count: int) -> list[Weights]:
    """Return the weights row by row, of so many rows; none of any weights are none of each."""
    rows = {name: weight.unbind() for name, weight in weights.items()}
    return [{name: its[row] for name, its in rows.items()} for row in range(count)]


def _all_finite(weights: Weights) -> NDArray[np.bool_]:
    """Tell of each row whether all its numbers are finite."""
    checks = [
        torch.isfinite(weight).flatten(1).all(1)
        for weight in weights.values()
        if weight.is_floating_point()
    ]
    found: NDArray[np.bool_] = torch.stack(checks).all(0).numpy()
    return found
