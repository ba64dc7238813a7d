"""First steps of a patched run, tried before its remedy is offered: of functions here, of models
where torch is. No torch."""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np

from core.diagnosis.evidence.box import box_of
from core.diagnosis.evidence.curves import Floats
from core.diagnosis.evidence.formula import values_of
from core.diagnosis.evidence.landscape import MAX_DIM, slopes_of
from core.errors import InvalidInputError
from core.specs.base import Json
from core.specs.direction import sign_of_job
from core.specs.formulas.parser import parse
from core.specs.formulas.tree import variables
from core.specs.formulas.values import dimension
from core.specs.functions import Expression, Quadratic
from core.specs.job import ClipNorm, DataProblem, FunctionProblem, JobSpec
from core.specs.optimizers.kinds import SGD, Adam, settled_lr
from core.specs.parsing.remedy import remedied
from core.specs.validation.limits import Limits

STEPS: Final = 8
WORSE: Final = 2.0
"""A model's loss that has grown by this share of itself after the first steps makes a remedy
clearly worse: of 215 remedies of the labelled set 15 did, and ended 2 worse than their parents, 10
no better, and 3 at losses of a million times the first one."""

TryFirstSteps = Callable[[Sequence[JobSpec]], Sequence[Json | None]]
"""Function that takes the first steps of models, where torch is: `first` and `last` loss of the
same rows, `finite`, `moved` of each spec; None: not known (`core.train.measure.trial_steps`)."""


class Attempts:
    """The first steps of one run's patches. Each patch is tried once.

    Args:
        take: takes the first steps of models; None: only those of functions are known.
        survived: the largest loss (of what is to fall) that the run itself saw at first and came
            back from: a remedy that stays below it makes nothing worse.
    """

    def __init__(
        self, spec: JobSpec, take: TryFirstSteps | None = None, survived: float = -math.inf
    ) -> None:
        self._spec = spec
        self._take = take
        self._survived = survived
        self._known: dict[str, bool | None] = {}

    def try_all(self, patches: Iterable[Json]) -> None:
        """Try those not yet tried, models' in one go."""
        models: dict[str, JobSpec] = {}
        for patch in patches:
            text = json.dumps(patch, sort_keys=True)
            if text in self._known:
                continue
            try:
                patched = remedied(json.loads(self._spec.model_dump_json()), patch, Limits())
            except InvalidInputError:
                self._known[text] = False
                continue
            self._known[text] = _works_on_a_function(patched)
            if isinstance(patched.problem, DataProblem) and not patch.keys() <= _AFTER_THE_START:
                models[text] = patched
        if models and self._take is not None:
            for text, seen in zip(models, self._take(list(models.values())), strict=True):
                self._known[text] = None if seen is None else _goes_well(seen, self._survived)

    def works(self, patch: Json) -> bool | None:
        """Tell whether the patched run's first steps are finite, move the point, and do not make
        it clearly worse; None: not known. A patch that makes no valid spec does not work."""
        self.try_all([patch])
        return self._known[json.dumps(patch, sort_keys=True)]


_AFTER_THE_START: Final = frozenset({"budget", "stop", "record", "checkpoint"})
"""Fields that change nothing of the first steps."""


def _goes_well(seen: Json, survived: float) -> bool:
    first, last = seen["first"], seen["last"]
    if not (seen["finite"] and seen["moved"]) or last is None or not math.isfinite(last):
        return False
    return first is None or bool(last - first <= WORSE * abs(first) or last <= survived)


def _works_on_a_function(patched: JobSpec) -> bool | None:
    """Tell it of gradient descent, heavy ball, Nesterov and Adam on functions of few variables from
    a start that is given, where it takes a millisecond."""
    problem, optimizer = patched.problem, patched.optimizer
    if not isinstance(problem, FunctionProblem) or not isinstance(optimizer, SGD | Adam):
        return None
    if (
        optimizer.wrap
        or optimizer.cautious
        or (optimizer.decoupled_weight_decay and optimizer.weight_decay > 0)
    ):
        return None
    if dimension(problem.function) > MAX_DIM:
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
