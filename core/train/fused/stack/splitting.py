"""Parts of a stack that does not fit into memory, which train one after another to the same bits.

What a run computes follows from the stack that the specs ask for, never from the memory that was
free: a part takes what is the same in all runs from the whole stack (`WholeStack`), and its runs
stand at places that are as good as those in the whole (`core.train.fused.problems.compaction`).
"""

from collections.abc import Sequence
from math import lcm
from typing import Final, NamedTuple

import torch

from core.specs.job import JobSpec
from core.train.fused.problems.build import build_stacked
from core.train.fused.problems.compaction import ANYWHERE, Places, places

TWO: Final = 2
"""A part's least: products of one run alone have other last bits."""


class WholeStack(NamedTuple):
    """The stack that a part was cut from.

    Attributes:
        specs: of all its runs.
        first: the number of the part's first run; the others follow it.
    """

    specs: Sequence[JobSpec]
    first: int


def moves_of(specs: Sequence[JobSpec], device: torch.device) -> Places:
    """Return how the runs of a stack may be cut apart. On a GPU anywhere: no place there is known
    to be as good as another, and rounding may change."""
    if device.type != "cpu":
        return ANYWHERE
    problem = build_stacked(specs[:TWO], device)
    return places(specs[0], problem.packing.shapes, problem.rows.dtype)


def split_sizes(count: int, most: int, moves: Places) -> list[int]:
    """Return how many runs, in order, the parts of a stack of `count` have: no more than `most`, or
    as few above it as leave every run a place with the same bits. One number: it cannot be cut."""
    unit = lcm(moves.phase, moves.tail)
    last = max(TWO, moves.tail if moves.tail > 1 else 1)
    most = max(most // unit, 1, -(-TWO // unit)) * unit
    even = -(-count // -(-count // most))
    size = min(most, -(-even // unit) * unit)
    sizes: list[int] = []
    while count > most:
        part = min(size, (count - last) // unit * unit)
        if part < TWO:
            break
        sizes.append(part)
        count -= part
    return [*sizes, count]
