"""Stacks that do not fit into memory: measured first, then trained in parts to the same bits."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from core.specs.job import JobSpec
from core.specs.sizes.fusing import bytes_per_run
from core.train.devices import exact_kernels
from core.train.fused import engine
from core.train.fused.engine import USABLE
from core.train.fused.memory_probe import bytes_a_run
from core.train.fused.problems.compaction import Places
from core.train.fused.stack.splitting import split_sizes
from core.train.fused.stack.stack import Stack
from core.train.memory import free_bytes
from tests.core.train.fused.harness import Gathered, train_population
from tests.core.train.fused.stack.test_pause import sub_request, varied
from tests.core.train.fused.task_harness import ALWAYS, assert_same_task, do_task, kill_and_resume
from tests.core.train.fused.test_isolation import POPULATIONS, assert_same_bits
from tests.core.train.harness import blobs_job, function_job, parabola

Json = dict[str, Any]
CPU = torch.device("cpu")
ADAM: Json = {"kind": "adam"}


def by_rate(kind: str, **numbers: Sequence[Any]) -> list[JobSpec]:
    """Runs of which a part has one rate, one decay …, and the whole has several."""
    return [
        blobs_job(
            {"kind": kind, "lr": 0.01 * (1 + n // 16),
             **{name: values[n // 16] for name, values in numbers.items()}},
            16, seed=n % 3, model={"kind": "mlp", "hidden": [11, 7]},
        )
        for n in range(48)
    ]  # fmt: skip


def wide_evaluations() -> list[JobSpec]:
    data = {
        "kind": "synthetic",
        "generator": {"kind": "blobs", "num_samples": 1200, "num_features": 4},
        "eval_fraction": 0.5,
    }
    problem = {"kind": "supervised", "data": data, "model": {"kind": "mlp", "hidden": [512]},
               "loss": {"kind": "cross_entropy"}}  # fmt: skip
    return [blobs_job(ADAM, 4, seed=seed, problem=problem) for seed in range(24)]


PARTED: dict[str, list[JobSpec]] = {
    **{
        name: POPULATIONS[name]
        for name in (
            "small", "odd sizes", "odd sizes in float64", "batch norm", "dropout", "momentum",
            "clipped", "by rows", "plateau", "cosine", "elu", "ackley in 3 dimensions",
            "on one batch, odd sizes", "on one batch, dropout", "rotated quadratic",
            "muon of odd sizes", "muon with an odd side",
        )
    },
    "one decay a part": by_rate(
        "adamw", weight_decay=(0.0, 0.1, 0.2), eps=(1e-8, 1e-3, 1e-2),
        betas=([0.9, 0.99], [0.3, 0.9], [0.95, 0.5]),
    ),
    "one batch a part": [
        blobs_job({"kind": "adam", "lr": 0.01 * (1 + n % 5)}, 16, seed=n // 16) for n in range(48)
    ],
    "one momentum a part": by_rate("sgd", momentum=(0.0, 0.5, 0.9), dampening=(0.0, 0.0, 0.3)),
    "one beginning a part": by_rate("adagrad", initial_accumulator_value=(0.0, 0.5, 1.0)),
    "infinite gradients, one momentum a part": [
        function_job("sqrt(x)", {"x": float(n % 4)}, {"kind": "sgd", "lr": 0.01,
                     "momentum": 0.0 if n < 32 else 0.9}, 5)
        for n in range(70)
    ],
    "nadam": by_rate("nadam", momentum_decay=(0.004, 0.01, 0.1)),
    "rprop": by_rate("rprop"),
    "muon": by_rate("muon", momentum=(0.0, 0.5, 0.9), eps=(1e-7, 1e-3, 1e-2)),
    "wide evaluations": wide_evaluations(),
    "two threads": [
        blobs_job(ADAM, 3, seed=seed % 2, batch_size=32,
                  model={"kind": "mlp", "hidden": [512, 512]})
        for seed in range(32)
    ],
    "muon on two threads": [
        blobs_job({"kind": "muon"}, 2, seed=seed % 2, batch_size=32,
                  model={"kind": "mlp", "hidden": [512, 512]})
        for seed in range(16)
    ],
}  # fmt: skip


def room_for(runs: int, specs: Sequence[JobSpec]) -> Callable[[torch.device], int]:
    """Pretends that so many runs of a stack fit."""
    with exact_kernels():
        each = bytes_a_run(specs, CPU)
    assert each is not None
    return lambda device: int(runs * each / USABLE) + 1


def in_parts(specs: Sequence[JobSpec], **options: Any) -> tuple[Gathered, list[int]]:
    """Train them, and tell the sizes of the stacks."""
    sizes: list[int] = []

    def noting(specs: Sequence[JobSpec], *rest: Any) -> Stack:
        sizes.append(len(specs))
        return Stack(specs, *rest)

    return train_population(specs, make_stack=noting, **options), sizes


@pytest.mark.parametrize("name", PARTED)
def test_runs_keep_their_bits_when_only_some_fit_into_memory(name: str) -> None:
    specs = PARTED[name]
    together, whole = in_parts(specs, max_bytes=2**40)
    apart, sizes = in_parts(specs, max_bytes=2**40, free=room_for(9, specs))
    assert whole == [len(specs)]
    assert len(sizes) > 1
    assert sum(sizes) == len(specs)
    assert_same_bits(apart, together, list(range(len(specs))))


def test_a_stack_that_takes_a_small_share_of_the_memory_is_not_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def measured(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(engine, "bytes_a_run", measured)
    specs = PARTED["small"]
    estimated = len(specs) * bytes_per_run(specs[0])
    assert in_parts(specs, free=lambda device: 8 * estimated)[1] == [41]
    assert in_parts(specs, free=lambda device: None)[1] == [41]
    with pytest.raises(AssertionError):
        in_parts(specs, free=lambda device: 8 * estimated - 8)


def test_out_of_memory_halves_a_stack_to_the_same_bits() -> None:
    def small(specs: Sequence[JobSpec], *rest: Any) -> Stack:
        if len(specs) > 17:
            raise torch.OutOfMemoryError("no room")
        return Stack(specs, *rest)

    specs = PARTED["one decay a part"]
    halved = train_population(specs, make_stack=small)
    assert_same_bits(halved, train_population(specs), list(range(len(specs))))


@pytest.mark.parametrize("name", ["nadam", "cosine", "plateau"])
def test_a_killed_task_goes_on_with_its_parts(name: str, tmp_path: Path) -> None:
    specs = PARTED[name]
    job = sub_request(specs, range(len(specs)))
    whole = do_task(job, tmp_path / "whole")
    free = room_for(16, specs)
    parts = kill_and_resume(job, tmp_path / "parts", (5, 24), pace=ALWAYS, free=free)
    assert_same_task(parts, whole)


@pytest.mark.parametrize("kind", ["nadam", "adagrad", "sgd"])
def test_parts_pause_and_go_on_as_the_whole_does(kind: str, tmp_path: Path) -> None:
    specs = varied({"kind": kind}, 40)
    runs = range(len(specs))

    def in_two_rungs(folder: Path, **options: Any) -> list[Any]:
        first = do_task(sub_request(specs, runs, stop_step=6), folder, **options)
        sources = {run: known["file"] for run, known in first.ended.paused.items()}
        last = sub_request(specs, runs, stem="2_0", sources=sources)
        return [first, do_task(last, folder, **options)]

    together = in_two_rungs(tmp_path / "whole")
    apart = in_two_rungs(tmp_path / "parts", free=room_for(17, specs))
    for got, wanted in zip(apart, together, strict=True):
        assert_same_task(got, wanted)


@pytest.mark.parametrize("count", [4, 5, 33, 41, 100, 150])
@pytest.mark.parametrize("most", [1, 2, 7, 40])
@pytest.mark.parametrize("moves", [Places(1, 1), Places(8, 1), Places(1, 32), Places(16, 32)])
def test_parts_begin_and_end_where_places_are_as_good(count: int, most: int, moves: Places) -> None:
    *parts, last = split_sizes(count, most, moves)
    assert sum(parts) + last == count
    assert all(part % moves.phase == part % moves.tail == 0 for part in parts)
    assert min([*parts, last]) >= 2
    assert not parts or last >= moves.tail
    if moves == Places(1, 1):
        assert max([*parts, last]) <= max(most, 3)


@pytest.mark.parametrize(
    ("specs", "low", "high"),
    [
        # Weights, gradients, initial and best ones, two averages; then what a step makes of them.
        ([blobs_job(ADAM, seed=s, model={"kind": "mlp", "hidden": [300, 300]}) for s in range(8)],
         6, 8),
        ([blobs_job({"kind": "sgd", "lr": 0.1}, seed=s, model={"kind": "mlp", "hidden": [300] * 2})
          for s in range(8)], 4, 6),
    ],
)  # fmt: skip
def test_what_is_measured_agrees_with_a_count_of_vectors(
    specs: list[JobSpec], low: int, high: int
) -> None:
    numbers = 4 * 300 + 300 + 300 * 300 + 300 + 300 * 3 + 3
    with exact_kernels():
        measured = bytes_a_run(specs, CPU)
    assert measured is not None
    assert low < measured / (4 * numbers) < high


@pytest.mark.parametrize("name", sorted(set(PARTED) - {"rotated quadratic"}))
def test_what_is_measured_is_within_a_factor_of_the_estimate(name: str) -> None:
    """From 0.4 to 1.1 of it. (A quadratic's estimate counts its matrix, which runs share.)"""
    specs = PARTED[name]
    with exact_kernels():
        measured = bytes_a_run(specs, CPU)
    assert measured is not None
    assert 0.4 < measured / bytes_per_run(specs[0]) < 1.1


def test_the_free_memory_is_some_of_the_machines() -> None:
    free = free_bytes(CPU)
    assert free is not None
    assert 0 < free <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_is_measured_and_its_stacks_are_cut() -> None:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    device = torch.device("cuda:0")
    model = {"kind": "mlp", "hidden": [300, 300]}
    specs = [blobs_job(ADAM, seed=seed, model=model, precision="float64") for seed in range(16)]
    with exact_kernels():
        each, on_cpu = bytes_a_run(specs, device), bytes_a_run(specs, CPU)
    assert each is not None
    assert on_cpu is not None
    assert 0.5 < each / on_cpu < 2.0
    assert 0 < (free_bytes(device) or 0) <= torch.cuda.get_device_properties(0).total_memory
    room = int(4 * each / USABLE) + 1
    apart, sizes = in_parts(specs, device="cuda:0", free=lambda device: room)
    assert sizes == [4] * 4
    together = train_population(specs, device="cuda:0")
    for number in range(len(specs)):
        wanted = together.column(number, "loss")
        assert apart.column(number, "loss") == pytest.approx(wanted, rel=1e-9)


def test_parts_of_functions_begin_where_they_would() -> None:
    specs = [parabola(0.01 * (1 + n), 9) for n in range(70)]
    apart, sizes = in_parts(specs, free=room_for(2, specs))
    assert sizes == [32, 38]
    assert_same_bits(apart, train_population(specs), list(range(70)))
