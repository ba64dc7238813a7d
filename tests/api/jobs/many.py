"""A list of 20 among many jobs: `python -m tests.api.jobs.many`.

100,000 jobs lie in the store, some of them ended. Lists are asked for by label and status, in
several ways. Ends with status 0 when each takes less than 20 ms in the median.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import numpy as np

from tests.api.actors import rosenbrock
from tests.api.events.conftest import Live, running
from thalweg_service.embedded_redis import EmbeddedServer

JOBS = 100_000
TEAMS = 5
ENDED_EVERY = 50
CONNECTIONS = 8
ASKED = 200
MOST_MS = 20.0
LISTS = ("", "label=team:2", "status=succeeded", "label=team:2&status=succeeded", "label=run:0")
"""Queries of lists of 20."""


async def post_all(port: int, count: int) -> None:
    """Create jobs over several connections. Job `n` has the labels `team:n%5` and `run:n//100`."""
    numbers = iter(range(count))

    async def some() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in numbers:
            labels = {"team": str(number % TEAMS), "run": str(number // 100)}
            body = json.dumps(rosenbrock(labels=labels)).encode()
            writer.write(
                b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 202"), head
            length = head.lower().split(b"content-length:")[1].split(b"\r\n")[0]
            await reader.readexactly(int(length))
        writer.close()

    await asyncio.gather(*(some() for _ in range(CONNECTIONS)))


def end_some(live: Live, count: int) -> None:
    """Have the first jobs end, each with 20 rows."""
    for _ in range(count):
        claim = live.worker.claim()
        live.rows(claim, 0, 20)
        live.worker.close(claim)


def times_ms(live: Live, query: str, asked: int) -> list[float]:
    """Ask for a list of 20 again and again; check what is in it, and return how long each took."""
    wanted = [part.partition("=")[::2] for part in query.split("&") if part]
    times = []
    for _ in range(asked):
        began = time.perf_counter()
        reply = live.http.get(f"/v1/jobs?limit=20&{query}")
        times.append(1000 * (time.perf_counter() - began))
    jobs = reply.json()["data"]
    assert jobs, query
    for job, (kind, text) in ((job, each) for job in jobs for each in wanted):
        name, _, value = text.partition(":")
        assert job["labels"][name] == value if kind == "label" else job["status"] == text
    return times


def examine(live: Live, jobs: int, asked: int) -> Mapping[str, list[float]]:
    """Create the jobs; print and return what each list takes, in milliseconds."""
    asyncio.run(post_all(live.process.port, jobs))
    # The order of creation is not that of the numbers: of so many, some are of every team.
    end_some(live, max(jobs // ENDED_EVERY, TEAMS * CONNECTIONS))
    found = {query: times_ms(live, query, asked) for query in LISTS}
    for query, times in found.items():
        p50, p99 = np.percentile(times, [50, 99])
        print(f"20 of {jobs} jobs, {query or 'all'}: p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    return found


def main() -> int:
    """Run the trial; return 0 when it holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=JOBS)
    jobs = parser.parse_args().jobs
    folder = Path(tempfile.mkdtemp(prefix="thw-"))
    with (
        EmbeddedServer(folder / "redis", fsync=False) as server,
        running(server.url, f"trial-{uuid4().hex[:8]}", folder) as live,
    ):
        found = examine(live, jobs, ASKED)
    return int(any(np.median(times) > MOST_MS for times in found.values()))


if __name__ == "__main__":
    sys.exit(main())
