"""What leaves a population, and what reaches it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from core.train.events import Columns, Ending

Kind = Literal["train", "eval"]


@dataclass(frozen=True)
class RunEnding:
    """How one run ended.

    Attributes:
        run: its index among the specs.
        ending: as of the run alone. `result.train_s` is the time from the beginning of its stack.
        fused: whether it trained in a stack with others' arithmetic.
        share_s: its share of the time: each step's, divided by the runs that took it.
    """

    run: int
    ending: Ending
    fused: bool
    share_s: float


@dataclass(frozen=True)
class RunWeights:
    """A run's weights by their names; what `core.train` would have written. Nothing else changes
    them.

    Attributes:
        best: None when no finite loss was seen.
        best_step, final_step: updates applied to them.
        metadata: for the safetensors files, as `Problem.metadata` but for the spec.
    """

    initial: dict[str, Tensor]
    best: dict[str, Tensor] | None
    final: dict[str, Tensor]
    best_step: int
    final_step: int
    metadata: dict[str, str]


class PopulationEvents(Protocol):
    """Where a population reports, in batches and from the thread that runs it. A receiver that has
    `many_rows` too (`StackEvents`) gets the rows of a stack by it."""

    def rows(
        self, run: int, kind: Literal["train", "eval"], first_row: int, columns: Columns
    ) -> None:
        """Rows `first_row …` of a run's history, as `core.train.events.Events.rows`."""

    def progress(self, num_updates: int, num_running: int) -> None:
        """Updates made so far, over all runs; how many train at the moment."""

    def ended(self, ending: RunEnding, weights: RunWeights) -> None:
        """A run has ended; all its rows came before."""


@dataclass(frozen=True)
class RowBatch:
    """Rows of several runs that have the same steps.

    Attributes:
        runs: their indices among the specs.
        first_row: the index of the first row, the same in all of them.
        columns: (runs, rows) each, `x` (runs, rows, dim).
        share_s: a run's share of the time when a row came: (runs, rows).
    """

    kind: Kind
    runs: Sequence[int]
    first_row: int
    columns: Columns
    share_s: NDArray[np.float64]


class StackEvents(PopulationEvents, Protocol):
    """Where a stack reports."""

    def many_rows(self, batch: RowBatch) -> None:
        """As `rows`, for all runs of the batch. The arrays are the receiver's to keep."""

    def rewound(self, run: int, rows: dict[str, int]) -> None:
        """The run has gone back (`on_divergence`): so many rows of each history stay."""

    def paused(self, run: int, weights: RunWeights) -> None:
        """The run has paused at a rung: its weights there, and its best of the recorded rows."""


class PopulationControl(Protocol):
    """What the engine asks between steps, for one attribute read each."""

    @property
    def stop_requested(self) -> Literal["cancel", "hand_over"] | None:
        """All runs that still train are to stop (they end as `cancelled` or `handed_over`)."""

    @property
    def dropped(self) -> Collection[int]:
        """Runs that are to end as `cancelled`, their slots freed for the others."""


# The events of stack after stack, as those of one population.
class EventFanout:
    """Passes the events on and keeps the endings. Satisfies `StackEvents`.

    Attributes:
        num_calls: rows, pauses and endings that came.
        before: updates of the stacks that are done.
    """

    def __init__(self, events: PopulationEvents) -> None:
        self._events = events
        self._together = getattr(events, "many_rows", None)
        self._rewound = getattr(events, "rewound", None)
        self._paused = getattr(events, "paused", None)
        self.endings: list[RunEnding] = []
        self.num_calls = 0
        self.before = 0
        self._latest = 0

    def rows(self, run: int, kind: str, first_row: int, columns: Columns) -> None:
        self.num_calls += 1
        self._events.rows(run, "train" if kind == "train" else "eval", first_row, columns)

    def many_rows(self, batch: RowBatch) -> None:
        self.num_calls += 1
        if self._together is not None:
            self._together(batch)
            return
        for place, run in enumerate(batch.runs):
            columns = {name: column[place] for name, column in batch.columns.items()}
            self._events.rows(run, batch.kind, batch.first_row, columns)

    def rewound(self, run: int, rows: dict[str, int]) -> None:
        if self._rewound is not None:
            self._rewound(run, rows)

    def paused(self, run: int, weights: RunWeights) -> None:
        self.num_calls += 1
        if self._paused is not None:
            self._paused(run, weights)

    def progress(self, num_updates: int, num_running: int) -> None:
        self._latest = num_updates
        self._events.progress(self.before + num_updates, num_running)

    def next_stack(self) -> None:
        """A stack is done: the next one counts its updates from 0."""
        self.before += self._latest
        self._latest = 0

    def ended(self, ending: RunEnding, weights: RunWeights) -> None:
        self.num_calls += 1
        self.endings.append(ending)
        self._events.ended(ending, weights)
