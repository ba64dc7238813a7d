"""The mover: what an update may change, what a pause shares, and in how many pieces it is made."""

import copy
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from core.specs.job import JobSpec
from core.train.fused.problems.build import build_stacked
from core.train.fused.stack import step as mover
from core.train.fused.stack.step import OptimizerStep
from core.train.optim.torch_rules import adam
from core.train.tensors.packing import Packing, packing_of
from tests.core.train.fused.test_same_as_alone import PAIRS
from tests.core.train.harness import blobs_job

Json = dict[str, Any]
RUNS = 6
SHAPES = [torch.Size(shape) for shape in ((5, 3), (5,), (5, 5), (2, 5), (2,))]
MUON: tuple[Json, Json] = ({"kind": "muon", "lr": 0.01}, {"kind": "muon", "lr": 0.02})
OPTIMIZERS = PAIRS | {"muon": MUON}


def specs_of(pair: tuple[Json, Json]) -> list[JobSpec]:
    return [blobs_job(pair[run % 2]) for run in range(RUNS)]


def packed() -> tuple[Packing, Tensor]:
    packing = packing_of(SHAPES, item_bytes=4)
    return packing, drawn(packing, 0)


def drawn(packing: Packing, seed: int) -> Tensor:
    """Rows with numbers where the parameters lie, and 0 between them."""
    rows = torch.zeros(RUNS, packing.width)
    source = torch.Generator().manual_seed(seed)
    for view in packing.views(rows):
        view.copy_(torch.randn(view.shape, generator=source))
    return rows


def step(moved: OptimizerStep, rows: Tensor, packing: Packing, number: int) -> None:
    gradient = drawn(packing, number)
    moved.move(rows, gradient, torch.linalg.vector_norm(gradient, dim=1))
    moved.next_step(np.ones(len(rows)))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_lies_between_the_parameters_never_moves(name: str) -> None:
    packing, rows = packed()
    moved = OptimizerStep(specs_of(OPTIMIZERS[name]), rows, packing)
    for number in range(1, 6):
        step(moved, rows, packing, number)
    for view in packing.views(rows):
        assert view.isfinite().all()
        view.zero_()
    assert not rows.any()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_update_leaves_the_parameters_to_its_caller(name: str) -> None:
    packing, rows = packed()
    specs = specs_of(OPTIMIZERS[name])
    moved = OptimizerStep(specs, rows, packing)
    rule, seen = moved._rule, []

    def update(gradient: Tensor, state: Any, params: Tensor, coefficients: Any) -> Any:
        before = params.clone(), copy.deepcopy(tuple(coefficients))
        answer = rule.update(gradient, state, params, coefficients)
        assert torch.equal(params, before[0])
        for one, other in zip(coefficients, before[1], strict=True):
            assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))
        seen.append(answer)
        return answer

    moved._rule = replace(rule, update=update, move=None)
    step(moved, rows, packing, 1)
    assert seen


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_gradient_that_is_no_number_touches_its_own_run_alone(name: str) -> None:
    ends = []
    for spoilt in (False, True):
        packing, rows = packed()
        moved = OptimizerStep(specs_of(OPTIMIZERS[name]), rows, packing)
        for number in range(1, 5):
            gradient = drawn(packing, number)
            if spoilt and number == 2:
                gradient[1] = torch.nan
            moved.move(rows, gradient, torch.linalg.vector_norm(gradient, dim=1))
        ends.append(rows)
    others = [0, *range(2, RUNS)]
    assert torch.equal(ends[0][others], ends[1][others])


@pytest.mark.parametrize("seed", range(4))
def test_rprop_is_torchs_on_gradients_that_are_zero_tiny_or_infinite(seed: int) -> None:
    draw = np.random.default_rng(seed)
    options: list[Json] = [
        {"kind": "rprop", "lr": 0.05, "etas": [0.3, 1.7], "step_sizes": [1e-3, 0.2]},
        {"kind": "rprop", "lr": 0.01, "etas": [0.5, 3.0], "step_sizes": [1e-5, 5.0]},
    ]
    packing = packing_of([torch.Size([40])], item_bytes=4)
    rows = torch.zeros(2, packing.width)
    moved = OptimizerStep([blobs_job(each) for each in options], rows, packing)
    alone = [torch.zeros(packing.width, requires_grad=True) for _ in options]
    torchs = [
        torch.optim.Rprop([x], lr=each["lr"], etas=each["etas"], step_sizes=each["step_sizes"])
        for x, each in zip(alone, options, strict=True)
    ]
    for _ in range(60):
        size = draw.choice([0.0, 1e-30, 1.0, 1e10, np.inf], (2, packing.width))
        sign = draw.choice([-1.0, 1.0], size.shape)
        gradient = torch.from_numpy(size * sign).float()
        for x, theirs, its in zip(alone, torchs, gradient, strict=True):
            x.grad = its.clone()
            theirs.step()
        moved.move(rows, gradient, torch.linalg.vector_norm(gradient, dim=1))
        assert torch.equal(rows, torch.stack([x.detach() for x in alone]))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_has_paused_is_not_changed_by_who_goes_on_from_it(name: str) -> None:
    packing, rows = packed()
    specs = specs_of(OPTIMIZERS[name])
    first = OptimizerStep(specs, rows, packing)
    for number in range(1, 4):
        step(first, rows, packing, number)
    paused, before = first.pause(np.arange(RUNS)), rows.clone()
    kept = copy.deepcopy(paused)
    ends = []
    for _ in range(2):
        again, place = OptimizerStep(specs, before, packing), before.clone()
        again.resume(paused)
        for number in range(4, 7):
            step(again, place, packing, number)
        ends.append(place)
    for number in range(4, 7):
        step(first, rows, packing, number)
    assert torch.equal(ends[0], ends[1])
    assert torch.equal(ends[0], rows)
    for key, column in kept.items():
        if isinstance(column, Tensor):
            assert torch.equal(column, paused[key]), key


