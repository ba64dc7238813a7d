"""Requests that reach the training loop, and the one way out of it.

The loop reports by calling `emit` with an event of a closed set (`RunEvent`; of fused runs
`core.train.fused.events.StackEvent`). Calls are cheap for the loop (a pipe, never the network) and
come in batches at most half a second late: between two steps, or when a step's row is complete and
its update has not begun. All come from the thread that runs the loop.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from core.messages.reports import (
    Concluded,
    DataLoaded,
    HistoryRows,
    Intervened,
    PhaseBegun,
    Progress,
    Restarted,
    SavedCheckpoint,
)

Event = TypeVar("Event")
Emit = Callable[[Event], None]
"""A function that takes one event."""

RunEvent = (
    HistoryRows
    | Progress
    | PhaseBegun
    | DataLoaded
    | SavedCheckpoint
    | Intervened
    | Restarted
    | Concluded
)
"""Events that leave the loop of one run."""
StopRequest = Literal["cancel", "hand_over"]


class CheckpointRequests(Protocol):
    """Requests for a checkpoint that stays, which the loop looks for between steps."""

    @property
    def keep(self) -> int:
        """The number of the latest one; it grows with each."""


@dataclass(frozen=True)
class NoRequests:
    """Requests that are never made."""

    keep: int = 0


class Control(Protocol):
    """Requests that the loop looks for between steps: one attribute read each, no lock, no call to
    the system."""

    @property
    def stop_requested(self) -> StopRequest | None:
        """The request for a cancel, or for an orderly shutdown (write a resume checkpoint and
        leave)."""

    @property
    def dropped(self) -> Collection[int]:
        """The runs, of many, that are to end as `cancelled` while the others go on."""


class JobControl(Control, CheckpointRequests, Protocol):
    """All requests that reach the loop of one job."""
