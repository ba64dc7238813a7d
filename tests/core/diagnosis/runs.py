"""Runs whose trouble is known by construction, computed by NumPy from the methods' own formulas.

Gradients are worked out by hand here, so that nothing of the code under test makes its own input.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.diagnosis.diagnose import diagnose
from core.jobs import Outcome
from core.specs.job import JobSpec
from core.specs.parsing.job import parse_job
from core.specs.validation.limits import Limits

Floats = NDArray[np.float64]
Columns = dict[str, Floats]
Json = dict[str, Any]
Slope = Callable[[Floats], tuple[float, Floats]]
"""A point -> (value, gradient)."""

X_SQUARED: Json = {"kind": "expression", "expression": "x1**2"}
ELLIPSE: Json = {"kind": "expression", "expression": "0.1*x1**2 + 2*x2**2"}
SADDLE: Json = {"kind": "expression", "expression": "x1**2 + x2**4 - x2**2"}
TEN = np.array([10.0])


def resolved(body: Json) -> JobSpec:
    return parse_job(json.dumps(body).encode(), Limits())


def function_job(function: Json, start: Floats, optimizer: Json, **more: Any) -> JobSpec:
    """A resolved job; an expression's start is named."""
    point: Any = [float(each) for each in start]
    if function["kind"] == "expression":
        point = {f"x{i + 1}": each for i, each in enumerate(point)}
    problem = {"kind": "function", "function": function, "start": point}
    return resolved({"problem": problem, "optimizer": optimizer, **more})


def digits_job(optimizer: Json, **more: Any) -> JobSpec:
    model = more.pop("model", {"kind": "mlp", "hidden": [32]})
    data = {"kind": "builtin", "name": more.pop("data", "digits")}
    problem = {"kind": "supervised", "data": data, "model": model}
    return resolved({"problem": problem, "optimizer": optimizer, **more})


def gd(lr: float, **more: Any) -> Json:
    return {"kind": "sgd", "lr": lr, **more}


def x_squared(x: Floats) -> tuple[float, Floats]:
    return float(x @ x), 2.0 * x


def ellipse(x: Floats) -> tuple[float, Floats]:
    """0.1·x₁² + 2·x₂²."""
    weights = np.array([0.1, 2.0])
    return float(weights @ (x * x)), 2.0 * weights * x


def diagonal(eigenvalues: Floats) -> Slope:
    """½·Σ λᵢxᵢ²."""
    return lambda x: (0.5 * float(eigenvalues @ (x * x)), eigenvalues * x)


def sgd(
    slope: Slope, start: Floats, steps: int, lr: float, beta: float = 0.0, nesterov: bool = False
) -> Columns:
    """torch's SGD: buf ← β·buf + g; x ← x − η·buf, or x − η·(g + β·buf) with Nesterov.

    Ends at the first non-finite loss, as a job does.
    """
    x, buf = np.array(start, dtype=np.float64), np.zeros(np.size(start))
    rows: list[tuple[float, float, Floats]] = []
    with np.errstate(all="ignore"):
        for _ in range(steps):
            value, gradient = slope(x)
            rows.append((value, float(np.sqrt(gradient @ gradient)), x.copy()))
            if not np.isfinite(value):
                break
            buf = beta * buf + gradient
            x = x - lr * (gradient + beta * buf if nesterov else buf)
    return _columns(rows, lr)


def adam(slope: Slope, start: Floats, steps: int, lr: float) -> Columns:
    """Adam with torch's defaults (Kingma and Ba 2015, algorithm 1)."""
    x = np.array(start, dtype=np.float64)
    m = v = np.zeros(x.size)
    rows: list[tuple[float, float, Floats]] = []
    for k in range(1, steps + 1):
        value, gradient = slope(x)
        rows.append((value, float(np.sqrt(gradient @ gradient)), x.copy()))
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        x = x - lr * (m / (1 - 0.9**k)) / (np.sqrt(v / (1 - 0.999**k)) + 1e-8)
    return _columns(rows, lr)


def _columns(rows: list[tuple[float, float, Floats]], lr: float) -> Columns:
    losses, norms, points = zip(*rows, strict=True)
    return {
        "step": np.arange(len(rows), dtype=np.float64),
        "loss": np.array(losses),
        "lr": np.full(len(rows), lr),
        "grad_norm": np.array(norms),
        "x": np.array(points),
    }


def curve(loss: Floats, lr: float = 0.1, grad: Floats | float = 1.0) -> Columns:
    """Columns of a supervised run from its losses."""
    n = loss.size
    return {
        "step": np.arange(n, dtype=np.float64),
        "loss": np.asarray(loss, dtype=np.float64),
        "lr": np.full(n, lr),
        "grad_norm": np.broadcast_to(np.asarray(grad, dtype=np.float64), (n,)).copy(),
    }


def evaluations(loss: Floats, every: int) -> Columns:
    return {"step": np.arange(loss.size, dtype=np.float64) * every, "loss": np.asarray(loss)}


def outcome_of(loss: Floats) -> Outcome:
    """CONTRACT, section 2, written out once more."""
    if not np.isfinite(loss).all():
        return "diverged"
    if loss.size == 0:
        return "budget_exhausted"
    with np.errstate(over="ignore"):
        end = float(np.median(loss[-10:]))
        above = end - loss[0] > 3 * max(abs(loss[0]), loss[0] - loss.min())
    return "diverged" if above else "budget_exhausted"


def diagnosis(spec: JobSpec, train: Columns, evaluation: Columns | None = None) -> Json:
    return diagnose(spec, outcome_of(train["loss"]), None, train, evaluation)


def verdict(spec: JobSpec, train: Columns, evaluation: Columns | None = None) -> str:
    found: str = diagnosis(spec, train, evaluation)["verdict"]
    return found


def finding(found: Json, rule: str) -> Json:
    one: Json = next(each for each in found["findings"] if each["rule"] == rule)
    return one


def noise(n: int, seed: int = 0) -> Floats:
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(n)


def saddle(x: Floats) -> tuple[float, Floats]:
    """x₁² + x₂⁴ − x₂²: a strict saddle at 0, minima of −1/4 at x₂ = ±√½."""
    a, b = x
    return float(a**2 + b**4 - b**2), np.array([2 * a, 4 * b**3 - 2 * b])


def rastrigin(x: Floats) -> tuple[float, Floats]:
    wave = 2 * np.pi * x
    value = 10.0 * x.size + float((x**2 - 10 * np.cos(wave)).sum())
    return value, 2 * x + 20 * np.pi * np.sin(wave)
