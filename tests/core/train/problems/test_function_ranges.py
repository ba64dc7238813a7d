"""Functions in float32: what it cannot hold at the start is refused in the request, and what torch
computes there is taken."""

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from core.errors import InvalidInputError
from core.specs.formulas.classic import CLASSICS
from core.specs.formulas.values import dimension, value_at, value_in_float32
from core.specs.functions import Function
from core.specs.parsing.job import parse_job
from core.specs.validation.limits import Limits
from core.train.problems.functions import build_function

Json = dict[str, Any]

EDGES: list[Json] = [
    *({"kind": kind} for kind in CLASSICS),
    *({"kind": "expression", "expression": text} for text in (
        "1e300*x*1e-300 + x**2", "x**2*(1e-300/1e-300)", "x/1e-300*1e-300", "x**4/x**3",
        "log(x)**2", "where(x > 0, x**2, 1e300*x)", "where(x > 1e300, x, x**2)", "x - x + 3.0",
        "min(x**2, 1e300)", "hypot(x, 1e30)", "atan2(x, 1e-50)", "x + 1e308 - 1e308", "x**-3",
        "1e200*1e200*x", "where(1 > 0, x, 1)", "erf(x) + softplus(x)", "sigmoid(x)", "exp(x)",
    )),
    {"kind": "quadratic", "eigenvalues": [1e30, 1.0]},
    {"kind": "quadratic", "matrix": [[1e30, 1.0], [1.0, 2.0]]},
    {"kind": "quadratic", "eigenvalues": [1.0, 1.0], "linear": [1e20, 1.0]},
]  # fmt: skip


@pytest.mark.parametrize("function", EDGES, ids=lambda each: each.get("expression", each["kind"]))
def test_float32_is_refused_where_torch_finds_nothing_finite_at_the_start(function: Json) -> None:
    """At starts of every size that float32 holds, or rounds to 0."""
    adapter: TypeAdapter[Function] = TypeAdapter(Function)
    spec = adapter.validate_json(json.dumps(function))
    value, dim = build_function(spec, torch.device("cpu"), torch.float32), dimension(spec)
    for exponent in range(-60, 39, 3):
        for sign in (1.0, -1.0):
            point = np.full(dim, sign * 1.37 * 10.0**exponent)
            if math.isfinite(value_at(spec, point)):
                expected = value(torch.tensor(point, dtype=torch.float32)).isfinite().item()
                assert math.isfinite(value_in_float32(spec, point)) == expected, point


BEYOND: dict[str, tuple[Json, Any]] = {
    "problem.start.0": ({"kind": "styblinski_tang"}, [1e39, 1.0]),
    "problem.start.x": ({"kind": "expression", "expression": "1/x"}, {"x": 1e39}),
    "problem.start.high": ({"kind": "sphere"}, {"kind": "uniform", "low": 0.0, "high": 1e39}),
    "problem.start.low": ({"kind": "sphere"}, {"kind": "uniform", "low": -1e39, "high": 1.0}),
    "problem.function.eigenvalues.1": ({"kind": "quadratic", "eigenvalues": [1, 1e39]}, [1, 0]),
    "problem.function.matrix.0.0": (
        {"kind": "quadratic", "matrix": [[1e39, 0], [0, 1]]}, [0.0, 1.0]
    ),
    "problem.function.linear.0": (
        {"kind": "quadratic", "eigenvalues": [1, 1], "linear": [1e39, 0]}, [0.0, 1.0]
    ),
    "problem.function.constant": (
        {"kind": "quadratic", "eigenvalues": [1], "constant": -1e39}, [0.0]
    ),
    "problem.start": ({"kind": "expression", "expression": "1e300*x*1e-300"}, {"x": 1.0}),
}  # fmt: skip


@pytest.mark.parametrize("param", BEYOND)
def test_a_number_that_float32_cannot_hold_is_refused_and_float64_takes_it(param: str) -> None:
    function, start = BEYOND[param]

    def body(precision: str) -> bytes:
        problem = {"kind": "function", "function": function, "start": start}
        return json.dumps(
            {"problem": problem, "optimizer": {"kind": "adam"}, "precision": precision}
        ).encode()

    with pytest.raises(InvalidInputError) as caught:
        parse_job(body("float32"), Limits())
    (error,) = caught.value.errors
    assert error.param == param
    assert all(each in error.message for each in ("float32", "float64"))
    parse_job(body("float64"), Limits())
