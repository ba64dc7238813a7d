"""A race: short runs of one job at several rates, trained together, to see which gets furthest."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from core.jobs import Outcome
from core.specs.job import JobSpec
from core.train.events import Columns, Control
from core.train.fused.events import RunEnding, RunWeights
from core.train.fused.run import run

LAST_SHARE: Final = 0.1
"""Last share of a run's rows: their mean stands for its end, which a single batch would not."""


@dataclass(frozen=True)
class Finish:
    """The end of one run of a race. Losses may be non-finite.

    Attributes:
        loss: the mean of the last tenth of its training losses.
        final_loss: the last one.
        eval_loss: of its last evaluation; None where there is no evaluation data.
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
    endings = run(specs, events=seen, control=_NobodyDropped(control), device=device)
    stopped = any(each.ending.reason != "finished" for each in endings)
    if stopped or len(endings) < len(specs):
        return None
    return [seen.finish(each) for each in endings]


class _NobodyDropped:
    """A job's control as a population's."""

    dropped: tuple[int, ...] = ()

    def __init__(self, control: Control) -> None:
        self._control = control

    @property
    def stop_requested(self) -> Literal["cancel", "hand_over"] | None:
        return self._control.stop_requested


@dataclass
class _Losses:
    """Keeps the training losses of every run."""

    of: dict[int, list[NDArray[np.float64]]] = field(default_factory=dict)

    def rows(
        self, run: int, kind: Literal["train", "eval"], first_row: int, columns: Columns
    ) -> None:
        if kind == "train":
            self.of.setdefault(run, []).append(columns["loss"])

    def progress(self, num_updates: int, num_running: int) -> None:
        return

    def ended(self, ending: RunEnding, weights: RunWeights) -> None:
        return

    def finish(self, ended: RunEnding) -> Finish:
        losses = np.concatenate(self.of.get(ended.run, [np.array([math.nan])]))
        last = losses[-max(1, round(LAST_SHARE * losses.size)) :]
        result = ended.ending.result
        evaluation = result["eval"]
        return Finish(
            float(last.mean()),
            float(losses[-1]),
            None if evaluation is None else float(evaluation["loss"]),
            ended.ending.outcome,
            int(result["num_steps"]),
        )
