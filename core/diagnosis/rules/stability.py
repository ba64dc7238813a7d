"""Rules on divergence and oscillation: is the step too long for the function's curvature?"""

import math
from typing import Final, NamedTuple

import numpy as np

from core.diagnosis.evidence import curves, theory
from core.diagnosis.evidence.curves import Floats
from core.diagnosis.evidence.evidence import Evidence
from core.diagnosis.evidence.quadratic import QuadraticForm
from core.diagnosis.finding import RuleAnswer, clear, over, triggered, unknown
from core.diagnosis.words import apart, as_factor
from core.specs.optimizers.kinds import Lion, Rprop


def look_diverged(e: Evidence) -> RuleAnswer:
    """Trigger on the job's outcome, or the contract's rule on a history without one."""
    if e.rows == 0:
        if e.nonfinite or e.outcome == "diverged":
            return triggered("The loss was not finite from the first row on.", 5.0)
        return unknown("There are no rows.")
    end = float(np.median(e.loss[-curves.LAST_ROWS :]))
    numbers = {"first_loss": e.level.start, "end_loss": end, "best_loss": e.level.best}
    if e.nonfinite:
        return triggered("The loss became infinite or NaN.", 5.0, **numbers)
    if e.blown_up:
        ended, began = apart(end, e.start, digits=4)
        text = f"The loss ended at {ended}, far above its start of {began}."
        if end <= e.start:  # one loss was enough, and it may be the first
            text = f"The loss reached stop.max_loss: its last value is {e.loss[-1]:.4g}."
        return triggered(text, 5.0, **numbers)
    return clear(f"The loss stayed finite and ended at {end:.4g}.", 2.0, **numbers)


def exact_form(e: Evidence) -> QuadraticForm | None:
    """Return the quadratic on which the run's steps are linear maps, where the theory is exact."""
    form = e.land.form if e.land is not None else None
    exact = form is not None and e.method.linear and e.unconstrained and e.steady_rate
    return form if exact else None


def excited(e: Evidence, form: QuadraticForm) -> Floats:
    """Return the eigenvalues that the run can feel: those along which its gradient is not exactly
    0."""
    if form.vectors is None or e.x is None:
        return form.eigenvalues
    ends = form.gradients(e.x[[0, e.rows - 1]])
    assert ends is not None
    along = np.abs(ends @ form.vectors)
    # Each end by its own measure: what a blown-up end drowns is seen at the start.
    felt = (along > 1e-14 * along.max(axis=1, keepdims=True)).any(axis=0)
    return np.asarray(form.eigenvalues[felt])


def look_unstable_step(e: Evidence) -> RuleAnswer:
    """Compare η·λ_max with the method's threshold: exact on quadratics, else an indication."""
    if e.rows == 0 or not e.method.linear:
        return unknown(_no_threshold(e))
    sharpness = e.sharpness
    if sharpness is None or not math.isfinite(float(e.lr[-1])):
        return unknown("The curvature is not known.")
    limit = e.method.threshold()
    form = exact_form(e)
    if form is not None:
        felt = excited(e, form)
        if felt.size == 0:
            return clear("The gradient is exactly zero.", 5.0)
        sharpness = float(felt[-1])
    product = float(e.lr[-1]) * (sharpness + e.method.decay)
    ratio = product / limit
    numbers = {
        "lr_times_curvature": product,
        "threshold": limit,
        "ratio": ratio,
        "curvature": sharpness,
    }
    found, most = apart(product, limit, digits=4)
    at = f"The learning rate times the largest curvature is {found}, {as_factor(ratio, 3)} times"
    at += f" the method's threshold of {most}."
    if form is None:
        if ratio < 0.9:
            return clear(at, over(ratio, 1.0), **numbers)
        return unknown(at + " Off a quadratic that alone is not divergence.", **numbers)
    if abs(ratio - 1.0) < 1e-9:
        return unknown(at + " It neither grows nor shrinks.", **numbers)
    if ratio > 1.0:
        return triggered(at + " Every step makes that part of the error larger.", 5.0, **numbers)
    return clear(at, 5.0, **numbers)


def _no_threshold(e: Evidence) -> str:
    """Say why no threshold is compared, of the optimizer at hand."""
    kind = e.spec.optimizer.kind
    if e.rows == 0:
        return "There are no rows to look at."
    if e.spec.optimizer.groups or e.spec.optimizer.wrap:
        return f"No sharp threshold is known for {kind} with what is put around it, or in groups."
    if isinstance(e.spec.optimizer, Lion | Rprop):
        return f"{kind} takes the signs of gradients alone: the curvature has no threshold for it."
    if e.method.family == "adaptive":
        return (
            f"{kind} divides gradients by what it has seen of them, so that the curvature alone has"
            " no threshold; a full diagnosis measures the preconditioned one, where it is known"
            " (preconditioned_sharpness)."
        )
    return f"No sharp threshold is known for {kind}."


