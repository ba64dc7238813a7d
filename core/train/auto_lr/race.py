"""A race: short runs of one job at several rates, trained together, to see which gets furthest."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.jobs import Outcome
from core.messages.parts import Kind
from core.specs.job import JobSpec
from core.train.events import Control
from core.train.fused.events import RowBatch, RunEnding, StackEvent
from core.train.fused.run import run

LAST_SHARE: Final = 0.1
"""Last share of a run's rows: their mean stands for its end, which a single batch would not."""
LAST_EVALUATIONS: Final = 3
"""Last evaluations whose mean stands for its end: at a constant rate weights are thrown about, and
a single evaluation of Muon's, whose steps do not shrink with the gradient, may be half or twice the
next one."""


@dataclass(frozen=True)
class Finish:
    """The end of one run of a race. Losses may be non-finite.

    Attributes:
        loss: the mean of the last tenth of its training losses.
        final_loss: the last one.
        eval_loss: the mean of its last three evaluations; None where there is no evaluation data.
        outcome: the run's.
        num_steps: updates made.
    """

    loss: float
    final_loss: float
    eval_loss: float | None
    outcome: Outcome | None
    num_steps: int


def race(specs: Sequence[JobSpec], *, control: Control, device: str) -> list[Finish] | None:
    """Train the specs to their ends, together where their optimizer can be fused and one by one
    where it cannot. None: asked to stop.

    Raises:
        JobFailure: as `core.train.fused.run.run`.
    """
    seen = _Losses()
    endings = run(specs, emit=seen.emit, control=control, device=device)
    stopped = any(each.ending.reason != "finished" for each in endings)
    if stopped or len(endings) < len(specs):
        return None
    return [seen.finish(each) for each in endings]


@dataclass
class _Losses:
    """Keeps the losses of every run, those of its training and those of its evaluations."""

    of: dict[tuple[int, Kind], list[NDArray[np.float64]]] = field(default_factory=dict)

    def emit(self, event: StackEvent) -> None:
        if isinstance(event, RowBatch):
            for run, losses in zip(event.runs, event.columns["loss"], strict=True):
                self.of.setdefault((run, event.kind), []).append(losses)

    def finish(self, ended: RunEnding) -> Finish:
        losses = np.concatenate(self.of.get((ended.run, "train"), [np.array([math.nan])]))
        last = losses[-max(1, round(LAST_SHARE * losses.size)) :]
        evaluations = self.of.get((ended.run, "eval"))
        return Finish(
            float(last.mean()),
            float(losses[-1]),
            None
            if evaluations is None
            else float(np.concatenate(evaluations)[-LAST_EVALUATIONS:].mean()),
            ended.ending.outcome,
            int(ended.ending.result["num_steps"]),
        )
