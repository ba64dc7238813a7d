"""The names of a task's artifacts, below its study's. Torch-free."""

import re
from typing import Final

_PASSING: Final = re.compile(r"(?:paused|tasks)/([0-9]+)_[0-9]+(?:_[a-z])?\.safetensors")
TURNS: Final = ("a", "b")
"""Resume checkpoints are written in turn: a whole one is there while the other is written."""


def weights_file(stem: str) -> str:
    """The weights of the runs that ended in a task."""
    return f"weights/{stem}.safetensors"


def paused_file(stem: str) -> str:
    """The state of the runs that paused at the end of a task, for the tasks of the next round."""
    return f"paused/{stem}.safetensors"


def checkpoint_files(stem: str) -> tuple[str, ...]:
    """A task's resume checkpoints; of no use once the task is closed."""
    return tuple(f"tasks/{stem}_{turn}.safetensors" for turn in TURNS)


def round_of_state(name: str) -> int | None:
    """The round in which a paused state or a resume checkpoint was written; None for weights, which
    stay with their study."""
    found = _PASSING.fullmatch(name)
    return None if found is None else int(found[1])


def is_passing(name: str) -> bool:
    """Whether an artifact of a study is of no use once the study has ended."""
    return name.startswith(("paused/", "tasks/"))
