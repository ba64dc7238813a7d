"""Priority of the processes that train: they stand back from all others for the processors.

They would take all that there is; requests, heartbeats and the store want little and at once.
"""

import os
from collections.abc import Mapping
from typing import Final

TRAINER_NICE: Final = "THALWEG_TRAINER_NICE"
"""The variable of the setting `trainer_nice`."""
DEFAULT: Final = 10
LEAST: Final = 0
MOST: Final = 19


def trainer_nice(environment: Mapping[str, str]) -> int:
    """Return the setting `trainer_nice` of these variables, for whoever has no time to import
    `core.settings`; the default where it is wrong, which the settings refuse by themselves."""
    given = (value for name, value in environment.items() if name.upper() == TRAINER_NICE)
    try:
        nice = float(next(given, ""))
    except ValueError:
        return DEFAULT
    return int(nice) if LEAST <= nice <= MOST else DEFAULT


def stand_back(process: int, nice: int) -> str | None:
    """Give a child that has just been started, and all threads that it will start, a niceness that
    is this much above our own (`nice(1)`); return why that was refused, or None."""
    try:
        own = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, process, min(own + nice, MOST))
    except OSError as error:
        return str(error)
    return None
