"""The log of every part, the API, a worker, its trainer: one JSON object a line on stderr."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import orjson


class JsonLines(logging.Formatter):
    """`{"time", "level", "logger", "event", …}`, and `trace` where there is one.

    A record's `fields` (of `extra`) stand beside these.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["trace"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=repr).decode()


def note(log: logging.Logger, level: int, event: str, **fields: Any) -> None:
    """Log an event with its fields, those that are None left out; inside an `except` block at
    ERROR, with the trace."""
    if log.isEnabledFor(level):
        known = {name: value for name, value in fields.items() if value is not None}
        log.log(level, event, extra={"fields": known}, exc_info=level >= logging.ERROR)


def configure(level: str, *names: str) -> None:
    """Set the process's log up, once, by who serves: the loggers `names` and those below them are
    heard from `level` on (`info` where it is no level), libraries from `warning` on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    known = logging.getLevelNamesMapping()
    for name in names:
        logging.getLogger(name).setLevel(known.get(level.upper(), logging.INFO))
