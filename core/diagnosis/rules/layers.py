"""Rules on what was measured inside: layers, units, batches, the adaptive methods' curvature.

They explain a verdict and choose among its remedies; none is a verdict of its own.
"""

import math

import numpy as np

from core.diagnosis.evidence.evidence import Evidence
from core.diagnosis.finding import RuleAnswer, clear, over, triggered, unknown

_NOT = "Not measured: it needs a full diagnosis"


def look_vanishing(e: Evidence) -> RuleAnswer:
    """Trigger when the first layer's gradient per weight is a thousandth of the last's."""
    spread = None if e.measured is None else e.measured.spread("initial")
    if spread is None:
        return unknown(_NOT + " of a model with hidden layers.")
    text = f"At the start, the first layer's gradient per weight was {spread:.2g} of the last's."
    if spread < 1e-3:
        return triggered(text, over(spread, 1e-3), first_over_last=spread)
    return clear(text, over(spread, 1e-3), first_over_last=spread)


def look_vanishing_through_time(e: Evidence) -> RuleAnswer:
    """Trigger when a step of the sequences gets a thousandth of another step's gradient."""
    found = None if e.measured is None else e.measured.through_time("now")
    if found is None:
        return unknown(_NOT + " of a model with recurrent layers, whose gradient is not 0.")
    before = None if e.measured is None else e.measured.through_time("initial")
    numbers = {
        "weakest_over_strongest": found.share,
        "weakest_step": float(found.weakest),
        "strongest_step": float(found.strongest),
        "steps": float(found.steps),
    }
    if before is not None:
        numbers["at_the_start"] = before.share
    text = f"Of {found.steps} steps, the gradient of step {found.weakest} is {found.share:.2g} of"
    text += f" that of step {found.strongest}"
    if found.share < 1e-3:
        numbers["factor_a_step"] = found.a_step
        if found.share > 0.0:
            text += f": it loses a factor of {1.0 / found.a_step:.3g} a step"
        return triggered(text + ".", over(found.share, 1e-3), **numbers)
    return clear(text + ".", over(found.share, 1e-3), **numbers)


def look_exploding(e: Evidence) -> RuleAnswer:
    """Trigger on first weights that make outputs, or gradients on the way back, far too large."""
    if e.measured is None or e.measured.first_loss is None:
        return unknown(_NOT + " of a model.")
    spread, base = e.measured.spread("initial"), e.measured.constant_loss
    scale = e.measured.first_loss / base if base else math.nan
    numbers = {"first_over_last": spread or math.nan, "first_loss_over_constant": scale}
    if spread is not None and spread > 1e3:
        text = f"At the start, the first layer's gradient per weight was {spread:.3g} times the"
        return triggered(text + " last's.", over(spread, 1e3), **numbers)
    if scale > 30.0:
        text = f"The first loss was {scale:.3g} times that of a constant output: the first weights"
        return triggered(text + " make far too large outputs.", over(scale, 30.0), **numbers)
    return clear("The first weights are of a sensible size.", 1.0, **numbers)


def look_dead_units(e: Evidence) -> RuleAnswer:
    """Trigger on hidden units without a slope on any row: no gradient reaches them."""
    share = None if e.measured is None else e.measured.dead
    if share is None:
        return unknown(_NOT + " of a model with hidden layers.")
    text = f"{share:.0%} of the hidden units have no slope on any row."
    if share >= 0.5:
        return triggered(text, over(share, 0.25), dead=share)
    return clear(text, 1.0, dead=share)


def look_saturated(e: Evidence) -> RuleAnswer:
    """Trigger on tanh, sigmoid or softsign units on their flat ends."""
    share = None if e.measured is None else e.measured.saturated
    if share is None:
        return unknown(_NOT + " of a model with hidden layers.")
    text = f"{share:.0%} of the activations are on their flat ends."
    if share >= 0.5:
        return triggered(text, over(share, 0.25), saturated=share)
    return clear(text, 1.0, saturated=share)


def look_update_size(e: Evidence) -> RuleAnswer:
    """Trigger when the next update of a weight matrix is over a tenth of the matrix itself."""
    updates = [] if e.measured is None else e.measured.updates
    if not updates:
        return unknown(_NOT + " of a checkpoint with the optimizer's state.")
    numbers = dict(updates)
    name, most = max(updates, key=lambda each: each[1])
    if most > 0.1:
        text = f"The next update changes {name} by {most:.0%} of its size."
        return triggered(text, over(most, 0.1), **numbers)
    return clear(f"The largest update is {most:.2g} of its weights ({name}).", 1.0, **numbers)


def look_preconditioned(e: Evidence) -> RuleAnswer:
    """Compare η·λ_max(P⁻¹H) with the adaptive method's threshold, at this moment."""
    found = None if e.measured is None else e.measured.preconditioned
    if found is None or not e.lr.size:
        return unknown("Known for Adam, AdamW, Adamax, ADOPT, RMSprop and Adagrad, when measured.")
    value, limit, source = found
    ratio = float(e.lr[-1]) * value / limit
    numbers = {"preconditioned_sharpness": value, "threshold": limit, "ratio": ratio}
    text = f"The rate times the preconditioned curvature is {ratio:.3g} of the threshold of"
    text += f" {limit:.4g} (P from the {source.replace('_', ' ')}). It drifts as gradients shrink,"
    text += " so it is evidence of the moment only."
    if ratio >= 0.9:
        return triggered(text, over(ratio, 0.5), **numbers)
    return clear(text, over(ratio, 1.0), **numbers)


def look_noise_scale(e: Evidence) -> RuleAnswer:
    """Compare the gradient noise scale with the batch."""
    found = None if e.measured is None else e.measured.noise_scale
    size = e.spec.batch_size
    if found is None or not isinstance(size, int):
        return unknown(_NOT + " of a run with batches.")
    numbers = {"noise_scale": found, "batch": float(size), "ratio": found / size}
    text = f"The gradient noise scale is {found:.3g} rows, the batch {size}."
    if found > 10.0 * size:
        return triggered(text + " A step is mostly noise.", over(found / size, 5.0), **numbers)
    return clear(text, over(found / size, 10.0), **numbers)


def look_gradient_spikes(e: Evidence) -> RuleAnswer:
    """Trigger on gradient norms a hundred times the usual: exploding gradients."""
    if e.rows < 12 or not np.isfinite(e.grad_start):
        return unknown("Needs twelve rows.")
    thin = e.grad[:: max(1, e.rows // 4096)]
    usual = float(np.median(thin[np.isfinite(thin)]))
    with np.errstate(over="ignore"):
        ratio = float(np.fmax.reduce(e.grad)) / max(usual, 1e-300)
    if usual == 0.0:
        return clear("Most gradients are 0.", 0.5, median=usual)
    first = e.first_gradient / max(usual, 1e-300)
    numbers = {"largest_over_median": ratio, "median": usual}
    if ratio >= 100.0 and ratio > 3.0 * first:
        text = f"A gradient norm reached {ratio:.3g} times the usual {usual:.3g}."
        return triggered(text, over(ratio, 50.0), **numbers)
    return clear(f"The largest gradient norm is {ratio:.3g} times the usual.", 0.5, **numbers)
