"""Which rows a step sees."""

from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from core.specs.data import ExplicitOrder, Order, SequentialOrder, Shuffled
from core.train.data.batches import Batches
from core.train.determinism import generator

ROWS = 10


def batches(
    order: Order,
    batch_size: int | Literal["full"] | None,
    *,
    drop_last: bool = False,
    seed: int = 0,
) -> Batches:
    features = torch.arange(ROWS * 2.0).reshape(ROWS, 2)
    return Batches(
        features, torch.arange(ROWS), order=order, batch_size=batch_size, drop_last=drop_last,
        seed=seed,
    )  # fmt: skip


def rows(made: Batches, step: int) -> list[int]:
    """The rows of `step`, after a look whether features and targets belong together."""
    features, targets = made.at(step)
    assert torch.equal(features[:, 0], 2.0 * targets)
    found: list[int] = targets.tolist()
    return found


def test_shuffled_rows_follow_the_epochs_own_permutation() -> None:
    made = batches(Shuffled(), 4, seed=7)

    for epoch in range(3):
        drawn = torch.randperm(ROWS, generator=generator(7, "order", epoch)).tolist()
        epoch_rows = [rows(made, 3 * epoch + index) for index in range(3)]
        assert epoch_rows == [drawn[:4], drawn[4:8], drawn[8:]]


def test_any_step_can_be_asked_for_at_any_time() -> None:
    forward = batches(Shuffled(), 3)
    in_order = [rows(forward, step) for step in range(20)]

    for step in (17, 3, 4, 19, 0, 11):
        assert rows(batches(Shuffled(), 3), step) == in_order[step]
        assert rows(forward, step) == in_order[step]


def test_sequential_rows_keep_the_order_of_the_data() -> None:
    made = batches(SequentialOrder(kind="sequential"), 4)

    assert [rows(made, step) for step in range(4)] == [
        [0, 1, 2, 3], [4, 5, 6, 7], [8, 9], [0, 1, 2, 3],
    ]  # fmt: skip


def test_an_explicit_order_names_the_rows_and_starts_over_at_its_end() -> None:
    made = batches(ExplicitOrder(kind="explicit", steps=((3, 1), (1, 1, 9))), None)

    assert [rows(made, step) for step in range(3)] == [[3, 1], [1, 1, 9], [3, 1]]
    assert (made.steps_per_epoch, made.rows_per_batch) == (2, 3)


@pytest.mark.parametrize("order", [Shuffled(), SequentialOrder(kind="sequential")])
def test_a_full_batch_is_the_data_as_they_stand(order: Order) -> None:
    made = batches(order, "full")

    assert rows(made, 0) == rows(made, 5) == list(range(ROWS))
    assert made.steps_per_epoch == 1


@pytest.mark.parametrize(
    ("batch_size", "drop_last", "steps"), [(4, False, 3), (4, True, 2), (5, True, 2), (10, True, 1)]
)
def test_drop_last_leaves_out_an_incomplete_batch(
    batch_size: int, drop_last: bool, steps: int
) -> None:
    made = batches(Shuffled(), batch_size, drop_last=drop_last)

    assert made.steps_per_epoch == steps
    sizes = [len(rows(made, step)) for step in range(steps)]
    assert sum(sizes) == (steps * batch_size if drop_last else ROWS)


def test_dropping_every_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="drop_last"):
        batches(Shuffled(), 11, drop_last=True)


def _aligned(tensor: Tensor) -> bool:
    return tensor.data_ptr() % 64 == 0


@pytest.mark.parametrize("order", [Shuffled(), SequentialOrder(kind="sequential")])
def test_a_batch_lies_as_torch_aligns_its_own_memory(order: Any) -> None:
    # Products computed from memory that is aligned otherwise differ in their last bits.
    made = batches(order, 3)

    assert all(_aligned(tensor) for step in range(4) for tensor in made.at(step))


def test_batches_of_all_sizes_take_the_same_memory() -> None:
    made = batches(ExplicitOrder(kind="explicit", steps=((3, 1), (1, 1, 9), (4,))), None)

    places = {tuple(tensor.data_ptr() for tensor in made.at(step)) for step in range(6)}
    assert len(places) == 1
