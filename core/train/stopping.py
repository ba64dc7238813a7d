"""Rules that say when a run ends, and how: pure functions over a small state.

The rules are the contract's: `stop` is tested on every step's row (step k's loss and gradient norm,
before update k+1), recorded or not; a run that spends its budget or stalls is called diverged when
it has ended far above where it began. For a loss that is maximized every comparison turns round
(`core.specs.direction`): "above" is below then, and the best loss is the highest.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Final, NamedTuple

from core.jobs import Outcome
from core.messages.parts import BestAt
from core.specs.base import Json
from core.specs.direction import sign_of_metric
from core.specs.job import JobSpec, Stop
from core.specs.losses import EVAL

TAIL: Final = 10
"""Losses whose median stands for the end of a run."""


class Rules(NamedTuple):
    """`Stop` with the rules that are off turned into ones that never hold.

    `target_loss` and `max_loss` are multiplied by `sign`, as every loss is that they are held
    against.
    """

    target_loss: float = -math.inf
    gradient_norm: float = -math.inf
    patience: float = math.inf
    min_delta: float = 0.0
    max_loss: float = math.inf
    sign: float = 1.0


def rules_of(stop: Stop, sign: float = 1.0) -> Rules:
    """Return the rules for losses of this sign (`core.specs.direction`)."""
    never = Rules()
    if stop.metric is not None:  # which patience and min_delta are of
        stop = stop.model_copy(update={"patience": None, "min_delta": 0.0})
    return Rules(
        never.target_loss if stop.target_loss is None else sign * stop.target_loss,
        never.gradient_norm if stop.gradient_norm is None else stop.gradient_norm,
        never.patience if stop.patience is None else stop.patience,
        stop.min_delta,
        never.max_loss if stop.max_loss is None else sign * stop.max_loss,
        sign,
    )


@dataclass(slots=True)
class Trace:
    """The trace of the losses so far that the rules need.

    Attributes:
        first: L₀, the loss that the run began at: row 0's, unless `begin` gave it.
        best: the lowest loss of all rows (the highest, where it is maximized).
        last: the latest row's loss.
        tail: the last ten losses.
        reference: the loss that patience measures against: the latest one that fell more than
            `min_delta` below the reference before it.
        waited: rows since then.
    """

    first: float = math.nan
    best: float = math.inf
    last: float = math.nan
    tail: deque[float] = field(default_factory=lambda: deque(maxlen=TAIL))
    reference: float = math.inf
    waited: int = 0

    @classmethod
    def under(cls, rules: Rules) -> "Trace":
        """Return the trace of no rows: the worst loss there is counts as the best."""
        return cls(best=rules.sign * math.inf, reference=rules.sign * math.inf)

    def state(self) -> Json:
        return {
            "first": self.first,
            "lowest": self.best,
            "last": self.last,
            "tail": list(self.tail),
            "reference": self.reference,
            "waited": self.waited,
        }

    def before_last(self) -> "Trace":
        """Return a trace that becomes this one when the last row, at which the run ended, is
        observed again. (The loss that fell out of the tail is not missed: the row takes the free
        place.)"""
        tail = deque(list(self.tail)[:-1], maxlen=TAIL)
        return replace(self, tail=tail, waited=max(0, self.waited - 1))

    def begin(self, initial_loss: float | None) -> None:
        """Begin at the mean loss of the initial weights, where there is one that is finite: one
        noisy batch tells little of where a run began."""
        if initial_loss is not None and math.isfinite(initial_loss):
            self.first = initial_loss

    @property
    def began_at(self) -> float | None:
        """L₀ once it is known; NaN where row 0's loss was."""
        return None if math.isnan(self.first) and not self.tail else self.first

    @classmethod
    def from_state(cls, state: Json, rules: Rules) -> "Trace":
        """Return the trace whose `state` was taken.

        Older versions kept the lowest of losses that are maximized, too: all others are better.
        """
        trace = cls.under(rules)
        trace.first, trace.last = state["first"], state["last"]
        trace.tail.extend(state["tail"])
        trace.waited = state["waited"]
        if math.isfinite(state["lowest"]):
            trace.best = state["lowest"]
        if math.isfinite(state["reference"]):
            trace.reference = state["reference"]
        return trace


