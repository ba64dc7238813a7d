"""How long a worker waits for a store that is away: until it must end."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from core.errors import StoreUnavailableError

T = TypeVar("T")

_RETRY_EVERY_S: Final = 0.5


@dataclass
class Shutdown:
    """Whether this worker is shutting down, and when it must be done (`time.monotonic`)."""

    deadline: float | None = None

    @property
    def overdue(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline


def retry_until_shutdown(action: Callable[[], T], shutdown: Shutdown) -> T:
    """Do it, however long the store stays away; raises `StoreUnavailableError` once the shutdown
    is overdue."""
    while True:
        try:
            return action()
        except StoreUnavailableError:
            if shutdown.overdue:
                raise
            time.sleep(_RETRY_EVERY_S)
