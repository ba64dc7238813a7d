"""Remedies that change the size of the steps: exact on quadratics, cautious elsewhere."""

import math

import numpy as np

from core.diagnosis.evidence import curves, theory
from core.diagnosis.evidence.evidence import Evidence
from core.diagnosis.evidence.theory import FINDS_LENGTHS
from core.diagnosis.remedies.patches import Remedy, constant_rate, rounded, scaled_rate
from core.diagnosis.rules.stability import asymptotic_speed, exact_form, excited, speed_up
from core.specs.base import Json
from core.specs.optimizers.kinds import (
    ASGD,
    LBFGS,
    SGD,
    RAdam,
    Rprop,
    ScheduleFree,
    ScheduleFreeAdamW,
    ScheduleFreeSGD,
    Shampoo,
    settled_lr,
)
from core.specs.schedules import Constant


def exact_rate(e: Evidence) -> Remedy | None:
    """Propose, for quadratics, 0.9 of the threshold, or the best rate where that is lower."""
    form = exact_form(e)
    if form is None or form.eigenvalues[0] < 0:
        return None
    felt = excited(e, form)
    felt = felt[felt > 0]
    if felt.size == 0:
        return None
    low, high = float(felt[0]), float(felt[-1])
    limit = e.method.threshold() / (high + e.method.decay)
    best, _ = theory.best_rate(e.method, low, high)
    lr = rounded(min(0.9 * limit, best))
    factor = float(np.max(theory.spectral_radius(e.method, lr, felt)))
    reason = f"The largest stable rate is {limit:.4g}, from the largest eigenvalue {high:.4g}."
    return Remedy(
        constant_rate(e.spec, lr),
        reason,
        known({"stable_below": limit, "factor": factor, "final_loss": _final_loss(e, lr)}),
    )


def _final_loss(e: Evidence, lr: float, method: theory.Method | None = None) -> float:
    """Predict the loss, by theory, after as many steps as the run had; NaN if unknown."""
    form = exact_form(e)
    if form is None or e.x is None or form.least is None:
        return math.nan
    components = form.components(e.x[0])
    if components is None:
        return math.nan
    steps = int(e.step[-1] - e.step[0])
    gap = theory.predicted_gap(method or e.method, lr, form.eigenvalues, components, steps)
    return gap + form.least


def known(expected: dict[str, float]) -> dict[str, float]:
    """Leave out what could not be predicted."""
    return {name: value for name, value in expected.items() if math.isfinite(value)}


def cautious_rate(e: Evidence) -> float | None:
    """Propose a rate that should be safe on a function that is not quadratic; None where none is
    known.

    A quarter of 2(1−β) over the steepest curvature seen anywhere around, and no first step (with
    the momentum that it will gather) longer than half of the point's own size.
    """
    if e.land is None or e.land.form is not None or not e.method.linear:
        return None
    return _gentle_rate(e, e.method.beta)


def _gentle_rate(e: Evidence, beta: float) -> float | None:
    land = e.land
    if land is None or e.x is None:
        return None
    curvatures = [each for each in (e.sharpness, land.largest_at_first, land.steepest) if each]
    if not curvatures:
        return None
    left = 1.0 - beta
    first = float(e.grad[0])
    longest = 0.5 * size_of_start(e) * left / first if first > 0 else math.inf
    return min(0.5 * left / max(curvatures), longest)


def lower_rate(e: Evidence, factor: float) -> Remedy:
    """Propose one over the curvature seen, at most half the rate; a fixed factor where none was
    seen."""
    lr = float(e.lr[-1]) if e.lr.size else settled_lr(e.spec.optimizer)
    sharpness = e.sharpness
    if sharpness is None and e.rows >= 3 and e.method.family == "gradient_descent":
        early = slice(0, min(e.rows, 32))
        seen = curves.descent(e.loss[early], e.effective_lr[early], e.grad[early]).curvature
        seen = seen[seen > 0]
        sharpness = float(np.median(seen)) if seen.size else None
    cautious = cautious_rate(e) if e.blown_up else None
    # A rate that the curvature seen allows neither swings nor blows up because of it (a kink,
    # momentum, a curvature that grows on the way).
    explained = sharpness is not None and lr * sharpness >= 0.5 * e.method.threshold()
    if sharpness is None or not e.method.linear or not explained:
        if cautious is not None:
            factor = max(1e-4, min(factor, cautious / lr))
        reason = f"The rate is too large; {factor:g} of it damps the steps."
        expected = {"lr_factor": factor}
        if e.rows:
            expected["final_loss_below"] = e.level.start
        return Remedy(scaled_rate(e.spec, factor), reason, expected)
    limit = e.method.threshold() / sharpness
    # Small batches settle at a curvature of 2(1−β)/η (arXiv 2604.14108), and a model's curvature
    # grows from its first weights on.
    share = 0.5 if e.deterministic else 0.25 * (1.0 - e.method.beta)
    wanted = min(0.5, share * limit / lr, cautious / lr if cautious else math.inf)
    wanted = max(wanted, min(1e-4, share * limit / lr))
    reason = f"The curvature seen is {sharpness:.4g}, so rates above {limit:.4g} are unstable."
    expected = {
        "stable_below": limit,
        "lr_times_curvature_over_threshold": lr * wanted / limit,
        "final_loss_below": e.level.start,
    }
    return Remedy(scaled_rate(e.spec, wanted), reason, known(expected))


