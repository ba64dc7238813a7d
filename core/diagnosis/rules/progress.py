"""Rules on speed and quality: too slow, overfitting, noise-limited, or a healthy descent."""

import math
from typing import Any, Final, NamedTuple

import numpy as np

from core.diagnosis.evidence import convergence
from core.diagnosis.evidence.evidence import Evidence
from core.diagnosis.finding import RuleAnswer, clear, over, triggered, unknown
from core.diagnosis.rules.stability import asymptotic_speed, exact_form, excited, speed_up
from core.diagnosis.words import apart, as_factor, gone, percent
from core.specs.job import DataProblem
from core.specs.optimizers.kinds import Lion

LEAST_EVALUATIONS: Final = 8
SLOW_FALL: Final = 0.25
"""Share of the evaluation loss that a run may have taken off and still have hardly begun."""
LEAST_EXCESS_OF_JITTER: Final = 0.2
"""Share of the evaluation losses that the steps' own noise must account for, where the training
loss jitters by itself: usual runs of SGD with batch norm had 0.07 to 0.14, runs that noise holds up
0.3 and more."""


def look_rate_far_below_threshold(e: Evidence) -> RuleAnswer:
    """Trigger when η·λ_max is at most a tenth of the threshold, and much is left to gain."""
    if e.rows < 3 or not (e.method.linear and e.deterministic) or not e.lr.size:
        return unknown("Needs three rows of a method with a known threshold, without noise.")
    sharpness = e.sharpness
    if sharpness is not None:
        sharpness = max(sharpness, e.secant)
    form = exact_form(e)
    if form is not None:
        felt = excited(e, form)
        sharpness = float(felt[-1]) if felt.size else None
    if sharpness is None or sharpness <= 0:
        return unknown("The curvature is not known.")
    ratio = float(e.lr.max()) * (sharpness + e.method.decay) / e.method.threshold()
    gain, speed = 1.0 / ratio, asymptotic_speed(e)
    if speed is not None:
        gain = speed_up(*speed)
    numbers = {"ratio": ratio, "speed_up": gain, "curvature": sharpness}
    if e.spent or e.level.fall >= (0.9 if isinstance(e.spec.problem, DataProblem) else 0.999):
        return clear("Little is left to gain.", 1.0, **numbers)
    text = f"The learning rate is {as_factor(ratio, 3)} of the largest stable one"
    if ratio <= 0.1001 and gain >= 5.0:
        text += f"; a larger one needs about {gain:.3g} times fewer steps."
        return triggered(text, over(ratio, 0.2), **numbers)
    return clear(text + ".", over(ratio, 0.1), **numbers)


def look_steady_slow_descent(e: Evidence) -> RuleAnswer:
    """Trigger on a loss that has not even begun to level off: the run ended before its time
    constant."""
    if e.rows < 100 or e.spent:
        return unknown("Needs a hundred rows and something left to gain.")
    if e.land is not None and e.method.linear:
        return unknown("The curvature tells more.")
    level = e.level
    share = e.reach / max(abs(level.start), 1e-300) if _first_order(e) else math.nan
    bend = _bend(e)
    numbers = {"fall": level.fall, "late_fall": level.late_fall, "bend": bend, "reach": share}
    same_gradient = e.grad_end >= 0.5 * e.grad_start
    factor = e.factor_holds_it
    if factor is not None and same_gradient:
        numbers["rate_factor"] = factor
        text = f"{e.spec.optimizer.kind} finds the length of a step itself, and the rate is a"
        text += f" factor of {factor:.3g} on it, where 1 is usual: less than a tenth of the loss is"
        return triggered(text + " gone.", over(factor, 0.1), **numbers)
    if share < 0.05 and same_gradient:
        text = (
            f"All steps together could have taken off at most {share:.2%} of the loss, though the"
        )
        return triggered(text + " gradient is as large as at first.", over(share, 0.1), **numbers)
    full = e.full_gradient_share
    if full is not None and full >= 0.7 and share < 0.5 and level.fall < 0.3:
        numbers["full_gradient_of_first"] = full
        text = f"The gradient over all data still has {full:.0%} of its first size, and all steps"
        text += f" together could have taken off at most {share:.0%} of the loss."
        return triggered(text, over(share, 1.0), **numbers)
    found = _slow_evaluations(e)
    if found is not None and same_gradient:
        numbers["evaluation_fall"], numbers["evaluation_bend"] = found
        text = f"The evaluation loss still falls at {found.bend:.0%} of its early speed for the"
        text += f" same learning rate, and only {percent(found.fall)} of it is gone."
        return triggered(text, 0.3 + over(found.fall, SLOW_FALL), **numbers)
    if not e.falling:
        return clear("The second half does not fall steadily.", 0.5, **numbers)
    if level.fall <= 0.75 and 0.3 <= bend <= 3.0:
        text = f"The loss still falls at {bend:.0%} of its early speed for the same learning rate,"
        text += f" and only {percent(max(0.0, level.fall))} of it is gone."
        margin = 0.3 + min(over(bend, 0.3), 2.0 * over(max(level.fall, 0.05), 0.75))
        return triggered(text, margin, **numbers)
    text = f"{_capital(gone(level.fall, 0, 'the loss'))}, at {percent(bend)} of the early speed by"
    return clear(text + " now.", 0.5, **numbers)


