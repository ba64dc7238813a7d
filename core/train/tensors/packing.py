"""Layout of the parameters of a run: all of them in one row of numbers.

An optimizer then moves a stack's parameters in a dozen operations, not a dozen for each parameter:
in a small model's step, what an operation costs is its start (some 5 µs among others).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Final

import torch
from torch import Tensor

LINE_BYTES: Final = 64
"""Each parameter begins at a multiple: a product's last bits may depend on where its matrices lie
(`core.train.fused.problems.compaction`)."""


@dataclass(frozen=True)
class Packing:
    """Rows of `width` numbers. What lies between the parameters counts for nothing.

    Attributes:
        shapes: of each parameter of a run.
        spans: its numbers in the row.
    """

    shapes: tuple[torch.Size, ...]
    spans: tuple[slice, ...]
    width: int

    def gaps(self, rows: Tensor) -> list[Tensor]:
        """Return what lies between the parameters and behind them, where there is something."""
        starts = [span.start for span in self.spans[1:]] + [self.width]
        ends = [span.stop for span in self.spans]
        return [rows[:, a:b] for a, b in zip(ends, starts, strict=True) if a < b]

    def of_one(self, row: Tensor) -> list[Tensor]:
        """Return the parameters in one row (width,): the same storage."""
        placed = zip(self.shapes, self.spans, strict=True)
        return [row[span].view(shape) for shape, span in placed]

    def views(self, rows: Tensor) -> list[Tensor]:
        """Return the parameters (slots, …) in rows (slots, width): the same storage."""
        placed = zip(self.shapes, self.spans, strict=True)
        return [rows[:, span].view(len(rows), *shape) for shape, span in placed]


def packing_of(shapes: Sequence[torch.Size], item_bytes: int) -> Packing:
    """Pack parameters with these shapes (a run's), one after another."""
    line = LINE_BYTES // item_bytes
    spans, width = [], 0
    for shape in shapes:
        spans.append(slice(width, width + prod(shape)))
        width += -(-prod(shape) // line) * line
    return Packing(tuple(shapes), tuple(spans), width)


def one_vector(length: int) -> Packing:
    """Pack one parameter, whose rows follow each other without a gap."""
    return Packing((torch.Size([length]),), (slice(0, length),), length)
