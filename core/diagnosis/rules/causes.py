"""Rules that name what holds a run: an undefined step, a constant guess, equal units, a limit."""

import math
from typing import Final

import numpy as np

from core.diagnosis.evidence.constant import constant_loss
from core.diagnosis.evidence.evidence import Evidence
from core.diagnosis.finding import RuleAnswer, clear, over, triggered, unknown
from core.diagnosis.words import gone
from core.specs.job import ClipNorm, ClipValue, DataProblem, JobSpec
from core.specs.losses import CrossEntropy
from core.specs.optimizers.decay import decay_is_share
from core.specs.optimizers.kinds import SGD, Adafactor, ByAxes, Muon, settled_lr
from core.specs.sizes.extent import extent_of
from core.specs.sizes.first_weights import equal_first_weights
from core.specs.sizes.shapes import layers_of

GUESS: Final = 0.95
"""A loss above this share of a constant output's is not clearly better: least squares of p weights
on n rows of pure noise leave 1 − p/n of it, 0.95 with a twentieth as many weights as rows."""


def look_undefined_gradient(e: Evidence) -> RuleAnswer:
    """Look for a finite loss whose gradient is not finite."""
    if e.rows == 0:
        return unknown("There are no rows.")
    if e.broken == "gradient":
        text = f"At a loss of {e.loss[-1]:.4g} the gradient is not finite: the formula has no slope"
        return triggered(text + " there (such as √x at 0), at any rate.", 5.0, loss=e.loss[-1])
    return clear("The gradient is finite wherever the loss is.", 2.0)


def smallest_eps(spec: JobSpec) -> tuple[float, float] | None:
    """Return an adaptive method's `eps` in the job's precision, and the smallest one that guards:
    the root of the smallest number, below which squared gradients are lost to underflow."""
    given = getattr(spec.optimizer, "eps", None)
    if not isinstance(given, float):
        return None
    if spec.precision == "float64":
        return given, math.sqrt(5e-324)
    return float(np.float32(given)), math.sqrt(1.4e-45)


def look_undefined_update(e: Evidence) -> RuleAnswer:
    """Look for an update that is not finite, made of a finite gradient."""
    if e.rows == 0:
        return unknown("There are no rows.")
    if e.broken != "update":
        return clear("No update was undefined.", 2.0)
    numbers = {"loss": float(e.loss[-1]), "grad_norm": float(e.grad[-1])}
    text = f"From a loss of {e.loss[-1]:.4g} and a gradient of {e.grad[-1]:.3g} the update is not"
    text += " finite"
    eps = smallest_eps(e.spec)
    if eps is not None and eps[0] < eps[1]:
        numbers["eps"] = eps[0]
        text += f": `eps` is {eps[0]:g} in this precision, and where a gradient is 0 (a constant"
        text += " column) the method divides 0 by it"
    return triggered(text + ".", 5.0, **numbers)


def look_constant_guess(e: Evidence) -> RuleAnswer:
    """Look for an end that is not clearly better than the best constant output."""
    problem = e.spec.problem
    if not isinstance(problem, DataProblem) or e.rows == 0 or e.blown_up:
        return unknown("For models that did not diverge.")
    found = e.at_end
    least = None if found is None else found.constant_loss
    loss = None if found is None or least is None else found.loss
    if loss is None:
        least, loss = constant_loss(problem), e.level.end
    if least is None or not least > 0.0 or loss < 0.0:
        return unknown("The loss of a constant output is not known.", loss=loss)
    share = loss / least
    numbers = {"loss": loss, "constant_loss": least, "share": share}
    text = f"The loss of {loss:.4g} is {share:.3g} times that of the best constant output"
    if share > GUESS:
        return triggered(f"{text}: nothing of the features is used.", over(share, 0.8), **numbers)
    return clear(text + ".", over(share, GUESS), **numbers)


def look_equal_units(e: Evidence) -> RuleAnswer:
    """Look for equal first weights: the units of a layer stay copies of each other.

    Dropout, which leaves each unit out of other rows, tells them apart. Nothing is lost where all
    goes through one unit anyway, nor where a linear model has one output (two classes: the
    difference of two); but weights of 0 pass nothing on in any model.
    """
    problem = e.spec.problem
    if not isinstance(problem, DataProblem):
        return unknown("For models with hidden layers.")
    layers = layers_of(problem)
    widths = [layers.num_units(placed) for placed in layers.activations]
    if not widths:
        return unknown("For models with hidden layers.")
    value = equal_first_weights(problem.model, e.spec.precision)
    if value is None or layers.draws:
        return clear("The first weights differ, or dropout tells the units apart.", 2.0)
    if isinstance(e.spec.optimizer, ByAxes):
        return unknown("Rounding of eigenvectors may tell equal units apart.")
    narrow = min(widths) == 1
    linear = all(placed.layer.kind == "identity" for placed in layers.activations)
    outputs = extent_of(e.spec).num_outputs
    one_output = outputs == 1 or (outputs == 2 and isinstance(problem.loss, CrossEntropy))
    if value != 0.0 and (narrow or (one_output and linear)):
        return clear("The first weights are equal, but one unit a layer can do as much.", 2.0)
    text = f"All first weights are {value:g}, so that the units of a layer have equal gradients and"
    text += " stay equal, whatever the method: a layer is as good as one unit."
    return triggered(text, 2.0, first_weights=value, widest_layer=float(max(widths)))


