"""A million rows: a page, a downsampled view, and the memory that a number takes in Redis."""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import redis

from benchmarks.accept import free_port, listening, thalweg_api
from benchmarks.service import Client, digits_job
from benchmarks.table import Figure
from core.store.protocols.types import Claim
from core.store.redis import RedisStore
from thalweg_service.embedded_redis import EmbeddedServer

ROWS = 1_000_000
BATCH = 10_000
SERIES = 3  # loss, lr, grad_norm; the step follows from the row's number


def fill(store: RedisStore) -> None:
    """Write the waiting job's history as a worker does."""
    claim = store.claim_next("bench", ("cpu",), 600.0)
    assert isinstance(claim, Claim)
    dice = np.random.default_rng(0)
    for first in range(0, ROWS, BATCH):
        steps = np.arange(first, first + BATCH, dtype=np.float64)
        columns = {
            "step": steps,
            "loss": np.exp(-steps / ROWS) + dice.normal(0, 0.01, BATCH),
            "lr": np.full(BATCH, 0.001),
            "grad_norm": dice.random(BATCH),
        }
        store.append_rows(claim, "train", first, columns)


def milliseconds(client: Client, path: str) -> list[float]:
    """Twenty calls, after one that warms up."""
    client.call("GET", path)
    times = []
    for _ in range(20):
        begin = perf_counter()
        client.call("GET", path)
        times.append((perf_counter() - begin) * 1e3)
    return times


def bytes_in_redis(url: str, job_id: str) -> int:
    """Memory of all keys of the job's history, by the server's own account."""
    with redis.Redis.from_url(url) as connection:
        keys = list(connection.scan_iter(f"*{job_id}*", _type="STRING"))
        return sum(connection.memory_usage(key) or 0 for key in keys)


def measure() -> list[Figure]:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="thalweg-bench-"))
        server = stack.enter_context(EmbeddedServer(Path(folder) / "redis"))
        port = free_port()
        stack.enter_context(listening(*thalweg_api(port, server.url, folder)))
        client = Client("127.0.0.1", port)
        job_id = client.json("POST", "/v1/jobs", digits_job(budget={"max_steps": ROWS}))["id"]
        fill(RedisStore(server.url, "thalweg"))
        pages = milliseconds(client, f"/v1/jobs/{job_id}/history?after=500000&limit=1000")
        views = milliseconds(client, f"/v1/jobs/{job_id}/history?points=1000")
        numbers = bytes_in_redis(server.url, job_id) / (ROWS * SERIES)
    return [
        Figure(
            name="a page of 1,000 of a million rows, over HTTP",
            ours=f"{median(pages):.1f} ms",
            reference=f"slowest of {len(pages)}: {max(pages):.1f} ms",
            value=median(pages),
            goal=5,
            unit="ms",
        ),
        Figure(
            name="points=1000 of a million rows, over HTTP",
            ours=f"{median(views):.1f} ms",
            reference=f"slowest of {len(views)}: {max(views):.1f} ms",
            value=median(views),
            goal=60,
            unit="ms",
        ),
        Figure(
            name="memory of a number in Redis",
            ours=f"{numbers:.2f} bytes",
            reference="8 bytes are the number itself",
            value=numbers,
            goal=9,
            unit="bytes",
        ),
    ]
