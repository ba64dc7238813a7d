"""Rules on where a run has come to rest: minimum, saddle point, or a local minimum."""

import math
from typing import Final

import numpy as np

from core.diagnosis.evidence.evidence import Evidence
from core.diagnosis.finding import RuleAnswer, clear, over, triggered, unknown
from core.diagnosis.words import apart, taken_off
from core.specs.job import DataProblem

HARDLY_LEFT: Final = 1e-2
"""Share of a function's scale: a run that ends nearer to its start has seen nothing of the
function but its slope there."""


def look_stationary(e: Evidence) -> RuleAnswer:
    """Trigger on a gradient ≈ 0 at the end."""
    if e.rows == 0:
        return unknown("There are no rows.")
    numbers = {"grad_norm": float(e.grad[-1]), "of_first": e.grad_ratio}
    if e.remaining is not None:
        numbers["remaining"] = e.remaining
    if e.full_gradient_share is not None:
        numbers["full_gradient_of_first"] = e.full_gradient_share
    if e.gain is not None:
        numbers["step_gain_of_gap"], numbers["step_gain_of_loss"] = e.gain
    if e.stationary is None:
        return unknown("Gradients of random batches do not vanish at a minimum.", **numbers)
    if e.stationary:
        text = f"The gradient norm is {e.grad[-1]:.3g}"
        if e.land is not None and e.land.box is not None:
            text = f"The norm of the gradient that the bounds leave is {e.grad[-1]:.3g}"
        if e.full_gradient_share is not None:
            text = f"The gradient over all data is {e.full_gradient_share:.2g} of its first size"
        if e.remaining is not None:
            text += f" and at most {e.remaining:.2g} of the first gap is left to gain nearby"
        return triggered(text + ".", 3.0, **numbers)
    if e.near_stationary:
        return unknown("The gradient is small, but not as small as at a minimum.", **numbers)
    return clear("The gradient is not close to 0.", 2.0, **numbers)


def look_negative_curvature(e: Evidence) -> RuleAnswer:
    """Trigger when λ_min is clearly below 0 where the run lingers."""
    if not e.near_stationary:
        return unknown("Looked at only where the gradient is close to 0.")
    if e.convex:
        return clear("The loss is convex in the weights: no curvature is negative.", 3.0)
    if not e.slope_is_small:
        text = f"The gradient is still {e.grad_ratio:.2g} of its first size: no point of rest."
        return unknown(text, gradient_of_first=e.grad_ratio)
    land = e.land
    if land is not None and land.kinked:
        return _at_a_kink(e, land.drop)
    if land is None or land.eigenvalues is None:
        return _measured_curvature(e)
    least, most = float(land.eigenvalues[0]), float(np.abs(land.eigenvalues).max())
    numbers = {"smallest_eigenvalue": least, "resolution": land.resolution}
    edge = max(land.resolution, 1e-6 * most)
    if least < -edge:
        text = f"The smallest eigenvalue of the Hessian is {least:.4g}: the function falls away"
        return triggered(text + " on both sides along it.", over(-least, edge), **numbers)
    if land.scaled is not None:
        least_scaled, edge = land.scaled.least, max(land.scaled.resolution, 1e-6 * land.scaled.most)
        if least_scaled < -edge:
            numbers["smallest_scaled_eigenvalue"] = least_scaled
            text = "In units of each coordinate's scale the smallest eigenvalue of the Hessian is"
            text += f" {least_scaled:.4g}: the function falls away on both sides along it."
            return triggered(text, over(-least_scaled, edge), **numbers)
        if least_scaled > edge:
            return clear(_not_below_zero(least), 2.0, **numbers)
    # A step of 1 % of the scale that gains far more than a Newton step would is no minimum's.
    reach = 0.0 if e.zero_gradient else land.decrement or 0.0
    if land.drop > 100.0 * reach + 1e-12 * abs(float(e.loss[-1])):
        numbers["drop"] = land.drop
        text = f"The curvature is not resolved, but the function lies {land.drop:.3g} lower nearby."
        return triggered(text, 1.0, **numbers)
    return clear(_not_below_zero(least), 2.0, **numbers)


