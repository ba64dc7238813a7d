"""Tries of a request: whether one more is made, and after which pause. Nothing here waits."""

import email.utils
import random
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0
TRIED_AGAIN: Final = frozenset({429, 500, 502, 503, 504})
"""Statuses that may pass."""
NOT_BEGUN: Final = frozenset({429, 503})
"""Statuses that say that nothing was done: after them every request may be sent again."""


class Tries:
    """The tries of one request.

    Args:
        within_s: seconds from the first failure after which no further try begins.
        repeatable: whether the request may be sent twice, whatever became of the first.
    """

    def __init__(self, within_s: float, *, repeatable: bool) -> None:
        self._within_s = within_s
        self._repeatable = repeatable
        self._failed = 0
        self._since = 0.0
        self.lost = False
        """True once a request may have been done whose reply was lost."""

    def after_loss(self, *, sent: bool) -> float | None:
        """Return the pause before the next try where no reply came; None: give up.

        `sent`: whether the request may have reached the service.
        """
        if sent and not self._repeatable:
            return None
        self.lost = self.lost or sent
        return self._pause(None)

    def after_status(self, status: int, retry_after_s: float | None) -> float | None:
        """Return the pause before the next try after a refusal; None: it stands."""
        if status not in TRIED_AGAIN or not (self._repeatable or status in NOT_BEGUN):
            return None
        return self._pause(retry_after_s)

    def _pause(self, at_least_s: float | None) -> float | None:
        now = time.monotonic()
        if self._failed == 0:
            self._since = now
        longest = min(FIRST_PAUSE_S * 2.0**self._failed, LONGEST_PAUSE_S)
        self._failed += 1
        # Many clients that were refused together come back one by one.
        pause = max(random.uniform(longest / 2, longest), at_least_s or 0.0)
        return pause if now + pause <= self._since + self._within_s else None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read `Retry-After` in seconds, from a number or a date; None where there is none."""
    text = headers.get("retry-after", "").strip()
    if text.isdigit():
        return float(text)
    try:
        at = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())
