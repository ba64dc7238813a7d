"""The client beside bare httpx2, a million rows as arrays, and starts of the command."""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import perf_counter

import httpx2

from benchmarks.accept import free_port, listening, thalweg_api
from benchmarks.rows import ROWS, fill
from benchmarks.service import Client as Bare
from benchmarks.service import digits_job
from benchmarks.table import Figure
from core.store.redis import RedisStore
from thalweg import Client
from thalweg_service.embedded_redis import EmbeddedServer

PAIRS = 400
STARTS = 12


def overhead(url: str, job_id: str) -> list[float]:
    """Seconds that reading a job takes longer through the client, in turn with bare httpx2."""
    path = f"{url}/v1/jobs/{job_id}"
    found = []
    with Client(url) as ours, httpx2.Client() as bare:
        for _ in range(PAIRS):
            begin = perf_counter()
            json.loads(bare.get(path).content)
            middle = perf_counter()
            ours.jobs.get(job_id)
            end = perf_counter()
            found.append((end - middle) - (middle - begin))
    return found[PAIRS // 10 :]


def histories(url: str, job_id: str) -> list[float]:
    """Seconds that a million rows of a loss take to be arrays."""
    times = []
    with Client(url) as client:
        job = client.jobs.get(job_id)
        for _ in range(6):
            begin = perf_counter()
            assert job.history(series="loss")["loss"].shape == (ROWS,)
            times.append(perf_counter() - begin)
    return times[1:]


def starts(*command: str) -> list[float]:
    """Seconds that a process takes from start to end, after one that fills the file cache."""
    times = []
    for _ in range(STARTS + 1):
        begin = perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ)
        times.append(perf_counter() - begin)
    return times[1:]


def measure() -> list[Figure]:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="thalweg-bench-"))
        server = stack.enter_context(EmbeddedServer(Path(folder) / "redis"))
        port = free_port()
        stack.enter_context(listening(*thalweg_api(port, server.url, folder)))
        bare = Bare("127.0.0.1", port)
        job_id = bare.json("POST", "/v1/jobs", digits_job(budget={"max_steps": ROWS}))["id"]
        fill(RedisStore(server.url, "thalweg"))
        url = f"http://127.0.0.1:{port}"
        calls, rows = overhead(url, job_id), histories(url, job_id)
    thalweg = str(Path(sys.executable).with_name("thalweg"))
    helps = starts(thalweg, "--help")
    nothing = starts(sys.executable, "-c", "")
    imports = starts(sys.executable, "-c", "from thalweg import Client")
    return [
        Figure(
            name="a call through the client, beyond bare httpx2",
            ours=f"{median(calls) * 1e3:.3f} ms",
            reference=f"{len(calls)} pairs",
            value=median(calls) * 1e3,
            goal=1,
            unit="ms",
        ),
        Figure(
            name="a million losses as arrays, over HTTP",
            ours=f"{median(rows):.2f} s",
            reference=f"slowest of {len(rows)}: {max(rows):.2f} s",
            value=median(rows),
            goal=0.5,
            unit="s",
        ),
        Figure(
            name="thalweg --help, the process whole",
            ours=f"{median(helps):.3f} s",
            reference=f"an empty Python: {median(nothing):.3f} s",
            value=median(helps),
            goal=0.25,
            unit="s",
        ),
        Figure(
            name="from thalweg import Client, the process whole",
            ours=f"{median(imports):.3f} s",
            reference=f"an empty Python: {median(nothing):.3f} s",
            value=median(imports),
            goal=0.3,
            unit="s",
        ),
    ]
