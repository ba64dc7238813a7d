"""`thalweg doctor`: looks at a service, at its store and at this machine, and has it do jobs whose
answers are known.

It asks over HTTP as any caller does. The store is looked at where THALWEG_REDIS_URL names it: the
embedded one of `thalweg serve` shows through the service's own `/readyz`.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial

import httpx2

from thalweg_service.doctor import machine, service
from thalweg_service.doctor.check import Check


def main(
    url: str,
    key: str | None,
    redis_url: str | None,
    artifacts: str,
    *,
    jobs: bool,
    as_json: bool,
) -> int:
    """Print what was found; returns the exit status: 1 where a check failed."""
    found: list[Check] = []
    for check in examine(url, key, redis_url, artifacts, jobs=jobs):
        found.append(check)
        if not as_json:
            print(f"{check.status:8} {check.name}: {check.words}", flush=True)
    if as_json:
        print(json.dumps([asdict(check) for check in found], indent=2))
    return int(any(check.status == "failed" for check in found))


def examine(
    url: str, key: str | None, redis_url: str | None, artifacts: str, *, jobs: bool
) -> Iterator[Check]:
    """Yield the answers to all questions, in the order in which one explains the next."""
    yield from machine.look_at_machine(artifacts)
    yield from machine.look_at_store(redis_url)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with httpx2.Client(
        base_url=url, headers=headers, timeout=service.JOB_S, trust_env=False
    ) as http:
        yield from look_at(http, url, jobs=jobs)


def look_at(http: httpx2.Client, url: str, *, jobs: bool) -> Iterator[Check]:
    """Yield what is found of a service, which may end at any moment."""
    alive = service.look_at_service(http, url)
    yield alive
    if alive.status == "failed":
        return
    yield service.asked("version", lambda: service.look_at_version(http))
    yield service.asked("ready", lambda: service.look_at_readiness(http))
    yield service.asked("clock", lambda: service.look_at_clock(http))
    workers = service.asked("workers", lambda: service.look_at_workers(http))
    yield workers
    yield service.asked("webhooks", lambda: service.look_at_webhooks(http))
    for known in service.KNOWN_JOBS if jobs else ():
        if workers.status == "failed":
            yield Check(known.name, "skipped", "there is no worker to do it")
        else:
            yield service.asked(known.name, partial(service.do, http, known))