def authors_rate(e: Evidence) -> Remedy | None:
    """Propose, for methods that find the length of a step themselves, the factor 1 of their
    authors; None for others, and where it is no less than a tenth of the factor given."""
    optimizer = e.spec.optimizer
    factor = 1.0 / settled_lr(optimizer)
    if e.rows == 0 or not isinstance(optimizer, FINDS_LENGTHS) or not factor < 0.1:
        return None
    return Remedy(
        scaled_rate(e.spec, factor),
        f"{optimizer.kind} finds the length of a step itself, and its rate is a factor on it: 1, as"
        " a rule.",
        {"lr_factor": rounded(factor), "final_loss_below": e.level.start},
    )


def short_steps(e: Evidence) -> Remedy | None:
    """Propose, for a method without a sharp threshold that blows up or swings on a function, a rate
    that its first steps should stand; None where that is no less than a tenth of the rate, or not
    known."""
    stood = _stood_rate(e)
    if stood is None:
        return None
    factor = stood / settled_lr(e.spec.optimizer)
    if not 0.0 < factor < 0.1:
        return None
    size = size_of_start(e)
    reason = (
        f"The point's own size is {size:.4g}, and steps at this rate are far longer;"
        f" {factor:.3g} of it keeps the first ones short."
    )
    expected = {"lr_factor": rounded(factor), "final_loss_below": e.level.start}
    return Remedy(scaled_rate(e.spec, factor), reason, expected)


def _stood_rate(e: Evidence) -> float | None:
    """Return the rate that the first steps on a function should stand, of a method without a sharp
    threshold; None where it is not known.

    Steps that are about η long whatever the gradient is: a twentieth of the point's own size. Those
    that follow the gradient (RAdam's first ones do): as `cautious_rate`.
    """
    optimizer = e.spec.optimizer
    if e.x is None or e.rows == 0 or e.method.linear:
        return None
    if isinstance(optimizer, (Rprop, *FINDS_LENGTHS)):
        return None
    rates: list[float | None] = []
    if e.method.family == "adaptive" or isinstance(optimizer, ScheduleFreeAdamW | Shampoo):
        rates.append(0.05 * size_of_start(e))
    if isinstance(optimizer, RAdam):
        rates.append(_gentle_rate(e, 0.0))
    elif isinstance(optimizer, SGD | ASGD | ScheduleFreeSGD):
        rates.append(_gentle_rate(e, optimizer.momentum if isinstance(optimizer, SGD) else 0.0))
    return min((each for each in rates if each is not None), default=None)


def size_of_start(e: Evidence) -> float:
    """Return the largest coordinate of the first point, at least 1."""
    assert e.x is not None
    return max(1.0, float(np.abs(e.x[0]).max()))


def steps_follow_gradients(e: Evidence) -> bool:
    """Tell whether a gradient of a bounded length makes a step of a bounded length; other methods
    divide by the length of what they have seen."""
    return isinstance(e.spec.optimizer, SGD | ASGD | ScheduleFreeSGD | LBFGS)


def clip(e: Evidence) -> Remedy | None:
    """Propose gradient clipping at the run's first gradient norm; None on a function where steps of
    such gradients are longer than the point's own size: they jump over whatever is there."""
    known_first = math.isfinite(e.first_gradient) and e.first_gradient > 0
    first = e.first_gradient if known_first else 1.0
    norm = rounded(max(first, 1e-6), 2)
    longest = norm * settled_lr(e.spec.optimizer) / (1.0 - min(e.method.beta, 0.999))
    if e.x is not None and e.rows and longest > size_of_start(e):
        return None
    return Remedy(
        {"gradient_clip": {"kind": "norm", "max_norm": norm}},
        "Clipping the gradient at its first norm bounds every step, so that none can explode.",
        {"largest_step": norm * settled_lr(e.spec.optimizer)},
    )


def search_along_the_line(e: Evidence) -> Remedy | None:
    """Propose LBFGS's line search, where it has none: its steps are then as long as they reduce
    the loss (Nocedal and Wright 2006, section 3.5)."""
    optimizer = e.spec.optimizer
    if not isinstance(optimizer, LBFGS) or optimizer.line_search_fn is not None:
        return None
    return Remedy(
        {"optimizer": {"line_search_fn": "strong_wolfe"}},
        "Without a line search LBFGS takes its steps whatever the loss does there; with one it"
        " takes those that reduce it.",
        {"final_loss_below": e.level.start} if e.rows else {},
    )


