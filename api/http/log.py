"""Notes of the API in its log; `core.log` writes the lines."""

import logging
from typing import Any, Final

LOG: Final = logging.getLogger("api")


def note(level: int, event: str, **fields: Any) -> None:
    """Log an event with its fields; inside an `except` block at ERROR, with the trace."""
    if LOG.isEnabledFor(level):
        LOG.log(level, event, extra={"fields": fields}, exc_info=level >= logging.ERROR)
