"""Events that leave runs that train together."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import assert_never

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from core.messages.parts import Columns, Kind, Times
from core.messages.reports import Ending, PopulationProgress, RunFailed
from core.train.events import Emit


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


@dataclass(frozen=True)
class RowBatch:
    """Rows of several runs that have the same steps, as `core.messages.reports`.

    Attributes:
        runs: their indices among the specs.
        first_row: the index of the first row, the same in all of them.
        columns: (runs, rows) each, `x` (runs, rows, dim).
        share_s: a run's share of the time when a row came: (runs, rows).
        times: when they came to these rows, from the moment on at which they began to train
            together; before, each had trained for `earlier_s`.
        unit: the number of their stack, among those that train one after another.
    """

    kind: Kind
    runs: Sequence[int]
    first_row: int
    columns: Columns
    share_s: NDArray[np.float64]
    times: Times = field(default_factory=list)
    earlier_s: list[float] = field(default_factory=list)
    unit: int = 0


@dataclass(frozen=True)
class RunRewound:
    """The run has gone back (`on_divergence`): so many rows of each history stay."""

    run: int
    rows: dict[Kind, int]


@dataclass(frozen=True)
class RunPaused:
    """The run has paused at a rung: its weights there, and its best of the recorded rows."""

    run: int
    weights: RunWeights


@dataclass(frozen=True)
class RunEnding:
    """The ending of one run.

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
class RunOver:
    """The run has ended; all its rows came before."""

    ending: RunEnding
    weights: RunWeights


StackEvent = RowBatch | RunRewound | PopulationProgress | RunPaused | RunOver | RunFailed
"""Events that leave a stack, and a population of stacks after stacks."""


class StackEvents:
    """Passes on the events of stack after stack, as those of one population.

    Attributes:
        num_told: rows, pauses and endings that came.
        over: the runs that have ended.
        before: updates of the stacks that are done.
        unit: the number of the stack at hand: no other has it, of whichever attempt.
    """

    def __init__(self, emit: Emit[StackEvent]) -> None:
        self._emit = emit
        self.num_told = 0
        self.over: set[int] = set()
        self.before = 0
        self.unit = 0
        self._latest = 0

    def emit(self, event: StackEvent) -> None:
        """Take an event of the stack at hand, whose updates count from 0."""
        match event:
            case PopulationProgress(num_updates):
                self._latest = num_updates
                self._emit(replace(event, num_updates=self.before + num_updates))
            case RowBatch():
                self.num_told += 1
                self._emit(replace(event, unit=self.unit))
            case RunPaused() | RunOver():
                self.num_told += 1
                if isinstance(event, RunOver):
                    self.over.add(event.ending.run)
                self._emit(event)
            case RunRewound() | RunFailed():
                self._emit(event)
            case _:
                assert_never(event)

    def next_stack(self) -> None:
        """Note that a stack is done: the next one counts its updates from 0."""
        self.before += self._latest
        self._latest = 0
