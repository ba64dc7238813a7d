"""Action of `on_divergence` while a run goes on: it acts on a bad row, and counts how often.

Everything here follows from the spec and the rows alone, and is part of each checkpoint: a run that
was interrupted intervenes at the same steps, to the same bits.

Sources: going back with a lower rate is the customary remedy for loss spikes of large models
(Chowdhery et al. 2022, PaLM, section 5.1); skipping non-finite steps that of mixed precision
(Micikevicius et al. 2018, section 3.2); clipping to a statistic of the gradient norms that were
seen, Pascanu, Mikolov and Bengio 2013, section 3.2.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from core.specs.base import Json
from core.specs.direction import sign_of_job
from core.specs.job import (
    ClipOnDivergence,
    JobSpec,
    RollBackOnDivergence,
    SkipOnDivergence,
    StopOnDivergence,
)
from core.train.checkpoint.snapshot import Snapshot
from core.train.stopping import TAIL, Trace, ended_far_above

SNAPSHOT_EVERY: Final = 100
"""Steps between two looks at whether the run is good enough to go back to."""
SETTLING_STEPS: Final = 50
"""Steps after an intervention in which a loss that is still far above is no new divergence."""
NORMS: Final = 100
"""Gradient norms whose median is the run's own."""

Policy = RollBackOnDivergence | SkipOnDivergence | ClipOnDivergence


def policy_of(spec: JobSpec) -> "DivergencePolicy | None":
    """Return the policy; None where a divergence just ends the run."""
    policy = spec.on_divergence
    if isinstance(policy, StopOnDivergence):
        return None
    return DivergencePolicy(policy, spec.stop.max_loss, sign_of_job(spec))


@dataclass
class DivergencePolicy:
    """A policy and what it has done so far.

    Attributes:
        sign: of the losses (`core.specs.direction`).
        interventions: the record's entries, of this job.
        times: how often it has acted, the jobs included that this one continues.
        lr_scale: factor on every rate that the schedule gives.
        max_norm: gradients are scaled to at most this norm; None: they are not.
        norms: the last gradient norms (`clip` alone).
        quiet_until: before this step a loss that is far above is no news.
        good: where `rollback` goes back to.
    """

    policy: Policy
    max_loss: float | None
    sign: float = 1.0
    interventions: list[Json] = field(default_factory=list)
    times: int = 0
    lr_scale: float = 1.0
    max_norm: float | None = None
    norms: deque[float] = field(default_factory=lambda: deque(maxlen=NORMS))
    quiet_until: int = 0
    good: Snapshot | None = None
    _good_level: float | None = None

    def trouble(self, step: int, trace: Trace, loss: float, grad_norm: float) -> str | None:
        """Say why the row of `step`, which is not in `trace` yet, asks for an intervention; None
        when it does not, or when there were `max_times` of them already."""
        if self.times >= self.policy.max_times:
            return None
        if not math.isfinite(loss):
            return "the loss is not finite"
        if not math.isfinite(grad_norm):
            return "the gradient is not finite"
        sign = self.sign
        side = "above" if sign > 0 else "below"
        if self.max_loss is not None and sign * loss > sign * self.max_loss:
            return f"the loss is {side} stop.max_loss, {self.max_loss:g}"
        if isinstance(self.policy, SkipOnDivergence) or step < self.quiet_until:
            return None
        first, best = trace.first, sign * min(sign * trace.best, sign * loss)
        tail = [*trace.tail, loss][-TAIL:]
        # Clipping does a run that would have come back little harm, and must come early.
        least = 2 if isinstance(self.policy, ClipOnDivergence) else TAIL
        # First the cheap test, which few rows pass: the median needs a sort.
        if len(tail) < least or not ended_far_above(first, best, [loss], sign):
            return None
        if not ended_far_above(first, best, tail, sign):
            return None
        return f"the loss stays far {side} where it began, {first:.4g}"

    def is_due(self, step: int, trace: Trace) -> bool:
        """Tell whether the state before the row of `step` is to be kept to go back to: at the
        beginning, and then every `SNAPSHOT_EVERY` steps unless the losses have become worse since
        the last one."""
        if not isinstance(self.policy, RollBackOnDivergence):
            return False
        if self.good is None:
            return True
        if step <= self.good.step or step % SNAPSHOT_EVERY:
            return False
        level = self.sign * median(trace.tail)
        good = math.inf if self._good_level is None else self.sign * self._good_level
        return math.isfinite(level) and level <= max(self.sign * trace.first, good)

    def keep(self, snapshot: Snapshot) -> None:
        """Go back to this one from now on."""
        self.good = snapshot
        tail = snapshot.ledger["trace"]["tail"]
        self._good_level = median(tail) if tail else -self.sign * math.inf

    def act(self, step: int, reason: str, loss: float, lr: float) -> None:
        """Count an intervention at the row of `step`, and change what it changes for later steps.

        Args:
            lr: the rate of the update that does not come about as it would have.
        """
        self.times += 1
        self.lr_scale *= self.policy.lr_factor
        self.quiet_until = step + SETTLING_STEPS
        entry: Json = {
            "step": step,
            "action": self.policy.action,
            "reason": reason,
            "loss": loss,
            "lr_before": lr,
            "lr_after": lr * self.policy.lr_factor,
        }
        if isinstance(self.policy, ClipOnDivergence):
            known = median(self.norms) if self.norms else None
            self.max_norm = known if self.max_norm is None else self.max_norm / 2
            entry["max_norm"] = self.max_norm
        if isinstance(self.policy, RollBackOnDivergence):
            assert self.good is not None
            entry["to_step"] = self.good.step
        self.interventions.append(entry)

    def saw(self, grad_norm: float) -> None:
        """Take in the gradient norm of a row that is followed by its update."""
        if isinstance(self.policy, ClipOnDivergence):
            self.norms.append(grad_norm)

    def state(self) -> Json:
        """Return the JSON of everything but `good`."""
        return {
            "interventions": [dict(entry) for entry in self.interventions],
            "times": self.times,
            "lr_scale": self.lr_scale,
            "max_norm": self.max_norm,
            "norms": list(self.norms),
            "quiet_until": self.quiet_until,
        }

    def resume(self, state: Json | None, good: Snapshot | None) -> None:
        """Go on where `state` was taken."""
        if state is None:
            return
        self.interventions = [dict(entry) for entry in state["interventions"]]
        self.times, self.lr_scale = state["times"], state["lr_scale"]
        self.max_norm, self.quiet_until = state["max_norm"], state["quiet_until"]
        self.norms = deque(state["norms"], maxlen=NORMS)
        if good is not None:
            self.keep(good)
