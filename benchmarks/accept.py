"""Accepted jobs a second over 8 connections, beside an empty FastAPI route with one Redis write.

Both applications run in one uvicorn process each on the same server (append-only, fsync always),
loaded in turn; no worker runs, so that accepting is all that is measured. And beside itself: with a
key that has all limits, and an Idempotency-Key for each job. What other work on the machine hardly
changes is the processor time that each takes.
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
def listening(
    command: list[str], port: int, environment: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A server process that accepts connections on `port`, ended afterwards."""
    process = subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


def thalweg_api(
    port: int, redis_url: str, folder: str, namespace: str = "thalweg"
) -> tuple[list[str], int, dict[str, str]]:
    """Return what `listening` needs to run the service's API alone."""
    environment = {
        "THALWEG_REDIS_URL": redis_url,
        "THALWEG_NAMESPACE": namespace,
        "THALWEG_ARTIFACTS": str(Path(folder) / "artifacts"),
        "THALWEG_PORT": str(port),
    }
    return [sys.executable, "-m", "api"], port, environment


def processor_s(process: subprocess.Popen[bytes]) -> float:
    """Processor time of all threads of a process so far (Linux), in seconds."""
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def accepted_a_second(port: int, body: str, **more: str) -> float:
    options = {
        "host": "127.0.0.1",
        "port": port,
        "path": "/v1/jobs",
        "body": body,
        "connections": CONNECTIONS,
        "seconds": SECONDS,
        **more,
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load", json.dumps(options)],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout)


GUARDED = "guarded"
"""Prefix of the keys in Redis of the API whose callers need a key."""


def limited_key(redis_url: str, folder: str) -> str:
    """A key with every limit, none of which is reached."""
    limits = ["--requests-per-s", "1e9", "--max-queued", "1000000000", "--max-running", "1000000"]
    limits += ["--max-stored", "1000TiB", "--device-s-per-day", "1e9"]
    command = [sys.executable, "-m", "thalweg_service", "keys", "create", "--owner", "bench"]
    environment = {
        "THALWEG_REDIS_URL": redis_url,
        "THALWEG_NAMESPACE": GUARDED,
        "THALWEG_ARTIFACTS": str(Path(folder) / "artifacts"),
    }
    done = subprocess.run(
        [*command, *limits],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )
    return done.stdout.strip()


def _processor_us(process: subprocess.Popen[bytes], port: int, body: str) -> float:
    """Processor time of a server for one request, in microseconds."""
    before = processor_s(process)
    num_requests = accepted_a_second(port, body) * SECONDS
    return 1e6 * (processor_s(process) - before) / num_requests


def measure() -> list[Figure]:
    body = json.dumps(digits_job())
    ours_port, guarded_port, empty_port = free_port(), free_port(), free_port()
    uvicorn = [sys.executable, "-m", "uvicorn", "--no-access-log", "--log-level", "warning"]
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="thalweg-bench-"))
        server = stack.enter_context(EmbeddedServer(Path(folder) / "redis"))
        apart = str(Path(folder) / "guarded")
        token = limited_key(server.url, apart)
        empty = [*uvicorn, "--port", str(empty_port), "benchmarks.empty_route:app"]
        ours_api = stack.enter_context(listening(*thalweg_api(ours_port, server.url, folder)))
        guarded = thalweg_api(guarded_port, server.url, apart, GUARDED)
        stack.enter_context(listening(*guarded))
        bare = stack.enter_context(listening(empty, empty_port, {"THALWEG_REDIS_URL": server.url}))
        costs = [
            (_processor_us(ours_api, ours_port, body), _processor_us(bare, empty_port, body))
            for _ in range(ROUNDS)
        ]
        rounds = [
            (
                accepted_a_second(ours_port, body),
                accepted_a_second(empty_port, body),
                accepted_a_second(guarded_port, body, token=token, mark=f"round-{number}"),
            )
            for number in range(ROUNDS)
        ]
    ours = f"{median(a for a, _, _ in rounds):,.0f} jobs/s"
    return [
        Figure(
            name=f"jobs accepted a second, {CONNECTIONS} connections",
            ours=ours,
            reference=f"{median(b for _, b, _ in rounds):,.0f}/s by an empty route with one write",
            value=median(a / b for a, b, _ in rounds),
            goal=0.4,
            at_least=True,
        ),
        Figure(
            name="processor time of the API for each of them",
            ours=f"{median(a for a, _ in costs):.0f} µs",
            reference=f"{median(b for _, b in costs):.0f} µs of the empty route",
            value=median(a / b for a, b in costs),
            goal=2.5,
        ),
        Figure(
            name="the same with a key that has all limits, and an Idempotency-Key each",
            ours=f"{median(c for _, _, c in rounds):,.0f} jobs/s",
            reference=f"{ours} without",
            value=median(c / a for a, _, c in rounds),
            goal=0.7,
            at_least=True,
        ),
    ]