def _not_below_zero(least: float) -> str:
    """Say of the smallest eigenvalue that it is not clearly below 0."""
    if least < 0.0:
        return f"The smallest eigenvalue is {least:.4g}, which cannot be told from 0."
    return f"The smallest eigenvalue is {abs(least):.4g}, not below 0."


def _at_a_kink(e: Evidence, drop: float) -> RuleAnswer:
    """Judge a kink: where the slope jumps there is no curvature; with a gradient of 0 there, values
    tell."""
    text = "The slope jumps here, so that no curvature"
    if not e.stationary:
        return unknown(text + " can be told.", drop=drop)
    if drop > 1e-12 * abs(float(e.loss[-1])):
        return triggered(
            f"{text} says it, but the function lies {drop:.3g} lower nearby.", 1.0, drop=drop
        )
    return clear(text + " can be told, but no point nearby is lower.", 1.0, drop=drop)


def _measured_curvature(e: Evidence) -> RuleAnswer:
    """Judge the curvature by Lanczos on the weights, confirmed by a real step to either side."""
    found = e.at_end
    if found is None or found.smallest is None or found.largest is None:
        return unknown("The history does not tell the curvature.")
    least, edge = found.smallest, found.edge
    numbers = {
        "smallest_eigenvalue": least,
        "bound": found.smallest_bound or 0.0,
        "largest_eigenvalue": found.largest,
        "drop": found.drop,
        "drop_both_sides": found.drop_both_sides,
    }
    if found.sign is None:
        value, bound = apart(least, numbers["bound"], digits=3)
        text = f"The smallest eigenvalue found is {value}, but its bound of {bound} does not"
        return unknown(f"{text} separate it from 0.", **numbers)
    if found.sign == "negative":
        floor = 0.0
        if isinstance(e.spec.problem, DataProblem):
            floor = max(1e-2 * abs(found.loss or 0.0), 1e-4 * abs(found.first_loss or 0.0))
        if found.drop_both_sides > floor:
            text = f"The smallest eigenvalue of the Hessian is {least:.4g}, and steps along it take"
            text += f" {found.drop_both_sides:.3g} off the loss to either side."
            return triggered(text, over(-least, edge), **numbers)
        text = f"The smallest eigenvalue is {least:.2g}, but a step along it gains next to nothing."
        return clear(text, 0.5, **numbers)
    return clear(_not_below_zero(least), 2.0, **numbers)


def look_above_known_minimum(e: Evidence) -> RuleAnswer:
    """Trigger on a minimum in reach that lies clearly above the function's known one."""
    if not e.near_stationary:
        return unknown("Looked at only where the gradient is close to 0.")
    if e.convex:
        return clear("The loss is convex in the weights: every minimum is the lowest.", 3.0)
    last, first = float(e.loss[-1]), float(e.loss[0])
    if isinstance(e.spec.problem, DataProblem):
        if last <= 1e-6 * max(abs(first), 1e-300):
            return clear("The loss cannot go below 0, and is there.", 3.0, loss=last)
        return _above_other_models(e, first)
    least = _least_known(e)
    if e.land is None or least is None:
        return unknown("No lower minimum is known.", loss=last)
    above, reach = last - least, 0.0 if e.zero_gradient else e.land.decrement
    numbers = {"loss": last, "known_minimum": least, "above": above}
    edge = 1e-6 * max(abs(first - least), abs(least) * 1e-3, 1e-12)
    if above < -edge:
        lowest, loss = apart(least, last, digits=6)
        text = f"No other minimum found is lower than {lowest}; the loss is {loss}."
        return clear(text, 1.0, **numbers)
    if above <= edge:
        return clear(f"The loss is at the known minimum of {least:.6g}.", 4.0, **numbers)
    if reach is not None and above > 100.0 * reach:
        lowest, loss = apart(least, last, digits=6)
        text = f"The loss of {loss} lies {above:.4g} above the known minimum of {lowest},"
        text += f" and nearby there is at most {reach:.2g} to gain."
        return triggered(text, over(above, 100.0 * reach), **numbers)
    if e.land.eigenvalues is None:
        return triggered(f"The loss lies {above:.4g} above the known minimum.", 1.0, **numbers)
    return clear("What is left can still be gained from here.", 0.5, **numbers)


