"""Put on PYTHONPATH by a trial: gives the interpreter a slow disk or a wrong clock.

Only the wall clock is skewed (`time.time`); monotonic clocks never jump on a real machine either.
"""

import json
import os
import time
from typing import Any

_settings: dict[str, float] = json.loads(os.environ.get("THALWEG_TEST_HANDICAP", "{}"))

if "clock_s" in _settings:
    _true_time = time.time

    def _wrong_time() -> float:
        return _true_time() + _settings["clock_s"]

    time.time = _wrong_time

if "fsync_s" in _settings:
    _true_replace = os.replace

    def _slow_replace(*arguments: Any, **options: Any) -> None:
        time.sleep(_settings["fsync_s"])
        _true_replace(*arguments, **options)

    os.replace = _slow_replace
