"""Functions to minimize: classic test functions, quadratics and expressions.

Sources of the test functions: Jamil and Yang 2013 (arXiv 1308.4008); Surjanovic and Bingham,
Virtual Library of Simulation Experiments. Formulas, minima and customary starts live in
`core.specs.formulas.classic` (NumPy) and `core.train.problems.functions` (torch).
"""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from core.specs.base import WHOLE, Seed, Spec, list_or_object

Dim = Annotated[int, Field(ge=1, le=100_000), WHOLE]
DimOfTwoOrMore = Annotated[int, Field(ge=2, le=100_000), WHOLE]


Vector = Annotated[tuple[float, ...], Field(min_length=1, fail_fast=True)]


class Sphere(Spec):
    kind: Literal["sphere"]
    dim: Dim = 2


class SumSquares(Spec):
    kind: Literal["sum_squares"]
    dim: Dim = 2


class Rosenbrock(Spec):
    kind: Literal["rosenbrock"]
    dim: DimOfTwoOrMore = 2


class Rastrigin(Spec):
    kind: Literal["rastrigin"]
    dim: Dim = 2


class Ackley(Spec):
    kind: Literal["ackley"]
    dim: Dim = 2


class Griewank(Spec):
    kind: Literal["griewank"]
    dim: Dim = 2


class Levy(Spec):
    kind: Literal["levy"]
    dim: Dim = 2


class StyblinskiTang(Spec):
    kind: Literal["styblinski_tang"]
    dim: Dim = 2


class Schwefel(Spec):
    kind: Literal["schwefel"]
    dim: Dim = 2


class Zakharov(Spec):
    kind: Literal["zakharov"]
    dim: Dim = 2


class DixonPrice(Spec):
    kind: Literal["dixon_price"]
    dim: DimOfTwoOrMore = 2


class Himmelblau(Spec):
    kind: Literal["himmelblau"]


class Beale(Spec):
    kind: Literal["beale"]


class Booth(Spec):
    kind: Literal["booth"]


class Matyas(Spec):
    kind: Literal["matyas"]


class ThreeHumpCamel(Spec):
    kind: Literal["three_hump_camel"]


class SixHumpCamel(Spec):
    kind: Literal["six_hump_camel"]


class GoldsteinPrice(Spec):
    kind: Literal["goldstein_price"]


class Branin(Spec):
    kind: Literal["branin"]


class Quadratic(Spec):
    """0.5·xᵀAx + bᵀx + c: A by its eigenvalues (rotated by a random orthogonal matrix drawn from
    `rotation_seed`, or diagonal) or given whole (symmetric)."""

    kind: Literal["quadratic"]
    eigenvalues: Vector | None = None
    rotation_seed: Seed | None = None
    matrix: Annotated[tuple[Vector, ...], Field(min_length=1, fail_fast=True)] | None = None
    linear: Vector | None = None
    constant: float = 0.0

    @property
    def is_diagonal(self) -> bool:
        """Tell whether A has nothing but eigenvalues."""
        return self.eigenvalues is not None and self.rotation_seed is None


class Expression(Spec):
    """A formula in named variables, parsed by a whitelist."""

    kind: Literal["expression"]
    expression: Annotated[str, Field(min_length=1)]


Function = Annotated[
    Sphere
    | SumSquares
    | Rosenbrock
    | Rastrigin
    | Ackley
    | Griewank
    | Levy
    | StyblinskiTang
    | Schwefel
    | Zakharov
    | DixonPrice
    | Himmelblau
    | Beale
    | Booth
    | Matyas
    | ThreeHumpCamel
    | SixHumpCamel
    | GoldsteinPrice
    | Branin
    | Quadratic
    | Expression,
    Field(discriminator="kind"),
]


class UniformStart(Spec):
    """Every coordinate uniform in [low, high), drawn from the job's seed."""

    kind: Literal["uniform"]
    low: float
    high: float


def _start_tag(value: object) -> str:
    if isinstance(value, UniformStart) or (isinstance(value, dict) and "kind" in value):
        return "~uniform"
    return "~named" if isinstance(value, dict) else "~list"


def _bounds_tag(value: object) -> str:
    return "~rows" if list_or_object(value) == "~rows" else "~list"


Start = Annotated[
    Annotated[Vector, Tag("~list")]
    | Annotated[UniformStart, Tag("~uniform")]
    | Annotated[dict[str, float], Field(min_length=1), Tag("~named")],
    Discriminator(_start_tag),
]
"""A list of coordinates, a draw, or (for an expression) a value for each variable."""

Bounds = Annotated[
    Annotated[tuple[float, float], Tag("~list")]
    | Annotated[tuple[tuple[float, float], ...], Field(min_length=1, fail_fast=True), Tag("~rows")],
    Discriminator(_bounds_tag),
]
"""Bounds: one (low, high) for all coordinates, or one each; each update ends with a clamp to
them."""
