"""Rates of requests: a bucket of tokens for each key that has a limit, in each API process."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from core.errors import LimitReachedError
from core.keys import KeyRecord

MOST_BUCKETS: Final = 10_000
Headers = list[tuple[bytes, bytes]]


@dataclass
class _Bucket:
    """Tokens that are left of `size`, at the time `at`; `rate` come back a second."""

    rate: float
    size: int
    left: float
    at: float


class Rates:
    """Counts the requests of keys that have a limit of them.

    As many as a second allows may come at once (one at least), and are then given back evenly.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, key: KeyRecord, headers: Headers) -> None:
        """Count a request. `headers`: get what its reply says of the limit (the draft
        "RateLimit header fields for HTTP" of the IETF).

        Raises:
            LimitReachedError: it comes too early.
        """
        rate, now = key.requests_per_s, self._clock()
        if rate is None:
            return
        bucket = self._buckets.get(key.id)
        if bucket is None:
            size = max(1, math.ceil(rate))
            bucket = self._buckets[key.id] = _Bucket(rate, size, size, now)
            while len(self._buckets) > MOST_BUCKETS:
                self._buckets.popitem(last=False)
        bucket.left = min(bucket.size, bucket.left + (now - bucket.at) * rate)
        bucket.at = now
        is_early = bucket.left < 1
        if not is_early:
            bucket.left -= 1
        window_s = math.ceil(bucket.size / rate)
        full_s = math.ceil((bucket.size - bucket.left) / rate)
        headers += [
            (b"ratelimit-policy", b'"requests";q=%d;w=%d' % (bucket.size, window_s)),
            (b"ratelimit", b'"requests";r=%d;t=%d' % (int(bucket.left), full_s)),
        ]
        if is_early:
            raise LimitReachedError(
                f"The key has come to its limit requests_per_s: {rate:g} a second may come; wait"
                " for Retry-After.",
                (1 - bucket.left) / rate,
            )
