"""Conditional and waiting requests: `If-None-Match` and `Prefer: wait=`."""

import re
from typing import Final

_TAG: Final = re.compile(r'(?:W/)?("[^"]*")')
_WAIT: Final = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(?=$|[,;])", re.IGNORECASE)
LONGEST_WAIT_S: Final = 60


def matches(if_none_match: str, tag: str) -> bool:
    """Compare tags as RFC 9110 13.1.2 has it: a list of tags, compared weakly, or `*`."""
    return if_none_match.strip() == "*" or tag.removeprefix("W/") in _TAG.findall(if_none_match)


def wait_of(wait: float | None, prefer: str | None) -> tuple[float | None, dict[str, str]]:
    """Return how long to hold the reply, and the headers that acknowledge it; the query goes before
    the header (RFC 7240 4.3)."""
    if wait is None and prefer and (asked := _WAIT.search(prefer)):
        granted = min(int(asked[1]), LONGEST_WAIT_S)
        return granted, {"Preference-Applied": f"wait={granted}"}
    return wait, {}
