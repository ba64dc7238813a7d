"""A list of 20 among many jobs: `python -m tests.api.jobs.many`.

100,000 jobs of two owners lie in the store, some of them ended. Lists are asked for by label and
status, in several ways, with the key of an admin, who sees all, and with that of the owner of a
seventh. Ends with status 0 when each takes less than 20 ms in the median.
"""

import argparse
import asyncio
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import numpy as np

from core.ids import rfc3339, utc_now
from core.keys import KeyRecord, Scope, new_key_id
from core.store.redis.keys import RedisKeys
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
FEW_EVERY = 7
"""One job in so many belongs to the owner `few`, the others to `many`."""
ASKING = ("admin", "few")
"""Owners whose keys ask for lists."""


class Taken(NamedTuple):
    """What a list takes: milliseconds of each reply, and of the API's processor a reply (on
    Linux)."""

    ms: list[float]
    cpu_ms: float


Found = Mapping[tuple[str, str], Taken]
"""(whose key asks, query) -> what the list takes."""


def cpu_ms(live: Live) -> float:
    """Read how long the API has had a processor."""
    path = Path(f"/proc/{live.process.running.pid}/stat")
    if not path.exists():
        return math.nan
    user, system = path.read_text().rpartition(")")[2].split()[11:13]
    return 1000 * (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def tokens_of(live: Live) -> dict[str, str]:
    """Make a key for each owner; from then on keys are needed."""
    keys = RedisKeys(live.settings.redis_url, live.settings.namespace)
    found = {}
    for owner in ("many", "few", "admin"):
        scopes: tuple[Scope, ...] = ("admin",) if owner == "admin" else ("read", "write")
        record = KeyRecord(new_key_id(), owner, scopes, rfc3339(utc_now()))
        found[owner] = keys.create(record)
    keys.disconnect()
    return found


async def post_all(port: int, count: int, tokens: Mapping[str, str]) -> None:
    """Create jobs over several connections; few over one, in order. Job `n` has the labels
    `team:n%5`, `run:n//100` and `of:OWNER`."""
    numbers = iter(range(count))

    async def some() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in numbers:
            owner = "many" if number % FEW_EVERY else "few"
            labels = {"team": str(number % TEAMS), "run": str(number // 100), "of": owner}
            body = json.dumps(rosenbrock(labels=labels)).encode()
            writer.write(
                b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s"
                % (tokens[owner].encode(), len(body), body)
            )
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 202"), head
            length = head.lower().split(b"content-length:")[1].split(b"\r\n")[0]
            await reader.readexactly(int(length))
        writer.close()

    await asyncio.gather(*(some() for _ in range(CONNECTIONS if count > 1_000 else 1)))


def end_some(live: Live, count: int) -> None:
    """Have the first jobs end, each with 20 rows."""
    for _ in range(count):
        claim = live.worker.claim()
        live.rows(claim, 0, 20)
        live.worker.close(claim)


def taken(live: Live, query: str, asked: int, owner: str, token: str) -> Taken:
    """Ask for a list of 20 again and again; check what is in it, and return how long each took."""
    headers = {"Authorization": f"Bearer {token}"}
    wanted = [part.partition("=")[::2] for part in query.split("&") if part]
    times, before = [], cpu_ms(live)
    for _ in range(asked):
        began = time.perf_counter()
        reply = live.http.get(f"/v1/jobs?limit=20&{query}", headers=headers)
        times.append(1000 * (time.perf_counter() - began))
    cpu = (cpu_ms(live) - before) / asked
    jobs = reply.json()["data"]
    assert jobs, (owner, query)
    assert owner == "admin" or {job["labels"]["of"] for job in jobs} == {owner}
    for job, (kind, text) in ((job, each) for job in jobs for each in wanted):
        name, _, value = text.partition(":")
        assert job["labels"][name] == value if kind == "label" else job["status"] == text
    return Taken(times, cpu)


def examine(live: Live, jobs: int, asked: int) -> Found:
    """Create the jobs; return what each list takes, in milliseconds."""
    tokens = tokens_of(live)
    asyncio.run(post_all(live.process.port, jobs, tokens))
    # Of so many, some are of every team and owner.
    end_some(live, max(jobs // ENDED_EVERY, TEAMS * FEW_EVERY))
    return {
        (owner, query): taken(live, query, asked, owner, tokens[owner])
        for owner in ASKING
        for query in LISTS
    }


def tell(found: Found, jobs: int) -> None:
    """Print what each list takes."""
    for (owner, query), (times, cpu) in found.items():
        p50, p99 = np.percentile(times, [50, 99])
        said = f"20 of {jobs} jobs for {owner}, {query or 'all'}"
        print(f"{said}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, {cpu:.2f} ms of the processor")


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
        tell(found, jobs)
    return int(any(np.median(each.ms) > MOST_MS for each in found.values()))


if __name__ == "__main__":
    sys.exit(main())
