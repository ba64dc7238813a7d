"""Choice of the training rows that each step sees; any step's batch can be had at any time."""

from collections.abc import Sequence
from typing import Final, Literal, assert_never

import torch
from torch import Tensor

from core.specs.data import ExplicitOrder, Order, SequentialOrder, Shuffled
from core.train.determinism import generator
from core.train.tensors.packing import LINE_BYTES

Batch = tuple[Tensor, Tensor]
SMALL_EPOCH_BYTES: Final = 2**22
"""Size of an epoch that is gathered at once, at most."""


class Batches:
    """The batches of a training set, in the order that the spec asks for.

    Slices that begin off torch's alignment change the last bits of the products computed from
    them. So an epoch is gathered at once, and cut, only where each batch then begins as memory of
    its own would, and where the epoch is small (a step of the digits MLP takes 5 % less so); else a
    batch is gathered into fresh memory when it is asked for.
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
        """True where each batch is all rows."""
        if self._whole:
            self._shuffled = False
        self._together = (
            not self._whole and not isinstance(order, ExplicitOrder) and self._cuts_in_line()
        )
        self._gathered: Sequence[Batch] = ()
        self._gathered_epoch = -1

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
        if self._together:
            epoch, index = divmod(step, self.steps_per_epoch)
            if epoch != self._gathered_epoch:
                self._gather(epoch)
            return self._gathered[index]
        rows = self.rows(step)
        if rows is None:
            return self._features, self._targets
        return self._features.index_select(0, rows), self._targets.index_select(0, rows)

    def _shuffle(self, epoch: int) -> None:
        self._indices = self._cut(self._order(epoch))
        self._epoch = epoch

    def _order(self, epoch: int) -> Tensor:
        """Return all rows in the epoch's order."""
        if not self._shuffled:
            return torch.arange(self._num_rows)
        source = generator(self._seed, "order", epoch)
        return torch.randperm(self._num_rows, generator=source)

    def _cuts_in_line(self) -> bool:
        tables = self._features, self._targets
        row_bytes = [table[:1].numel() * table.element_size() for table in tables]
        in_line = all(self._batch_size * each % LINE_BYTES == 0 for each in row_bytes)
        on_host = not self._features.is_cuda
        return on_host and in_line and self._num_rows * sum(row_bytes) <= SMALL_EPOCH_BYTES

    def _gather(self, epoch: int) -> None:
        order = self._kept(self._order(epoch))
        features, targets = (
            torch.split(table.index_select(0, order), self._batch_size)
            for table in (self._features, self._targets)
        )
        self._gathered = list(zip(features, targets, strict=True))
        self._gathered_epoch = epoch

    def _cut(self, order: Tensor) -> Sequence[Tensor]:
        return torch.split(self._kept(order).to(self._features.device), self._batch_size)

    def _kept(self, order: Tensor) -> Tensor:
        """Return the rows without those that `drop_last` drops."""
        kept = self._num_rows
        if self._drop_last:
            kept -= kept % self._batch_size
            if kept == 0:
                raise ValueError(f"drop_last leaves no batch of {self._batch_size} rows")
        return order[:kept]