class _Evaluated(NamedTuple):
    """The fall of the evaluation loss, as a share of the first, and the speed of its last third
    over that of the first, against the summed learning rate."""

    fall: float
    bend: float


def _slow_evaluations(e: Evidence) -> _Evaluated | None:
    """Return the fall of evaluations that go down all the way and have hardly begun to, where
    batches hide the training loss's; else None."""
    if e.deterministic or e.evaluation is None or e.evaluation[1].size < LEAST_EVALUATIONS:
        return None
    if not e.from_origin:
        return None
    steps, losses = e.evaluation
    steps_down = np.diff(losses) < 0.0
    if not np.isfinite(losses).all() or losses[0] <= 0.0 or steps_down.mean() < 0.9:
        return None
    fall = float((losses[0] - losses[-1]) / losses[0])
    time = np.interp(steps, e.step, np.cumsum(e.lr))
    third = (losses.size - 1) // 3
    early = float((losses[0] - losses[third]) / max(time[third] - time[0], 1e-300))
    late = float((losses[-1 - third] - losses[-1]) / max(time[-1] - time[-1 - third], 1e-300))
    bend = late / early if early > 0.0 else math.inf
    return _Evaluated(fall, bend) if 0.0 < fall <= SLOW_FALL and 0.3 <= bend <= 3.0 else None


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _first_order(e: Evidence) -> bool:
    return e.pace is not None and bool(np.isfinite(e.lr).all())


