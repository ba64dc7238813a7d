"""Parts of the messages between a worker and its trainer."""

from typing import Literal, TypedDict, final

import numpy as np
from numpy.typing import NDArray

from core.specs.base import Json

Columns = dict[str, NDArray[np.float64]]
"""Series name -> one value a row (float64), or rows x dim for `x`. All of the same length.
`step` is always there."""
Kind = Literal["train", "eval"]
"""The kind of a history."""
Times = list[list[float]]
"""Times at which a run came to its steps: (step, seconds of training since step 0) each, in the
order of the seconds. One that has the step of an earlier one, or a smaller, says that the run went
back: the earlier ones from that step on hold no more."""
CheckpointName = Literal["initial", "best", "final", "raw", "kept", "resume"]
Phase = Literal["preparing", "training", "saving", "tuning", "diagnosing"]
"""The phase of a job. The loop's own are `preparing`, `training` and `saving`; the others are its
caller's."""
EndReason = Literal["finished", "cancelled", "handed_over"]


@final
class LossAt(TypedDict):
    """A recorded loss. It may be non-finite."""

    step: int
    loss: float


@final
class BestMetric(TypedDict):
    """The best value of the metric that `stop.metric` names (`eval.accuracy`)."""

    step: int
    metric: str
    value: float


BestAt = LossAt | BestMetric


class Reached(TypedDict):
    """The moment when a run first reached what its study asks for: its step, and its share of the
    time."""

    step: int
    seconds: float


class TaskWeights(TypedDict):
    """The places of the weights of a task's runs: the artifact, each run's row in its tensors, and
    the updates that its `initial`, `best` and `final` weights have seen. By the runs' indices."""

    file: str
    rows: dict[int, int]
    steps: dict[int, dict[str, int]]


class PausedRun(TypedDict):
    """The facts known of a run that has paused at a rung; its state is in the artifact `file`."""

    step: int
    initial_loss: float | None
    loss: float | None
    eval: Json | None
    best: BestAt | None
    share_s: float
    target: Reached | None
    file: str
