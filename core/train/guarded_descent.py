"""Gradient descent under a guard, which looks at each row before its update."""

import math
from dataclasses import replace
from typing import Final

from torch.nn.utils import clip_grads_with_norm_

from core.messages.parts import Kind
from core.messages.reports import Intervened
from core.specs.job import ClipOnDivergence, RollBackOnDivergence
from core.train.divergence_policy import DivergencePolicy
from core.train.history.row_check import EachRow, numbers_of
from core.train.periodic import RunParts

NO_NORM: Final = math.nan


class GuardedDescent:
    """The loop of `core.train.loop.descend` with a guard, row by row on every device.

    A row that ends the run ends it here too, once the guard may not act any more.
    """

    def __init__(
        self,
        guard: DivergencePolicy,
        parts: RunParts,
    ) -> None:
        self._guard = guard
        self._descent = parts.descent
        self._ledger = parts.ledger
        self._saver = parts.saver
        self._reporter = parts.reporter
        self._course = parts.course
        self._emit = parts.emit
        self._descent.lr_scale = guard.lr_scale

    def descend(self, watch: EachRow) -> None:
        """Train to the end of the course, or to the row that ends the run."""
        descent, guard, problem = self._descent, self._guard, self._descent.problem
        steps = self._course.rows()
        for step in steps:
            if guard.is_due(step, self._ledger.trace):
                guard.keep(self._course.snapshot())
            descent.clear_gradients()
            loss = descent.loss(step)
            norm, cosine = NO_NORM, math.nan
            value = loss.item()
            if math.isfinite(value):
                descent.backward(loss)
                length = descent.gradient_norm()
                norm, cosine = numbers_of(length, descent.gradient_cosine(length))
            elif descent.turning is not None:
                descent.turning.forget()
            reason = guard.trouble(step, self._ledger.trace, value, norm)
            if reason is not None:
                moves = self._intervene(step, reason, value, norm, cosine, watch)
            elif watch.ends_at_values(step, value, norm, cosine):
                break
            else:
                guard.saw(norm)
                moves = True
            if moves is None:
                continue
            if moves:
                self._clip()
                descent.update_scaled(step, loss)
                problem.after_update()
            if descent.scheduler is not None:
                descent.scheduler.step(value)
        steps.close()

    def _intervene(
        self, step: int, reason: str, loss: float, norm: float, cosine: float, watch: EachRow
    ) -> bool | None:
        """Tell whether this step's update is made; None: the run has gone back, and goes on
        there."""
        guard = self._guard
        guard.act(step, reason, loss, self._descent.lr)
        if isinstance(guard.policy, RollBackOnDivergence):
            self._roll_back()
            return None
        watch.enter_unjudged(step, loss, norm, cosine)
        self._descent.lr_scale = guard.lr_scale
        self._emit(Intervened(guard.interventions, None, ()))
        if isinstance(guard.policy, ClipOnDivergence) and math.isfinite(norm):
            return True
        self._descent.put_buffers_back()
        return False

    def _clip(self) -> None:
        descent, max_norm = self._descent, self._guard.max_norm
        if descent.clip is not None:
            descent.clip(descent.gradient_norm())
        if max_norm is not None:
            clip_grads_with_norm_(descent.parameters, max_norm, descent.gradient_norm())

    def _roll_back(self) -> None:
        """Make everything what it was at the good snapshot, but for the guard's own state. Files
        and rows of the steps after it are of a course that was left: they go."""
        good = self._guard.good
        assert good is not None
        self._descent.go_back_to(good.moment)
        self._descent.lr_scale = self._guard.lr_scale
        best, candidate = (
            [weight.clone() for weight in weights]
            for weights in (good.best_weights, good.candidate_weights)
        )
        self._ledger.resume(replace(good, best_weights=best, candidate_weights=candidate))
        self._course.go_back(good.step)
        self._reporter.went_back(good.step)
        saved, dropped = self._saver.forget_after(good.step)
        for each in saved:
            self._emit(each)
        rewound: dict[Kind, int] = {
            "train": self._ledger.rows.first_row,
            "eval": self._ledger.num_evaluations,
        }
        self._emit(Intervened(self._guard.interventions, rewound, dropped))