def look_held_by_clipping(e: Evidence) -> RuleAnswer:
    """Clipping to a small part of a gradient that does not shrink sets the pace."""
    clip = e.spec.gradient_clip
    if clip is None or e.rows < 12:
        return unknown("Needs twelve rows of a run with clipping.")
    match clip:
        case ClipNorm():
            limit = clip.max_norm
        case ClipValue():
            limit = clip.clip_value
        case _:
            return unknown("Of limits of each parameter or unit the norm of all says nothing.")
    late = e.grad[e.rows // 2 :]
    late = late[np.isfinite(late)]
    ratio = float(np.median(late)) / limit if late.size else math.nan
    numbers = {"gradient_over_limit": ratio, "gradient_of_first": e.grad_ratio}
    text = f"The gradient is {ratio:.3g} times the limit that it is clipped to"
    slow = e.level.fall < 0.5 and e.grad_ratio >= 0.3 and e.level.late_fall < 0.5
    if ratio >= 10.0 and slow and not e.spent:
        text += f", and {gone(e.level.fall, 1, 'the loss')}: the limit sets the pace."
        return triggered(text, over(ratio, 5.0), **numbers)
    return clear(text + ".", over(max(ratio, 1e-3), 10.0), **numbers)


def look_held_by_decay(e: Evidence) -> RuleAnswer:
    """Weight decay that takes more off the weights than the gradient can put on them, or takes them
    off whole."""
    optimizer = e.spec.optimizer
    decay = float(getattr(optimizer, "weight_decay", 0.0) or 0.0)
    if decay == 0.0 or e.rows < 12:
        return unknown("Needs twelve rows of a run with weight decay.")
    rate = float(np.nanmean(e.lr[e.rows // 2 :]))
    # The equilibrium forgets the first weights after 1/(η·decay) steps; an adaptive step of η is
    # balanced by weights of 1/decay (Loshchilov and Hutter 2019; Kosson et al. 2024).
    turns = rate * decay * float(e.step[-1] - e.step[0])
    numbers = {"decay_times_path": turns, "late_fall": e.level.late_fall}
    numbers["gradient_of_first"] = e.grad_ratio
    still = e.level.late_fall < 0.05 and not (e.falling and e.level.late_fall >= 0.02)
    share = rate * decay
    # At a smaller decay it is the rate that is far too large, and other rules name it.
    if min(share, decay) >= 1.0 and decay_is_share(optimizer) and not optimizer.groups:
        numbers["share_of_weights"] = share
        more = ", and more" if share > 1.0 else ""
        text = f"η·decay is {share:.3g}: each update takes every weight off whole{more}"
        if (still or e.blown_up) and not e.spent:
            text += ": nothing of what was learned before stays"
            return triggered(text + (", and weights grow." if share > 2.0 else "."), 1.0, **numbers)
        return clear(text + ", and the loss falls all the same.", 0.3, **numbers)
    text = f"The decay has replaced the weights {turns:.3g} times over"
    if e.blown_up:
        return clear(text + ", and the run diverged.", 0.5, **numbers)
    # Muon and Adafactor decay beside the gradient only; the others as their option says. Steps of
    # SGD follow the gradient, so that there both ways are one.
    beside = getattr(optimizer, "decoupled_weight_decay", isinstance(optimizer, Muon | Adafactor))
    adaptive = beside and not isinstance(optimizer, SGD)
    strong = decay >= 1.0 if adaptive else decay * settled_lr(optimizer) >= 0.01
    stuck = still and e.level.fall < 0.5 and (e.grad_ratio >= 0.02 or not e.deterministic)
    if turns >= 3.0 and strong and stuck and not e.spent:
        text += f", and the loss stands still with a gradient of {e.grad_ratio:.2g} of its first"
        return triggered(f"{text} size: decay and gradient hold each other.", 1.0, **numbers)
    return clear(text + ".", 0.5, **numbers)
