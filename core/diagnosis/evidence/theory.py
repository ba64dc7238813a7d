"""Theory of each optimizer on a quadratic: thresholds, rates and where a run ends.

torch's convention of SGD: buf ← β·buf + (1−τ)·g; x ← x − η·buf, or x − η·(g + β·buf) with Nesterov.
Everything is per eigenvalue λ of the Hessian. Sources: Polyak 1964; Nesterov 1983; thresholds as in
Cohen et al. 2021 (arXiv 2103.00065), section 5 and appendix B.
"""

import math
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import numpy as np

from core.diagnosis.evidence.curves import Floats
from core.specs.job import DataProblem, FunctionProblem, JobSpec
from core.specs.optimizers.kinds import (
    ASGD,
    LBFGS,
    SGD,
    Adadelta,
    Adagrad,
    Muon,
    Prodigy,
    ScheduleFreeAdamW,
    ScheduleFreeSGD,
    Shampoo,
    hidden_matrices,
    rate_factor,
)
from core.specs.optimizers.wrappers import Lookahead, Sam
from core.specs.schedules import sets_momentum
from core.specs.sizes.shapes import layers_of, problem_parameters, tables_of

FINDS_LENGTHS: Final = (Adadelta, LBFGS, Prodigy)
"""Methods that find the length of a step themselves: their rate is a factor on it, 1 as a rule."""

# How long a step can be where the gradient's length has no say: adaptive methods and Muon.
SINGULAR: Final = 1.25
"""Largest singular value that a matrix made orthogonal by Muon can have, about."""


def longest_stride(spec: JobSpec) -> float:
    """Return about the Euclidean length of the longest update at rate 1.

    Adaptive methods move each of P parameters by about the rate: √P. Muon moves a hidden layer's
    matrix by f·NS(D), at most f·1.25·√min(rows, columns) long (`core.train.optim.muon`), and all
    other parameters as AdamW does. Shampoo's first update of a matrix is UVᵀ of the gradient's
    singular vectors, √min(rows, columns) long, that of a vector 1; later ones are shorter.
    """
    square = float(problem_parameters(spec.problem))
    optimizer, problem = spec.optimizer, spec.problem
    if isinstance(optimizer, Shampoo):
        if not isinstance(problem, DataProblem):
            return 1.0
        return math.sqrt(sum(_rank(each.shape) for each in layers_of(problem).parameters))
    if not isinstance(optimizer, Muon):
        return math.sqrt(square)
    hidden = 0.0
    if isinstance(problem, DataProblem):
        shapes = [parameter.shape for parameter in layers_of(problem).parameters]
        for rows, columns in filter(None, hidden_matrices(shapes, tables_of(problem))):
            square -= rows * columns
            factor = rate_factor(rows, columns, optimizer.adjust_lr_fn)
            hidden += (SINGULAR * factor) ** 2 * min(rows, columns)
    return math.sqrt(hidden + square * optimizer.adamw_lr_scale**2)


def sums_squares(spec: JobSpec) -> bool:
    """Tell whether the method divides by the root of the sum of all squares so far (of all outer
    products), so that its steps become shorter while the gradient stays."""
    return isinstance(spec.optimizer, Adagrad | Shampoo)


