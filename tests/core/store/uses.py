"""Uses of weights to put into a store."""

from typing import Any

from core.ids import new_id, rfc3339, utc_now
from core.uses.record import UseRecord


def new_use(of: str, **changes: Any) -> UseRecord:
    """A prediction of three rows; keywords replace its fields."""
    fields: dict[str, Any] = {
        "id": new_id("pred"),
        "kind": "predict",
        "status": "queued",
        "of": of,
        "created_at": rfc3339(utc_now()),
        "device": "auto",
        "checkpoint": "final",
        "weights": {"kind": "file", "folder": of, "name": "final.safetensors"},
        "model": {},
        "rows": {"kind": "posted"},
        "num_rows": 3,
        "age_ms": 60_000,
        "size_bytes": 100,
    }
    return UseRecord(**{**fields, **changes})