def observe(trace: Trace, loss: float, grad_norm: float, rules: Rules) -> Outcome | None:
    """Take in one row; say whether the run ends at it.

    A loss that is not finite or above `max_loss`: diverged. A loss at or below `target_loss`, or
    a gradient norm at or below `gradient_norm`: converged. `patience` rows in a row that did not
    fall more than `min_delta` below the best one before them: stalled.
    """
    if not trace.tail and math.isnan(trace.first):
        trace.first = loss
    trace.last = loss
    trace.tail.append(loss)
    if not math.isfinite(loss):
        return "diverged"
    level = rules.sign * loss
    trace.best = min(trace.best, loss) if rules.sign > 0 else max(trace.best, loss)
    if level < rules.sign * trace.reference - rules.min_delta:
        trace.reference = loss
        trace.waited = 0
    else:
        trace.waited += 1
    if level > rules.max_loss:
        return "diverged"
    if level <= rules.target_loss or grad_norm <= rules.gradient_norm:
        return "converged"
    if trace.waited >= rules.patience:
        return "stalled"
    return None


class EvaluationRules(NamedTuple):
    """Rules of `Stop` that look at an evaluation's number: `metric`, `loss` by default, by which
    the best one is told. `target` is multiplied by `sign`."""

    metric: str = "loss"
    sign: float = 1.0
    target: float = -math.inf
    patience: float = math.inf
    min_delta: float = 0.0
    chosen: bool = False
    """True where `stop.metric` names it."""

    def reached(self, value: float) -> bool:
        """Tell whether the target is reached."""
        return self.sign * value <= self.target

    def best_at(self, step: int, value: float) -> BestAt:
        """Return the contract's `best`."""
        if not self.chosen:
            return {"step": step, "loss": value}
        return {"step": step, "metric": f"{EVAL}{self.metric}", "value": value}


def evaluation_rules_of(spec: JobSpec) -> EvaluationRules:
    """Return the rules for a run's evaluations."""
    stop, sign = spec.stop, sign_of_metric(spec)
    if stop.metric is None:
        return EvaluationRules(sign=sign)
    never = EvaluationRules()
    return EvaluationRules(
        stop.metric.removeprefix(EVAL),
        sign,
        never.target if stop.target is None else sign * stop.target,
        never.patience if stop.patience is None else stop.patience,
        stop.min_delta,
        chosen=True,
    )


@dataclass(slots=True)
class EvaluationTrace:
    """The trace of the evaluations that their rules need.

    Attributes:
        step: of the last one.
        reference, waited: as of `Trace`, in evaluations.
        outcome: how the run ends at the row of `step`; None: it goes on.
    """

    reference: float
    step: int = -1
    waited: int = 0
    outcome: Outcome | None = None

    @classmethod
    def under(cls, rules: EvaluationRules) -> "EvaluationTrace":
        """Return the trace of no evaluations."""
        return cls(rules.sign * math.inf)

    def state(self) -> Json:
        return {
            "reference": self.reference,
            "step": self.step,
            "waited": self.waited,
            "outcome": self.outcome,
        }


def observe_evaluation(
    trace: EvaluationTrace, step: int, value: float, rules: EvaluationRules
) -> None:
    """Take in the evaluation after `step` updates, once. NaN, of a metric that is not defined,
    counts for nothing."""
    if step == trace.step:
        return
    trace.step, trace.outcome = step, None
    if math.isnan(value):
        return
    if rules.sign * value < rules.sign * trace.reference - rules.min_delta:
        trace.reference, trace.waited = value, 0
    else:
        trace.waited += 1
    if rules.reached(value):
        trace.outcome = "converged"
    elif trace.waited >= rules.patience:
        trace.outcome = "stalled"


def ended_far_above(first: float, best: float, tail: Sequence[float], sign: float = 1.0) -> bool:
    """Return the contract's test of a finite run: E − L₀ > 3·max(|L₀|, L₀ − L_best), E the tail's
    median; of losses times `sign` (`core.specs.direction`).

    Scaled by what the run had to descend, so that stable heavy ball, which overshoots to 12 times
    its best loss on a quadratic, is not called diverged.
    """
    return sign * (median(tail) - first) > 3.0 * max(abs(first), sign * (first - best))


def final_outcome(outcome: Outcome, trace: Trace, *, finite: bool, sign: float = 1.0) -> Outcome:
    """Return the outcome of a finished run.

    Args:
        outcome: how the rows ended it (`budget_exhausted` when they did not).
        sign: of its losses.
        finite: whether the final parameters, and the value found there, are all finite.
    """
    if not finite:
        return "diverged"
    if outcome in ("budget_exhausted", "stalled") and trace.tail:
        far = ended_far_above(trace.first, trace.best, trace.tail, sign)
        return "diverged" if far else outcome
    return outcome
