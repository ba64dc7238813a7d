"""The first steps of a patched run, tried on a function before its remedy is offered. No torch."""

import json
from typing import Final

import numpy as np

from core.diagnosis.evidence.box import box_of
from core.diagnosis.evidence.curves import Floats
from core.diagnosis.evidence.landscape import MAX_DIM, slopes_of, values_of
from core.errors import InvalidInputError
from core.specs.base import Json
from core.specs.direction import sign_of_job
from core.specs.formulas.parser import parse
from core.specs.formulas.tree import variables
from core.specs.formulas.values import dimension
from core.specs.functions import Expression, Quadratic
from core.specs.job import ClipNorm, FunctionProblem, JobSpec
from core.specs.optimizers import SGD, Adam, settled_lr
from core.specs.parsing.remedy import remedied
from core.specs.validation.limits import Limits

STEPS: Final = 8


def works(spec: JobSpec, patch: Json) -> bool | None:
    """Tell whether the patched run's first steps are finite and move the point; None: not known.

    Known for gradient descent, heavy ball, Nesterov and Adam on functions of few variables from a
    start that is given; there it takes a millisecond. A patch that makes no valid spec does not
    work.
    """
    if not isinstance(spec.problem, FunctionProblem) or dimension(spec.problem.function) > MAX_DIM:
        return None
    try:
        patched = remedied(json.loads(spec.model_dump_json()), patch, Limits())
    except InvalidInputError:
        return False
    problem, optimizer = patched.problem, patched.optimizer
    if not isinstance(problem, FunctionProblem) or not isinstance(optimizer, SGD | Adam):
        return None
    if isinstance(problem.function, Quadratic) or patched.stop.target_loss is not None:
        return None  # theory has weighed it; a target ends before a step
    start = _start(problem)
    clip = patched.gradient_clip
    known = clip is None or (isinstance(clip, ClipNorm) and clip.norm_type == 2.0)
    if start is None or not known:
        return None
    with np.errstate(all="ignore"):
        points = _steps(patched, problem, optimizer, start)
        if points is None:
            return None
        finite = bool(np.isfinite(values_of(problem.function)(points)).all())
    return finite and bool((points[-1] != points[0]).any())


def _start(problem: FunctionProblem) -> Floats | None:
    start = problem.start
    if isinstance(start, dict):
        assert isinstance(problem.function, Expression)
        names = variables(parse(problem.function.expression))
        return np.array([start[name] for name in names], dtype=np.float64)
    return np.array(start, dtype=np.float64) if isinstance(start, tuple) else None


def _steps(
    spec: JobSpec, problem: FunctionProblem, optimizer: SGD | Adam, start: Floats
) -> Floats | None:
    """Return the first points, as torch's SGD and Adam make them (schedules have hardly begun)."""
    slopes = slopes_of(problem, sign_of_job(spec))
    box, lr = box_of(problem), settled_lr(spec.optimizer)
    x, points = start.copy(), [start]
    first, second = np.zeros_like(x), np.zeros_like(x)
    for step in range(1, STEPS + 1):
        found = slopes(x[None, :])
        if found is None:
            return None
        g = found[0]
        if isinstance(spec.gradient_clip, ClipNorm):
            size = float(np.sqrt(g @ g))
            g = g * min(1.0, spec.gradient_clip.max_norm / (size + 1e-6))
        g = g + optimizer.weight_decay * x
        if isinstance(optimizer, SGD):
            first = optimizer.momentum * first + g
            x = x - lr * (g + optimizer.momentum * first if optimizer.nesterov else first)
        else:
            a, b = optimizer.betas
            first, second = a * first + (1 - a) * g, b * second + (1 - b) * g * g
            root = np.sqrt(second / (1 - b**step)) + optimizer.eps
            x = x - lr * (first / (1 - a**step)) / root
        x = x if box is None else box.clip(x)
        points.append(x)
    return np.array(points)
