"""Requests beside running jobs, and what a job at rest takes: `python -m tests.e2e.request_load`.

For a minute 200 requests a second go to 50 jobs (the job, new rows, a list) while two jobs train.
Each is sent at its time, whether those before have been answered or not, and its delay counts from
then. What the two jobs lose is told, and a job that ended with 20 rows is weighed key by key. Ends
with status 0 when the 99th percentile of the delays is below 50 ms, no request failed, and the job
takes less than 6 kB.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import redis

from tests.e2e.client import Json, Service, serving
from tests.e2e.specs import digits, endless

JOBS = 50
RATE = 200
CONNECTIONS = 50
SECONDS = 60.0
MOST_MS = 50.0
MOST_BYTES = 6_000
PATHS = ("/v1/jobs/{}", "/v1/jobs/{}/history?after=10&limit=10", "/v1/jobs?limit=20")
PARTS = {"job:": "record", "rows:": "rows", "label:": "indexes", "status:": "indexes"}
"""First words of a key, and the part of a job's memory that it is counted to."""


async def delays_ms(address: str, ids: list[str], seconds: float) -> list[float]:
    """Send the requests, evenly in time; return how long after its time each was answered.

    Bare connections, so that the reader takes as little of the two cores as it can.
    """
    host, _, port = address.rstrip("/").removeprefix("http://").partition(":")
    waiting: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        waiting.put_nowait(await asyncio.open_connection(host, int(port), limit=2**20))
    found = []

    async def ask(path: str, at: float) -> None:
        reader, writer = await waiting.get()
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = head.lower().split(b"content-length:")[1].split(b"\r\n")[0]
        await reader.readexactly(int(length))
        found.append(1000 * (time.perf_counter() - at))
        waiting.put_nowait((reader, writer))

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(int(RATE * seconds)):
            at = began + number / RATE
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            path = PATHS[number % len(PATHS)].format(ids[number % len(ids)])
            group.create_task(ask(path, at))
    while not waiting.empty():
        waiting.get_nowait()[1].close()
    return found


def speeds(service: Service, ids: list[str], seconds: float) -> list[float]:
    """Return the steps a second of running jobs, from two looks so many seconds apart."""

    def look() -> list[tuple[float, int]]:
        records = (service.http.get(f"/v1/jobs/{each}").json() for each in ids)
        return [(time.perf_counter(), job["progress"]["step"]) for job in records]

    before = look()
    time.sleep(seconds)
    return [(s1 - s0) / (t1 - t0) for (t0, s0), (t1, s1) in zip(before, look(), strict=True)]


def memory_by_part(raw: redis.Redis, job: Json) -> Mapping[str, int]:
    """Weigh the keys of a job in the store; an index, as far as this job made it grow."""
    found = dict.fromkeys(PARTS.values(), 0)
    for key in (name.decode() for name in raw.scan_iter(f"*{job['id']}*", count=10_000)):
        word = key.split(":", 1)[1]
        part = next(part for first, part in PARTS.items() if word.startswith(first))
        found[part] += raw.memory_usage(key, samples=0) or 0
    return found


def examine(service: Service, folder: Path, seconds: float) -> bool:
    """Run all of it and print what was found; tell whether it holds."""
    ended = service.run(digits(steps=20, labels={"team": "vision"}))
    with redis.Redis(unix_socket_path=str(folder / "redis" / "redis.sock")) as raw:
        parts = memory_by_part(raw, ended)
    whole = ", ".join(f"{name} {size / 1000:.1f} kB" for name, size in parts.items() if size)
    print(f"a job at rest with 20 rows: {sum(parts.values()) / 1000:.1f} kB ({whole})")

    ids = [service.run(digits(steps=20))["id"] for _ in range(JOBS)]
    running = [service.post(endless())["id"] for _ in range(2)]
    for each in running:
        while service.http.get(f"/v1/jobs/{each}").json()["progress"]["step"] == 0:
            time.sleep(0.1)
    alone = speeds(service, running, min(10.0, seconds))
    before = time.perf_counter(), [_step(service, each) for each in running]
    delays = asyncio.run(delays_ms(str(service.http.base_url), ids, seconds))
    spent = time.perf_counter() - before[0]
    beside = [
        (_step(service, each) - step) / spent for each, step in zip(running, before[1], strict=True)
    ]
    for each in running:
        service.http.post(f"/v1/jobs/{each}/cancel")
    p50, p99 = np.percentile(delays, [50, 99])
    print(
        f"{len(delays)} requests, {RATE} a second, to {JOBS} jobs beside 2 running ones:"
        f" p50 {p50:.1f} ms, p99 {p99:.1f} ms, worst {max(delays):.0f} ms;"
        f" the jobs lose {100 * (1 - sum(beside) / sum(alone)):.0f} %"
        f" ({sum(alone):.0f} steps a second alone, {sum(beside):.0f} beside)"
    )
    return bool(p99 < MOST_MS and sum(parts.values()) < MOST_BYTES)


def _step(service: Service, job_id: str) -> int:
    step: int = service.http.get(f"/v1/jobs/{job_id}").json()["progress"]["step"]
    return step


def main() -> int:
    """Run the trial; return 0 when it holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    seconds = parser.parse_args().seconds
    folder = Path(tempfile.mkdtemp(prefix="thw-"))
    with serving(folder, workers=2) as service:
        return int(not examine(service, folder, seconds))


if __name__ == "__main__":
    sys.exit(main())
