"""Muon against singular values, against torch's own, and against numbers worked by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from core.specs.job import DataProblem
from core.specs.optimizers.kinds import Optimizer, hidden_matrices, rate_factor
from core.specs.parsing.job import parse_job
from core.specs.sizes.shapes import layers_of, tables_of
from core.specs.validation.limits import Limits
from core.train.optim.build import build_optimizer
from core.train.optim.muon import Scalar, orthogonalized
from tests.core.train.harness import train

Json = dict[str, Any]

COEFFICIENTS = (3.4445, -4.775, 2.0315)
SHAPES = [(4, 4), (7, 3), (3, 7), (32, 20), (1, 5), (5, 1)]


def built(parameters: list[nn.Parameter], **options: Any) -> torch.optim.Optimizer:
    adapter: TypeAdapter[Optimizer] = TypeAdapter(Optimizer)
    return build_optimizer(
        adapter.validate_json(json.dumps({"kind": "muon", **options})), parameters
    )


def drawn(*shape: int, seed: int = 0) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=source, dtype=torch.float64)


def by_singular_values(matrix: Tensor, steps: int) -> Tensor:
    """U·p(…p(S/‖S‖))·Vᵀ."""
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    a, b, c = COEFFICIENTS
    values = values / values.norm()
    for _ in range(steps):
        values = a * values + b * values**3 + c * values**5
    found: Tensor = left @ torch.diag(values) @ right
    return found


# --- the iteration


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("steps", [1, 5])
def test_the_iteration_acts_on_the_singular_values_alone(
    shape: tuple[int, int], steps: int
) -> None:
    matrix = 1e-3 * drawn(*shape)
    found = orthogonalized(matrix, COEFFICIENTS, steps, 1e-7)
    torch.testing.assert_close(found, by_singular_values(matrix, steps), rtol=1e-12, atol=1e-12)


def test_all_singular_values_come_near_one() -> None:
    values = torch.linalg.svdvals(orthogonalized(drawn(12, 30), COEFFICIENTS, 5, 1e-7))
    assert values.min() > 0.6
    assert values.max() < 1.3


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("own", [False, True])
def test_many_matrices_at_once_are_what_each_is_alone(shape: tuple[int, int], own: bool) -> None:
    matrices = drawn(3, *shape)
    a, b, c = COEFFICIENTS

    def number(value: float) -> Scalar:
        return torch.full((3, 1, 1), value, dtype=torch.float64) if own else value

    found = orthogonalized(matrices, (number(a), number(b), number(c)), 5, number(1e-7))
    for one, matrix in zip(found, matrices, strict=True):
        alone = orthogonalized(matrix, COEFFICIENTS, 5, 1e-7)
        torch.testing.assert_close(one, alone, rtol=1e-12, atol=1e-13)


def test_no_gradient_is_no_update_and_a_small_one_a_small_one() -> None:
    zero = torch.zeros(3, 4, dtype=torch.float64)
    assert torch.equal(orthogonalized(zero, COEFFICIENTS, 5, 1e-7), zero)
    # Far below eps the division is by eps, and p(s) is a·s.
    found = orthogonalized(torch.full((1, 1), 1e-13).double(), COEFFICIENTS, 1, 1e-7)
    assert found.item() == pytest.approx(3.4445e-6, rel=1e-9)


# --- which parameters, and how far


def test_hidden_layers_are_muons_and_all_else_is_adamws() -> None:
    layers = [(8, 4), (8,), (6, 8), (6,), (3, 6), (3,)]
    assert hidden_matrices(layers) == [(8, 4), None, (6, 8), None, None, None]
    assert hidden_matrices([(3, 6), (3,)]) == [None, None]
    assert hidden_matrices([(10,)]) == [None]
    assert hidden_matrices([(2, 3, 3), (), (4, 4), (2, 4)]) == [None, None, (4, 4), None]


LANGUAGE: Json = {
    "kind": "language_model", "data": {"kind": "text", "text": "to be or not to be " * 9},
    "context": 6,
}  # fmt: skip
LETTERS: Json = {
    "kind": "supervised",
    "data": {"kind": "inline", "features": [[n % 2, (n + 1) % 2, n] for n in range(12)],
             "targets": [n % 3 for n in range(12)]},
}  # fmt: skip
WITH_TABLES: dict[str, tuple[Json, set[str]]] = {
    "transformer": (
        {**LANGUAGE, "model": {"kind": "transformer", "dim": 4, "num_heads": 2, "num_layers": 1}},
        {"embedding.weight", "positions.weight"},
    ),
    "gru": ({**LANGUAGE, "model": {"kind": "gru", "hidden_size": 4}}, {"embedding.weight"}),
    "categories": (
        {**LETTERS, "model": {"kind": "layers", "layers": [
            {"kind": "embed_categories", "places": [[0, 2]], "embedding_dim": 3, "name": "of"},
            {"kind": "linear", "out_features": 5}, {"kind": "relu"}, {"kind": "linear"},
        ]}},
        {"of.weight"},
    ),
    "none": ({**LETTERS, "model": {"kind": "mlp", "hidden": [4, 4]}}, set()),
}  # fmt: skip


@pytest.mark.parametrize("name", WITH_TABLES)
def test_tables_of_vectors_are_adamws(name: str, tmp_path: Path) -> None:
    """Whose first step is the rate in the direction of the gradient's sign, while Muon's makes a
    matrix's singular values alike."""
    problem, tables = WITH_TABLES[name]
    body = {
        "problem": problem, "budget": {"max_steps": 1}, "precision": "float64",
        "optimizer": {"kind": "muon", "lr": 0.01, "weight_decay": 0.0, "adamw_eps": 1e-30},
    }  # fmt: skip
    spec = parse_job(json.dumps(body).encode(), Limits())
    assert isinstance(spec.problem, DataProblem)
    parameters = layers_of(spec.problem).parameters
    of_tables = tables_of(spec.problem)
    assert {parameters[place].name for place in of_tables} == tables
    run = train(spec, tmp_path)
    before, after = run.weights("initial"), run.weights("final")
    matrices = [each.name for each in parameters if len(each.shape) == 2]
    hidden = [each for each in matrices[:-1] if each not in tables]
    assert hidden
    for matrix in matrices:
        moved = np.abs(after[matrix] - before[matrix])
        by_sign = np.isclose(moved, 0.01, rtol=1e-6) | (moved < 1e-12)
        assert by_sign.all() == (matrix not in hidden), matrix


