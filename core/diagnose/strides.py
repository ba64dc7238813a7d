"""How long a step can be where the gradient's length has no say: adaptive methods and Muon."""

import math
from itertools import pairwise
from typing import Final

from core.optim.muon import rate_factor
from core.specs.job import JobSpec, Supervised
from core.specs.models import LinearModel
from core.specs.optimizers import Muon
from core.specs.sizes.shapes import data_shape, problem_parameters

SINGULAR: Final = 1.25
"""No singular value of a matrix that Muon has made orthogonal is much above it."""


def longest_stride(spec: JobSpec) -> float:
    """About the Euclidean length of the longest update at rate 1.

    Adaptive methods move each of P parameters by about the rate: √P. Muon moves a hidden layer's
    matrix by f·NS(D), at most f·1.25·√min(rows, columns) long (`core.optim.muon`), and all other
    parameters as AdamW does.
    """
    square = float(problem_parameters(spec.problem))
    optimizer, problem = spec.optimizer, spec.problem
    if not isinstance(optimizer, Muon):
        return math.sqrt(square)
    hidden = 0.0
    if isinstance(problem, Supervised) and not isinstance(problem.model, LinearModel):
        widths = (data_shape(problem.data).num_features, *problem.model.hidden)
        for columns, rows in pairwise(widths):
            square -= rows * columns
            factor = rate_factor(rows, columns, optimizer.adjust_lr_fn)
            hidden += (SINGULAR * factor) ** 2 * min(rows, columns)
    return math.sqrt(hidden + square * optimizer.adamw_lr_scale**2)
