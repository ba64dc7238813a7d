"""The largest stable learning rate, from the curvature of the loss at the first weights.

Gradient descent, heavy ball and Nesterov have a sharp one (`core.diagnosis.evidence.theory`).
Adaptive methods have none at the start: what they divide the gradient by is one gradient's own size
then, and the bound that goes with it is a property of that gradient's smallest parts.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

import torch

from core.diagnosis.evidence.theory import Method, method_of
from core.specs.job import JobSpec
from core.train.events import Control
from core.train.measure import curvature
from core.train.measure.objective import build_objective

PRODUCTS: Final = 30
"""Hessian-vector products at most: counted, never timed, so that the bound is always the same."""
LARGEST: Final = 1e100
"""Largest rate that is looked for."""


@dataclass(frozen=True)
class Bound:
    """A curvature bound, or why there is none.

    Attributes:
        limit: the largest stable rate; None when none is known.
        curvature: the Hessian's largest eigenvalue, from below; some eigenvalue is within
            `accuracy` of it.
        products: Hessian-vector products made.
        threshold: the method's, for rate times curvature.
        reason: of a missing limit.
    """

    limit: float | None = None
    curvature: float | None = None
    accuracy: float | None = None
    products: int = 0
    threshold: float | None = None
    reason: str | None = None


def curvature_bound(spec: JobSpec, device: torch.device, control: Control) -> Bound:
    """Return the method's threshold over the largest curvature (of all training rows) at the job's
    first weights. Asked to stop, it ends early with whatever there is."""
    method = method_of(spec)
    if not method.linear:
        return Bound(reason=_no_threshold(spec, method))
    objective = build_objective(spec, None, device)
    if not math.isfinite(objective.loss()):
        return Bound(reason="the loss at the first weights is not finite")
    left = iter(range(PRODUCTS))

    def goes_on() -> bool:
        return next(left, None) is not None and control.stop_requested is None

    spectrum = curvature.extremes(
        curvature.hessian_product(objective),
        objective.dim,
        device=device,
        in_time=goes_on,
        smallest_too=False,
    )
    if spectrum is None:
        return Bound(reason="the curvature at the first weights is not finite")
    largest, threshold = spectrum.largest, method.threshold()
    found = Bound(None, largest.value, largest.bound, spectrum.products, threshold)
    damped = largest.value + method.decay
    if not damped > spectrum.rounding:
        return replace(found, reason="the curvature at the first weights is not positive")
    if not threshold / damped <= LARGEST:
        return replace(found, reason="the curvature at the first weights is all but 0")
    return replace(found, limit=threshold / damped)


def _no_threshold(spec: JobSpec, method: Method) -> str:
    if method.family == "adaptive":
        return f"{spec.optimizer.kind} has no sharp threshold at the start of a run"
    return f"no threshold is known for {spec.optimizer.kind} as it is set up here"
