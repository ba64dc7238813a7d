"""The learning-rate range test: train a little while the rate grows, and see where the loss turns.

Smith 2017 (arXiv 1506.01186), section 3.3, with an exponentially growing rate. The rates go in even
steps of their logarithm from one that changes nothing to one that breaks the run; the test ends
where the loss has diverged. Its answer is a tenth of the rate at the minimum of the smoothed
losses: on the digits it lay next to the best rate of a grid, where the steepest slope did not.

Its steps are made on the job's own initial weights, with batches in an order of their own.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from core.diagnosis.evidence.curves import Floats
from core.specs.direction import sign_of_job
from core.specs.job import JobSpec
from core.specs.schedules import Constant
from core.specs.sizes.shapes import draws_rows
from core.specs.validation.auto_lr import with_rate
from core.train.auto_lr.bound import LARGEST
from core.train.determinism import key
from core.train.devices import use_threads_for
from core.train.events import Control
from core.train.problems.base import Problem
from core.train.problems.build import build_problem
from core.train.state import OptimizationState
from core.train.stopping import ended_far_above

STEPS_A_DECADE: Final = 15
SMOOTHING: Final = 4.0
"""Standard deviation, in steps, of the Gaussian window by which mini-batch losses are smoothed: as
wide to both sides, so that the curve does not lag (a running average of 0.9 lags by ten steps)."""
CAUSAL: Final = 0.9
"""A running average, its start corrected for, tells divergence from a bad batch."""
BELOW_THE_MINIMUM: Final = 10.0
DTYPES: Final = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.float32,
}


@dataclass(frozen=True)
class RangeTest:
    """The result of a range test.

    Attributes:
        rates: of each step's update, growing.
        losses: of each step's row, before its update (with the sign of what is minimized).
        smoothed: the same, smoothed.
        diverged: whether the test ended because the loss had.
        minimum: the rate at the smoothed minimum; None: the loss fell nowhere.
    """

    rates: Floats
    losses: Floats
    smoothed: Floats
    diverged: bool
    minimum: float | None

    @property
    def suggestion(self) -> float | None:
        """A tenth of the rate at the minimum."""
        return None if self.minimum is None else self.minimum / BELOW_THE_MINIMUM

    @property
    def moves(self) -> bool:
        """Tell whether there is anything to find: the first loss is finite and an update changes
        it."""
        return bool(self.losses.size and np.isfinite(self.losses[0]))

    @property
    def reason(self) -> str | None:
        """The reason why there is no suggestion."""
        if self.minimum is not None:
            return None
        if not self.moves:
            return "the first loss or its gradient is not finite, or the gradient is 0"
        return "the loss fell at no rate"


def probe_seed(spec: JobSpec, index: int) -> int:
    """Return a seed for runs before the run: they draw nothing that it will draw."""
    return key(spec.seed, "probe", index) >> 1  # a spec's seeds are below 2⁶³


def range_test(
    spec: JobSpec, device: torch.device, control: Control, limit: float | None
) -> RangeTest | None:
    """Raise the rate until the loss diverges. None: asked to stop.

    Args:
        spec: resolved, its rate "auto".
        limit: the largest stable rate, where it is known: the test then spans seven decades about
            it. Else they go up to where a first update is ten times as long as the point is large.
    """
    trial = Trial(spec, device)
    reach = trial.reach()
    if reach is None:
        none = np.empty(0)
        return RangeTest(none, none, none, diverged=False, minimum=None)
    low, decades = (1e-7 * reach, 8) if limit is None else (1e-6 * limit, 7)
    rates = low * np.logspace(0, decades, decades * STEPS_A_DECADE + 1)
    losses: list[float] = []
    watch = Divergence(noisy=trial.noisy, first=trial.initial_loss())
    for step, rate in enumerate(rates):
        if control.stop_requested is not None:
            return None
        losses.append(trial.step(step, float(rate)))
        if watch.shows(losses[-1]):
            break
    return read(rates[: len(losses)], np.array(losses), noisy=trial.noisy, diverged=watch.found)


class Trial:
    """A copy of the run at its first weights, moved by updates at given rates."""

    def __init__(self, spec: JobSpec, device: torch.device) -> None:
        dtype = DTYPES[spec.precision or "float32"]
        first = build_problem(spec, device, dtype).state()
        optimizer = with_rate(spec.optimizer, 1.0)
        self._spec = spec.model_copy(
            update={"seed": probe_seed(spec, 0), "optimizer": optimizer, "schedule": Constant()}
        )
        self._first = {name: value.clone() for name, value in first.items()}
        self._problem: Problem = build_problem(self._spec, device, dtype)
        self.noisy = draws_rows(spec)
        self._sign = sign_of_job(spec)
        use_threads_for(self._problem, spec.threads)
        self._begin()

    def _begin(self) -> None:
        self._problem.load_state(self._first)
        self._descent = OptimizationState(self._spec, self._problem)

    def reach(self) -> float | None:
        """Return the rate whose first move is as long, in its largest coordinate, as the point is
        large (at least 1); None when there is no update at any rate. The trial begins anew."""
        # Small, so that what the update depends on does not change on the way.
        unit = 1e-3
        for step in range(2):  # the first update of some (ADOPT) takes measure, and moves nothing
            self.step(step, unit)
            moved, size = self._moved()
            if moved != 0:
                break
        self._begin()
        if not 0 < moved < math.inf:
            return None
        return min(LARGEST, unit * size / moved)

    def _moved(self) -> tuple[float, float]:
        """Return how far the point is from its first one in the largest coordinate, and how large
        that one was, at least 1."""
        moved, size = 0.0, 1.0
        for name, value in self._problem.state().items():
            if value.is_floating_point():
                before = self._first[name]
                moved = max(moved, float((value - before).abs().max()))
                size = max(size, float(before.abs().max()))
        return moved, size

    def initial_loss(self) -> float | None:
        """Return the loss that the run begins at; None: the first row's."""
        found = self._problem.initial_loss()
        return None if found is None else self._sign * found

    def step(self, step: int, rate: float) -> float:
        """Return the loss of the row, then make its update at this rate."""
        descent, problem = self._descent, self._problem
        descent.clear_gradients()
        loss = descent.loss(step)
        value = loss.item()
        if not math.isfinite(value):
            return self._sign * value
        descent.backward(loss)
        if descent.clip is not None:
            descent.clip(descent.gradient_norm())
        for group in descent.optimizer.param_groups:
            group["lr"] = rate
        descent.update(step, loss)
        problem.after_update()
        return self._sign * value