def _least_known(e: Evidence) -> float | None:
    """Return the function's published minimum, else the lowest one that a multi-start found; on
    ground that is flat to rounding, the lowest value seen around."""
    if e.land is not None and e.land.minimum is not None:
        return e.land.minimum
    found = None if e.at_end is None else e.at_end.other_minimum
    if found is None and e.land is not None and e.zero_gradient and e.land.flat:
        return e.land.lowest_around
    return found


def _above_other_models(e: Evidence, first: float) -> RuleAnswer:
    """Judge a model at rest against what the same model reaches from elsewhere, or reached
    before."""
    found = e.at_end
    if e.above_start:
        last, numbers = float(e.loss[-1]), {"loss": float(e.loss[-1]), "lower_loss_known": first}
        loss, began = apart(last, first, digits=4)
        text = f"The loss rests at {loss}, above the {began} that the run began with."
        return triggered(text, over(last, first), **numbers)
    if found is None or found.loss is None:
        return unknown("The lowest loss of a model is not known.")
    known = [each for each in (found.other_minimum, _best_before(e)) if each is not None]
    if not known:
        return unknown("The lowest loss of a model is not known.", loss=found.loss)
    least = min(known)
    numbers = {"loss": found.loss, "lower_loss_known": least}
    if least < found.loss - max(0.1 * found.loss, 1e-3 * abs(first)):
        loss, lower = apart(found.loss, least, digits=4)
        text = f"The loss rests at {loss}, but the same model reaches {lower} from"
        return triggered(text + " other weights.", over(found.loss, least), **numbers)
    return clear("No lower loss was found from other weights.", 1.0, **numbers)


def _best_before(e: Evidence) -> float | None:
    """Return the lowest loss of the run itself, where each row's is of all data."""
    return e.level.best if e.deterministic else None


def look_plateau(e: Evidence) -> RuleAnswer:
    """Trigger when there is no descent in the second half while the gradient is small, but not ≈
    0."""
    if e.rows < 12:
        return unknown("Needs twelve rows.")
    late, size = e.level.late_fall, e.grad_ratio
    numbers = {"late_fall": late, "trend_z": e.late_trend.z, "gradient_of_first": size}
    if e.blown_up:
        return clear("The run diverged.", 1.0, **numbers)
    if e.spent:
        return clear("The run has arrived.", 1.0, **numbers)
    if e.falling and late >= 0.01:
        text = f"The second half {taken_off(late, 1)}: a steady fall, no plateau."
        return clear(text, over(late, 0.01), **numbers)
    if e.convex and e.level.fall >= 0.2:
        return clear("A convex loss that fell and stands still is near its minimum.", **numbers)
    if isinstance(e.spec.problem, DataProblem) and _little_is_left(e):
        return clear("The loss stands still where little of it is left.", 0.3, **numbers)
    if late >= 0.02:
        return clear(f"The second half {taken_off(late, 1)}.", 0.3, **numbers)
    gain = _gain_of_a_larger_rate(e)
    numbers["late_fall_at_larger_rate"] = late * gain
    if late * gain >= 0.05:
        text = f"a rate {gain:.3g} times larger is stable and would take {late * gain:.0%} off"
        return clear("The loss hardly falls, but " + text + ".", over(late * gain, 0.05), **numbers)
    if e.factor_holds_it is not None and size >= 0.5:
        return clear("The rate is too small a factor to tell.", 0.3, **numbers)
    small, text = _gradient_is_small(e, size, numbers)
    if not small:
        return clear(f"The loss stands still, but {text}.", 0.3, **numbers)
    return triggered(
        f"The second half {taken_off(late, 2)}, and {text}.",
        0.5 + over(max(late, 1e-4), 0.02) / 2,
        **numbers,
    )


