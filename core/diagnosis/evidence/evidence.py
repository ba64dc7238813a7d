"""The evidence that the rules look at, drawn once from a spec and its history."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, NamedTuple

import numpy as np

from core.diagnosis.evidence import curves
from core.diagnosis.evidence.box import box_of, projected_norms
from core.diagnosis.evidence.curves import Floats
from core.diagnosis.evidence.history import WINDOW, Rows
from core.diagnosis.evidence.landscape import slopes_of
from core.diagnosis.evidence.measured import Measured
from core.jobs import Outcome
from core.specs.base import Json
from core.specs.direction import sign_of_job
from core.specs.job import FunctionProblem, JobSpec
from core.specs.sizes.extent import extent

_FEW_BATCHES: Final = 8
_SAME_PLACE: Final = 1e-6
_SAME_LOSS: Final = 1e-9


class Cosine(NamedTuple):
    """Median cosine of successive gradients near the end, and where it comes from.

    `source`: `gradients` (exact: recorded, or from the points), `trapezoid` (from loss and gradient
    norm), or `displacements` (of the steps, which momentum smooths: weaker evidence).
    """

    value: float
    source: str


@dataclass(frozen=True)
class Evidence(Rows):
    """The rows, and what follows of the steps between them and of the point where they end."""

    @cached_property
    def descent(self) -> curves.Descent | None:
        """Steps of plain gradient descent seen through loss and gradient norm (deterministic)."""
        plain = self.method.family == "gradient_descent" and self.method.decay == 0.0
        clip = self.spec.gradient_clip
        if not plain or not self.deterministic or (clip is not None and clip.kind != "norm"):
            return None
        if getattr(self.spec.problem, "bounds", None) is not None:
            return None
        window = self.window
        if window.stop - window.start < 3:
            return None
        seen = curves.descent(self.loss[window], self.effective_lr[window], self.grad[window])
        return seen if seen.cosine.size >= 2 else None

    @cached_property
    def cosine(self) -> Cosine | None:
        """The cosine of successive gradients near the end; None when rows do not tell."""
        recorded = self._recorded_cosine()
        bounded = self.land is not None and self.land.box is not None
        if recorded is not None and not bounded:  # what is recorded is not projected
            return recorded
        if self.x is not None:
            return self._cosine_of_points(self.x)
        if self.descent is None:
            return None
        return Cosine(float(np.median(self.descent.cosine)), "trapezoid")

    def _recorded_cosine(self) -> Cosine | None:
        """Return the recorded cosine, which is exact for any method. At a minimum the B batches of
        an epoch cancel out, so that their gradients' cosine is −1/(B−1) of itself: few batches say
        nothing."""
        if self.turns is None or (not self.deterministic and self._batches < _FEW_BATCHES):
            return None
        late = self.turns[max(self.rows // 2, self.rows - WINDOW) :]
        late = late[np.isfinite(late)]
        return Cosine(float(np.median(late)), "gradients") if late.size >= 2 else None

    @property
    def _batches(self) -> int:
        return extent(self.spec.problem, self.spec.batch_size).steps_per_epoch or 1

    def _cosine_of_points(self, x: Floats) -> Cosine | None:
        window = self.window
        points = x[window]
        few = points[-WINDOW // 2 :]
        gradients = self.land.gradients(few) if self.land is not None else None
        if gradients is not None:
            source = "gradients"
            if len(few) > 2:
                vectors = gradients
            else:
                return self._cosine_of_next_step(x)
        elif self.method.family == "gradient_descent" and self.unconstrained:
            # x_{k+1} = x_k − η_k·g_k: the gradients are the steps over their rates, exactly.
            source, vectors = "gradients", -np.diff(points, axis=0) / self.lr[window][:-1, None]
        else:
            source, vectors = "displacements", np.diff(points, axis=0)
        found = curves.cosines(vectors) if len(vectors) > 1 else np.empty(0)
        return Cosine(float(np.median(found)), source) if found.size else None

    def _cosine_of_next_step(self, x: Floats) -> Cosine | None:
        """Compute the cosine where rows are not successive: gradient descent's next point is
        computed instead."""
        if self.land is None or self.method.family != "gradient_descent" or not self.unconstrained:
            return None
        half = slice(max(self.rows // 2, self.rows - WINDOW // 2), self.rows)
        now = self.land.gradients(x[half])
        if now is None:
            return None
        after = self.land.gradients(x[half] - self.lr[half, None] * now)
        if after is None:
            return None
        pairs = np.stack([now, after], axis=1)
        found = [curves.cosines(pair) for pair in pairs]
        known = [float(each[0]) for each in found if each.size]
        return Cosine(float(np.median(known)), "gradients") if known else None

    @cached_property
    def sharpness(self) -> float | None:
        """The largest curvature known: of the function, else the largest Rayleigh quotient seen by
        gradient descent near its start and its end (a lower bound of λ_max)."""
        if self.land is not None and self.land.largest is not None:
            return self.land.largest_at_first if self.blown_up else self.land.largest
        if self.measured is not None:
            found = self.measured.first_largest if self.blown_up else self.measured.largest
            if found is not None and found > 0:
                return found
        seen = []
        if self.descent is not None and not self.blown_up:
            seen.append(self.descent.curvature)
        early = slice(0, min(self.rows, 32))
        if self.descent is not None and bool((np.diff(self.step[early]) == 1.0).all()):
            seen.append(
                curves.descent(
                    self.loss[early], self.effective_lr[early], self.grad[early]
                ).curvature
            )
        known = [float(each.max()) for each in seen if each.size]
        return max(known) if known and max(known) > 0 else None

    @cached_property
    def secant(self) -> float:
        """The largest change of the gradient over the length of a step near the end: where steps
        cross a kink, the curvature at the points says nothing. 0 where it is not known."""
        if self.x is None or self.land is None or self.land.form is not None:
            return 0.0
        points = self.x[self.window][-WINDOW // 2 :]
        slopes = self.land.gradients(points)
        if slopes is None or len(points) < 2:
            return 0.0
        moved = np.sqrt((np.diff(points, axis=0) ** 2).sum(axis=1))
        turned = np.sqrt((np.diff(slopes, axis=0) ** 2).sum(axis=1))
        # Shorter steps than the differences are wide see their rounding.
        seen = moved > 1e-4 * np.maximum(1.0, np.abs(points[1:]).max(axis=1))
        found = turned[seen] / moved[seen]
        found = found[np.isfinite(found)]
        return float(found.max()) if found.size else 0.0

    @cached_property
    def remaining(self) -> float | None:
        """Share of the first gap that a minimum in reach would still take off; functions only. 0
        where the minimum is reached to six digits of its place and nine of the loss: a run that
        began there has no gap."""
        land = self.land
        if land is None or self.rows == 0 or self.blown_up:
            return None
        if self.zero_gradient:
            return 0.0
        last = float(self.loss[-1])
        if land.decrement is not None:
            left = land.decrement
            base = land.minimum if land.minimum is not None else last - left
        elif land.minimum is not None:
            base = land.minimum
            left = max(0.0, last - base)
        else:
            return None
        if self._at_bottom:
            return 0.0
        gap = float(self.loss[0]) - base
        return left / gap if gap > 0 else 0.0 if left == 0.0 else 1.0

    @cached_property
    def _at_bottom(self) -> bool:
        """Tell whether the minimum in reach is reached to six digits of its place and nine of the
        loss."""
        land = self.land
        if land is None or land.shift is None or land.decrement is None or self.blown_up:
            return False
        near = land.shift <= _SAME_PLACE
        return near and land.decrement <= _SAME_LOSS * abs(float(self.loss[-1]))

    @property
    def _bottom_known(self) -> bool:
        """Tell whether `remaining` is to the bottom in reach, not to a minimum that may be
        elsewhere."""
        land = self.land
        return land is not None and (land.decrement is not None or land.form is not None)

    @cached_property
    def zero_gradient(self) -> bool:
        """True when the gradient is exactly 0 at the end (in every batch of an epoch, and at least
        ten, where batches are random): 0 of no first size is 0 all the same."""
        found = self.at_end
        if found is not None and found.grad_norm == 0.0:
            return True
        last = self.grad[-1 if self.deterministic else -max(10, self._batches) :]
        return last.size > 0 and not self.blown_up and bool((last == 0.0).all())

    @cached_property
    def slope_is_small(self) -> bool:
        """True when the gradient is at most a tenth of its first size, or a twentieth of the usual
        around: at a kink the bottom may be near and the slope as large as ever."""
        share = self.full_gradient_share
        if self.zero_gradient or self._at_bottom or (share is not None and share <= 0.1):
            return True
        if self.deterministic and self.grad_ratio <= 0.1:
            return True
        typical = self.land.typical_gradient if self.land is not None else None
        return typical is not None and bool(self.grad_end <= 0.05 * typical)

    @cached_property
    def _tolerance_held(self) -> bool:
        wanted = self.spec.stop.gradient_norm
        return wanted is not None and self.rows > 0 and bool(self.grad[-1] <= wanted)

    @cached_property
    def _settled(self) -> bool:
        """Tell whether at most 1e-3 of the first gap is left, as the fitted limit of a full-batch
        descent and its gradient tell, and the second half took less than 1 % off the loss.

        With the late rate's μ, ‖g‖²/2μ bounds what is left (Polyak and Łojasiewicz 1963): the fit
        alone takes the first modes' limit for the last one's.
        """
        rate = self.rate
        if not self.deterministic or rate is None or rate.kind != "linear" or rate.r2 < 0.9:
            return False
        if self.level.late_fall >= 0.01:
            return False
        gap = self.level.start - rate.f_star
        left = float(self.loss[-1]) - rate.f_star
        low = (1.0 - math.sqrt(min(1.0, max(0.0, rate.factor_high)))) / float(self.lr[-1])
        low *= 1.0 - self.method.beta
        bound = self.grad_end**2 / (2.0 * low) if low > 0 else math.inf
        return gap > 0 and max(left, bound) <= 1e-3 * gap and self.grad_ratio <= 0.05

    @cached_property
    def gain(self) -> tuple[float, float] | None:
        """Gain of a real Newton step on a model's loss, as a share of the first gap (to where
        it leads) and of the loss; None if not measured."""
        found = self.at_end
        if found is None or found.gain is None or found.loss is None or found.loss <= 0.0:
            return None
        first = found.first_loss if found.first_loss is not None else self.level.start
        gap = first - (found.loss - found.gain)
        return (found.gain / gap if gap > 0 else math.inf), found.gain / found.loss

    @cached_property
    def _nothing_to_gain(self) -> bool | None:
        """Tell whether a step can gain less than 1e-3 of the first gap, and either 1 % of the loss
        or 1e-5 of the gap: a loss on its way to 0 loses all of itself in the end."""
        gain = self.gain
        return None if gain is None else gain[0] <= 1e-3 and (gain[1] <= 1e-2 or gain[0] <= 1e-5)

    def _gradient_below(self, share: float) -> bool | None:
        if not np.isfinite(self.grad_start) or not self.deterministic:
            return None
        return bool(self.grad_end <= share * self.grad_start)

    @cached_property
    def stationary(self) -> bool | None:
        """Tell whether the gradient is ≈ 0 at the end; None when that is not to be known.

        It is when the job's own `stop.gradient_norm` held; when what is left to gain is below 1e-8
        of the first gap (functions; 1e-6 in float32); when a convex loss of all rows has nothing
        to gain by a Newton step, or (not measured) has settled at its fitted limit; else when the
        gradient norm is below 1e-6 of its first size (1e-4 in float32) and a Newton step gains
        nothing, or (not measured) the second half does not fall by 1 %. Mini-batch gradients never
        vanish: None. A gradient of exactly 0 is always 0. A loss above its start is at no
        minimum if it is convex, or if the last row's own gradient is not small.
        """
        single = self.spec.precision != "float64"
        small = 1e-4 if single else 1e-6
        if self._tolerance_held:
            return True
        if self.above_start and (self.convex or not self._gradient_below(small)):
            return False
        if self.zero_gradient:
            return True
        if self.remaining is not None and (self._bottom_known or self.remaining <= 1e-8):
            return self.remaining <= (1e-6 if single else 1e-8)
        gained = self._nothing_to_gain
        if gained is False:
            return False
        if self.convex and self.deterministic and (self._settled if gained is None else gained):
            return True
        share = self.full_gradient_share
        below = self._gradient_below(small) if share is None else share <= small
        # A first gradient that is huge makes any later one small: then the loss still falls.
        return below and (gained is True or not (self.falling and self.level.late_fall >= 0.01))

    @cached_property
    def near_stationary(self) -> bool | None:
        """Tell whether the run lingers where the gradient vanishes (1e-3 of the first gap left)."""
        if self.stationary:
            return True
        if self.remaining is not None and (self._bottom_known or self.remaining <= 1e-3):
            return self.remaining <= 1e-3
        share = self.full_gradient_share
        if share is not None:
            still = not (self.falling and self.level.late_fall >= 0.05)
            return still and (share <= 1e-3 or (share <= 0.03 and self._falls_to_both_sides))
        return self._gradient_below(1e-4)

    @cached_property
    def full_gradient_share(self) -> float | None:
        """The gradient norm over all data at the end over the first one; None if not measured."""
        found = self.at_end
        if found is None or found.grad_norm is None:
            return None
        if found.grad_norm == 0.0:
            return 0.0
        if self.land is not None and self.land.box is not None:
            return None  # what was measured is not projected
        first = found.first_grad_norm or (self.grad_start if self.land is not None else None)
        return found.grad_norm / first if first else None

    @cached_property
    def _falls_to_both_sides(self) -> bool:
        """Tell whether negative curvature offers ten times what the gradient does."""
        found = self.at_end
        if found is None or found.sign != "negative" or not found.largest or not found.loss:
            return False
        by_gradient = (found.grad_norm or 0.0) ** 2 / (2.0 * abs(found.largest))
        return found.drop_both_sides > max(0.01 * abs(found.loss), 10.0 * by_gradient)

    @property
    def spent(self) -> bool:
        """Tell whether so little is left (1e-6 of the first gap) that how it moves does not
        matter."""
        if self.stationary:
            return True
        return self.remaining is not None and self.remaining <= 1e-6


def gather(
    spec: JobSpec,
    outcome: Outcome | None,
    train: dict[str, Floats],
    evaluation: dict[str, Floats] | None,
    measured: Measured | None = None,
    result: Json | None = None,
    data: Json | None = None,
) -> Evidence:
    """Cut the history at its first non-finite loss and wrap it. Missing columns become NaN."""
    loss = np.asarray(train.get("loss", np.empty(0)), dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(loss)) if not np.isfinite(loss.sum()) else np.empty(0)
    rows = int(bad[0]) if bad.size else loss.size
    sign = sign_of_job(spec)

    def column(name: str) -> Floats:
        values = train.get(name)
        return np.full(rows, np.nan) if values is None else np.asarray(values[:rows], np.float64)

    points = train.get("x")
    if points is not None:
        points = np.asarray(points[:rows], np.float64)
        points = points.reshape(rows, -1) if rows else None
    pair = None
    if evaluation is not None and len(evaluation.get("step", ())):
        pair = (np.asarray(evaluation["step"]), sign * np.asarray(evaluation["loss"]))
    norms, box = column("grad_norm"), box_of(spec.problem)
    if box is not None and points is not None and isinstance(spec.problem, FunctionProblem):
        norms = projected_norms(box, points, norms, slopes_of(spec.problem, sign))
    began_at = (result or {}).get("initial_loss")
    began_at = sign * began_at if isinstance(began_at, (int, float)) else None
    return Evidence(
        spec=spec,
        outcome=outcome,
        step=column("step"),
        loss=sign * loss[:rows],
        lr=column("lr"),
        grad=norms,
        x=points,
        nonfinite=rows < loss.size,
        evaluation=pair,
        measured=measured,
        data=data if data is not None or measured is None else measured.examined,
        turns=column("grad_cosine") if "grad_cosine" in train else None,
        broken=None if outcome == "converged" else _broken(train, rows, sign, began_at),
        initial_loss=began_at,
    )


def _broken(
    train: dict[str, Floats], rows: int, sign: float, began_at: float | None
) -> Literal["gradient", "update"] | None:
    """Tell what was not finite first at the last row with a finite loss, if that loss was no larger
    than before: its gradient, or the update that a finite gradient gave."""
    loss, grad = np.asarray(train.get("loss", ())), np.asarray(train.get("grad_norm", ()))
    if rows == 0 or grad.size < rows:
        return None
    first = sign * float(loss[0]) if began_at is None else began_at
    grown = sign * float(loss[rows - 1]) - first > 3.0 * max(abs(first), 1.0)
    if grown:
        return None
    if not np.isfinite(grad[rows - 1]):
        return "gradient"
    step = np.asarray(train.get("step", ()), dtype=np.float64)
    if rows >= loss.size or not np.isnan(loss[rows]) or step[rows] - step[rows - 1] != 1.0:
        return None
    points = train.get("x")
    if points is None:
        return "update"
    return None if np.isfinite(np.asarray(points)[rows]).all() else "update"
