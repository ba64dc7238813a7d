"""Populations as a whole: groups, sizes, requests to stop, memory, saving and going on."""

import json
from collections.abc import Sequence
from typing import Any, Literal

import pytest
import torch

from core.errors import JobFailure
from core.specs.job import JobSpec
from core.specs.sizes.cost import estimate
from core.specs.sizes.fusing import (
    CPU_STACK_BYTES,
    LARGE_STACK_BYTES,
    bytes_per_run,
    fusable,
    groups,
    stacks,
    structure_key,
)
from core.train.devices import exact_kernels
from core.train.fused.run import run
from core.train.fused.stack.stack import Stack
from core.train.tensors.tree import flatten, unflatten
from tests.core.train.fused.harness import Control, Gathered, train_population
from tests.core.train.fused.test_isolation import assert_same_bits
from tests.core.train.harness import blobs_job, function_job, parabola

Json = dict[str, Any]


def adam(**options: Any) -> Json:
    return {"kind": "adam", **options}


@pytest.mark.parametrize(
    "other",
    [
        blobs_job(adam(lr=0.5, betas=[0.5, 0.6], eps=0.1, weight_decay=1.0), 3, seed=9),
        blobs_job(adam(), schedule={"kind": "cosine", "T_max": 4}, stop={"patience": 3}),
        blobs_job(adam(foreach=False), labels={"a": "b"}, priority=9, max_attempts=1),
        blobs_job(adam(), model={"kind": "mlp", "hidden": [6], "dropout": 0.5,
                                 "init": {"kind": "orthogonal"}}),
    ],
)  # fmt: skip
def test_runs_that_differ_in_numbers_share_a_stack(other: JobSpec) -> None:
    assert groups([blobs_job(adam()), other]) == [[0, 1]]


@pytest.mark.parametrize(
    "other",
    [
        blobs_job(adam(amsgrad=True)),
        blobs_job({"kind": "adamw"}),
        blobs_job(adam(), batch_size=9),
        blobs_job(adam(), precision="float64"),
        blobs_job(adam(), model={"kind": "mlp", "hidden": [7]}),
        blobs_job(adam(), model={"kind": "mlp", "hidden": [6], "activation": "tanh"}),
        blobs_job(adam(), gradient_clip={"kind": "value", "clip_value": 1.0}),
        blobs_job(adam(), record={"every": 2}),
        blobs_job(adam(), eval_fraction=0.5),
        parabola(0.1),
    ],
)
def test_runs_that_differ_in_structure_do_not(other: JobSpec) -> None:
    assert groups([blobs_job(adam()), other, blobs_job(adam())]) == [[0, 2], [1]]


def test_runs_of_other_optimizers_are_groups_of_their_own() -> None:
    alone = blobs_job({"kind": "lbfgs"})
    assert structure_key(alone) is None
    assert not fusable(alone)
    assert groups([alone, alone]) == [[0], [1]]


def test_groups_are_cut_to_the_most_runs_and_to_memory() -> None:
    specs = [blobs_job(adam())] * 7
    assert stacks(specs, max_runs=3) == [[0, 3, 6], [1, 4], [2, 5]]
    two = 2 * bytes_per_run(specs[0])
    assert [len(part) for part in stacks(specs, max_bytes=two, least=1)] == [2, 2, 2, 1]
    assert [len(part) for part in stacks(specs, max_bytes=1, least=1)] == [1] * 7
    assert stacks([]) == []


def test_large_models_still_train_a_few_at_a_time() -> None:
    def job(width: int) -> JobSpec:
        return blobs_job(adam(), model={"kind": "mlp", "hidden": [width] * 3})

    assert 2 * bytes_per_run(job(700)) > CPU_STACK_BYTES
    assert [len(part) for part in stacks([job(700)] * 9)] == [3, 3, 3]
    assert bytes_per_run(job(4000)) > LARGE_STACK_BYTES
    assert [len(part) for part in stacks([job(4000)] * 2)] == [1, 1]


def test_a_run_takes_more_memory_with_more_parameters_and_rows() -> None:
    small = bytes_per_run(blobs_job(adam()))
    assert small > 4 * 5 * estimate(blobs_job(adam())).num_parameters
    assert bytes_per_run(blobs_job(adam(), batch_size=30)) > small
    assert bytes_per_run(blobs_job(adam(), precision="float64")) > 1.9 * small
    assert bytes_per_run(parabola(0.1)) > 0


def test_the_size_of_a_stack_changes_rounding_only() -> None:
    specs = [blobs_job(adam(lr=0.01 * (i + 1)), 20, precision="float64") for i in range(5)]
    whole, cut = train_population(specs), train_population(specs, max_runs=2)
    for number in range(5):
        assert cut.column(number, "loss") == pytest.approx(whole.column(number, "loss"), rel=1e-9)


@pytest.mark.parametrize(
    ("request_", "reason"), [("cancel", "cancelled"), ("hand_over", "handed_over")]
)
def test_a_request_to_stop_ends_all_that_still_train(
    request_: Literal["cancel", "hand_over"], reason: str
) -> None:
    class After:
        dropped = ()
        reads = 0

        @property
        def stop_requested(self) -> Literal["cancel", "hand_over"] | None:
            self.reads += 1
            return request_ if self.reads > 6 else None

    specs = [parabola(0.1, steps) for steps in (3, 50, 60)]
    gathered = train_population(specs, control=After())
    assert [gathered.endings[n].ending.reason for n in range(3)] == ["finished", reason, reason]
    assert gathered.weights[1].final_step == 5