def falling_rate(e: Evidence, reason: str, expected: dict[str, float]) -> Remedy | None:
    """Propose a rate that falls to zero; None where there is a schedule, and for methods that have
    no use for one: Schedule-Free averages instead (Defazio et al. 2024, arXiv 2405.15682), and the
    rate of `rprop` is its first step alone."""
    if not isinstance(e.spec.schedule, Constant):
        return None
    if isinstance(e.spec.optimizer, ScheduleFree | Rprop):
        return None
    patch: Json = {"schedule": {"kind": "cosine", "T_max": int(e.step[-1]) + 1}}
    return Remedy(patch, reason, expected)


def raise_rate(e: Evidence, factor: float) -> Remedy:
    """Propose a learning rate `factor` times larger, but at most half of the largest one that the
    curvature seen allows, or, on a function, one that the first steps stand, where that is larger
    than the present one."""
    if e.sharpness is not None and e.method.linear and e.spec.gradient_clip is None:
        top = 0.5 * e.method.threshold() / (max(e.sharpness, e.secant) + e.method.decay)
        now = float(e.lr.max())
        if top > now > 0:
            factor = min(factor, top / now)
    stood = _stood_rate(e)
    if stood is not None and stood > settled_lr(e.spec.optimizer):
        factor = min(factor, stood / settled_lr(e.spec.optimizer))
    lr = rounded(settled_lr(e.spec.optimizer) * factor)
    return Remedy(
        scaled_rate(e.spec, factor),
        f"A rate of {lr:g} covers {factor:.3g} times the ground.",
        {"speed_up": factor},
    )


def calmer_on_a_quadratic(e: Evidence) -> Remedy | None:
    """Propose, of several momenta with the best rate for each, the one with the lowest predicted
    loss."""
    form = exact_form(e)
    if form is None or form.eigenvalues[0] <= 0 or e.method.decay > 0:
        return None
    felt = excited(e, form)
    if felt.size == 0:
        return None
    low, high = float(felt[0]), float(felt[-1])
    best = min(_balls(e, low, high, theory.best_heavy_ball(low, high)[1]), key=_reached)
    gap = float(e.loss[-1]) - (form.least or 0.0)
    final = best.expected.get("final_loss", math.nan) - (form.least or 0.0)
    return best if final < 0.8 * gap else None


def _balls(e: Evidence, low: float, high: float, polyak: float) -> list[Remedy]:
    why = f"Heavy ball needs √κ instead of κ steps; κ is {high / low:.4g}."
    found = []
    for beta in (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, rounded(polyak)):
        method = theory.Method("heavy_ball", beta)
        rate, factor = theory.best_rate(method, low, high)
        patch = constant_rate(e.spec, rate, momentum=beta, nesterov=False, dampening=0.0)
        found.append(_sped_up(e, patch, why, method, rounded(rate), factor))
    return found


def faster_on_a_quadratic(e: Evidence) -> list[Remedy]:
    """Propose the best rate for the method, and a heavy ball; each with the loss that it will
    reach.

    Polyak's momentum is the best in the end, but on few steps it may still be swinging: of several
    momenta the one with the lowest predicted loss is taken.
    """
    form, speed = exact_form(e), asymptotic_speed(e)
    if form is None or speed is None or e.method.decay > 0:
        return []
    felt = excited(e, form)
    low, high = float(felt[0]), float(felt[-1])
    rate, factor = theory.best_rate(e.method, low, high)
    why = f"The best rate for curvatures from {low:.4g} to {high:.4g}."
    found = [_sped_up(e, constant_rate(e.spec, rate), why, e.method, rounded(rate), factor)]
    if high / low >= 10.0:
        polyak = theory.best_heavy_ball(low, high)[1]
        found.append(min(_balls(e, low, high, polyak), key=_reached))
    last = float(e.loss[-1]) - (form.least or 0.0)
    better = [each for each in found if _promising(each, last, form.least or 0.0)]
    return sorted(better, key=_reached)


def _sped_up(
    e: Evidence, patch: Json, why: str, method: theory.Method, lr: float, factor: float
) -> Remedy:
    speed = asymptotic_speed(e)
    gain = speed_up(speed[0], max(0.1, factor)) if speed is not None else math.nan
    expected = {"speed_up": gain, "factor": factor, "final_loss": _final_loss(e, lr, method)}
    return Remedy(patch, why, known(expected))


def _reached(remedy: Remedy) -> tuple[float, float]:
    return remedy.expected.get("final_loss", math.inf), remedy.expected["factor"]


def _promising(remedy: Remedy, gap: float, least: float) -> bool:
    """Tell whether the remedy should take a fifth off the gap (or a third off the steps, if that is
    all)."""
    final = remedy.expected.get("final_loss")
    if final is None:
        return remedy.expected.get("speed_up", 0.0) > 1.5
    return final - least < 0.8 * gap
