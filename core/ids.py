"""Ids: a prefix that says what it names, then a time-ordered random part (a ULID, lower case)."""

import hashlib
import re
from datetime import UTC, datetime
from typing import Final

from ulid import ULID

JOB_PREFIX: Final = "job"
STUDY_PREFIX: Final = "study"
DATA_PREFIX: Final = "data"
KEY_PREFIX: Final = "key"
MESSAGE_PREFIX: Final = "msg"
"""Prefix of the ids of messages to webhooks, each of them a delivery."""
FILE_PREFIX: Final = "file"
"""Prefix of the names of stored contents, which data sets with the same bytes share. No reply shows
one."""

PREDICTION_PREFIX: Final = "pred"
EXPORT_PREFIX: Final = "export"
"""Prefix of the names of exported models, which no reply shows: each follows from the weights."""

ULID_LENGTH: Final = 26
_TAIL: Final = "[0-9a-hjkmnp-tv-z]{26}"
_ID = re.compile(f"[a-z]+_{_TAIL}")


def pattern_of(prefix: str) -> str:
    """Return the regular expression of the ids with this prefix."""
    return f"^{prefix}_{_TAIL}$"


def new_id(prefix: str) -> str:
    """Return `prefix_` and 26 lower-case characters that sort by time of creation."""
    return f"{prefix}_{str(ULID()).lower()}"


def id_from(prefix: str, *what: object) -> str:
    """Return the id that follows from `what`: the same again for the same."""
    digest = hashlib.blake2b(repr(what).encode(), digest_size=16).digest()
    return f"{prefix}_{str(ULID(digest)).lower()}"


def is_id(text: str, prefix: str) -> bool:
    """Tell whether `text` has the form of an id with this prefix (not whether it exists)."""
    return text.startswith(f"{prefix}_") and _ID.fullmatch(text) is not None


def utc_now() -> datetime:
    """Return the current time, aware, UTC."""
    return datetime.now(UTC)


_RFC3339: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def utc_text(text: str) -> str | None:
    """Write a time of RFC 3339 as the records write it (`rfc3339`), so that texts compare as times
    do; None where it is none, or has no offset."""
    try:
        if _RFC3339.fullmatch(text):
            return rfc3339(datetime.fromisoformat(text.upper()))
    except (ValueError, OverflowError):
        pass
    return None


def rfc3339(moment: datetime) -> str:
    """Format a time as `2026-11-22T10:15:30.123456Z`: RFC 3339, UTC, always six fractional
    digits."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def time_text(milliseconds: int | None) -> str | None:
    """Format a time in milliseconds since 1970 as `rfc3339` does; None for 0 and None, no time."""
    return rfc3339(datetime.fromtimestamp(milliseconds / 1000, UTC)) if milliseconds else None


def made_at(tail: str) -> float:
    """Return when the id with these 26 characters behind its prefix was made: seconds since
    1970."""
    return ULID.from_str(tail.upper()).timestamp
