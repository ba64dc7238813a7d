"""What leaves the training loop, and what reaches it: two protocols and their values."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from core.jobs import Outcome

Json = dict[str, Any]
Columns = dict[str, NDArray[np.float64]]
"""Series name -> one value a row (float64), or rows x dim for `x`. All of the same length.
`step` is always there."""
CheckpointName = Literal["initial", "best", "final", "resume"]


@dataclass(frozen=True)
class SavedCheckpoint:
    """A file that the loop has had written, complete and checksummed.

    Attributes:
        name: `initial`, `best`, `final`, or `resume` (one of the kept ones on the way).
        step: updates applied to these weights.
        path: the artifact's name below the job's folder.
        metrics: what was known of these weights (`loss`, `accuracy`, …).
        size_bytes: the file's size.
        sha256: hex digest of the file.
        dropped: paths of older `resume` checkpoints that were removed to make room for this one.
    """

    name: CheckpointName
    step: int
    path: str
    metrics: Json
    size_bytes: int
    sha256: str
    dropped: tuple[str, ...] = ()


class Events(Protocol):
    """Where the loop reports. Calls are cheap for the loop (a pipe, never the network) and come
    in batches at most half a second late: between two steps, or when a step's row is complete and
    its update has not begun. All calls come from the thread that runs the loop."""

    def rows(self, kind: Literal["train", "eval"], first_row: int, columns: Columns) -> None:
        """Rows `first_row …` of a history, in order; the same row may come again after a resume.

        The arrays are the receiver's to keep."""

    def progress(
        self, step: int, steps_per_s: float | None, latest: Json | None, best: Json | None
    ) -> None:
        """`step` updates applied; `latest` and `best` are `{"step", "loss"}` as in the
        contract, None while there is none."""

    def phase(self, name: str) -> None:
        """`preparing`, `training`, `saving` (the loop's own), `tuning`, `diagnosing` (its
        caller's)."""

    def checkpoint(self, saved: SavedCheckpoint) -> None:
        """Weights were written."""

    def intervened(
        self,
        interventions: list[Json],
        rewound: dict[str, int] | None,
        dropped: tuple[str, ...],
    ) -> None:
        """`on_divergence` has acted.

        Args:
            interventions: all of the job's so far, in order (also sent when a run is resumed).
            rewound: how many rows of each history stay: those after them are of steps that will be
                made anew. None: all stay.
            dropped: paths of checkpoints of such steps, which have been deleted.
        """

    def restarted(self, detail: str) -> None:
        """A checkpoint could not be read: what is gone on from instead, and why."""


class Control(Protocol):
    """What the loop asks between steps: one attribute read, no lock, no call to the system."""

    @property
    def stop_requested(self) -> Literal["cancel", "hand_over"] | None:
        """A cancel, or an orderly shutdown (write a resume checkpoint and leave)."""


@dataclass(frozen=True)
class Ending:
    """How the loop ended.

    Attributes:
        reason: `finished` (an outcome is set), `cancelled`, `handed_over`.
        outcome: only when finished.
        result: the contract's `result` object.
        best: the contract's `best`; None when no finite loss was seen.

    Losses and values in here may be non-finite floats.
    """

    reason: Literal["finished", "cancelled", "handed_over"]
    outcome: Outcome | None
    result: Json
    best: Json | None
