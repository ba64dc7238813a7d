"""Notes of requests: lines in the log, which `core.log` writes, and counts for `GET /metrics`."""

import logging
from bisect import bisect_left
from collections import Counter
from typing import Any, Final

from starlette.types import Scope

from core import log

LOG: Final = logging.getLogger("api")
BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
"""Upper ends of the histogram of durations, in seconds; what takes longer has a bucket more."""
HUNG_UP: Final = 499
"""The status under which a request counts whose caller had gone before a reply began (as nginx
notes it)."""
STREAMS: Final = "/events"
"""End of the routes whose replies go on for as long as their callers listen: they have no
duration that says anything."""
_METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
PROBLEM: Final = "thalweg.problem"
"""Name, in a request's scope, of the code of the problem that it was answered with."""


REQUEST_ID: Final = "thalweg.request_id"
"""Name, in a request's scope, of its id, as text."""
TRACEPARENT: Final = "thalweg.traceparent"
"""Name, in a request's scope, of what its work takes for the parent of its spans; None: nothing."""


def note(level: int, event: str, **fields: Any) -> None:
    """Log an event of the API, as `core.log.note` does."""
    log.note(LOG, level, event, **fields)


def route_of(scope: Scope) -> str:
    """Return the template of the route that a request took; `none` where it matched none."""
    route: Any = scope.get("route")
    return "none" if route is None else str(route.path_format)


class RequestCounts:
    """Requests by method, route and status; problems by code; durations by route.

    A route is counted by its template (`/v1/jobs/{job_id}`), never by the path that came, and what
    matches none as `none`: so the number of series is bounded, whatever callers send.

    Attributes:
        requests: (method, route, status) -> how many.
        problems: code -> how many.
        durations: route -> how many in each bucket of `BUCKETS_S`, then those beyond; of all routes
            but streams.
        seconds: route -> their sum.
    """

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self.problems: Counter[str] = Counter()
        self.durations: dict[str, list[int]] = {}
        self.seconds: dict[str, float] = {}

    def add(self, scope: Scope, status: int, seconds: float) -> None:
        """Count one that has ended; `status` 0: its caller had gone before."""
        name = route_of(scope)
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self.requests[method, name, status or HUNG_UP] += 1
        if status >= 400 and (code := scope.get(PROBLEM)):
            self.problems[code] += 1
        if name.endswith(STREAMS):
            return
        if (buckets := self.durations.get(name)) is None:
            buckets = self.durations[name] = [0] * (len(BUCKETS_S) + 1)
            self.seconds[name] = 0.0
        buckets[bisect_left(BUCKETS_S, seconds)] += 1
        self.seconds[name] += seconds
