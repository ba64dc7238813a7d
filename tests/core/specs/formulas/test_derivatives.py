"""Exact derivatives of formulas, held against torch's, which differentiates its own formulas."""

import json
from typing import Any, Final

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from core.specs.formulas.classic import CLASSICS
from core.specs.formulas.derivatives import Derivatives
from core.specs.formulas.tokens import ARITY
from core.specs.functions import Function
from core.train.problems.functions import build_function

ADAPTER: TypeAdapter[Function] = TypeAdapter(Function)
U, V = "(0.3*a + 0.2*b*b)", "(0.7 - 0.1*a*b)"
"""Both lie in (0, 1) at the points below, where every operation has derivatives."""
POINTS: Final = np.array([[0.5, 0.8], [1.1, 0.3], [0.2, 1.2]])
INFIX: Final = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**", "lt": "<", "le": "<=", "gt": ">",
    "ge": ">=", "eq": "==", "ne": "!=", "and": "and", "or": "or",
}  # fmt: skip


def function(**fields: Any) -> Function:
    return ADAPTER.validate_json(json.dumps(fields))


def expression(text: str) -> Function:
    return function(kind="expression", expression=text)


def formula(operation: str) -> str:
    """An expression of two variables whose value depends on the operation."""
    conditions = {"lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not"}
    u, v = U, V
    if operation in ("and", "or", "not"):
        u, v = f"({U} < 0.4)", f"({V} < 0.6)"
    if operation == "neg":
        applied = f"-{u}"
    elif operation == "not":
        applied = f"(not {u})"
    elif operation == "acosh":
        applied = f"acosh(1.5 + {u})"
    elif operation == "where":
        applied = f"where({u} < 0.4, {u}*{v}, exp({v}))"
    elif operation in INFIX:
        applied = f"({u} {INFIX[operation]} {v})"
    else:
        applied = f"{operation}({', '.join((u, v)[: ARITY[operation]])})"
    if operation in conditions:
        return f"where({applied}, a*b*b, a*a*b)"
    return f"({applied})*a + {U}**2"


def assert_as_torch_has_them(spec: Function, points: np.ndarray[Any, Any]) -> None:
    ours, theirs = Derivatives(spec), build_function(spec, torch.device("cpu"), torch.float64)
    gradients, hessians = ours.gradients(points), ours.hessians(points)
    for point, gradient, hessian in zip(points, gradients, hessians, strict=True):
        at = torch.tensor(point, dtype=torch.float64)
        slope = torch.autograd.functional.jacobian(theirs, at)  # type: ignore[no-untyped-call]
        bend = torch.autograd.functional.hessian(theirs, at)  # type: ignore[no-untyped-call]
        np.testing.assert_allclose(gradient, slope.numpy(), rtol=1e-12, atol=1e-12)
        size = np.abs(bend.numpy()).max()
        np.testing.assert_allclose(hessian, bend.numpy(), rtol=1e-11, atol=1e-11 * size)


@pytest.mark.parametrize("operation", ARITY)
def test_every_operation_has_torch_s_derivatives(operation: str) -> None:
    assert_as_torch_has_them(expression(formula(operation)), POINTS)


@pytest.mark.parametrize("text", [
    "a**3*b**2", "a**-2 + b**0.5", "2**a*b", "a**b", "(a - b)**0", "a**1 - b", "max(a, b, 0.5)",
    "abs(a - b)**3",
])  # fmt: skip
def test_powers_and_several_arguments_have_torch_s_derivatives(text: str) -> None:
    assert_as_torch_has_them(expression(text), POINTS)


@pytest.mark.parametrize("kind", CLASSICS)
def test_every_named_function_has_torch_s_derivatives(kind: str) -> None:
    dim = CLASSICS[kind].fixed_dim or 3
    low, high = np.array(CLASSICS[kind].domain_of(dim)).T
    draws = np.random.Generator(np.random.PCG64(1)).random((4, dim))
    fields = {} if CLASSICS[kind].fixed_dim else {"dim": dim}
    assert_as_torch_has_them(function(kind=kind, **fields), low + draws * (high - low))


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e3, 1e6])
def test_the_scale_of_a_coordinate_costs_no_digits(scale: float) -> None:
    points = np.array([[0.3, -0.7]])
    natural = Derivatives(expression("exp(a*b) + (a - b**2)**2"))
    scaled = Derivatives(expression(f"exp((a/{scale!r})*b) + (a/{scale!r} - b**2)**2"))
    units = np.array([scale, 1.0])
    slopes, bends = scaled.gradients(points * units), scaled.hessians(points * units)
    np.testing.assert_allclose(slopes * units, natural.gradients(points), rtol=1e-13)
    np.testing.assert_allclose(bends * np.outer(units, units), natural.hessians(points), rtol=1e-13)


def test_whole_powers_have_derivatives_at_0() -> None:
    found = Derivatives(expression("a**2 + a*b + b**3"))
    assert found.gradients(np.zeros((1, 2))).tolist() == [[0.0, 0.0]]
    assert found.hessians(np.zeros((1, 2))).tolist() == [[[2.0, 1.0], [1.0, 0.0]]]


def test_where_there_is_no_second_derivative_it_is_not_finite() -> None:
    assert not np.isfinite(Derivatives(expression("sqrt(a**2 + b**2)")).hessians(
        np.zeros((1, 2))
    )).all()  # fmt: skip


def test_the_branch_that_is_not_taken_has_no_part() -> None:
    found = Derivatives(expression("where(a > 0, a*log(a), a**2)"))
    assert found.gradients(np.array([[-1.0], [1.0]])).ravel().tolist() == [-2.0, 1.0]
    assert found.hessians(np.array([[-1.0], [1.0]])).ravel().tolist() == [2.0, 1.0]


def test_a_formula_without_variables_in_its_value_has_flat_derivatives() -> None:
    found = Derivatives(expression("floor(a) + sign(b)"))
    points = np.array([[0.5, 0.5], [1.5, 2.5]])
    assert not found.gradients(points).any()
    assert not found.hessians(points).any()


@pytest.mark.parametrize(("text", "smooth"), [
    ("(1 - exp(-a*b))**2", True), ("(1 + a)**-0.5", True), ("a**2.5", True), ("3**a", True),
    ("log(1 + exp(a))/b", True), ("a**1.5", False), ("a**b", False), ("(-3)**a", False),
    ("abs(a)", False), ("sqrt(a**2)", False), ("max(a, b)", False), ("where(a > 0, a, b)", False),
    ("relu(a)", False), ("asin(sin(a))", False), ("hypot(a, b)", False),
])  # fmt: skip
def test_a_formula_is_smooth_when_no_slope_can_jump(text: str, smooth: bool) -> None:
    assert Derivatives(expression(text)).smooth is smooth
