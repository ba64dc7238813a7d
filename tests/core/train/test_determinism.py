"""Random streams and threads follow from the spec alone."""

import itertools

import pytest
import torch

from core.specs.sizes.cost import num_threads
from core.train.determinism import (
    Purpose,
    generator,
    key,
    one_thread,
    set_deterministic,
)


def test_a_stream_is_named_by_seed_purpose_and_index() -> None:
    assert torch.equal(
        torch.rand(5, generator=generator(3, "order", 7)),
        torch.rand(5, generator=generator(3, "order", 7)),
    )


def test_no_two_names_share_a_stream() -> None:
    purposes: tuple[Purpose, ...] = ("init", "order", "dropout", "split")
    names = itertools.product((0, 1, 11), purposes, (0, 1, 11, 111))

    keys = {key(seed, purpose, index) for seed, purpose, index in names}

    # Distinct in the low 32 bits too, which are all that torch's CPU generator takes.
    assert len({each % 2**32 for each in keys}) == 3 * 4 * 4


def test_keys_stay_what_they_are() -> None:
    # A change here changes the result of every job: it would need a new major version.
    assert key(0, "init", 0) == 1801107035658318964
    assert key(2**63 - 1, "order", 10**9) == 10889572621992392425


def test_drawing_leaves_torchs_default_generator_alone() -> None:
    before = torch.get_rng_state()

    torch.rand(5, generator=generator(0, "data"))

    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("num_parameters", "rows", "threads"),
    [(4_810, 64, 1), (85_002, 256, 1), (12_735_498, 1_024, 2), (2, 1, 1)],
)
def test_threads_follow_from_the_size_of_the_work(
    num_parameters: int, rows: int, threads: int
) -> None:
    assert num_threads(num_parameters * rows) == threads


def test_one_thread_holds_within_its_block_only() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_process_can_be_made_deterministic() -> None:
    threads, mode = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    try:
        set_deterministic(2)
        assert torch.get_num_threads() == 2
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(mode)
