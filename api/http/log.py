"""The log: one JSON object a line on stderr."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

import orjson

LOG: Final = logging.getLogger("api")


def note(level: int, event: str, **fields: Any) -> None:
    """Log an event with its fields; inside an `except` block at ERROR, with the trace."""
    if LOG.isEnabledFor(level):
        LOG.log(level, event, extra={"fields": fields}, exc_info=level >= logging.ERROR)


class JsonLines(logging.Formatter):
    """`{"time", "level", "logger", "event", …}`, and `trace` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["trace"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=repr).decode()


def configure(level: str) -> None:
    """Once a process, by who serves. Libraries are heard from `warning` on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    names = logging.getLevelNamesMapping()
    for name in ("api", "core"):
        logging.getLogger(name).setLevel(names.get(level.upper(), logging.INFO))