def _little_is_left(e: Evidence) -> bool:
    """Tell whether 2 % of the loss is left at most: of the rows', or of the evaluations', which may
    be of other weights (averages) than the gradients are."""
    evaluated = None if e.evaluation is None else e.evaluation[1]
    if evaluated is not None and evaluated.size and 0 <= evaluated[-1] <= 0.02 * evaluated[0]:
        return True
    return bool(e.level.end <= 0.02 * e.level.start)


def _gain_of_a_larger_rate(e: Evidence) -> float:
    """Return how many times larger the rate could be by all curvature known around; 1 when
    unknown."""
    known = [each for each in (e.sharpness, e.land.steepest if e.land else None) if each]
    if e.sharpness is None or not e.method.linear or not e.deterministic:
        return 1.0
    product = float(e.lr.max()) * max(known)
    return max(1.0, e.method.threshold() / product) if product > 0 else 1.0


def _mean_slope(e: Evidence) -> float | None:
    """Return how much lower the lowest minimum found from other starts is, over its distance."""
    found = e.at_end
    if found is None or found.other_minimum is None or found.other_point is None or e.x is None:
        return None
    away = float(np.sqrt(((e.x[e.rows - 1] - np.array(found.other_point)) ** 2).sum()))
    drop = float(e.loss[-1]) - found.other_minimum
    return drop / away if away > 0 and drop > 0 else None


def _steep_for_its_drop(e: Evidence) -> bool:
    """Tell whether the run has hardly left its start, and the function's scale down this gradient
    would take off all that there is to gain: steep for what lies below, if flat beside what is
    around."""
    land = e.land
    if land is None or land.scale is None or e.x is None:
        return False
    size = float(np.sqrt((land.scale**2).sum()))
    walked = float(np.sqrt(((e.x[e.rows - 1] - e.x[0]) ** 2).sum()))
    lows = [low for low in (land.minimum, land.lowest_around) if low is not None]
    gap = float(e.loss[-1]) - min(lows, default=math.inf)
    return gap > 0 and walked <= HARDLY_LEFT * size and e.grad_end * size >= gap


def _gradient_is_small(e: Evidence, size: float, numbers: dict[str, float]) -> tuple[bool, str]:
    """Tell whether the gradient is small against its first size, the function's other slopes, or
    what it should have moved."""
    typical = e.land.typical_gradient if e.land is not None else None
    if typical is not None and typical > 0:
        numbers["gradient_of_typical"] = e.grad_end / typical
        if e.grad_end <= 0.05 * typical and not _steep_for_its_drop(e):
            return True, f"the gradient is {e.grad_end / typical:.2g} of the usual around here"
    slope = _mean_slope(e)
    if slope is not None:
        numbers["gradient_of_mean_slope"] = e.grad_end / slope
        if e.grad_end <= 0.1 * slope:
            return (
                True,
                f"the gradient is {e.grad_end / slope:.2g} of the mean slope down from here",
            )
    share = e.full_gradient_share
    if share is not None and share <= 0.1 and e.level.fall < 0.2:
        numbers["full_gradient_of_first"] = share
        return True, f"the gradient over all data is {share:.2g} of its first size"
    if size <= 0.1:
        return True, f"the gradient is {size:.2g} of its first size"
    if not e.deterministic and e.level.fall < 0.2:
        # With this gradient and rate an ordinary loss would have fallen: batches cancel out.
        share = e.reach / max(abs(e.level.start), 1e-300)
        numbers["reach_over_loss"] = share
        if share >= 0.3:
            return True, "the steps, which could have taken it all off, cancel each other"
    return False, f"the gradient is still {size:.2g} of its first size"
