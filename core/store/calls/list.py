"""Lists of jobs or studies: the ids that pass a filter, newest first."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ulid import ULID

from core.ids import rfc3339
from core.store.connection.client import Call, call_script
from core.store.protocols.types import JobFilter

LIST_LOOK: Final = 500
"""Most records that one call to the server looks at; a sparse filter makes more calls."""


async def matching_ids(
    call: Callable[[Call], Awaitable[Any]],
    prefix: str,
    where: JobFilter,
    limit: int,
    after_id: str | None,
) -> list[str]:
    """Find the first `limit` ids, and one more where there are more."""
    since, lower = since_of(where.created_after, prefix)
    labels = [f"{name}={value}" for name, value in where.labels]
    ids: list[bytes] = []
    upper: bytes | str = f"({after_id}" if after_id is not None else "+"
    while upper and len(ids) <= limit:
        found, upper = await call(
            call_script(
                "list", f"{prefix}_", limit + 1 - len(ids), LIST_LOOK, upper, lower, since,
                where.owner or "", len(where.statuses), *where.statuses, *labels,
            )
        )  # fmt: skip
        ids += found
    return [name.decode() for name in ids]


def since_of(moment: str | None, prefix: str) -> tuple[str, str]:
    """Return a moment as the records write it, and the lower end of the ids to walk for what came
    after it."""
    if moment is None:
        return "", "-"
    at = datetime.fromisoformat(moment).astimezone(UTC)
    return rfc3339(at), _oldest_id(at, prefix)


def _oldest_id(moment: datetime, prefix: str) -> str:
    """Return the lower end of the ids to walk for what came after `moment`: ids carry the time of
    their making in milliseconds, a moment before the record's `created_at`."""
    try:
        stamp = str(ULID.from_datetime(moment - timedelta(seconds=1)))[:10].lower()
    except (ValueError, OverflowError):
        return "-"  # before 1970
    return f"[{prefix}_{stamp}"
