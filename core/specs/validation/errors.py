"""Collection of the mistakes that the rules of a spec find, and values as text for messages."""

import json
from typing import Final

from core.errors import FieldError, InvalidInputError

MAX_ERRORS: Final = 100
_MAX_SHOWN: Final = 80


class FieldErrorList:
    """A list of mistakes, in the order in which they were found."""

    def __init__(self) -> None:
        self.errors: list[FieldError] = []

    def add(self, param: str, code: str, message: str) -> None:
        self.errors.append(FieldError(param, code, message))

    def raise_any(self) -> None:
        """Raise `InvalidInputError` if there is any mistake; the first `MAX_ERRORS` are listed."""
        if not self.errors:
            return
        shown = self.errors[:MAX_ERRORS]
        more = len(self.errors) - len(shown)
        if more:
            shown.append(FieldError("", "more_errors", f"and {more:,} more mistakes"))
        raise InvalidInputError(shown)


def shown(value: object) -> str:
    """Return the value as JSON, cut at about 80 characters, for a message."""
    if isinstance(value, (list, tuple)) and len(value) > 10:
        return f"a list of {len(value):,}"
    if isinstance(value, str) and len(value) > _MAX_SHOWN:
        value = value[:_MAX_SHOWN] + "…"
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= _MAX_SHOWN + 4 else text[:_MAX_SHOWN] + "…"


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return the number with what is counted, in words that agree (`1 row`, `2,000 rows`)."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def size_text(num_bytes: int) -> str:
    """Return the bytes in the largest unit of which there is one, for a message."""
    value, unit = float(num_bytes), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:,.0f} {unit}" if unit == "bytes" else f"{value:,.1f} {unit}"