def test_a_request_to_stop_before_the_beginning_leaves_every_run_untried() -> None:
    gathered = Gathered()
    control = Control(stop_requested="cancel")
    assert run([parabola(0.1)], emit=gathered.emit, control=control, device="cpu") == []


def test_no_specs_are_no_runs() -> None:
    assert run([], emit=Gathered().emit, control=Control()) == []


def test_runs_are_reported_as_soon_as_they_end_and_progress_counts_all() -> None:
    gathered = train_population([parabola(0.1, steps) for steps in (30, 10, 20)])
    assert gathered.order == [1, 2, 0]
    assert gathered.progressed[-1] == (60, 0)
    shares = [gathered.endings[number].share_s for number in range(3)]
    assert 0 < shares[1] < shares[2] < shares[0]


def test_progress_counts_the_updates_of_all_stacks() -> None:
    specs = [parabola(0.1, 3), parabola(0.1, 4), blobs_job(adam(), 5), parabola(0.1, 6)]
    gathered = train_population(specs, max_runs=2)
    counts = [count for count, _ in gathered.progressed]
    assert counts == sorted(counts)
    assert counts[-1] == 18


def test_a_time_limit_ends_a_run_and_not_its_neighbours() -> None:
    ticks = iter(range(10**6))
    specs = [
        parabola(0.1, 40),
        parabola(0.1, 40, budget={"max_seconds": 20.0, "max_steps": 40}),
    ]
    gathered = train_population(specs, clock=lambda: float(next(ticks)))
    timed = gathered.endings[1].ending
    assert timed.outcome == "budget_exhausted"
    assert 0 < timed.result["num_steps"] < 40
    assert gathered.endings[0].ending.result["num_steps"] == 40


def test_out_of_memory_halves_a_stack() -> None:
    tried: list[int] = []

    def small(specs: Sequence[JobSpec], *rest: Any) -> Stack:
        tried.append(len(specs))
        if len(specs) > 2:
            raise torch.OutOfMemoryError("no room")
        return Stack(specs, *rest)

    gathered = train_population([parabola(0.1, 3)] * 6, make_stack=small)
    assert sorted(gathered.endings) == list(range(6))
    assert tried == [6, 3, 2, 3, 2]
    assert [gathered.endings[n].fused for n in range(6)] == [False, True, True, False, True, True]


def test_out_of_memory_after_rows_have_left_is_a_failure() -> None:
    class Late(Stack):
        def _account(self) -> None:
            if self.step == 2:
                raise MemoryError
            super()._account()

    ticks = iter(range(10**6))
    with pytest.raises(JobFailure, match="out of memory: a smaller model"):
        train_population([parabola(0.1, 9)] * 2, make_stack=Late, clock=lambda: float(next(ticks)))


POPULATION = [
    blobs_job(adam(lr=0.01 * (1 + number)), 12 + 3 * (number % 3), seed=number % 4,
              model={"kind": "mlp", "hidden": [16], "norm": {"kind": "batch"}, "dropout": 0.2},
              schedule={"kind": "reduce_on_plateau", "patience": 1} if number % 2 else
              {"kind": "cosine", "T_max": 15}, stop={"target_loss": 0.9 if number > 9 else 0.0})
    for number in range(16)
]  # fmt: skip
SGD = {"kind": "sgd", "lr": 0.05, "momentum": 0.9}
SAVED: dict[str, list[JobSpec]] = {
    "models": POPULATION,
    "functions": [
        function_job("x**2 + cos(y)", {"x": float(n), "y": 1.0}, SGD, 10 + n,
                     record={"every": 4})
        for n in range(5)
    ],
    "nadam": [blobs_job({"kind": "nadam"}, 12, seed=seed) for seed in range(3)],
}  # fmt: skip


class _Stop:
    """Stops the test's first stack before step `at` by leaving the training."""

    dropped = ()

    def __init__(self, stack: Stack, at: int) -> None:
        self._stack = stack
        self._at = at

    @property
    def stop_requested(self) -> Literal["cancel", "hand_over"] | None:
        if self._stack.step == self._at:
            raise InterruptedError
        return None


@pytest.mark.parametrize("name", SAVED)
@pytest.mark.parametrize("at", [1, 7, 11])
def test_a_saved_stack_goes_on_to_the_bit(name: str, at: int) -> None:
    specs = SAVED[name]
    device = torch.device("cpu")
    runs = list(range(len(specs)))
    with exact_kernels():
        whole, parts = Gathered(), Gathered()
        Stack(specs, runs, whole.emit, device).train(Control())
        first = Stack(specs, runs, parts.emit, device)
        with pytest.raises(InterruptedError):
            first.train(_Stop(first, at))
        tensors: dict[str, torch.Tensor] = {}
        saved = json.dumps(flatten(first.state(), "stack/", tensors))
        second = Stack(specs, runs, parts.emit, device)
        second.load_state(unflatten(json.loads(saved), tensors, "cpu"))
        second.train(Control())
    assert_same_bits(parts, whole, runs)


def test_the_settings_of_torch_come_back() -> None:
    torch.set_num_threads(1)
    train_population([parabola(0.1)])
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == 1