@pytest.mark.parametrize(
    ("shape", "adjust", "factor"),
    [
        ((8, 2), None, 2.0),
        ((8, 2), "original", 2.0),
        ((2, 8), "original", 1.0),
        ((16, 4), "match_rms_adamw", 0.8),
        ((4, 25), "match_rms_adamw", 1.0),
    ],
)
def test_the_rate_follows_the_shape(
    shape: tuple[int, int], adjust: str | None, factor: float
) -> None:
    assert rate_factor(*shape, adjust) == pytest.approx(factor, rel=1e-15)


# --- whole updates


def two_layers(hidden: Tensor) -> list[nn.Parameter]:
    return [nn.Parameter(hidden.clone()), nn.Parameter(drawn(2, hidden.shape[0], seed=9))]


def test_two_steps_have_the_values_worked_by_hand() -> None:
    # diag(3, 4) over its norm is diag(0.6, 0.8); one iteration makes of it p(0.6) and p(0.8).
    first, second = 1.19326944, 0.97648192
    parameters = two_layers(torch.eye(2, dtype=torch.float64))
    options = {"lr": 0.1, "weight_decay": 0.5, "momentum": 0.5, "nesterov": False, "ns_steps": 1}
    optimizer = built(parameters, **options)

    parameters[0].grad = torch.diag(torch.tensor([3.0, 4.0], dtype=torch.float64))
    optimizer.step()
    # B = diag(1.5, 2); W = 0.95·W − 0.1·p.
    wanted = [0.95 - 0.1 * first, 0.95 - 0.1 * second]
    assert torch.diag(parameters[0].detach()).tolist() == pytest.approx(wanted, abs=1e-12)

    parameters[0].grad = torch.diag(torch.tensor([-7.5, 6.0], dtype=torch.float64))
    optimizer.step()
    # B = 0.5·diag(1.5, 2) + 0.5·diag(−7.5, 6) = diag(−3, 4).
    wanted = [0.95 * wanted[0] + 0.1 * first, 0.95 * wanted[1] - 0.1 * second]
    assert torch.diag(parameters[0].detach()).tolist() == pytest.approx(wanted, abs=1e-12)


def test_nesterov_looks_ahead_by_the_momentum() -> None:
    # B = 0.5·diag(1.5, 2) + 0.5·G = diag(0.75, 3), D = 0.5·G + 0.5·B = diag(0.375, 3.5)
    parameters = two_layers(torch.zeros(2, 2, dtype=torch.float64))
    optimizer = built(parameters, lr=0.1, weight_decay=0.0, momentum=0.5, ns_steps=1)
    for diagonal in ([3.0, 4.0], [0.0, 4.0]):
        before = parameters[0].detach().clone()
        parameters[0].grad = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
        optimizer.step()
    moved = torch.diag(before - parameters[0].detach()) / 0.1
    ahead = torch.diag(torch.tensor([0.375, 3.5], dtype=torch.float64))
    torch.testing.assert_close(moved, torch.diag(by_singular_values(ahead, 1)))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("adjust", ["original", "match_rms_adamw"])
