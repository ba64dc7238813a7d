"""What the fake trainer does with a job, a task of a study, or weights that it is to measure.

A scenario is a value that a test writes where it is read. It travels to the trainer's process in
the label `act` of a spec, and `resumed`, if there is one, is what later attempts do.
"""

import json
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from typing import Any, Final, Literal

Fault = Literal["memory", "disk", "data", "fault"]


@dataclass(frozen=True)
class Finish:
    """A job makes so many rows and ends. So does every run of a task: a later attempt begins one
    row before what is stored, and runs that paused go on from there."""

    rows: int


@dataclass(frozen=True)
class Foretell:
    """Five rows, and how the job ends, or (not `rightly`) otherwise; then 55 rows that nobody
    waited for, and the end."""

    rightly: bool


@dataclass(frozen=True)
class Wait:
    """Three rows; then it waits until it is asked to stop.

    Attributes:
        saved_bytes: of each of two checkpoints before, the first of which makes room for the
            second; 0: there are none.
    """

    saved_bytes: int = 0


@dataclass(frozen=True)
class Deaf:
    """Three rows; then it hears nothing."""


@dataclass(frozen=True)
class Die:
    """Three rows; then the trainer's process is killed."""


@dataclass(frozen=True)
class Fail:
    """An error: out of memory, a full disk, data that is not there, or a fault in the code."""

    how: Fault


@dataclass(frozen=True)
class GoBack:
    """Twelve rows, back to the fourth, and on to the seventh.

    Attributes:
        pause_s: before it goes back.
    """

    pause_s: float = 0.0


@dataclass(frozen=True)
class Stream:
    """Rows, a few every now and then, until it is asked to stop."""


@dataclass(frozen=True)
class Settle:
    """It finds this learning rate, then makes ten rows and ends."""

    lr: float


@dataclass(frozen=True)
class Tune:
    """It looks for a learning rate until it is asked to stop."""


@dataclass(frozen=True)
class Allocate:
    """It holds so many bytes for a moment, then makes a row and ends."""

    num_bytes: int


@dataclass(frozen=True)
class Forget:
    """The task ends without a word on its other runs."""


@dataclass(frozen=True)
class FirstEnds:
    """Three rows of each run of a task, and the first run ends; then this."""

    then: Wait | Deaf | Die | Fail | Forget


@dataclass(frozen=True)
class FirstFails:
    """Three rows of each run of a task; the first run cannot be computed, and the others end."""


@dataclass(frozen=True)
class Rung:
    """Two rows of each run of a task, and all pause; runs that go on from there do this."""

    then: Finish | FirstEnds | FirstFails = Finish(5)


@dataclass(frozen=True)
class Rungs:
    """A row of each run of a task, from the rung before to its own, where all pause; without a
    rung of its own, on to the fifth row and the end."""


INITIAL_LOSS = 1.5
"""What a job is said to have begun at; row 0's loss is 1."""


class Measuring(StrEnum):
    """What is done when weights are to be measured: the label `measure`."""

    NOW = "now"
    FAIL = "fail"
    DIE = "die"
    WAIT = "wait"
    """Until it is asked to stop."""
    LONGER_THAN_A_LEASE = "longer_than_a_lease"
    DEAF = "deaf"


JobScenario = (
    Finish | Foretell | Wait | Deaf | Die | Fail | GoBack | Stream | Settle | Tune | Allocate
)
TaskScenario = Finish | Fail | GoBack | Stream | FirstEnds | FirstFails | Rung | Rungs
Scenario = JobScenario | TaskScenario

_KINDS: Final = {
    kind.__name__: kind
    for kind in (
        Finish, Foretell, Wait, Deaf, Die, Fail, GoBack, Stream, Settle, Tune, Allocate,
        Forget, FirstEnds, FirstFails, Rung, Rungs,
    )
}  # fmt: skip


def label(scenario: Scenario) -> str:
    """The scenario as a label's value."""
    return json.dumps(_tree(scenario))


def labels(scenario: Scenario, resumed: Scenario | None = None) -> dict[str, str]:
    """A spec's labels for it. `resumed`: what later attempts do, if it is something else."""
    found = {"act": label(scenario)}
    return found if resumed is None else {**found, "resumed": label(resumed)}


def of_label(text: str) -> Scenario:
    """The scenario that `label` has written."""
    scenario: Scenario = _made(json.loads(text))
    return scenario


def _tree(value: Any) -> Any:
    if not is_dataclass(value):
        return value
    parts = {each.name: _tree(getattr(value, each.name)) for each in fields(value)}
    return {"kind": type(value).__name__, **parts}


def _made(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    parts = {name: _made(part) for name, part in tree.items() if name != "kind"}
    return _KINDS[tree["kind"]](**parts)
