"""Products of all runs' matrices by one, and of large ones: no run's bits depend on the others."""

import pytest
import torch

from core.train.fused.models.linear import (
    halves_vectors,
    multiply_into,
    products,
    shared_products,
)

RUNS = 24
SHAPES = [
    (width, numbers, rows)
    for width in (1, 3, 13, 33, 64, 256)
    for numbers in (2, 13, 64, 100)
    for rows in (16, 48, 64, 256)
]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_has_the_same_bits_among_any_others(threads: int) -> None:
    draw = torch.Generator().manual_seed(0)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for width, numbers, rows in SHAPES:
            left = torch.randn(RUNS, width, numbers, generator=draw)
            right = torch.randn(rows, numbers, generator=draw)
            found = shared_products(left, right)
            for first, last in ((0, 2), (0, RUNS - 1), (1, RUNS), (5, 12), (20, 24)):
                some = shared_products(left[first:last], right)
                assert torch.equal(some, found[first:last]), (width, numbers, rows, first, last)
    finally:
        torch.set_num_threads(before)


def test_they_are_the_products_wherever_the_matrices_lie() -> None:
    draw = torch.Generator().manual_seed(0)
    for width, numbers, rows in SHAPES:
        held = torch.randn(RUNS, width * numbers + 7, generator=draw)
        left = held[:, 3 : 3 + width * numbers].view(RUNS, width, numbers)
        turned = torch.randn(numbers, rows, generator=draw)
        found = shared_products(left, turned.t())
        assert torch.equal(found, shared_products(left.clone(), turned.t().clone()))
        exact = left.double() @ turned.double()
        torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-6 * numbers)


@pytest.mark.parametrize("turned", [False, True], ids=["as they are", "turned"])
def test_large_products_are_of_each_run_alone(turned: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    left = torch.randn(4, 200, 210, generator=draw)
    right = torch.randn(4, 210, 220, generator=draw)
    if turned:
        left = left.transpose(1, 2).contiguous().transpose(1, 2)
        right = right.transpose(1, 2).contiguous().transpose(1, 2)
    found = products(left, right)
    torch.testing.assert_close(found.double(), left.double() @ right.double(), rtol=0, atol=2e-4)
    assert torch.equal(products(left[2:3], right[2:3]), found[2:3])
    held = torch.zeros(4, 200 * 220 + 16)
    places = held[:, 16:].view(4, 200, 220)
    multiply_into(left, right, places)
    assert torch.equal(places, found)
    assert not held[:, :16].any()


@pytest.mark.parametrize(
    ("vendor", "family", "halves"),
    [
        ("AuthenticAMD", 25, True),
        ("AuthenticAMD", 26, False),
        ("GenuineIntel", 6, False),
        ("GenuineIntel", 25, False),
    ],
)
def test_processors_that_halve_their_longest_vectors_are_known(
    vendor: str, family: int, halves: bool
) -> None:
    core = f"vendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: 17\nmodel name\t: X 25\n"
    text = "\n".join(f"processor\t: {number}\n{core}" for number in range(2))
    assert halves_vectors(text) == halves


def test_a_system_that_says_nothing_of_its_processor_halves_nothing() -> None:
    assert not halves_vectors("")
