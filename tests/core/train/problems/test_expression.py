"""Expressions in torch: values, gradients, and what `where` keeps out of them."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import special
from torch import Tensor

from core.specs.formulas.parser import parse
from core.specs.formulas.tokens import ARITY
from core.specs.formulas.tree import variables
from core.train.problems.expression import ARITHMETIC, FUNCTIONS, Program

CPU = torch.device("cpu")


def program(text: str, dtype: torch.dtype = torch.float64) -> Program:
    tree = parse(text)
    return Program(tree, variables(tree), CPU, dtype)


def value(text: str, *point: float) -> float:
    return float(program(text)(torch.tensor(point, dtype=torch.float64)).item())


def gradient(text: str, *point: float) -> list[float]:
    x = torch.tensor(point, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(program(text)(x), [x])
    found: list[float] = slope.tolist()
    return found


def test_every_operation_of_the_whitelist_is_there() -> None:
    assert ARITHMETIC.keys() | FUNCTIONS.keys() == ARITY.keys()
    assert not ARITHMETIC.keys() & FUNCTIONS.keys()


UNARY: dict[str, Callable[[float], float]] = {
    "sin": math.sin, "cos": math.cos, "tan": math.tan, "asin": math.asin, "acos": math.acos,
    "atan": math.atan, "sinh": math.sinh, "cosh": math.cosh, "tanh": math.tanh,
    "asinh": math.asinh, "acosh": lambda x: math.acosh(x + 1), "atanh": math.atanh,
    "exp": math.exp, "expm1": math.expm1, "log": math.log, "log2": math.log2,
    "log10": math.log10, "log1p": math.log1p, "sqrt": math.sqrt, "abs": abs,
    "sign": lambda x: math.copysign(1, x), "floor": math.floor, "ceil": math.ceil,
    "erf": math.erf, "sigmoid": special.expit, "relu": lambda x: max(x, 0.0),
    "softplus": lambda x: math.log1p(math.exp(x)),
}  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_a_function_of_one_value_is_the_mathematical_one(name: str) -> None:
    inner = "x + 1" if name == "acosh" else "x"
    expected = UNARY[name](0.37)

    assert value(f"{name}({inner})", 0.37) == pytest.approx(expected, rel=1e-14)
    constant = "1.37" if name == "acosh" else "0.37"
    assert value(f"{name}({constant}) + 0*x", 0.37) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x1**2", 9.0), ("x1**-1", 1 / 3), ("2**x1", 8.0), ("-x1**2", -9.0), ("x1**x2", 81.0),
        ("x1/x2 - x2/x1", 3 / 4 - 4 / 3), ("atan2(x1, x2)", math.atan2(3, 4)),
        ("hypot(x1, x2)", 5.0), ("hypot(x1, 4)", 5.0), ("min(x1, x2, 1)", 1.0),
        ("max(x1, 2, x2)", 4.0), ("max(1, 2) * x1", 6.0), ("pi + 0*x1", math.pi),
        ("where(x1 < x2, 1, 2) + 0*x1", 1.0), ("where(1 < 2, x1, x2)", 3.0),
        ("where(x1 < x2 and not x1 == 3, x1, x2)", 4.0), ("where(1 < x1 <= 3, x1, 0)", 3.0),
        ("where(x1 > x2 or x2 >= 4, 7, x1)", 7.0), ("where(x1 != 3 or 2 < 1, 7, x1)", 3.0),
        ("where(2 > 1 and x1 < 4, 7, x1)", 7.0),
    ],
)  # fmt: skip
def test_operators_have_their_usual_meaning(text: str, expected: float) -> None:
    point = [3.0, 4.0][: len(variables(parse(text)))]

    assert value(text, *point) == pytest.approx(expected, rel=1e-15)


def test_coordinates_come_in_the_order_of_the_variables() -> None:
    assert variables(parse("x10 + x2 + x1")) == ("x1", "x2", "x10")
    assert value("x10*100 + x2*10 + x1", 1, 2, 3) == 321.0


def test_softplus_is_exact_far_out() -> None:
    assert value("softplus(x)", -40.0) == pytest.approx(math.exp(-40), rel=1e-12)
    assert value("softplus(x) - x", 25.0) == pytest.approx(math.exp(-25), rel=1e-3)


def test_a_formula_computes_what_the_same_torch_code_does() -> None:
    x = torch.tensor([-5.0, -2.0], dtype=torch.float64, requires_grad=True)
    by_hand = 0.1 * x[0] ** 2 + 2 * x[1] ** 2

    ours = program("0.1*x1**2 + 2*x2**2")(x)

    assert torch.equal(ours, by_hand)
    assert torch.equal(*(torch.autograd.grad(f, [x])[0] for f in (ours, by_hand)))


@pytest.mark.parametrize(
    ("text", "point", "slope"),
    [
        ("where(x > 0, log(x), x)", 0.0, 1.0),
        ("where(x > 0, log(x), x)", -1.0, 1.0),
        ("where(x > 0, log(x), x)", 4.0, 0.25),
        ("where(x >= 0, x**2, sqrt(-x))", 3.0, 6.0),
        ("where(x >= 0, x**2, sqrt(-x))", 0.0, 0.0),
        ("where(x == 0, 1, sin(x)/x)", 0.0, 0.0),
        ("where(x > 1, where(x > 2, sqrt(x - 2), sqrt(2 - x)), 5*x)", 0.5, 5.0),
        ("where(x > 1, where(x > 2, sqrt(x - 2), 2*x), 5*x)", 1.5, 2.0),
        ("where(x < 1, 3*x, exp(1000*x))", 0.9, 3.0),
        ("x + where(x > 0, x, 1/x)", 0.0, float("-inf")),
    ],
)
def test_where_has_the_gradient_of_the_branch_that_is_taken(
    text: str, point: float, slope: float
) -> None:
    assert gradient(text, point) == [slope]


def test_where_selects_point_by_point_in_a_batch() -> None:
    x = torch.tensor([[4.0], [0.0], [-1.0]], dtype=torch.float64, requires_grad=True)

    values = program("where(x > 0, log(x), x)")(x)
    (slope,) = torch.autograd.grad(values.sum(), [x])

    assert values.tolist() == [math.log(4.0), 0.0, -1.0]
    assert slope.flatten().tolist() == [0.25, 1.0, 1.0]


def test_a_batch_of_points_gives_what_each_point_gives() -> None:
    text = "where(x1 > x2, sin(x1)*x2, max(x1, 0.2)) + hypot(x1, 3) + 1"
    points = torch.randn(4, 5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    together = program(text)(points)

    alone = [value(text, *point) for point in points.reshape(20, 2).tolist()]
    np.testing.assert_allclose(together.flatten().numpy(), alone, rtol=1e-15)


def test_a_constant_has_the_shape_and_gradient_of_a_function() -> None:
    x = torch.zeros(3, 1, requires_grad=True)
    tree = parse("2 + 3")

    values = Program(tree, ("x",), CPU, torch.float32)(x)

    assert values.tolist() == [5.0, 5.0, 5.0]
    assert torch.autograd.grad(values.sum(), [x])[0].tolist() == [[0.0]] * 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_arithmetic_stays_in_the_points_precision(dtype: torch.dtype) -> None:
    text = "where(x > 0, min(x, 2), 1) + hypot(x, 3) + where(x > 0, 1, 2) + softplus(x)"

    result: Tensor = program(text, dtype)(torch.ones(1, dtype=dtype))

    assert result.dtype == dtype


def test_a_sum_of_thousands_of_terms_needs_no_recursion() -> None:
    assert value("+".join(["x"] * 2000), 1.0) == 2000.0
