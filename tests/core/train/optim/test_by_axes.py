"""Shampoo and SOAP of matrices and convolutions: by hand, and by formulas in NumPy and SciPy."""

import json
import math
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from torch import Tensor, nn

from core.specs.optimizers.kinds import Optimizer
from core.specs.optimizers.state import matrix_numbers
from core.specs.parsing.job import parse_job
from core.specs.sizes.cost import estimate, memory_parts
from core.specs.sizes.extent import extent_of
from core.specs.validation.limits import Limits
from core.train.optim.build import build_optimizer
from core.train.optim.by_axes import eigenvectors, inverse_root
from core.train.problems.build import build_problem
from core.train.state import OptimizationState

Json = dict[str, Any]
Floats = NDArray[np.float64]
ROOT = math.sqrt(0.5)


def optimizer_of(spec: Json) -> Optimizer:
    adapter: TypeAdapter[Optimizer] = TypeAdapter(Optimizer)
    return adapter.validate_json(json.dumps(spec))


def followed(spec: Json, start: Any, gradients: list[Any]) -> list[Floats]:
    weight = nn.Parameter(torch.tensor(start, dtype=torch.float64))
    optimizer = build_optimizer(optimizer_of(spec), [weight])
    found = []
    for gradient in gradients:
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        found.append(weight.detach().numpy().copy())
    return found


def test_shampoo_of_a_matrix_by_hand() -> None:
    # L = R = εI + diag(4, 9), then + I for the second gradient, which changes the axes' places:
    # its entries are divided by the fourth roots of one entry of L and another of R.
    first, second = followed(
        {"kind": "shampoo", "lr": 1.0, "momentum": 0.0, "eps": 1.0},
        [[0.0, 0.0], [0.0, 0.0]],
        [[[2.0, 0.0], [0.0, 3.0]], [[0.0, 1.0], [2.0, 0.0]]],
    )
    one, other = 2.0 / math.sqrt(5.0), 3.0 / math.sqrt(10.0)
    assert first == pytest.approx(-np.diag([one, other]), abs=1e-12)
    # G·Gᵀ = diag(1, 4), Gᵀ·G = diag(4, 1).
    left, right = (5.0 + 1.0, 10.0 + 4.0), (5.0 + 4.0, 10.0 + 1.0)
    step = [[0.0, 1.0 / (left[0] * right[1]) ** 0.25], [2.0 / (left[1] * right[0]) ** 0.25, 0.0]]
    assert second == pytest.approx(first - np.array(step), abs=1e-12)


def test_soap_of_a_matrix_by_hand() -> None:
    # The first gradient, a rotation by 45° times diag(3, 1), gives the eigenvectors and moves
    # nothing. In them the second has one entry, which Adam makes 1.
    turn = np.array([[ROOT, -ROOT], [ROOT, ROOT]])
    options = {"kind": "soap", "lr": 0.1, "weight_decay": 0.0, "eps": 1e-12}
    gradients = [turn @ np.diag([3.0, 1.0]), turn @ np.diag([2.0, 0.0])]
    first, second = followed(options, np.zeros((2, 2)), gradients)
    assert first == pytest.approx(np.zeros((2, 2)))
    assert second == pytest.approx(-0.1 * turn @ np.diag([1.0, 0.0]), abs=1e-9)


SHAPES = [(3,), (2, 3), (3, 3), (3, 2, 2, 3)]
DRAW = np.random.default_rng(7)


def unfolded(gradient: Floats, axis: int) -> Floats:
    return np.moveaxis(gradient, axis, 0).reshape(gradient.shape[axis], -1)


def along(tensor: Floats, matrices: list[Floats | None], *, back: bool = False) -> Floats:
    for axis, matrix in enumerate(matrices):
        if matrix is not None:
            by = matrix if back else matrix.T
            tensor = np.moveaxis(np.tensordot(by, tensor, (1, axis)), 0, axis)
    return tensor


