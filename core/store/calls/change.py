"""Changes of a record by its maker: one call of the script."""

from datetime import datetime
from typing import Any

from core.store.calls.codec import dumps
from core.store.connection.client import Call, call_script
from core.store.protocols.types import Changes


def change_call(name: str, version: int, changes: Changes) -> Call:
    """Make the changes to the job or study `name`, where its record has this version."""
    fields, labels = changes.fields, changes.labels
    keep_ms: Any = ""
    if "keep_until" in fields:
        until = fields["keep_until"]
        keep_ms = 0 if until is None else int(datetime.fromisoformat(until).timestamp() * 1000)
    marks = [f"{label}={value}" for label, value in (labels or {}).items()]
    words = [word for field, value in fields.items() for word in (field, value or "")]
    return call_script(
        "patch", name, version, "" if changes.priority is None else changes.priority, keep_ms,
        "" if labels is None else len(marks), *marks,
        "" if labels is None else dumps(labels), *words,
    )  # fmt: skip
