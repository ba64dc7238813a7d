"""Names of the artifacts that the tasks of a study write, and which of them are no longer
needed."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from core.studies import RunRecord

_OF_A_TASK: Final = re.compile(r"(?:paused|tasks|weights)/([0-9]+)_[0-9]+(?:_[a-z])?\.safetensors")
TURNS: Final = ("a", "b")
"""Resume checkpoints are written in turn: a whole one is there while the other is written."""


def weights_file(stem: str) -> str:
    """Name the weights of the runs that ended or paused in a task: those of a paused run until a
    task that it goes on in has written its own."""
    return f"weights/{stem}.safetensors"


def paused_file(stem: str) -> str:
    """Name the state of the runs that paused at the end of a task, for the tasks of the next
    round."""
    return f"paused/{stem}.safetensors"


def checkpoint_files(stem: str) -> tuple[str, ...]:
    """Name a task's resume checkpoints; of no use once the task is closed."""
    return tuple(f"tasks/{stem}_{turn}.safetensors" for turn in TURNS)


def spent(
    names: Iterable[str], runs: Sequence[RunRecord], before_round: int | None = None
) -> Iterator[str]:
    """Yield those of a study's artifacts that tasks of the rounds before this one wrote, but for
    the weights that its runs have; without `before_round`: of all rounds, since the study has
    ended.

    Args:
        runs: all of the study, as they are once those rounds are over.
    """
    held = {run.weights["file"] for run in runs if run.weights is not None}
    for name in names:
        found = _OF_A_TASK.fullmatch(name)
        if found is None or name in held:
            continue
        if before_round is None or int(found[1]) < before_round:
            yield name
