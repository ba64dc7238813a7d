"""Functions of one point, at many points at once: a thousand starts in one call."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from core.specs.formulas.values import dimension
from core.specs.functions import Bounds, Function, Quadratic
from core.specs.job import FunctionProblem as FunctionSpec
from core.specs.job import JobSpec
from core.specs.splits.rows import HeldOut
from core.train.fused.problems.base import Index, Metrics, differentiate, keep_slots
from core.train.problems.classic_gradients import GRADIENTS
from core.train.problems.functions import (
    build_function,
    quadratic_matrix,
    start_point,
    variable_names,
)
from core.train.tensors.packing import one_vector


class StackedFunctions:
    """Functions of a stack. Satisfies `core.train.fused.problems.base.StackedProblem`."""

    steps_per_epoch = 1

    def __init__(self, specs: Sequence[JobSpec], device: torch.device, dtype: torch.dtype) -> None:
        problems = [problem_of(spec) for spec in specs]
        function = problems[0].function
        self._names = variable_names(function)
        self.num_parameters = dimension(function)
        self.packing = one_vector(self.num_parameters)
        points = [self._start(spec) for spec in specs]
        start = torch.stack(points).to(dtype).to(device)
        self._function = stacked_function(function, device, dtype)
        self._gradient = GRADIENTS.get(self._function)
        bounds = [problem.bounds for problem in problems]
        self._limits = None if bounds[0] is None else _limits(bounds, start)
        self._hold({"x": start})
        dense = isinstance(function, Quadratic)
        self.multiply_adds = len(specs) * self.num_parameters ** (2 if dense else 1)

    def gradients(self, step: int) -> tuple[Tensor, Tensor]:
        if self._gradient is not None:
            return self._function(self.rows), self._gradient(self.rows)
        x = self.rows.detach().requires_grad_()
        losses, (gradient,) = differentiate(self._function(x), [x])
        return losses, gradient.contiguous()

    def commit(self) -> None:
        return

    def after_update(self) -> None:
        if self._limits is not None:
            self.rows.clamp_(*self._limits)

    def initial_losses(self) -> Index | None:
        return None

    def evaluate(self, slots: Index | None = None, part: HeldOut = "eval") -> Metrics | None:
        return None

    def evaluate_weights(self, weights: dict[str, Tensor], part: HeldOut) -> Metrics | None:
        return None

    def confusion_matrices(
        self, slots: Index, part: HeldOut = "eval", weights: dict[str, Tensor] | None = None
    ) -> list[list[list[int]] | None]:
        return [None] * len(slots)

    def points(self) -> Tensor | None:
        return self.rows

    def values(self) -> Tensor | None:
        with torch.no_grad():
            return self._function(self.rows)

    def solution(self, slot: int) -> dict[str, float] | list[float] | None:
        coordinates: list[float] = self.rows[slot].tolist()
        if self._names is None:
            return coordinates
        return dict(zip(self._names, coordinates, strict=True))

    def compact(self, kept: Index) -> None:
        index = torch.from_numpy(kept).to(self.rows.device)
        if self._limits is not None:
            low, high = self._limits
            self._limits = low.index_select(0, index), high.index_select(0, index)
        self._hold(keep_slots(self.weights, index))

    def metadata(self) -> dict[str, str]:
        return {}

    def _start(self, spec: JobSpec) -> Tensor:
        start = problem_of(spec).start
        if start is None:
            raise ValueError("the start must be settled before a problem is built")
        return start_point(start, self.num_parameters, self._names, spec.seed)

    def _hold(self, weights: dict[str, Tensor]) -> None:
        self.weights = weights
        self.rows = weights["x"]


def problem_of(spec: JobSpec) -> FunctionSpec:
    """Return the spec's problem, which is a function."""
    assert isinstance(spec.problem, FunctionSpec)
    return spec.problem


def stacked_function(
    spec: Function, device: torch.device, dtype: torch.dtype
) -> Callable[[Tensor], Tensor]:
    """Return points (runs, dim) -> values (runs,), no value depending on the other points.

    A dense quadratic takes its product run by run: in the product of one large matrix, the last
    bits depend on how many rows it has.
    """
    if not isinstance(spec, Quadratic):
        return build_function(spec, device, dtype)
    matrix = quadratic_matrix(spec).to(dtype).to(device)
    if matrix.ndim == 1:
        return build_function(spec, device, dtype)
    linear = None if spec.linear is None else torch.tensor(spec.linear, dtype=dtype, device=device)
    constant = spec.constant

    def value(x: Tensor) -> Tensor:
        image = torch.bmm(x.unsqueeze(1), matrix.expand(len(x), -1, -1)).squeeze(1)
        result = 0.5 * (x * image).sum(-1)
        if linear is not None:
            result = result + (linear * x).sum(-1)
        return result + constant if constant else result

    return value


def _limits(bounds: Sequence[Bounds | None], like: Tensor) -> tuple[Tensor, Tensor]:
    pairs = torch.stack([like.new_tensor(each).expand(like.shape[1], 2) for each in bounds])
    return pairs[..., 0].contiguous(), pairs[..., 1].contiguous()
