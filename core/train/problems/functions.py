"""Functions of one point as problems: classic test functions, quadratics, expressions."""

from collections.abc import Callable, Mapping
from typing import assert_never

import torch
from torch import Tensor, nn

from core.specs.base import Json
from core.specs.formulas.parser import parse
from core.specs.formulas.tree import variables
from core.specs.formulas.values import dimension
from core.specs.functions import (
    Ackley,
    Beale,
    Booth,
    Bounds,
    Branin,
    DixonPrice,
    Expression,
    Function,
    GoldsteinPrice,
    Griewank,
    Himmelblau,
    Levy,
    Matyas,
    Quadratic,
    Rastrigin,
    Rosenbrock,
    Schwefel,
    SixHumpCamel,
    Sphere,
    Start,
    StyblinskiTang,
    SumSquares,
    ThreeHumpCamel,
    UniformStart,
    Zakharov,
)
from core.specs.job import FunctionProblem as FunctionSpec
from core.specs.splits.rows import HeldOut
from core.train.data.synthetic import orthogonal
from core.train.determinism import generator, one_thread
from core.train.problems import classic
from core.train.problems.base import WrittenOut, copy_state
from core.train.problems.expression import Program
from core.train.problems.tape import Tape, tape_of
from core.train.tensors.packing import one_vector

Evaluable = Callable[[Tensor], Tensor]
"""Points of shape (…, dim) -> values of shape (…)."""


class FunctionProblem:
    """Minimize a function of `x`, shape (dim,); satisfies `core.train.problems.base.Problem`."""

    steps_per_epoch = 1

    def __init__(
        self,
        function: Evaluable,
        start: Tensor,
        *,
        names: tuple[str, ...] | None,
        bounds: Bounds | None,
        multiply_adds: int,
        metadata: dict[str, str],
    ) -> None:
        """Take an expression's variables, in the order of the coordinates, as `names`."""
        self._function = function
        self._x = nn.Parameter(start)
        self._point = self._x.detach()
        self._written_out: WrittenOut | None = None
        self._names = names
        self._bounds = None if bounds is None else _limits(bounds, start)
        self._metadata = metadata
        self.multiply_adds = multiply_adds
        self.num_parameters = start.numel()

    def parameters(self) -> list[nn.Parameter]:
        return [self._x]

    def loss(self, step: int) -> Tensor:
        return self._function(self._x)

    def written_out(self) -> WrittenOut | None:
        if self._written_out is None and not self._point.is_cuda:
            gradient = torch.zeros_like(self._point)
            tape = tape_of(self._function, self._point, gradient)
            self._written_out = None if tape is None else _WrittenOut(tape, self._point, gradient)
        return self._written_out

    def initial_loss(self) -> float | None:
        return None

    def evaluate(self, part: HeldOut = "eval") -> dict[str, float] | None:
        return None

    def confusion_matrix(self, part: HeldOut = "eval") -> list[list[int]] | None:
        return None

    def after_update(self) -> None:
        if self._bounds is not None:
            self._point.clamp_(*self._bounds)

    def point(self) -> Tensor | None:
        return self._point

    def solution(self) -> dict[str, float] | list[float] | None:
        coordinates: list[float] = self._point.tolist()
        if self._names is None:
            return coordinates
        return dict(zip(self._names, coordinates, strict=True))

    def value(self) -> float | None:
        with torch.no_grad():
            return float(self._function(self._point).item())

    def state(self) -> dict[str, Tensor]:
        return {"x": self._point}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        copy_state(self.state(), state)

    def data(self) -> Json | None:
        return None

    def examine(self) -> Json | None:
        return None

    def metadata(self) -> dict[str, str]:
        return dict(self._metadata)


class _WrittenOut:
    """Satisfies `core.train.problems.base.WrittenOut`."""

    def __init__(self, tape: Tape, row: Tensor, gradient: Tensor) -> None:
        self.row, self.gradient = row, gradient
        self.packing = one_vector(row.numel())
        self.complete = True
        self._value = tape.value
        self.backward = tape.backward

    def loss(self, step: int) -> Tensor:
        return self._value()