@pytest.mark.parametrize("numbers", [200, 20], ids=["of some runs", "of a parameter of one run"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_pieces_change_no_bit(name: str, numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    packing, rows = packed()
    whole = OptimizerStep(specs_of(OPTIMIZERS[name]), rows, packing)
    for number in range(1, 6):
        step(whole, rows, packing, number)

    monkeypatch.setattr(mover, "PIECE", numbers)
    _, others = packed()
    pieces = OptimizerStep(specs_of(OPTIMIZERS[name]), others, packing)
    for number in range(1, 6):
        step(pieces, others, packing, number)
        if number == 3:
            pieces.load_state(copy.deepcopy(pieces.state()))
    assert torch.equal(rows, others)


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "muon"])
def test_bits_depend_neither_on_a_runs_place_nor_on_threads(name: str) -> None:
    packing = packing_of([torch.Size([4999])], item_bytes=4)
    source = torch.Generator().manual_seed(1)
    begin, *gradients = torch.randn(4, 16, packing.width, generator=source)
    pair, ends = OPTIMIZERS[name], []
    for places, threads in ((range(16), 1), (range(16), 2), (range(15, -1, -1), 1), (range(2), 1)):
        index = torch.tensor(places)
        rows = begin[index]
        specs = [blobs_job(pair[run % 2]) for run in places]
        moved = OptimizerStep(specs, rows, packing)
        torch.set_num_threads(threads)
        for gradient in gradients:
            own = gradient[index]
            moved.move(rows, own, torch.linalg.vector_norm(own, dim=1))
            moved.next_step(np.ones(len(rows)))
        torch.set_num_threads(1)
        ends.append(rows)
    assert torch.equal(ends[0], ends[1])
    assert torch.equal(ends[0], ends[2].flip(0))
    assert torch.equal(ends[0][:2], ends[3])


@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1}, {"maximize": True}])
@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_adam_by_torchs_kernel_is_adam(
    kind: str, options: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair: tuple[Json, Json] = (
        {"kind": kind, "lr": 0.01, **options},
        {"kind": kind, "lr": 0.03, **options},
    )
    ends = []
    for fused in (True, False):
        if not fused:
            monkeypatch.setattr(adam, "_takes_fused", lambda *_: False)
        packing, rows = packed()
        moved = OptimizerStep(specs_of(pair), rows, packing)
        for number in range(1, 30):
            step(moved, rows, packing, number)
        ends.append(rows)
    assert not torch.equal(*ends), "one kernel was taken both times"
    torch.testing.assert_close(*ends, rtol=1e-5, atol=1e-6)


def test_parameters_begin_at_multiples_of_64_bytes() -> None:
    for item_bytes in (4, 8):
        packing = packing_of(SHAPES, item_bytes)
        places = [span.start * item_bytes for span in packing.spans]
        assert all(place % 64 == 0 for place in [*places, packing.width * item_bytes])
        lengths = [span.stop - span.start for span in packing.spans]
        assert lengths == [shape.numel() for shape in SHAPES]
        assert all(one.stop <= other.start for one, other in pairwise(packing.spans))
        between = sum(gap.shape[1] for gap in packing.gaps(torch.zeros(1, packing.width)))
        assert between + sum(lengths) == packing.width


def test_a_gradient_is_none_of_what_an_update_left_in_its_row() -> None:
    specs = [blobs_job({"kind": "adam", "lr": 0.01, "eps": 0.0}, seed=seed) for seed in range(2)]
    problem = build_stacked(specs, torch.device("cpu"))
    assert problem.packing.gaps(problem.rows), "nothing that an update might leave behind"
    _, first = problem.gradients(0)
    wanted = first.clone()
    first.fill_(torch.nan)
    _, again = problem.gradients(0)
    assert torch.equal(again, wanted)
    for gap in problem.packing.gaps(again):
        assert not gap.any()


def test_views_are_the_rows_own_storage() -> None:
    packing = packing_of(SHAPES, item_bytes=4)
    rows = torch.zeros(RUNS, packing.width)
    for number, (view, shape) in enumerate(zip(packing.views(rows), SHAPES, strict=True), 1):
        assert view.shape == (RUNS, *shape)
        view.fill_(number)
    counts = [int((rows == number).sum()) for number in range(1, len(SHAPES) + 1)]
    assert counts == [RUNS * shape.numel() for shape in SHAPES]