class Divergence:
    """A test whether the losses have left for good: the contract's rule, on their running
    average. `first`: the loss that they began at; None: the first one."""

    def __init__(self, *, noisy: bool, first: float | None = None) -> None:
        self.found = False
        self._keep = CAUSAL if noisy else 0.0
        self._sum = self._weight = 0.0
        self._first = math.nan if first is None else first
        self._lowest = math.inf

    def shows(self, loss: float) -> bool:
        """Take in a loss."""
        self._sum = self._keep * self._sum + (1.0 - self._keep) * loss
        self._weight = self._keep * self._weight + (1.0 - self._keep)
        level = self._sum / self._weight
        if math.isnan(self._first):
            self._first = loss
        self._lowest = min(self._lowest, level)
        self.found = not math.isfinite(level) or ended_far_above(self._first, self._lowest, [level])
        return self.found


def read(rates: Floats, losses: Floats, *, noisy: bool, diverged: bool) -> RangeTest:
    """Smooth the losses of a range test and find their minimum.

    The first decade's updates are too small to change anything but the batch, so that what is seen
    there is noise: a minimum lies further below it than it is wide, twice. Losses above it are
    smoothed as if they were as high as it, for how far a run has been thrown says nothing of where
    its minimum was.
    """
    finite = np.isfinite(losses)
    count = int(finite.argmin()) if not finite.all() else losses.size
    known = losses[:count]
    if count == 0:
        return RangeTest(rates, losses, losses, diverged, None)
    if noisy:
        smoothed = smooth(np.minimum(known, known[:STEPS_A_DECADE].max()), SMOOTHING)
        before = smoothed[:STEPS_A_DECADE]
        level = float(before.mean() - 2.0 * np.ptp(before))
    else:
        smoothed, level = known, float(known[0])
    at = int(smoothed.argmin())
    fell = bool(smoothed[at] < level)
    whole = np.concatenate([smoothed, losses[count:]])
    return RangeTest(rates, losses, whole, diverged, float(rates[at]) if fell else None)


def smooth(values: Floats, width: float) -> Floats:
    """Return weighted means under a Gaussian window of this standard deviation, cut off at the
    ends."""
    apart = np.arange(values.size)[:, None] - np.arange(values.size)[None, :]
    weights = np.exp(-0.5 * (apart / width) ** 2)
    return np.asarray((weights @ values) / weights.sum(axis=1))
