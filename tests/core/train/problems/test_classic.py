"""The test functions in torch, against scipy, against NumPy and at their known minima."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from scipy import optimize
from torch import Tensor

from core.specs.formulas.classic import CLASSICS
from core.specs.functions import Function
from core.train.problems.classic_gradients import GRADIENTS
from core.train.problems.functions import build_function

CPU = torch.device("cpu")


def function(kind: str, dim: int) -> Callable[[Tensor], Tensor]:
    spec = {"kind": kind} if CLASSICS[kind].fixed_dim else {"kind": kind, "dim": dim}
    adapter: TypeAdapter[Function] = TypeAdapter(Function)
    return build_function(adapter.validate_python(spec), CPU, torch.float64)


def dims(kind: str) -> list[int]:
    fixed = CLASSICS[kind].fixed_dim
    return [2, 3, 7] if fixed is None else [fixed]


EVERYWHERE = [(kind, dim) for kind in CLASSICS for dim in dims(kind)]


def gradient(f: Callable[[Tensor], Tensor], point: Tensor) -> Tensor:
    x = point.clone().requires_grad_()
    return torch.autograd.grad(f(x).sum(), [x])[0]


def sampled(kind: str, dim: int, num_points: int = 50) -> Tensor:
    source = torch.Generator().manual_seed(1)
    drawn = torch.rand(num_points, dim, generator=source, dtype=torch.float64)
    domain = torch.tensor(CLASSICS[kind].domain_of(dim), dtype=torch.float64)
    return domain[:, 0] + (domain[:, 1] - domain[:, 0]) * drawn


@pytest.mark.parametrize(("kind", "dim"), EVERYWHERE)
def test_values_agree_with_numpy_over_the_whole_domain(kind: str, dim: int) -> None:
    points = sampled(kind, dim)

    values = function(kind, dim)(points)

    expected = CLASSICS[kind].value(points.numpy())
    np.testing.assert_allclose(values.numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("kind", "dim"), EVERYWHERE)
def test_every_known_minimizer_has_the_known_minimum_and_no_slope(kind: str, dim: int) -> None:
    f, known = function(kind, dim), CLASSICS[kind]

    for minimizer in known.minimizers(dim):
        point = torch.tensor(minimizer, dtype=torch.float64)
        assert f(point).item() == pytest.approx(known.minimum(dim), abs=1e-11)
        assert gradient(f, point).abs().max().item() < 1e-6


@pytest.mark.parametrize(("kind", "dim"), EVERYWHERE)
def test_gradients_agree_with_central_differences(kind: str, dim: int) -> None:
    f = function(kind, dim)
    point = sampled(kind, dim, 1)[0]

    numeric = torch.empty(dim, dtype=torch.float64)
    for index in range(dim):
        step = torch.zeros(dim, dtype=torch.float64)
        step[index] = 1e-6 * max(1.0, point[index].abs().item())
        numeric[index] = (f(point + step) - f(point - step)) / (2 * step[index])

    scale = max(1.0, f(point).abs().item(), numeric.abs().max().item())
    assert (gradient(f, point) - numeric).abs().max().item() < 1e-7 * scale


@pytest.mark.parametrize(("kind", "dim"), EVERYWHERE)
def test_a_batch_of_points_gives_what_each_point_gives(kind: str, dim: int) -> None:
    f = function(kind, dim)
    points = sampled(kind, dim, 6)

    together = f(points.reshape(2, 3, dim))

    assert together.shape == (2, 3)
    alone = torch.stack([f(point) for point in points])
    torch.testing.assert_close(together.flatten(), alone, rtol=1e-13, atol=1e-13)


def test_rosenbrock_is_scipys() -> None:
    points = sampled("rosenbrock", 5)
    f = function("rosenbrock", 5)

    np.testing.assert_allclose(f(points).numpy(), optimize.rosen(points.numpy().T), rtol=1e-12)
    for point in points:
        slope = gradient(f, point).numpy()
        np.testing.assert_allclose(slope, optimize.rosen_der(point.numpy()), rtol=1e-9)


@pytest.mark.parametrize("kind", CLASSICS)
def test_no_gradient_is_lost_at_the_origin(kind: str) -> None:
    # Ackley's root and Schwefel's have no derivative there, which plain formulas turn into NaN.
    dim = CLASSICS[kind].fixed_dim or 3

    for dtype in (torch.float32, torch.float64):
        slope = gradient(function(kind, dim), torch.zeros(dim, dtype=dtype))
        assert bool(slope.isfinite().all())


@pytest.mark.parametrize(("kind", "dim"), [*EVERYWHERE, ("levy", 1), ("griewank", 1)])
def test_written_out_gradients_agree_with_autograd_over_the_whole_domain(
    kind: str, dim: int
) -> None:
    f, points = function(kind, dim), sampled(kind, dim, 200)

    written = GRADIENTS[f](points)

    expected = gradient(f, points)
    torch.testing.assert_close(
        written, expected, rtol=1e-11, atol=1e-11 * float(expected.abs().max())
    )


@pytest.mark.parametrize(("kind", "dim"), EVERYWHERE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_written_out_gradients_have_autograds_values_where_a_term_is_zero(
    kind: str, dim: int, dtype: torch.dtype
) -> None:
    f = function(kind, dim)
    points = torch.stack([torch.zeros(dim), torch.ones(dim), torch.full((dim,), math.pi / 2)])
    points = points.to(dtype)

    written = GRADIENTS[f](points)

    tolerance = 100 * torch.finfo(dtype).eps
    torch.testing.assert_close(written, gradient(f, points), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("kind", "dim"), EVERYWHERE)
def test_a_point_that_is_no_number_has_no_gradient(kind: str, dim: int) -> None:
    point = torch.full((2, dim), math.nan, dtype=torch.float64)
    point[1] = 0.5

    written = GRADIENTS[function(kind, dim)](point)

    assert written[0].isnan().all()
    assert written[1].isfinite().all()
