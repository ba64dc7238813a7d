"""Many readers of streams on one API process: `python -m tests.api.events`.

500 readers follow one job whose rows come every 0.25 s: none is lost, and the worst comes within
2 s. Then 2,000 idle streams: what one takes of memory, and how long a poller beside them waits.
Ends with status 0 when it holds. The moments of arrival are the machine's; what arrives is not.
"""

import asyncio
import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import numpy as np

from tests.api.actors import rosenbrock
from tests.api.events.conftest import Live, running
from thalweg_service.embedded_redis import EmbeddedServer

READERS = 500
IDLE = 2_000
EVENTS = 80
EVERY_S = 0.25
WORST_S = 2.0
POLLS = 400


async def open_stream(port: int, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a stream, and read its first event."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await reader.readuntil(b"event: status")
    return reader, writer


async def follow(
    reader: asyncio.StreamReader, written: Sequence[float], delays: list[float]
) -> list[int]:
    """Read to the end; note how long after its writing each row came. Returns the steps."""
    steps: list[int] = []
    while line := await reader.readline():
        if line.startswith(b"data: ") and b'"next_after"' in line:
            now = time.monotonic()
            new = json.loads(line[6:])["series"]["step"]
            delays += [now - written[step] for step in new]
            steps += new
        elif line == b"event: end\n":
            return steps
    return steps


async def many_readers(live: Live) -> bool:
    """Follow one job with all readers, whose rows the test writes."""
    job = live.post(rosenbrock(budget={"max_steps": 100_000}))
    claim = live.worker.claim()
    path, port = f"{job['links']['events']}?series=loss", live.process.port
    opened = [await open_stream(port, path) for _ in range(READERS)]
    written: list[float] = []
    delays: list[float] = []
    following = [asyncio.create_task(follow(reader, written, delays)) for reader, _ in opened]
    began = time.monotonic()
    for number in range(EVENTS):
        await asyncio.sleep(max(0.0, began + number * EVERY_S - time.monotonic()))
        written.append(time.monotonic())
        await asyncio.to_thread(live.rows, claim, number, 1)
    await asyncio.to_thread(live.worker.close, claim)
    found = await asyncio.gather(*following)
    for _, writer in opened:
        writer.close()
    lost = sum(steps != list(range(EVENTS)) for steps in found)
    p50, p99 = np.percentile(delays, [50, 99])
    print(
        f"{READERS} readers, {EVENTS} rows {EVERY_S} s apart: {lost} readers lost or doubled rows;"
        f" delay p50 {p50:.3f} s, p99 {p99:.3f} s, worst {max(delays):.3f} s"
    )
    return lost == 0 and max(delays) < WORST_S


async def polls(live: Live, path: str) -> float:
    """Return the 99th percentile of the time of a GET, in milliseconds."""
    times = []
    for _ in range(POLLS):
        began = time.monotonic()
        await asyncio.to_thread(live.get, path)
        times.append(1000 * (time.monotonic() - began))
        await asyncio.sleep(0.005)
    return float(np.percentile(times, 99))


def memory(live: Live) -> int:
    status = Path(f"/proc/{live.process.running.pid}/statm").read_text().split()
    return int(status[1]) * resource.getpagesize()


async def idle_streams(live: Live) -> bool:
    """Hold idle streams open, a hundred on each of twenty jobs, and poll beside them."""
    jobs = [live.post()["links"] for _ in range(20)]
    alone = await polls(live, jobs[0]["self"])
    before = memory(live)
    opened = [
        await open_stream(live.process.port, jobs[number % 20]["events"]) for number in range(IDLE)
    ]
    each = (memory(live) - before) / IDLE
    beside = await polls(live, jobs[0]["self"])
    for _, writer in opened:
        writer.close()
    print(
        f"{IDLE} idle streams: {each / 1024:.0f} KiB each; a poller's p99 {beside:.1f} ms beside"
        f" them, {alone:.1f} ms alone"
    )
    return each < 100 * 1024 and beside < 250


def main() -> int:
    """Run both parts; return 0 when they hold."""
    folder = Path(tempfile.mkdtemp(prefix="thw-"))
    with (
        EmbeddedServer(folder / "redis", fsync=False) as server,
        running(server.url, f"trial-{uuid4().hex[:8]}", folder) as live,
    ):
        held = asyncio.run(many_readers(live)) and asyncio.run(idle_streams(live))
    return int(not held)


if __name__ == "__main__":
    sys.exit(main())