@pytest.mark.parametrize("nesterov", [True, False])
def test_many_steps_are_torchs_formula_in_double_precision(
    shape: tuple[int, int], adjust: str, nesterov: bool
) -> None:
    rows, columns = shape
    parameters = two_layers(drawn(*shape))
    options = {"lr": 0.03, "weight_decay": 0.2, "momentum": 0.9}
    optimizer = built(parameters, nesterov=nesterov, adjust_lr_fn=adjust, **options)
    wanted, average = parameters[0].detach().clone(), torch.zeros(shape, dtype=torch.float64)
    larger = max(rows, columns)
    factor = (rows / columns if rows > columns else 1.0) if adjust == "original" else 0.04 * larger
    for step in range(8):
        gradient = drawn(*shape, seed=step)
        parameters[0].grad = gradient.clone()
        optimizer.step()
        average = 0.9 * average + 0.1 * gradient
        direction = 0.9 * average + 0.1 * gradient if nesterov else average
        wanted = wanted * (1 - 0.03 * 0.2) - 0.03 * factor**0.5 * by_singular_values(direction, 5)
    torch.testing.assert_close(parameters[0].detach(), wanted, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("shape", [(24, 16), (16, 24), (32, 32)])
@pytest.mark.parametrize("adjust", [None, "match_rms_adamw"])
@pytest.mark.parametrize("nesterov", [True, False])
def test_updates_are_torchs_to_the_rounding_of_its_bfloat16(
    shape: tuple[int, int], adjust: str | None, nesterov: bool
) -> None:
    # torch iterates with 8 bits: each product is off by some 2^-8, and five of them follow.
    options: dict[str, Any] = {"lr": 0.02, "momentum": 0.9, "nesterov": nesterov}
    options |= {"adjust_lr_fn": adjust, "weight_decay": 0.1}
    start = drawn(*shape).float()
    ours, theirs = two_layers(start), nn.Parameter(start.clone())
    optimizer, reference = built(ours, **options), torch.optim.Muon([theirs], **options)
    for step in range(10):
        ours[0].grad = drawn(*shape, seed=step).float()
        theirs.grad = ours[0].grad.clone()
        optimizer.step()
        reference.step()  # type: ignore[no-untyped-call]
    moved = (theirs - start).norm()
    assert (ours[0] - theirs).norm() < 0.02 * moved


def test_other_parameters_are_torchs_adamw_bit_for_bit() -> None:
    shapes = ((5, 3), (5,), (2, 5), ())
    ours = [nn.Parameter(drawn(*shape)) for shape in shapes]
    theirs = [nn.Parameter(parameter.detach().clone()) for parameter in ours]
    own = {"adamw_betas": (0.8, 0.95), "adamw_eps": 1e-6, "adamw_lr_scale": 0.25}
    optimizer = built(ours, lr=0.04, weight_decay=0.3, **own)
    reference = torch.optim.AdamW(
        theirs[1:], lr=0.04 * 0.25, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.3, foreach=False
    )
    for step in range(20):
        if step == 10:  # a schedule's doing
            optimizer.param_groups[0]["lr"] = 0.01
            reference.param_groups[0]["lr"] = 0.01 * 0.25
        for number, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            mine.grad = drawn(*mine.shape, seed=100 * step + number)
            other.grad = mine.grad.clone()
        optimizer.step()
        reference.step()
    for mine, other in zip(ours[1:], theirs[1:], strict=True):
        assert torch.equal(mine, other)


def test_a_matrix_is_found_by_least_squares() -> None:
    inputs, wanted = drawn(40, 6, seed=1), drawn(5, 6, seed=2)
    parameters = two_layers(torch.zeros(5, 6, dtype=torch.float64))
    optimizer = built(parameters, lr=0.1, weight_decay=0.0)
    losses = []
    for step in range(200):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 200)
        optimizer.zero_grad()
        loss = ((inputs @ (parameters[0] - wanted).T) ** 2).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.item())
        optimizer.step()
    assert losses[0] > 1
    assert losses[-1] < 1e-4
    torch.testing.assert_close(parameters[0].detach(), wanted, rtol=0, atol=0.01)
