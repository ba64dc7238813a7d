"""Entry of rows and evaluations into the history, the stop rules and the best so far."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from core.jobs import Outcome
from core.messages.parts import BestAt, Columns, LossAt
from core.specs.base import Json
from core.train.checkpoint.snapshot import Snapshot
from core.train.history.buffer import RowBuffer
from core.train.stopping import (
    EvaluationRules,
    EvaluationTrace,
    Rules,
    Trace,
    observe,
    observe_evaluation,
)

_NONE: Final = -1


class Best:
    """The best so far, with a copy of its weights: the lowest loss of rows or, by `rules`, number
    of evaluations (the highest, by their sign: see `core.specs.direction`).

    A loss counts where it is recorded. The last row of a run is recorded whatever its step, and
    which one is the last is known only afterwards: so an unrecorded row that is better is kept as
    a candidate until the next row.

    Copying is exact and cheap: one `_foreach_copy_` into tensors that are there already (5 µs for
    a 9,000-parameter MLP), only for rows better than all before. What a checkpoint has been given
    is not written to again: the next copy after it is a new one.
    """

    def __init__(self, rules: EvaluationRules) -> None:
        self._rules, self._sign = rules, (sign := rules.sign)
        self.step = _NONE
        self.loss = sign * math.inf
        self.metrics: Json = {}
        self.weights: list[Tensor] | None = None
        self._candidate: list[Tensor] | None = None
        self._lent = self._candidate_lent = False
        self._candidate_step = _NONE
        self._candidate_loss = sign * math.inf

    def is_beaten_by(self, loss: float) -> bool:
        """Tell whether a loss is better than the best so far."""
        return self._sign * loss < self._sign * self.loss

    def offer(
        self,
        step: int,
        loss: float,
        metrics: Json,
        weights: Sequence[Tensor],
        *,
        recorded: bool = True,
        last: bool = False,
    ) -> None:
        """Take a loss that beats `self.loss`; `weights` are copied, or kept when they are the
        `last`, which nothing changes any more."""
        if not recorded:
            self._candidate_step, self._candidate_loss = step, loss
            self._candidate = _copied(weights, None if self._candidate_lent else self._candidate)
            self._candidate_lent = False
            return
        self.step, self.loss, self.metrics = step, loss, metrics
        if last:
            self.weights, self._lent = list(weights), True
        else:
            self.weights = _copied(weights, None if self._lent else self.weights)
            self._lent = False

    def keep_last(self, step: int) -> None:
        """Note that the row of `step` was the last: it is recorded after all."""
        if self._candidate_step == step:
            self.step, self.loss = step, self._candidate_loss
            self.metrics = {"loss": self.loss}
            self.weights = self._candidate

    def summary(self) -> BestAt | None:
        """Return the contract's `best`; None before there is a finite loss."""
        return None if self.step == _NONE else self._rules.best_at(self.step, self.loss)

    @property
    def best_loss(self) -> float | None:
        """The loss of the best weights; None without any."""
        if self.weights is None:
            return None
        return float(self.metrics["eval"]["loss"]) if self._rules.chosen else self.loss

    def state(self) -> tuple[Json, list[Tensor], list[Tensor]]:
        """Return what a checkpoint keeps: numbers, and the best and the candidate weights, which
        stay as they are."""
        numbers = {
            "step": self.step,
            "loss": self.loss,
            "metrics": self.metrics,
            "candidate_step": self._candidate_step,
            "candidate_loss": self._candidate_loss,
        }
        self._lent = self._candidate_lent = True
        return numbers, list(self.weights or ()), list(self._candidate or ())

    def resume(self, numbers: Json, best: list[Tensor], candidate: list[Tensor]) -> None:
        self.step, self.loss = numbers["step"], numbers["loss"]
        if self.step == _NONE:
            self.loss = self._sign * math.inf
        self.metrics = numbers["metrics"]
        self._candidate_step = numbers["candidate_step"]
        self._candidate_loss = numbers["candidate_loss"]
        self.weights, self._candidate = best or None, candidate or None
        self._lent = self._candidate_lent = False


def _copied(source: Sequence[Tensor], target: list[Tensor] | None) -> list[Tensor]:
    if target is None:
        return [tensor.clone() for tensor in source]
    torch._foreach_copy_(target, list(source))
    return target


MetricValues = dict[str, float]