@pytest.mark.parametrize("longest", [2, 3])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shampoo_of_any_shape_is_that_of_scipys_roots(shape: tuple[int, ...], longest: int) -> None:
    start, gradients = DRAW.standard_normal(shape), list(DRAW.standard_normal((6, *shape)))
    found = followed(
        {"kind": "shampoo", "lr": 0.1, "eps": 0.1, "max_preconditioner_dim": longest},
        start.tolist(),
        [each.tolist() for each in gradients],
    )
    weight, mean = start.copy(), np.zeros(shape)
    seen = [0.1 * np.eye(length) for length in shape]
    for gradient, mine in zip(gradients, found, strict=True):
        for axis in range(len(shape)):
            seen[axis] += unfolded(gradient, axis) @ unfolded(gradient, axis).T
        mean = 0.9 * mean + 0.1 * gradient
        roots: list[Floats | None] = []
        for matrix in seen:
            kept = matrix if len(matrix) <= longest else np.diag(np.diag(matrix))
            root = scipy.linalg.fractional_matrix_power(kept, -0.5 / len(shape))
            roots.append(np.real(root).astype(np.float64))
        weight -= 0.1 * along(mean, roots)
        np.testing.assert_allclose(mine, weight, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("longest", [2, 3])
@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)  # a vector leaves vectors undetermined
def test_soap_of_any_shape_is_adam_in_scipys_eigenvectors(
    shape: tuple[int, ...], longest: int
) -> None:
    start, gradients = DRAW.standard_normal(shape), list(DRAW.standard_normal((9, *shape)))
    options: Json = {
        "kind": "soap", "lr": 0.1, "betas": [0.8, 0.9], "weight_decay": 0.2,
        "precondition_frequency": 3, "max_preconditioner_dim": longest,
        "precondition_1d": True, "normalize_grads": True,
    }  # fmt: skip
    found = followed(options, start.tolist(), [each.tolist() for each in gradients])
    weight, mean, square = start.copy(), np.zeros(shape), np.zeros(shape)
    axes = [axis for axis, length in enumerate(shape) if length <= longest]
    seen = {a: 0.1 * unfolded(gradients[0], a) @ unfolded(gradients[0], a).T for a in axes}
    turns: list[Floats | None] = [None] * len(shape)
    for a in axes:
        turns[a] = np.asarray(scipy.linalg.eigh(seen[a])[1][:, ::-1], dtype=np.float64)
    np.testing.assert_array_equal(found[0], start)
    for t, (gradient, mine) in enumerate(zip(gradients[1:], found[1:], strict=True), 1):
        mean = 0.8 * mean + 0.2 * gradient
        square = 0.9 * square + 0.1 * along(gradient, turns) ** 2
        step = along(along(mean, turns) / (np.sqrt(square) + 1e-8), turns, back=True)
        step /= np.sqrt(np.mean(step**2))
        rate = 0.1 * math.sqrt(1.0 - 0.9**t) / (1.0 - 0.8**t)
        weight = (weight - rate * step) * (1.0 - 0.1 * 0.2)
        np.testing.assert_allclose(mine, weight, rtol=1e-9, atol=1e-11)
        for a in axes:
            seen[a] = 0.9 * seen[a] + 0.1 * unfolded(gradient, a) @ unfolded(gradient, a).T
            if t % 3 == 0:
                vectors = turns[a]
                assert vectors is not None
                order = np.argsort(-np.diag(vectors.T @ seen[a] @ vectors), kind="stable")
                square = np.take(square, order, axis=a)
                turns[a] = np.asarray(
                    scipy.linalg.qr(seen[a] @ vectors[:, order])[0], dtype=np.float64
                )


@pytest.mark.parametrize("kind", ["shampoo", "soap"])
@pytest.mark.parametrize("value", [math.nan, math.inf, 1e300])
def test_what_is_not_finite_ends_as_not_a_number_and_raises_nothing(
    kind: str, value: float
) -> None:
    gradients = np.ones((4, 3, 2))
    gradients[2, 1, 1] = value  # 1e300: its square is infinite
    options = {"kind": kind, "precondition_frequency": 1}
    found = followed(options, np.zeros((3, 2)).tolist(), gradients.tolist())
    assert np.isfinite(found[1]).all()
    assert not np.isfinite(found[3]).any()


def refuse(*args: Any) -> Any:
    raise torch.linalg.LinAlgError("did not converge")  # type: ignore[attr-defined]


def test_a_decomposition_that_does_not_converge_leaves_what_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.linalg, "eigh", refuse)
    matrix = torch.tensor([[4.0, 1.0], [1.0, 9.0]])
    before = torch.eye(2)
    assert inverse_root(matrix, -0.5, 0.1, before) is before
    assert inverse_root(matrix, -0.5, 0.1).tolist() == [[0.5, 0.0], [0.0, pytest.approx(1 / 3)]]
    assert torch.equal(eigenvectors(matrix), torch.eye(2))


@pytest.mark.parametrize("kind", ["shampoo", "soap"])
def test_gradients_of_nothing_move_nothing(kind: str) -> None:
    found = followed({"kind": kind, "weight_decay": 0.0}, [[1.0, 2.0]], [[[0.0, 0.0]]] * 12)
    assert found[-1].tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ({"kind": "adam"}, 0),
        ({"kind": "shampoo"}, 2 * (16 + 9 + 9 + 1) + 8 * 16),
        ({"kind": "shampoo", "max_preconditioner_dim": 3}, 2 * (4 + 9 + 9 + 1) + 8 * 9),
        ({"kind": "soap"}, 2 * (16 + 9) + 8 * 16),
        ({"kind": "soap", "precondition_1d": True}, 2 * (16 + 9 + 9) + 8 * 16),
        ({"kind": "soap", "max_preconditioner_dim": 3}, 2 * 9 + 8 * 9),
    ],
)
def test_the_matrices_are_counted(options: Json, numbers: int) -> None:
    assert matrix_numbers(optimizer_of(options), [(4, 3), (3,), ()]) == numbers


@pytest.mark.parametrize("kind", ["shampoo", "soap"])
@pytest.mark.parametrize("problem", ["model", "function"])
def test_the_state_takes_no_more_than_the_estimate(kind: str, problem: str) -> None:
    body: Json = {
        "optimizer": {"kind": kind, **({"precondition_1d": True} if kind == "soap" else {})},
        "problem": {
            "model": {
                "kind": "supervised",
                "data": {"kind": "builtin", "name": "digits"},
                "model": {"kind": "mlp", "hidden": [48, 8]},
            },
            "function": {"kind": "function", "function": {"kind": "sphere", "dim": 40}},
        }[problem],
        "budget": {"max_steps": 3},
        "precision": "float32",
    }
    spec = parse_job(json.dumps(body).encode(), Limits())
    planned = memory_parts(spec, extent_of(spec), 3)["optimizer"]
    assert planned < estimate(spec).memory_bytes
    descent = OptimizationState(spec, build_problem(spec, torch.device("cpu"), torch.float32))
    for step in range(3):
        descent.clear_gradients()
        loss = descent.problem.loss(step)
        loss.backward()  # type: ignore[no-untyped-call]
        descent.update(step, loss)
    held = descent.moment().optimizer["state"]
    kept = sum(
        value.numel() * value.element_size()
        for of_one in held.values()
        for value in of_one.values()
        if isinstance(value, Tensor)
    )
    assert planned / 8 < kept <= planned