def _rank(shape: Sequence[int]) -> float:
    """Return the mean (geometric) of the ranks that a tensor has along its axes, at most."""
    size = math.prod(shape)
    ranks = [float(min(length, size // length)) for length in shape]
    return math.prod(ranks) ** (1.0 / max(1, len(ranks)))


Pace = Literal["gradient", "stride"]


def pace_of(spec: JobSpec, method: "Method") -> Pace | None:
    """Return what bounds the steps at rate 1: the gradient's length, or a length that they have
    whatever it is (`longest_stride`). None for methods that find the length themselves, and for
    what is put around one or in groups.

    Schedule-Free's gradients are taken between a point that moves so and the mean of where it was,
    which moves less (Defazio et al. 2024, arXiv 2405.15682); ASGD's steps are gradient descent's,
    of a rate that falls.
    """
    if method.family in ("adaptive", "orthogonal"):
        return "stride"
    if method.family != "other":
        return "gradient"
    around = any(isinstance(each, Lookahead | Sam) for each in spec.optimizer.wrap)
    if around or spec.optimizer.groups:
        return None
    if isinstance(spec.optimizer, ASGD | ScheduleFreeSGD):
        return "gradient"
    return "stride" if isinstance(spec.optimizer, ScheduleFreeAdamW | Shampoo) else None


Family = Literal["gradient_descent", "heavy_ball", "nesterov", "adaptive", "orthogonal", "other"]

_ADAPTIVE: Final = frozenset(
    {
        *("adam", "adamw", "adamax", "nadam", "radam", "rmsprop", "rprop", "soap"),
        *("adagrad", "adadelta", "adafactor", "lion", "adopt", "ademamix"),
    }
)


class Method(NamedTuple):
    """An optimizer as the theory sees it.

    Attributes:
        family: what it is.
        beta: momentum (0 where there is none).
        scale: factor on the learning rate (1 − dampening).
        decay: weight decay that is added to the gradient (to every λ).
    """

    family: Family
    beta: float = 0.0
    scale: float = 1.0
    decay: float = 0.0

    @property
    def linear(self) -> bool:
        """Tell whether a step is a fixed linear map on a quadratic, so that the theory is exact."""
        return self.family in ("gradient_descent", "heavy_ball", "nesterov")

    @property
    def nesterov(self) -> bool:
        return self.family == "nesterov"

    def threshold(self) -> float:
        """Return the largest stable η·λ: 2; (2+2β) with heavy ball; (2+2β)/(1+2β) with Nesterov."""
        plain = 2.0 + 2.0 * self.beta
        return (plain / (1.0 + 2.0 * self.beta) if self.nesterov else plain) / self.scale


def method_of(spec: JobSpec) -> Method:
    """Return the method of a spec. A schedule that moves the momentum makes it `other`,
    and so do groups, slow weights and a gradient of another point. Muon, which
    is AdamW where there are no layers, is `orthogonal` on models."""
    optimizer = spec.optimizer
    if optimizer.groups or any(isinstance(each, Lookahead | Sam) for each in optimizer.wrap):
        return Method("other")
    if isinstance(optimizer, SGD):
        if optimizer.cautious:
            return Method("other")
        if sets_momentum(spec.schedule):
            return Method("other")  # even of a momentum of 0, as in torch
        if optimizer.momentum == 0:
            return Method("gradient_descent", decay=optimizer.weight_decay)
        scale = 1.0 - optimizer.dampening
        beside = optimizer.decoupled_weight_decay and optimizer.weight_decay > 0
        if scale <= 0 or optimizer.momentum >= 1 or beside:
            return Method("other")
        family: Family = "nesterov" if optimizer.nesterov else "heavy_ball"
        return Method(family, optimizer.momentum, scale, optimizer.weight_decay)
    if isinstance(optimizer, Muon):
        on_point = isinstance(spec.problem, FunctionProblem)
        return Method("adaptive" if on_point else "orthogonal")
    return Method("adaptive" if optimizer.kind in _ADAPTIVE else "other")


def step_matrices(method: Method, lr: float, eigenvalues: Floats) -> Floats:
    """Return the (modes × 2 × 2) maps of (x, buf) along each eigenvector, one step each.

    Nesterov in torch's form: x ← x − η(g + β·buf'), buf' = β·buf + g.
    """
    lam = eigenvalues + method.decay
    beta, rate = method.beta, lr
    a, one = method.scale * lam, np.ones_like(lam)
    if method.nesterov:
        top = [1.0 - rate * (1.0 + beta) * lam, -rate * beta * beta * one]
    else:
        top = [1.0 - rate * a, -rate * beta * one]
    return np.moveaxis(np.array([top, [a, beta * one]]), 2, 0)


def spectral_radius(method: Method, lr: float | Floats, eigenvalue: float | Floats) -> Floats:
    """Return the asymptotic factor of |x| a step along an eigenvector; below 1 is stable.
    Broadcasts."""
    lam = np.asarray(eigenvalue, dtype=np.float64) + method.decay
    rate = np.asarray(lr, dtype=np.float64) * method.scale
    beta = method.beta
    if method.nesterov:
        trace, determinant = (1.0 + beta) * (1.0 - rate * lam), beta * (1.0 - rate * lam)
    else:
        trace, determinant = 1.0 + beta - rate * lam, np.full_like(rate * lam, beta)
    root = trace * trace - 4.0 * determinant
    real = (np.abs(trace) + np.sqrt(np.maximum(root, 0.0))) / 2.0
    return np.where(root >= 0, real, np.sqrt(np.maximum(determinant, 0.0)))


def best_rate(method: Method, low: float, high: float) -> tuple[float, float]:
    """Return the learning rate that converges fastest on eigenvalues in [low, high], and its
    factor.

    Gradient descent: η = 2/(L+μ), (κ−1)/(κ+1). With momentum the optimum over η at the given β is
    searched on a grid of 256 rates up to the threshold (the two ends decide: the radius is
    quasiconvex in λ).
    """
    if method.family == "gradient_descent":
        high, low = high + method.decay, low + method.decay
        return 2.0 / (high + low), (high - low) / (high + low)
    top = method.threshold() / (high + method.decay)
    rates = top * np.logspace(-6, 0, 256, endpoint=False)
    worst = np.maximum(spectral_radius(method, rates, low), spectral_radius(method, rates, high))
    # A radius of √β is flat over many rates: take the one next to half the threshold.
    alike = np.flatnonzero(worst <= worst.min() * (1.0 + 1e-9))
    at = int(alike[np.abs(np.log(rates[alike] / (0.5 * top))).argmin()])
    return float(rates[at]), float(worst[at])


def best_heavy_ball(low: float, high: float) -> tuple[float, float, float]:
    """Return Polyak's rate, momentum and factor: η = 4/(√L+√μ)², β = ((√κ−1)/(√κ+1))², √β."""
    root = math.sqrt(high / low)
    factor = (root - 1.0) / (root + 1.0)
    return 4.0 / (math.sqrt(high) + math.sqrt(low)) ** 2, factor**2, factor


def predicted_gap(
    method: Method, lr: float, eigenvalues: Floats, components: Floats, steps: int
) -> float:
    """Return ½·Σ λ·xᵢ² after `steps` updates from `components` (distances from the minimum along
    each eigenvector) with an empty momentum buffer; infinity when it overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        power = np.linalg.matrix_power(step_matrices(method, lr, eigenvalues), steps)
        end = power[:, 0, 0] * components
        gap = 0.5 * float(eigenvalues @ (end * end))
    return gap if math.isfinite(gap) else math.inf