def look_no_minimum(e: Evidence) -> RuleAnswer:
    """Trigger on a quadratic with a negative eigenvalue, once the run moves along it."""
    form = e.land.form if e.land is not None else None
    if form is None or e.land is None or form.vectors is None or e.land.gradient is None:
        return unknown("The function is not known to be quadratic.")
    if e.land.box is not None:
        return clear("Within bounds there is always a minimum.", 5.0)
    down = form.eigenvalues < -e.land.resolution
    if not down.any():
        least = float(form.eigenvalues[0])
        text = "No eigenvalue is negative" + (", but for rounding." if least < 0.0 else ".")
        return clear(text, 5.0, smallest_eigenvalue=least)
    along = (e.land.gradient @ form.vectors) ** 2
    total = float(along.sum())
    share = float(along[down].sum()) / total if total > 0 else 0.0
    numbers = {"smallest_eigenvalue": float(form.eigenvalues[0]), "share_of_gradient": share}
    if share > 0.5 and e.near_stationary is not True:
        text = "The function falls without bound along a direction of negative curvature, and"
        text += f" {share:.0%} of the squared gradient points along it."
        return triggered(text, over(share, 0.25), **numbers)
    return clear("The run does not move along the negative curvature yet.", **numbers)


def look_loss_growing(e: Evidence) -> RuleAnswer:
    """Trigger on a rise through the second half that ends above the start."""
    if e.rows < 6:
        return unknown("Fewer than six rows.")
    level, late = e.level, e.late_trend
    numbers = {"trend_z": late.z, "start": level.start, "middle": level.middle, "end": level.end}
    scale = max(abs(level.start), level.start - level.best, 1e-300)
    above = (level.end - level.start) / scale
    needed = 2.0 if e.deterministic else 3.5
    rising = late.z >= needed and late.agreement >= (0.6 if e.deterministic else 0.3)
    growth = (level.end - level.middle) / max(abs(level.middle), 1e-300)
    if rising and above > 0.1 and growth > 0.1:
        if _known_stable(e):
            return clear("The loss rises for a while, but the step is below the threshold.")
        text = f"The loss rises through the second half, to {level.end:.4g} from"
        text += f" {level.start:.4g} at the start."
        return triggered(text, min(over(above, 0.1), over(growth, 0.1)), **numbers)
    return clear("The loss does not rise beyond its start.", over(2.0, 1.0), **numbers)


def _known_stable(e: Evidence) -> bool:
    form = exact_form(e)
    if form is None:
        return False
    radius = theory.spectral_radius(e.method, float(e.lr[-1]), excited(e, form))
    return bool((radius < 1.0).all())


def asymptotic_speed(e: Evidence) -> tuple[float, float] | None:
    """Return (factor of the error a step now, the best factor of any rate at this momentum), on
    quadratics with a minimum; None elsewhere. A digit a step counts as the best there is."""
    form = exact_form(e)
    if form is None or form.eigenvalues[0] <= 0:
        return None
    felt = excited(e, form)
    if felt.size == 0:
        return None
    low, high = float(felt[0]), float(felt[-1])
    now = float(np.max(theory.spectral_radius(e.method, float(e.lr[-1]), felt)))
    return now, max(0.1, theory.best_rate(e.method, low, high)[1])


def speed_up(now: float, best: float) -> float:
    """Return how many times fewer steps the factor `best` needs than `now`."""
    if now >= 1.0:
        return math.inf
    return math.log(best) / math.log(now) if now > 0 else 1.0


def _slow(e: Evidence) -> tuple[bool, dict[str, float], str]:
    """Tell whether descent is slow or absent because of the oscillation, with the numbers."""
    speed = asymptotic_speed(e)
    if speed is not None:
        gain = speed_up(*speed)
        numbers = {"factor": speed[0], "best_factor": speed[1], "speed_up": gain}
        now, best, _ = apart(*speed, 1.0, digits=4)
        does = f"shrinks by only {now} a step" if speed[0] < 1.0 else f"grows by {now} a step"
        if speed[0] == 1.0:
            does = "does not shrink"
        text = f"the error {does}, where a factor of {best} is possible"
        return speed[0] > 0.95 and gain >= 10.0, numbers, text
    late = e.level.late_fall
    numbers = {"late_fall": late}
    if not e.falling or late < 0.05:
        return True, numbers, "the loss does not fall in the second half"
    # The part of the loss that is oscillation: ‖g‖²/2λ with λ ≈ 2/η along the gradient.
    window = e.window
    energy = e.effective_lr[window] * e.grad[window] ** 2 / 4.0
    floor = e.level.floor
    gap = e.loss[window] - (floor if floor is not None else float(e.loss.min()))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = float(np.median(energy / gap)) if gap.size else math.nan
    steps = max(1.0, 0.375 * float(e.step[-1] - e.step[0]))
    factor = max(0.0, 1.0 - late) ** (1.0 / steps)
    numbers |= {"oscillation_share": share, "factor": factor}
    plain = e.method.family == "gradient_descent"
    slow = plain and share >= 0.5 and factor > 0.95
    return (
        slow,
        numbers,
        f"{share:.0%} of the loss is oscillation and shrinks by {as_factor(factor, 4)} a step",
    )


