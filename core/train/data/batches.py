"""Choice of the training rows that each step sees; any step's batch can be had at any time."""

from collections.abc import Sequence
from typing import Literal, assert_never

import torch
from torch import Tensor

from core.specs.data import ExplicitOrder, Order, SequentialOrder, Shuffled
from core.train.determinism import generator

Batch = tuple[Tensor, Tensor]


class Batches:
    """The batches of a training set, in the order that the spec asks for.

    A batch is gathered into fresh memory when it is asked for: that costs no more than slicing an
    epoch gathered at once (3 µs), and slices that begin off torch's alignment change the last
    bits of the products computed from them.
    """

    def __init__(
        self,
        features: Tensor,
        targets: Tensor,
        *,
        order: Order,
        batch_size: int | Literal["full"] | None,
        drop_last: bool,
        seed: int,
    ) -> None:
        self._features = features
        self._targets = targets
        self._seed = seed
        self._num_rows = len(features)
        self._shuffled = isinstance(order, Shuffled)
        self._whole = batch_size == "full" and not isinstance(order, ExplicitOrder)
        self._batch_size = batch_size if isinstance(batch_size, int) else self._num_rows
        self._drop_last = drop_last
        self._epoch = -1
        if batch_size is None and not isinstance(order, ExplicitOrder):
            raise ValueError("batch_size must be settled before a problem is built")
        self._indices: Sequence[Tensor] = ()
        match order:
            case ExplicitOrder():
                self._indices = [torch.tensor(s, device=features.device) for s in order.steps]
                self.rows_per_batch = max(len(rows) for rows in order.steps)
            case Shuffled() | SequentialOrder():
                self._indices = self._cut(torch.arange(self._num_rows))
                self.rows_per_batch = min(self._batch_size, self._num_rows)
            case _:
                assert_never(order)
        self.steps_per_epoch = len(self._indices)
        self.covers_all = (
            not isinstance(order, ExplicitOrder) and self._batch_size >= self._num_rows
        )
        """Whether each batch is all rows."""
        if self._whole:
            self._shuffled = False

    def rows(self, step: int) -> Tensor | None:
        """Return the indices of the rows of `step`; None: all of them, in their order."""
        if self._whole:
            return None
        epoch, index = divmod(step, self.steps_per_epoch)
        if self._shuffled and epoch != self._epoch:
            self._shuffle(epoch)
        return self._indices[index]

    def at(self, step: int) -> Batch:
        """Return the features and targets of the rows of `step`."""
        rows = self.rows(step)
        if rows is None:
            return self._features, self._targets
        return self._features.index_select(0, rows), self._targets.index_select(0, rows)

    def _shuffle(self, epoch: int) -> None:
        source = generator(self._seed, "order", epoch)
        self._indices = self._cut(torch.randperm(self._num_rows, generator=source))
        self._epoch = epoch

    def _cut(self, order: Tensor) -> Sequence[Tensor]:
        kept = self._num_rows
        if self._drop_last:
            kept -= kept % self._batch_size
            if kept == 0:
                raise ValueError(f"drop_last leaves no batch of {self._batch_size} rows")
        return torch.split(order[:kept].to(self._features.device), self._batch_size)
