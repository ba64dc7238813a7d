"""A run's rows and the plain facts about them: levels, trends, sizes of gradients."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, NamedTuple

import numpy as np

from core.diagnosis.evidence import convergence, curves, landscape, theory
from core.diagnosis.evidence.curves import Floats
from core.diagnosis.evidence.landscape import Landscape
from core.diagnosis.evidence.measured import Measured
from core.diagnosis.evidence.theory import (
    FINDS_LENGTHS,
    Pace,
    longest_stride,
    pace_of,
    sums_squares,
)
from core.jobs import Outcome
from core.specs.base import Json
from core.specs.direction import sign_of_job
from core.specs.job import ClipNorm, DataProblem, JobSpec
from core.specs.sizes.extent import start_of
from core.specs.sizes.shapes import layers_of, problem_rows

FEW: Final = 16
WINDOW: Final = 128
"""Most rows at the end whose steps are looked at one by one."""


class Level(NamedTuple):
    """The level that a run came to. All but `floor` are losses.

    Attributes:
        start: `Rows.start`.
        middle, end: means over the first and the last quarter of the run's second half.
        best, worst: the extremes.
        floor: what the loss cannot go below: a function's known minimum, 0 for a supervised loss,
            the minimum by curvature at the last point, or a multi-start's; None when not known.
        spread: how much a function of unknown minimum usually differs from its last value.
    """

    start: float
    middle: float
    end: float
    best: float
    worst: float
    floor: float | None
    spread: float = 0.0

    @property
    def thrown(self) -> bool:
        """True when the loss was once three times as high as at first."""
        return self.worst > 3.0 * self.start > 0

    @property
    def fall(self) -> float:
        """Share of the first gap (to the floor) that is gone; of the spread where none is known."""
        return _share(self.start, self.end, self._base(self.start))

    @property
    def late_fall(self) -> float:
        """Share of the gap at half time that was gone at the end."""
        return _share(self.middle, self.end, self._base(self.middle))

    def _base(self, top: float) -> float:
        if self.floor is not None and self.floor <= min(self.end, top):
            return self.floor
        return min(self.best, top - self.spread)


def _share(top: float, end: float, base: float) -> float:
    gap = top - base
    return (top - end) / gap if gap > 0 else 0.0


@dataclass(frozen=True)
class Rows:
    """A run's finite rows and what follows from them; every property is computed once, on demand.

    Attributes:
        spec: resolved.
        outcome: of the job; None while it runs or when it was cancelled.
        step, loss, lr, grad: columns up to the first non-finite loss (that row excluded).
        x: the points of a function's rows, or None.
        nonfinite: whether a row was cut.
        evaluation: (step, loss) of the evaluations, or None.
        measured: what `core.train.measure.measure.measure` found at the run's weights, or None.
        data: what `core.train.data.examine.examine` found in the data, or None.
    """

    spec: JobSpec
    outcome: Outcome | None
    step: Floats
    loss: Floats
    lr: Floats
    grad: Floats
    x: Floats | None
    nonfinite: bool
    evaluation: tuple[Floats, Floats] | None
    measured: Measured | None = None
    data: Json | None = None
    turns: Floats | None = None
    """`grad_cosine`, where it was recorded."""
    broken: Literal["gradient", "update"] | None = None
    """The quantity that was not finite first, where a finite loss and sound steps led to it."""
    initial_loss: float | None = None
    """L₀ of the outcome's rule (CONTRACT, section 2), where it is known."""

    @cached_property
    def at_end(self) -> Measured | None:
        """The measurements at the run's last weights, where those make sense."""
        found = self.measured
        if found is None or self.blown_up:
            return None
        last = float(self.step[-1]) if self.rows else 0.0
        there = found.at_end or (found.step is not None and found.step >= last)
        return found if there else None

    @property
    def from_origin(self) -> bool:
        """True where the first rows and evaluations are of the initial weights; false for a job
        that continues another one, whose first ones are of trained weights."""
        return start_of(self.spec) == 0

    @cached_property
    def sign(self) -> float:
        """The sign of the losses: all that is told here is of the loss that falls, the negative of
        one that is maximized."""
        return sign_of_job(self.spec)

    @property
    def rows(self) -> int:
        return int(self.loss.size)

    @cached_property
    def deterministic(self) -> bool:
        """Tell whether the loss is a fixed function of the weights: no batches drawn, no
        dropout."""
        problem = self.spec.problem
        if not isinstance(problem, DataProblem):
            return True
        if layers_of(problem).draws or problem.data.augment:
            return False
        if problem.data.order.kind == "explicit":
            return False
        size = self.spec.batch_size
        if size == "full" or size is None:
            return size == "full"
        rows = problem_rows(problem).train
        return size >= rows

    @cached_property
    def jitters(self) -> bool:
        """Tell whether the training loss differs from step to step by itself, whatever the weights
        are: with the statistics of a batch, what dropout leaves out, what augmentation changes."""
        problem = self.spec.problem
        if not isinstance(problem, DataProblem):
            return False
        layers = layers_of(problem)
        return layers.draws or layers.batch_norms or bool(problem.data.augment)

    @cached_property
    def late_evaluations(self) -> tuple[float, float] | None:
        """The mean of the last half of the evaluation losses, and by which share of it the second
        half of those lies below the first; None with fewer than eight evaluations in all."""
        if self.evaluation is None or self.evaluation[1].size < 8:
            return None
        late = self.evaluation[1][self.evaluation[1].size // 2 :]
        mean, middle = float(late.mean()), late.size // 2
        if not mean > 0.0:
            return None
        return mean, float(late[:middle].mean() - late[middle:].mean()) / mean

    @property
    def _few(self) -> bool:
        """True for batches below `FEW` rows: one of them says little of where the run began."""
        size = self.spec.batch_size
        return isinstance(size, int) and size < FEW and not self.deterministic

    @property
    def _first_rows(self) -> int:
        """Number of first rows that stand for the start: one, or of few rows each a hundredth of
        the run (at most 20)."""
        return max(1, min(20, self.rows // 100)) if self._few else 1

    @cached_property
    def start(self) -> float:
        """The loss that the run began at: L₀ where it is known, else the first loss (of few rows
        each, the mean of the first ones)."""
        if self.initial_loss is not None and math.isfinite(self.initial_loss):
            return self.initial_loss
        return float(self.loss[: self._first_rows].mean()) if self.rows else math.nan

    @cached_property
    def first_gradient(self) -> float:
        """The gradient norm at the start. Of few rows each, at least the lower quartile of the
        first ten, lest one batch without a gradient stands for all."""
        if not self.rows:
            return math.nan
        first = float(self.grad[0])
        early = self.grad[:10][np.isfinite(self.grad[:10])]
        if not self._few or not early.size:
            return first
        usual = float(np.quantile(early, 0.25))
        return max(first, usual) if math.isfinite(first) else usual

    @cached_property
    def convex(self) -> bool:
        """Tell whether the loss is convex in the weights (a linear model: all losses offered
        are)."""
        problem = self.spec.problem
        return isinstance(problem, DataProblem) and layers_of(problem).convex

    @cached_property
    def method(self) -> theory.Method:
        return theory.method_of(self.spec)

    @cached_property
    def unconstrained(self) -> bool:
        """Tell whether each step is the method's own: nothing is clipped, and no bound can bind."""
        bounds = getattr(self.spec.problem, "bounds", None)
        return self.spec.gradient_clip is None and bounds is None

    @cached_property
    def steady_rate(self) -> bool:
        """Tell whether the learning rate was constant over the run's second half."""
        late = self.lr[self.rows // 2 :]
        return bool(late.size) and bool(late.max() <= late.min() * (1.0 + 1e-9))

    @cached_property
    def blown_up(self) -> bool:
        """Tell whether the run diverged, by its outcome or by its rows."""
        if self.nonfinite or self.outcome == "diverged":
            return True
        if self.outcome is not None and not self.deterministic and self.initial_loss is None:
            return False  # the run knew better where it began
        return bool(self.rows) and curves.diverged(self.loss, self.start)

    @cached_property
    def above_start(self) -> bool:
        """Tell whether a loss of all data ends above the one that the run began with, by more than
        float32 rounds: what is lower was seen, so that the run is at no minimum worth the name."""
        if not isinstance(self.spec.problem, DataProblem) or not self.deterministic:
            return False
        return self.rows > 1 and float(self.loss[-1] - self.loss[0]) > 1e-6 * abs(self.loss[0])

    @cached_property
    def land(self) -> Landscape | None:
        """The facts that the spec tells about the function at the run's last point (first if it
        diverged)."""
        if isinstance(self.spec.problem, DataProblem) or self.x is None or self.rows == 0:
            return None
        # Where a run has blown up there is nothing to learn of the function.
        last = 0 if self.blown_up else self.rows - 1
        return landscape.survey(self.spec.problem, self.x[0], self.x[last], self.sign)

    @cached_property
    def noise(self) -> float:
        return 0.0 if self.deterministic else curves.noise_level(self.loss)

    @cached_property
    def level(self) -> Level:
        n, loss = self.rows, self.loss
        half, quarter = n // 2, max(1, n // 8)
        bounded = isinstance(self.spec.problem, DataProblem) and loss[0] >= 0.0
        floor: float | None = 0.0 if bounded else None
        if self.land is not None:
            floor = self.land.floor
        if floor is None and self.at_end is not None and self.land is not None:
            floor = self.at_end.other_minimum
        return Level(
            start=self.start,
            middle=float(loss[half : half + quarter].mean()),
            end=float(loss[n - quarter :].mean()),
            best=float(loss.min()),
            worst=float(loss.max()),
            floor=floor,
            spread=(self.land.spread or 0.0) if self.land is not None else 0.0,
        )

    @cached_property
    def late_trend(self) -> curves.Trend:
        """The trend of the run's second half, by block means against the step."""
        half = self.rows // 2
        view = curves.blocks(self.loss[half:])
        return curves.trend(
            np.interp(view.row, np.arange(self.rows - half), self.step[half:]), view.mean
        )

    @property
    def falling(self) -> bool:
        """Tell whether the second half falls beyond doubt."""
        return self.late_trend.z <= -2.0 and self.late_trend.agreement <= -0.25

    @cached_property
    def wiggle(self) -> curves.Wiggle | None:
        return curves.wiggle(self.loss[self.rows // 2 :])

    @cached_property
    def rate(self) -> convergence.Rate | None:
        """The convergence rate of the second half."""
        half = self.rows // 2
        known = self.land.minimum if self.land is not None else None
        if known is not None and known >= self.level.best:
            known = None
        return convergence.convergence_rate(self.step[half:], self.loss[half:], known)

    @cached_property
    def window(self) -> slice:
        """The last rows with unbroken steps (at most `WINDOW`, and the run's second half)."""
        n = self.rows
        first = max(n // 2 if n > 8 else 0, n - WINDOW)
        gaps = np.flatnonzero(np.diff(self.step[first:]) != 1.0)
        return slice(first + int(gaps[-1]) + 1 if gaps.size else first, n)

    @cached_property
    def effective_lr(self) -> Floats:
        """The rate of each row with norm clipping folded in."""
        clip = self.spec.gradient_clip
        if not isinstance(clip, ClipNorm):
            return self.lr
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.lr * np.fmin(1.0, clip.max_norm / (self.grad + 1e-6))

    @cached_property
    def grad_start(self) -> float:
        """The gradient's first size: the largest of the first norm, the median of the first rows'
        (a twentieth), and the whole run's median. Of few rows each, the first norm alone says
        little: the medians do, of at least ten rows. Where each row's loss is of all data, rows
        whose loss lies above the first have no part: weights that were thrown far off have huge
        gradients, beside which any later one is small."""
        every = slice(None, None, max(1, self.rows // 2048))
        thin, loss = self.grad[every], self.loss[every]
        if self.deterministic and loss.size:
            thin = thin[loss <= loss[0]]
        finite = thin[np.isfinite(thin)]
        if finite.size == 0:
            return float("nan")
        least = 10 if self._few else 1
        first = finite[: max(least, finite.size // 20)]
        alone = 0.0 if self._few else float(finite[0])
        return float(max(alone, np.median(first), np.median(finite)))

    @cached_property
    def grad_end(self) -> float:
        last = self.grad[-min(10, max(1, self.rows // 10)) :]
        last = last[np.isfinite(last)]
        return float(np.median(last)) if last.size else float("nan")

    @property
    def grad_ratio(self) -> float:
        """The last gradient norm over the first; 0 when both are."""
        if self.grad_start > 0:
            return self.grad_end / self.grad_start
        return 0.0 if self.grad_end == 0.0 else float("nan")

    @cached_property
    def reach(self) -> float:
        """The most that the run's first-order steps could have taken off the loss.

        Σ η·‖g‖²/(1−β) for SGD; Σ η·s·‖g‖ where a step at rate 1 is at most s long, whatever the
        gradient is; 2·η·s·√Σ‖g‖² at most where steps are divided by the root of the sum of all
        squares so far (lemma 5 of Duchi, Hazan and Singer 2011, over s² numbers).
        """
        thin = slice(None, None, max(1, self.rows // 8192))
        size = np.nan_to_num(self.grad[thin], nan=0.0, posinf=0.0)
        stride = float(self.step[-1] - self.step[0] + 1) / max(1, size.size)
        if self.pace == "stride":
            long, rates = longest_stride(self.spec), self.lr[thin]
            bound = float((rates * size).sum()) * long * stride
            if sums_squares(self.spec):
                total = math.sqrt(float((size * size).sum()) * stride)
                bound = min(bound, 2.0 * float(rates.max()) * long * total)
            return bound
        boost = self.method.scale / (1.0 - self.method.beta)
        return float((self.effective_lr[thin] * size * size).sum()) * boost * stride

    @cached_property
    def factor_holds_it(self) -> float | None:
        """The rate of a method that finds its lengths itself, where that is at most a tenth of the
        usual 1 and the loss of the same rows is at last within a tenth of what it was at first;
        else None."""
        if not isinstance(self.spec.optimizer, FINDS_LENGTHS) or not self.lr.size:
            return None
        if not self.from_origin:
            return None
        evaluated = None if self.evaluation is None else self.evaluation[1]
        losses = self.loss if self.deterministic else evaluated
        factor = float(self.lr.max())
        if factor > 0.1 or losses is None or losses.size < 2:
            return None
        first, last = float(losses[0]), float(losses[-1])
        return factor if abs(last - first) <= 0.1 * abs(first) else None

    @cached_property
    def pace(self) -> Pace | None:
        """The bound of the length of the run's steps; None where it is not known."""
        return pace_of(self.spec, self.method)

    @cached_property
    def overfit(self) -> curves.Overfit | None:
        return None if self.evaluation is None else curves.overfit(*self.evaluation)