def look_gradients_oppose(e: Evidence) -> RuleAnswer:
    """Trigger when consecutive gradients point against each other while little is gained."""
    if e.rows < 3 or e.cosine is None:
        return unknown("The rows do not tell the direction of the gradients.")
    value, source = e.cosine
    name = "displacement_cosine" if source == "displacements" else "gradient_cosine"
    if value > -0.5:
        text = f"The median cosine of successive {_what(source)} is {value:+.3f}."
        return clear(text, 2.0 * (value + 0.5), **{name: value})
    if e.spent:
        return clear("Little is left of the gradient.", 1.0, **{name: value})
    slow, numbers, text = _slow(e)
    start = f"The median cosine of successive {_what(source)} is {value:+.3f}"
    if not slow:
        start += ", but the loss falls well: the edge of stability, which is normal."
        return clear(start, 0.5, **{name: value}, **numbers)
    return triggered(
        f"{start}, and {text}.", 1.0 + 4.0 * (-0.5 - value), **{name: value}, **numbers
    )


def _what(source: str) -> str:
    return "displacements" if source == "displacements" else "gradients"


def look_cycling(e: Evidence) -> RuleAnswer:
    """Trigger on a run without randomness that keeps moving and gets nowhere: a limit cycle or
    chaos."""
    if e.rows < 12 or not e.deterministic:
        return unknown("Needs twelve rows of a run without random batches.")
    if e.spent:
        return clear("Little is left of the gradient.", 1.0)
    if e.blown_up:
        return clear("The run has blown up: it is not bounded.", 1.0)
    half = e.loss[e.rows // 2 :]
    base = e.level.floor if e.level.floor is not None else float(e.loss.min())
    gap = max(e.level.middle - base, 1e-300)
    swing = float(half.max() - half.min()) / gap
    numbers = {"late_fall": e.level.late_fall, "swing": swing}
    if e.wiggle is not None:
        numbers["rises"] = e.wiggle.rises
    efficiency = _path_efficiency(e)
    if efficiency is not None:
        numbers["net_over_path"] = efficiency
        if efficiency > 0.2:
            return clear("The path leads somewhere.", over(efficiency, 0.2), **numbers)
    still = e.level.late_fall < 0.02 and not (e.falling and e.level.late_fall > 0.01)
    alternates = e.wiggle is not None and 0.1 <= e.wiggle.rises <= 0.9
    moving = efficiency is not None or (swing > 1e-3 and alternates)
    if still and moving:
        text = "Without any noise in it, the run keeps moving and the second half gains nothing"
        text += f" (the loss swings by {swing:.3g} of its gap"
        if e.wiggle is not None:
            text += f", rising in {e.wiggle.rises:.0%} of the rows"
        text += ")."
        return triggered(text, 1.0 if efficiency is None else over(efficiency, 0.2), **numbers)
    return clear("The run does not circle.", 0.5, **numbers)


def _path_efficiency(e: Evidence) -> float | None:
    """Return net displacement over path length of the last rows; None without points or
    movement."""
    if e.x is None:
        return None
    points = e.x[e.window]
    steps = np.diff(points, axis=0)
    length = float(np.sqrt(np.einsum("ij,ij->i", steps, steps)).sum())
    if length == 0.0 or len(points) < 6:
        return None
    # The mean of the last third against the first third's: a whole number of turns nets nothing.
    third = len(points) // 3
    net = points[-third:].mean(axis=0) - points[:third].mean(axis=0)
    return float(np.sqrt(net @ net)) / length


class Swings(NamedTuple):
    """Measure how a curve swings: how many peaks it comes down from by a third and back up to, the
    rows from one to the next (NaN below two), and the highest gaps of its second and last quarters.
    """

    peaks: int
    period: float
    before: float
    late: float


def swings(gap: Floats) -> Swings:
    """Count swings of at least a third of their own height, so that noise and drift count as none.

    Args:
        gap: what is left above the floor, row by row.
    """
    peaks: list[int] = []
    high = low = float(gap[0])
    at, falling = 0, False
    for row, value in enumerate(gap.tolist()):
        if falling:
            low = min(low, value)
            if value - low >= max(_DEEP * value, 0.2 * float(gap[0]) * _DEEP):
                falling, high, at = False, value, row
        else:
            if value > high:
                high, at = value, row
            if high - value >= _DEEP * high > 0.0:
                falling, low = True, value
                peaks.append(at)
    quarter = max(1, gap.size // 4)
    period = (peaks[-1] - peaks[0]) / (len(peaks) - 1) if len(peaks) > 1 else math.nan
    before = float(gap[quarter : 2 * quarter].max())
    return Swings(len(peaks), period, before, float(gap[-quarter:].max()))


_DEEP: Final = 1.0 / 3.0
_LONG: Final = 4096


def swings_of(e: Evidence) -> Swings | None:
    """Return the swings of a run's loss above its floor, in steps; of means over blocks where
    batches are random, and None where these are noisy themselves."""
    size = max(1, -(-e.rows // _LONG))
    if not e.deterministic:
        size = max(size, e.rows // 64)
        if e.noise / math.sqrt(size) > 0.05 * max(abs(e.level.end), 1e-300):
            return None
    view = curves.blocks(e.loss, max(1, e.rows // size))
    base = e.level.floor if e.level.floor is not None else float(view.mean.min())
    found = swings(np.maximum(view.mean - base, 0.0))
    stride = view.size * float(e.step[-1] - e.step[0]) / max(1, e.rows - 1)
    return found._replace(period=found.period * stride)


def look_ringing(e: Evidence) -> RuleAnswer:
    """Swings of any period above two that hardly die out: too much momentum."""
    if e.rows < 24 or not np.isfinite(e.loss).all():
        return unknown("Needs twenty-four rows.")
    if e.spent:
        return clear("Little is left of the gradient.", 1.0)
    found = swings_of(e)
    if found is None:
        return unknown("The batches' noise hides any swing.")
    base = e.level.floor if e.level.floor is not None else float(e.loss.min())
    first = max(e.start - base, 1e-300)
    share, kept = found.late / first, found.late / max(found.before, 1e-300)
    efficiency = _path_efficiency(e)
    numbers = {"peaks": float(found.peaks), "period": found.period, "late_swing": share}
    numbers["swing_kept"] = kept
    # Many frequencies at once even the loss out, but the point still comes back.
    circles = efficiency is not None and efficiency <= 0.1 and e.method.beta > 0.0
    if efficiency is not None:
        numbers["net_over_path"] = efficiency
    if (found.peaks >= 3 or circles) and share >= 0.1 and kept >= 0.5:
        text = f"The run swings (a period of about {found.period:.3g} steps of the loss), late"
        if not math.isfinite(found.period):
            text = "The run circles, late"
        text += f" still to {share:.0%} of its first gap and to {kept:.0%} of what it was."
        return triggered(text, 0.3 + min(over(share, 0.1), over(kept, 0.3)), **numbers)
    return clear("The run does not swing, or its swings die out.", 0.5, **numbers)


def look_bouncing(e: Evidence) -> RuleAnswer:
    """Trigger, with mini-batches, when the loss was thrown up, stays there, and gradients are
    larger than at first."""
    if e.deterministic or e.rows < 20:
        return unknown("Needs twenty rows of a run with random batches.")
    level = e.level
    thrown = level.worst / level.start if level.start > 0 else 1.0
    early = float(np.fmax(np.median(e.grad[: max(1, e.rows // 100)]), e.first_gradient))
    grown = e.grad_end / max(early, 1e-300)
    alternating = e.wiggle is not None and e.wiggle.lag1 < -0.75 and e.wiggle.sign_changes > 0.85
    lag1 = e.wiggle.lag1 if e.wiggle is not None else math.nan
    numbers = {"worst_over_start": thrown, "gradient_growth": grown, "lag1": lag1}
    gained = level.fall > 0.05
    if not gained and alternating:
        return triggered("The loss alternates from row to row and does not fall.", 1.0, **numbers)
    if not gained and thrown >= 3.0 and grown >= 2.0:
        text = f"The loss was thrown up to {thrown:.3g} times its start and never came below it,"
        text += f" with gradients {grown:.3g} times those at the start."
        return triggered(text, min(over(thrown, 3.0), over(grown, 2.0)), **numbers)
    return clear("The loss is not thrown about.", 0.5, **numbers)


def look_edge_of_stability(e: Evidence) -> RuleAnswer:
    """Trigger at the threshold with a falling loss: normal for full batches, told for
    information."""
    reading = look_unstable_step(e)
    ratio = reading.evidence.get("ratio")
    if ratio is None or not e.falling or exact_form(e) is not None:
        return unknown("Not measured.")
    if ratio >= 0.9:
        text = f"The curvature sits at {ratio:.3g} of the threshold while the loss falls: normal."
        return triggered(text, over(ratio, 0.5), ratio=ratio)
    return clear("The curvature is below the threshold.", over(ratio, 0.9), ratio=ratio)
