"""Conditional and waiting requests: `If-Match`, `If-None-Match` and `Prefer: wait=`."""

import re
from typing import Final

_TAG: Final = re.compile(r'(?:W/)?("[^"]*")')
_VERSION: Final = re.compile(r'"([^"]*)"')
_WAIT: Final = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(?=$|[,;])", re.IGNORECASE)
LONGEST_WAIT_S: Final = 60


def matches(if_none_match: str, tag: str) -> bool:
    """Compare tags as RFC 9110 13.1.2 has it: a list of tags, compared weakly, or `*`."""
    return if_none_match.strip() == "*" or tag.removeprefix("W/") in _TAG.findall(if_none_match)


def allows(if_match: str | None, if_none_match: str | None, tag: str) -> bool:
    """Tell whether a call that changes what has this tag may be done (RFC 9110 13.2.2). `If-Match`
    compares strongly: a weak tag says too little for that."""
    if if_match is not None:
        tags = [found[0] for found in _TAG.finditer(if_match)]
        return if_match.strip() == "*" or (not tag.startswith("W/") and tag in tags)
    return if_none_match is None or not matches(if_none_match, tag)


def names_version(if_match: str, version: int) -> bool:
    """Tell whether `If-Match` names this version of a record, in whatever tag its replies had: `*`,
    or one that begins with the version. A tag says more (a place in a queue, or that the reply's
    rates go on changing); a change of the record depends on the record alone."""
    versions = (found[1].partition(".")[0] for found in _VERSION.finditer(if_match))
    return if_match.strip() == "*" or str(version) in versions


def wait_of(wait: float | None, prefer: str | None) -> tuple[float | None, dict[str, str]]:
    """Return how long to hold the reply, and the headers that acknowledge it; the query goes before
    the header (RFC 7240 4.3)."""
    if wait is None and prefer and (asked := _WAIT.search(prefer)):
        granted = min(int(asked[1]), LONGEST_WAIT_S)
        return granted, {"Preference-Applied": f"wait={granted}"}
    return wait, {}
