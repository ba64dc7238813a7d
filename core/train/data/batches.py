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

    Each is gathered, when it is asked for, into memory that the next one takes. (Slices of an epoch
    that is gathered at once begin off torch's alignment, which changes the last bits of products.)
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
        self.whole = batch_size == "full" and not isinstance(order, ExplicitOrder)
        """True where each batch is the tables themselves."""
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
        if self.whole:
            self._shuffled = False
        self._largest: Batch | None = None
        self._room: dict[int, Batch] = {}

    def rows(self, step: int) -> Tensor | None:
        """Return the indices of the rows of `step`; None: all of them, in their order."""
        if self.whole:
            return None
        epoch, index = divmod(step, self.steps_per_epoch)
        if self._shuffled and epoch != self._epoch:
            self._shuffle(epoch)
        return self._indices[index]

    def at(self, step: int) -> Batch:
        """Return the features and targets of the rows of `step`, until the next call."""
        rows = self.rows(step)
        if rows is None:
            return self._features, self._targets
        features, targets = held = self._room.get(rows.shape[0]) or self._room_for(rows.shape[0])
        torch.index_select(self._features, 0, rows, out=features)
        torch.index_select(self._targets, 0, rows, out=targets)
        return held

    def _room_for(self, rows: int) -> Batch:
        """Return the memory of the largest batch, cut to so many rows."""
        if self._largest is None:
            tables, most = (self._features, self._targets), self.rows_per_batch
            x, y = (table.new_empty(most, *table.shape[1:]) for table in tables)
            self._largest = x, y
        features, targets = self._largest
        self._room[rows] = found = features[:rows], targets[:rows]
        return found

    def _shuffle(self, epoch: int) -> None:
        self._indices = self._cut(self._order(epoch))
        self._epoch = epoch

    def _order(self, epoch: int) -> Tensor:
        """Return all rows in the epoch's order."""
        if not self._shuffled:
            return torch.arange(self._num_rows)
        source = generator(self._seed, "order", epoch)
        return torch.randperm(self._num_rows, generator=source)

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