class Metrics:
    """All rows and evaluations of a run, in order.

    Args:
        best_by_evaluation: there is evaluation data, so the best is the best evaluation.
        judging: the rules for evaluations.
    """

    def __init__(
        self,
        rows: RowBuffer,
        rules: Rules,
        judging: EvaluationRules | None = None,
        *,
        best_by_evaluation: bool,
    ) -> None:
        self.rows = rows
        self.trace = Trace.under(rules)
        self.judging = judging or EvaluationRules(sign=rules.sign)
        self.judged = EvaluationTrace.under(self.judging)
        self.best = Best(self.judging)
        self.last_step = _NONE
        self.num_evaluations = 0
        self.evaluation: MetricValues | None = None
        self.evaluated_step = _NONE
        self.best_by_evaluation = best_by_evaluation
        self.rules = rules
        self.initial_loss: float | None = None
        """Initial loss of the problem; None: it is row 0's."""
        self._waiting: list[MetricValues] = []

    def begin(self, initial_loss: float | None) -> None:
        """Note the initial weights' loss (`Problem.initial_loss`), before the first row."""
        self.initial_loss = initial_loss
        self.trace.begin(initial_loss)

    def enter(
        self,
        step: int,
        loss: float,
        lr: float,
        grad_norm: float,
        point: np.ndarray[Any, Any] | None,
        weights: Sequence[Tensor],
        grad_cosine: float = math.nan,
    ) -> Outcome | None:
        """Enter row `step`, whose weights are `weights`; returns the outcome if it ends the run."""
        recorded = self.rows.put(step, loss, lr, grad_norm, point, grad_cosine)
        self.last_step = step
        if not self.best_by_evaluation and self.best.is_beaten_by(loss):
            self.best.offer(step, loss, {"loss": loss}, weights, recorded=recorded)
        return observe(self.trace, loss, grad_norm, self.rules) or self.judged.outcome

    def enter_unjudged(
        self,
        step: int,
        loss: float,
        lr: float,
        grad_norm: float,
        point: np.ndarray[Any, Any] | None,
        grad_cosine: float = math.nan,
    ) -> None:
        """Enter a row that shows a divergence and does not end the run: no rule but patience
        counts it."""
        self.rows.put(step, loss, lr, grad_norm, point, grad_cosine)
        self.last_step = step
        self.trace.last = loss
        self.trace.waited += 1

    def enter_evaluation(
        self, step: int, metrics: MetricValues, weights: Sequence[Tensor], *, last: bool = False
    ) -> None:
        """Enter the evaluation of the weights after `step` updates; `last`: no step follows."""
        self.evaluation, self.evaluated_step = metrics, step
        self._waiting.append({"step": float(step), **metrics})
        value = metrics[self.judging.metric]
        if self.best.is_beaten_by(value):
            self.best.offer(step, value, {"eval": metrics}, weights, last=last)
        observe_evaluation(self.judged, step, value, self.judging)

    def close(self) -> None:
        """Record the last row: none follows."""
        self.rows.keep_last()
        if not self.best_by_evaluation:
            self.best.keep_last(self.last_step)

    def last_evaluation(self) -> Json | None:
        """Return the last evaluation with its step; None before there is one."""
        if self.evaluation is None:
            return None
        return {"step": self.evaluated_step, **self.evaluation}

    def take_evaluations(self) -> tuple[int, Columns] | None:
        """Return the index of the first and all evaluation rows that have not left; None without
        any."""
        if not self._waiting:
            return None
        waiting, self._waiting = self._waiting, []
        first = self.num_evaluations
        self.num_evaluations += len(waiting)
        return first, {name: np.array([row[name] for row in waiting]) for name in waiting[0]}

    def latest(self) -> LossAt | None:
        """Return the contract's `latest`: the last row computed."""
        return (
            None if self.last_step == _NONE else {"step": self.last_step, "loss": self.trace.last}
        )

    def state(self, *, row_entered: bool = False) -> Json:
        """Return the JSON of everything but the best weights.

        `row_entered`: whoever goes on from this enters the last row again.
        """
        return {
            "initial_loss": self.initial_loss,
            "trace": (self.trace.before_last() if row_entered else self.trace).state(),
            "loose_row": self.rows.loose_row(),
            "last_step": self.last_step,
            "num_evaluations": self.num_evaluations + len(self._waiting),
            "evaluation": self.evaluation,
            "evaluated_step": self.evaluated_step,
            "judged": self.judged.state() if self.judging.chosen else None,
        }

    def resume(self, snapshot: Snapshot) -> None:
        """Go on before row `snapshot.step`. What waits to leave is forgotten: it comes after."""
        self._waiting = []
        state = snapshot.ledger
        self.best.resume(snapshot.best, snapshot.best_weights, snapshot.candidate_weights)
        self.trace = Trace.from_state(state["trace"], self.rules)
        judged = state.get("judged")
        self.judged = EvaluationTrace(**judged) if judged else EvaluationTrace.under(self.judging)
        # An older version noted row 0's loss alone: then what was computed anew stands.
        self.begin(self.initial_loss if (known := state.get("initial_loss")) is None else known)
        self.rows.resume(snapshot.step, state["loose_row"])
        self.last_step = state["last_step"]
        self.num_evaluations = state["num_evaluations"]
        self.evaluation = state["evaluation"]
        self.evaluated_step = state["evaluated_step"]


Report = Callable[[int], None]
"""Function that is called with the number of updates applied whenever a row is complete."""
