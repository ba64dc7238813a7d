"""The log's lines: one JSON object each, the same in every part."""

import json
import subprocess
import sys
from typing import Any

WRITE = """
import logging
from core.log import configure

configure("debug", "thalweg")
log = logging.getLogger("thalweg.worker")
log.debug("a job of %d steps", 7)
log.info("listening", extra={"fields": {"port": 8000}})
logging.getLogger("kombu").info("not heard")
logging.getLogger("kombu").warning("heard")
try:
    raise ValueError("two\\nlines")
except ValueError:
    log.exception("a fault")
"""


def lines() -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-c", WRITE], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == ""
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_each_line_is_an_object_with_its_time_level_logger_and_event() -> None:
    found = lines()
    assert [(line["level"], line["logger"], line["event"]) for line in found] == [
        ("debug", "thalweg.worker", "a job of 7 steps"),
        ("info", "thalweg.worker", "listening"),
        ("warning", "kombu", "heard"),
        ("error", "thalweg.worker", "a fault"),
    ]
    assert all(line["time"].endswith("+00:00") for line in found)
    assert found[1]["port"] == 8000
    assert "ValueError: two" in found[3]["trace"]
    assert not any("trace" in line for line in found[:3])
