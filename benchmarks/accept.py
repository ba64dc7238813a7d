"""Accepted jobs a second over 8 connections, beside an empty FastAPI route with one Redis write.

Both applications run in one uvicorn process each on the same server (append-only, fsync always),
loaded in turn; no worker runs, so that accepting is all that is measured.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from benchmarks.service import digits_job
from benchmarks.table import Figure
from thalweg_service.embedded_redis import EmbeddedServer

CONNECTIONS = 8
ROUNDS = 5
SECONDS = 3.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def listening(command: list[str], port: int, environment: dict[str, str]) -> Iterator[None]:
    """A server process that accepts connections on `port`, ended afterwards."""
    process = subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def thalweg_api(port: int, redis_url: str, folder: str) -> tuple[list[str], int, dict[str, str]]:
    """What `listening` needs to run the service's API alone."""
    environment = {
        "THALWEG_REDIS_URL": redis_url,
        "THALWEG_ARTIFACTS": str(Path(folder) / "artifacts"),
        "THALWEG_PORT": str(port),
    }
    return [sys.executable, "-m", "api"], port, environment


def accepted_a_second(port: int, body: str) -> float:
    options = {
        "host": "127.0.0.1",
        "port": port,
        "path": "/v1/jobs",
        "body": body,
        "connections": CONNECTIONS,
        "seconds": SECONDS,
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load", json.dumps(options)],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout)


def measure() -> list[Figure]:
    body = json.dumps(digits_job())
    ours_port, empty_port = free_port(), free_port()
    uvicorn = [sys.executable, "-m", "uvicorn", "--no-access-log", "--log-level", "warning"]
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="thalweg-bench-"))
        server = stack.enter_context(EmbeddedServer(Path(folder) / "redis"))
        empty = [*uvicorn, "--port", str(empty_port), "benchmarks.empty_route:app"]
        stack.enter_context(listening(*thalweg_api(ours_port, server.url, folder)))
        stack.enter_context(listening(empty, empty_port, {"THALWEG_REDIS_URL": server.url}))
        pairs = [
            (accepted_a_second(ours_port, body), accepted_a_second(empty_port, body))
            for _ in range(ROUNDS)
        ]
    return [
        Figure(
            name=f"jobs accepted a second, {CONNECTIONS} connections",
            ours=f"{median(a for a, _ in pairs):,.0f} jobs/s",
            reference=f"{median(b for _, b in pairs):,.0f}/s by an empty route with one write",
            value=median(a / b for a, b in pairs),
            goal=0.4,
            at_least=True,
        )
    ]