def build_function_problem(
    spec: FunctionSpec,
    *,
    seed: int,
    device: torch.device,
    dtype: torch.dtype,
    metadata: dict[str, str],
) -> FunctionProblem:
    """Return the problem of a resolved spec: its function over `x` at the start point."""
    names = variable_names(spec.function)
    if spec.start is None:
        raise ValueError("the start must be settled before a problem is built")
    dim = dimension(spec.function)
    start = start_point(spec.start, dim, names, seed).to(dtype).to(device)
    dense = isinstance(spec.function, Quadratic) and not spec.function.is_diagonal
    return FunctionProblem(
        build_function(spec.function, device, dtype),
        start,
        names=names,
        bounds=spec.bounds,
        multiply_adds=dim * dim if dense else dim,
        metadata=metadata,
    )


def variable_names(spec: Function) -> tuple[str, ...] | None:
    """Return an expression's variables in the order of the coordinates; None for the other
    functions."""
    return variables(parse(spec.expression)) if isinstance(spec, Expression) else None


def start_point(start: Start, dim: int, names: tuple[str, ...] | None, seed: int) -> Tensor:
    """Return the first point in float64, shape (dim,), on the CPU."""
    match start:
        case UniformStart():
            drawn = torch.rand(dim, generator=generator(seed, "start"), dtype=torch.float64)
            return start.low + (start.high - start.low) * drawn
        case dict():
            assert names is not None
            return torch.tensor([start[name] for name in names], dtype=torch.float64)
        case _:
            return torch.tensor(start, dtype=torch.float64)


def build_function(spec: Function, device: torch.device, dtype: torch.dtype) -> Evaluable:
    """Return the function that `spec` names, over the last axis of its points."""
    match spec:
        case Quadratic():
            return quadratic(spec, device, dtype)
        case Expression():
            tree = parse(spec.expression)
            return Program(tree, variables(tree), device, dtype)
        case _:
            return _classic(spec)


def _classic(spec: Function) -> Evaluable:  # noqa: C901, PLR0912 (one case a kind)
    match spec:
        case Sphere():
            return classic.sphere
        case SumSquares():
            return classic.sum_squares
        case Rosenbrock():
            return classic.rosenbrock
        case Rastrigin():
            return classic.rastrigin
        case Ackley():
            return classic.ackley
        case Griewank():
            return classic.griewank
        case Levy():
            return classic.levy
        case StyblinskiTang():
            return classic.styblinski_tang
        case Schwefel():
            return classic.schwefel
        case Zakharov():
            return classic.zakharov
        case DixonPrice():
            return classic.dixon_price
        case Himmelblau():
            return classic.himmelblau
        case Beale():
            return classic.beale
        case Booth():
            return classic.booth
        case Matyas():
            return classic.matyas
        case ThreeHumpCamel():
            return classic.three_hump_camel
        case SixHumpCamel():
            return classic.six_hump_camel
        case GoldsteinPrice():
            return classic.goldstein_price
        case Branin():
            return classic.branin
        case Quadratic() | Expression():
            raise AssertionError("built elsewhere")
        case _:
            assert_never(spec)


def quadratic_matrix(spec: Quadratic) -> Tensor:
    """Return A of 0.5·xᵀAx + bᵀx + c in float64: its diagonal (dim,) when it is diagonal, else
    (dim, dim).

    Rotated, A = Q·diag(λ)·Qᵀ with Q uniform among the orthogonal matrices, drawn from
    `generator(rotation_seed, "rotation")`, and symmetric to the last bit.
    """
    if spec.eigenvalues is None:
        return torch.tensor(spec.matrix, dtype=torch.float64)
    eigenvalues = torch.tensor(spec.eigenvalues, dtype=torch.float64)
    if spec.rotation_seed is None:
        return eigenvalues
    with one_thread():
        q = orthogonal(len(eigenvalues), generator(spec.rotation_seed, "rotation"))
        rotated = (q * eigenvalues) @ q.T
    return (rotated + rotated.T) / 2


def quadratic(spec: Quadratic, device: torch.device, dtype: torch.dtype) -> Evaluable:
    """Return 0.5·xᵀAx + bᵀx + c."""
    matrix = quadratic_matrix(spec).to(dtype).to(device)
    linear = None if spec.linear is None else torch.tensor(spec.linear, dtype=dtype, device=device)
    constant = spec.constant

    def value(x: Tensor) -> Tensor:
        image = matrix * x if matrix.ndim == 1 else x @ matrix
        result = 0.5 * (x * image).sum(-1)
        if linear is not None:
            result = result + (linear * x).sum(-1)
        return result + constant if constant else result

    return value


def _limits(bounds: Bounds, like: Tensor) -> tuple[Tensor, Tensor]:
    pairs = like.new_tensor(bounds)
    return pairs[..., 0], pairs[..., 1]
