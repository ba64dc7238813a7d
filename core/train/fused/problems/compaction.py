"""Rules when ended runs' slots may go without changing a bit of what the others compute.

What a run computes may depend on its place among the others in two ways (measured with torch 2.13
and MKL on AVX-512, float32 and float64; tests hold on to it):

- A batched product gives a run the same bits whatever the number of runs is, but not for one run
  alone, and only where its matrices lie alike modulo 64 bytes. Batches are padded to rows that make
  it so for activations; weights of odd sizes make slots keep their number modulo `phase`, and so
  do the squares that Muon makes of them. Products of all runs' matrices by one batch do not depend
  on the place at all (`core.train.fused.models.linear.shared_products`).
- Sums, products, roots, divisions and most activations give the same bits wherever a number stands.
  The other activations and the elementary functions send the last numbers of a tensor, fewer than
  a vector register or two, another way: the number of slots then stays the same modulo `tail`, and
  the last `tail` slots stay where they are.

On a GPU no slot goes: how a product is computed may depend on how many there are, which has not
been measured, and what small models cost there is the starting of kernels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd, lcm
from typing import Final, assert_never

import numpy as np
import torch
from numpy.typing import NDArray

from core.specs.functions import Quadratic
from core.specs.job import DataProblem, FunctionProblem, JobSpec
from core.specs.optimizers.kinds import Muon, hidden_matrices
from core.specs.sizes.shapes import layers_of, tables_of
from core.train.fused.problems.batches import ALIGNED
from core.train.tensors.packing import LINE_BYTES

VECTOR: Final = 32
"""Numbers that torch's loops take at a time, at most."""
LEAST: Final = 4
"""Least number of slots: no stack shrinks below this."""
EXACT: Final = frozenset(
    {"relu", "leaky_relu", "softsign", "hardswish", "identity", "tanh", "sigmoid", "gelu"}
)
"""Activations whose bits do not depend on the place."""


@dataclass(frozen=True)
class Places:
    """The units in which slots may move: powers of two, 1 for freely."""

    phase: int
    tail: int


ANYWHERE: Final = Places(1, 1)
NOWHERE: Final = Places(1, 2**30)
"""Places for slots that never move: those of models other than perceptrons, whose batch norms and
recurrent layers were seen to change bits where their slots moved."""


def places(spec: JobSpec, shapes: Sequence[torch.Size], dtype: torch.dtype) -> Places:
    """Return how the slots of a stack may move; `shapes` of a run's parameters."""
    item_bytes = dtype.itemsize
    lengths = [shape.numel() for shape in shapes if len(shape) == 2]
    problem = spec.problem
    if isinstance(problem, FunctionProblem) and isinstance(problem.function, Quadratic):
        lengths.append(shapes[0].numel())
    if isinstance(spec.optimizer, Muon):
        found = hidden_matrices(shapes, tables_of(problem))
        lengths += [min(matrix) ** 2 for matrix in found if matrix is not None]
    phase = lcm(1, *(LINE_BYTES // gcd(LINE_BYTES, n * item_bytes) for n in lengths))
    match problem:
        case FunctionProblem():
            return Places(phase, VECTOR)
        case DataProblem():
            layers = layers_of(problem)
            if layers.perceptron is None:
                return NOWHERE
            if all(placed.layer.kind in EXACT for placed in layers.activations):
                return Places(phase, 1)
            numbers = [ALIGNED * placed.output[0] for placed in layers.activations]
            return Places(phase, VECTOR // gcd(VECTOR, *numbers))
        case _:
            assert_never(problem)


def kept_slots(live: NDArray[np.bool_], moves: Places) -> NDArray[np.int64] | None:
    """Return the slots to go on with, each where it may stand; None while letting some go would not
    be exact or not pay: ended ones go once they are an eighth of all."""
    slots = len(live)
    fixed = moves.tail if moves.tail > 1 else 0
    body = max(0, slots - fixed)
    classes = [np.arange(first, body, moves.phase) for first in range(moves.phase)]
    ended = [of_class[~live[of_class]] for of_class in classes]
    unit = lcm(moves.phase, moves.tail) // moves.phase
    room = max(0, slots - max(LEAST, fixed)) // moves.phase
    count = min([room, *(len(each) for each in ended)]) // unit * unit
    if count == 0 or 8 * count * moves.phase < slots:
        return None
    kept = np.arange(slots)[count * moves.phase :]
    for first, (of_class, gone) in enumerate(zip(classes, ended, strict=True)):
        kept[: body - count * moves.phase][first :: moves.phase] = np.setdiff1d(
            of_class, gone[:count]
        )
    return kept