def _bend(e: Evidence) -> float:
    """Return the speed of the last third over that of the first, against the summed learning
    rate."""
    thin = max(1, e.rows // 8192)
    loss, time = e.loss[::thin], np.cumsum(e.lr[::thin])
    n = loss.size
    width = max(1, n // 8)
    middles = [0, n // 3, 2 * n // 3, n - width]
    levels = [float(loss[at : at + width].mean()) for at in middles]
    clock = [float(time[at : at + width].mean()) for at in middles]
    early = (levels[0] - levels[1]) / max(clock[1] - clock[0], 1e-300)
    late = (levels[2] - levels[3]) / max(clock[3] - clock[2], 1e-300)
    return late / early if early > 0 else (1.0 if late > 0 else 0.0)


def look_straight_path(e: Evidence) -> RuleAnswer:
    """Trigger on an adaptive method, whose steps are about η long, still on a straight line to
    somewhere."""
    if e.x is None or e.method.family != "adaptive" or e.rows < 10:
        return unknown("For points of adaptive methods, ten rows or more.")
    half = e.x[np.linspace(e.rows // 2, e.rows - 1, min(e.rows - e.rows // 2, 128)).astype(int)]
    steps = np.diff(half, axis=0)
    path = float(np.sqrt(np.einsum("ij,ij->i", steps, steps)).sum())
    net = float(np.sqrt(((half[-1] - half[0]) ** 2).sum()))
    if path == 0.0:
        return clear("The point does not move.")
    reach = float(e.lr.max()) * e.x.shape[1] ** 0.5
    stride = float(np.sqrt(((e.x[-1] - e.x[0]) ** 2).sum()))
    pace = stride / max(reach * float(e.step[-1] - e.step[0]), 1e-300)
    numbers = {"straightness": net / path, "pace": pace, "late_fall": e.level.late_fall}
    if net / path > 0.98 and pace > 0.3 and e.falling and not e.spent and e.level.fall < 0.99:
        text = f"The path is straight ({net / path:.3f}) at {pace:.0%} of the full step: the"
        return triggered(text + " learning rate alone sets the pace.", 0.5 + pace, **numbers)
    return clear("The path bends or the point has slowed down.", 0.5, **numbers)


class Conditioning(NamedTuple):
    """κ, the factor of the gap a step, how it was found, and what momentum could gain."""

    condition: float
    factor: float
    source: str
    gain: float


def conditioning(e: Evidence) -> Conditioning | None:
    """Return the condition number that the run feels: of the quadratic or Hessian, else from its
    rate."""
    form = exact_form(e)
    if form is not None and form.eigenvalues[0] > 0:
        felt = excited(e, form)
        if felt.size == 0:
            return None
        low, high = float(felt[0]), float(felt[-1])
        now = asymptotic_speed(e)
        assert now is not None
        best = methods_best(low, high)
        return Conditioning(high / low, now[0] ** 2, "spectrum", speed_up(now[0], best))
    found = _of_hessian(e)
    if found is not None:
        return found
    if e.rate is None or e.rate.kind != "linear" or e.rate.r2 < 0.8:
        return None
    factor = e.rate.factor
    if not 0.0 < factor < 1.0 or e.method.family != "gradient_descent" or not e.deterministic:
        return None
    # (1 − ημ)² = factor gives μ; the sharpness gives L.
    low = (1.0 - math.sqrt(factor)) / float(e.lr[-1])
    if e.sharpness is not None and e.sharpness > low:
        kappa, source = e.sharpness / low, "rate and sharpness"
    else:
        kappa, source = convergence.condition_number(factor), "rate"
    best = methods_best(1.0, kappa)
    return Conditioning(kappa, factor, source, speed_up(math.sqrt(factor), best))


def _of_hessian(e: Evidence) -> Conditioning | None:
    """Return the conditioning by the Hessian at the last point, where that is a bowl and the run is
    in it."""
    land = e.land
    if land is None or land.eigenvalues is None or e.method.family != "gradient_descent":
        return None
    low, high = float(land.eigenvalues[0]), float(land.eigenvalues[-1])
    if low <= land.resolution or not np.isfinite(e.lr[-1]):
        return None
    now = abs(1.0 - float(e.lr[-1]) * low)
    return Conditioning(high / low, now * now, "Hessian", speed_up(now, methods_best(low, high)))


def methods_best(low: float, high: float) -> float:
    """Return Polyak's factor (√κ−1)/(√κ+1), at best a digit a step."""
    root = math.sqrt(high / low)
    return max(0.1, (root - 1.0) / (root + 1.0))


def look_ill_conditioned(e: Evidence) -> RuleAnswer:
    """Trigger when the run is slow because of κ, not of the rate: more than 230 steps for a digit
    of the loss."""
    if e.rows < 12:
        return unknown("Needs twelve rows.")
    found = conditioning(e)
    if found is None:
        return unknown("No condition number could be estimated.")
    low, high = (e.rate.factor_low, e.rate.factor_high) if e.rate else (math.nan, math.nan)
    numbers = {
        "condition_number": found.condition,
        "factor": found.factor,
        "speed_up": found.gain,
        "fitted_factor_low": low,
        "fitted_factor_high": high,
    }
    if e.spent:
        return clear("The run has arrived all the same.", 1.0, **numbers)
    text = f"The condition number is about {found.condition:.3g} (from the {found.source}); the gap"
    if found.factor >= 1.0:
        return clear(f"{text} does not shrink, for which the rate is to blame.", 1.0, **numbers)
    text += f" shrinks by {as_factor(found.factor, 5)} a step"
    floor = 1e-8 if found.source == "spectrum" else 1e-4
    if isinstance(e.spec.problem, DataProblem):
        floor = 0.1
    left = e.remaining if e.remaining is not None else 1.0 - e.level.fall
    if found.condition >= 50.0 and found.factor > 0.99 and found.gain >= 4.0 and left > floor:
        text += f", and momentum needs about {found.gain:.3g} times fewer steps."
        return triggered(text, min(over(found.gain, 4.0), over(1 - found.factor, 0.01)), **numbers)
    return clear(text + ".", 0.5, **numbers)


def look_overfitting(e: Evidence) -> RuleAnswer:
    """Trigger when the evaluation loss has risen from its best by a fifth while the training loss
    fell on."""
    seen = e.overfit
    if seen is None or e.rows < 12:
        return unknown("Needs four evaluations.")
    gap = min(abs(seen.first - seen.best), 3.0 * abs(seen.best))
    numbers = {
        "best_step": seen.best_step,
        "best_eval_loss": seen.best,
        "last_eval_loss": seen.last,
        "rise": seen.rise,
        "trend_z": seen.after.z,
        "train_loss": e.level.end,
    }
    at = int(np.searchsorted(e.step, seen.best_step))
    width = max(1, e.rows // 20)
    train_then = float(e.loss[max(0, at - width) : at + width].mean())
    fell = e.level.end < 0.95 * train_then
    rising = seen.after.agreement > 0.3 and seen.after.z > 0.5
    numbers["train_loss_then"] = train_then
    if seen.rise >= 0.2 and seen.last - seen.best >= 0.05 * gap and rising and fell:
        text = f"The evaluation loss was lowest at step {seen.best_step:.0f} ({seen.best:.4g}) and"
        before, now = apart(train_then, e.level.end, digits=4)
        text += f" has risen by {seen.rise:.0%} since, while the training loss fell from"
        text += f" {before} to {now}."
        return triggered(text, over(seen.rise, 0.1), **numbers)
    above = e.from_origin and 0 < 1.2 * seen.first <= seen.last
    if above and e.level.end <= 0.5 * e.level.start:
        numbers["first_eval_loss"] = seen.first
        text = f"The evaluation loss is {seen.last:.4g}, above the {seen.first:.4g} of the initial"
        text += f" weights, while the training loss fell to {e.level.end:.4g}."
        return triggered(text, over(seen.last, 1.1 * seen.first), **numbers)
    text = f"The evaluation loss is {percent(seen.rise, 1)} above its best."
    return clear(text, over(max(seen.rise, 1e-3), 0.2), **numbers)


def look_noise_limited(e: Evidence) -> RuleAnswer:
    """Trigger when the loss has stopped falling at a level that the batches' noise holds up."""
    if e.deterministic:
        return clear("Every step uses all the data: there is no batch noise.", 3.0)
    if e.rows < 100:
        return unknown("Needs a hundred rows.")
    level, late = e.level, e.level.late_fall
    base = max(abs(level.end), 1e-300)
    share = e.noise / base
    excess = _excess(e) / base
    numbers = {"late_fall": late, "noise_over_loss": share, "fall": level.fall, "excess": excess}
    numbers["level"] = level.end
    # Each of the two means that `late` compares has this standard error.
    doubt = share / math.sqrt(max(1, e.rows // 8))
    still = not (e.falling and late >= 0.05) and late < max(0.1, min(0.25, 3.0 * doubt))
    if not still:
        return clear(f"The second half still takes {late:.1%} off the loss.", 0.5, **numbers)
    if level.fall < 0.2 or level.end <= 0.02 * level.start:
        return clear("The loss stands still for other reasons.", 0.3, **numbers)
    if share < 0.05:
        return clear("The noise is small against the loss.", over(share, 0.05), **numbers)
    if _late_gradient(e) < 0.1 * e.grad_start:
        return clear("The gradient has become small.", 0.3, **numbers)
    if e.jitters:
        return _noise_of_weights(e, excess * base, numbers)
    text = (
        f"The loss stays at {level.end:.4g} with a noise of {share:.0%} of it from batch to batch"
    )
    if math.isfinite(excess):
        text += f"; the steps' own noise accounts for about {excess:.0%} of the level"
        if excess < 0.05:
            return clear(text + ", so the level is the data's.", over(excess, 0.05), **numbers)
    return triggered(text + ".", min(over(share, 0.03), 1.5), **numbers)


def _noise_of_weights(e: Evidence, added: float, numbers: dict[str, Any]) -> RuleAnswer:
    """Answer for a model whose training loss jitters by itself, from the losses in evaluation mode.

    Args:
        added: what the steps' own noise adds to the loss.
    """
    late = e.late_evaluations
    if late is None or not math.isfinite(added):
        return unknown(
            "With batch norm or dropout the training loss jitters by itself: needs eight"
            " evaluations (record.eval_every), and steps whose noise can be told.",
            **numbers,
        )
    level, fall = late
    share = added / level
    numbers |= {"eval_level": level, "eval_late_fall": fall, "excess": share}
    if fall >= 0.1:
        return clear(f"In evaluation mode the loss still falls by {fall:.0%}.", 0.5, **numbers)
    text = f"In evaluation mode the loss is {level:.4g}, of which the steps' own noise accounts for"
    text += f" about {share:.0%}"
    if share < LEAST_EXCESS_OF_JITTER:
        return clear(text + ": the jitter is that of the training loss alone.", 0.5, **numbers)
    return triggered(text + ".", min(over(share, LEAST_EXCESS_OF_JITTER), 1.5), **numbers)


def _late_gradient(e: Evidence) -> float:
    """Return the root mean square of the last quarter's gradient norms: single rows' vary too
    much."""
    late = e.grad[-max(10, e.rows // 4) :]
    late = late[np.isfinite(late)]
    return float(np.sqrt((late**2).mean())) if late.size else math.nan


def _excess(e: Evidence) -> float:
    """Return η·E‖g‖²/(4(1−β)): what SGD's stationary noise adds to the loss (Mandt et al. 2017)."""
    if isinstance(e.spec.optimizer, Lion):
        return math.nan  # the noise of signs is no multiple of the gradient's
    if e.method.family == "adaptive" and e.at_end is not None:
        # With P = √v the same sum is η·tr(P⁻¹Σ)/4, and Σ is v where batches are mostly noise.
        roots = e.at_end.sum_of_roots
        return math.nan if roots is None else float(e.lr[-1]) * roots / 4.0
    if not e.method.linear:
        return math.nan
    late = e.grad[e.rows // 2 :][:: max(1, e.rows // 4096)]
    square = float((late[np.isfinite(late)] ** 2).mean()) if np.isfinite(late).any() else math.nan
    return float(e.lr[-1]) * e.method.scale * square / (4.0 * (1.0 - e.method.beta))


def look_descent(e: Evidence) -> RuleAnswer:
    """Trigger when the loss has fallen well, or a criterion of the job held."""
    if e.rows == 0:
        return unknown("There are no rows.")
    level = e.level
    numbers = {"fall": level.fall, "late_fall": level.late_fall, "trend_z": e.late_trend.z}
    if e.outcome == "converged":
        return triggered("A criterion of `stop` held.", 2.0, **numbers)
    if e.rows < 5:
        return unknown("Fewer than five rows.", **numbers)
    text = _capital(gone(level.fall, 1, "the first gap"))
    late = gone(level.late_fall, 1, "what was left at half time")
    text += f", and in the second half {late}."
    if level.fall >= 0.5:
        return triggered(text, 0.5 + over(1.0 - min(level.fall, 1 - 1e-9), 0.5), **numbers)
    if e.falling and level.fall >= 0.05:
        return triggered(text, over(level.fall, 0.03), **numbers)
    return clear(text, over(0.5, max(level.fall, 0.05)), **numbers)
