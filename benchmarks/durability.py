"""Costs of durable jobs: leases, heartbeats and checkpoints on the step; the time of a cancel."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from time import perf_counter
from typing import Any

from scipy.stats import binom

from benchmarks.service import Client, digits_job, running_service
from benchmarks.steps import service_loop
from benchmarks.table import Figure

Json = dict[str, Any]
STEPS = 4000
PAIRS = 120
"""Pairs of runs: the same loop takes 7 % more or less from one second to the next."""
CANCELS = 20

BARE = """
import json, sys, tempfile
from pathlib import Path
from core.artifacts.local import LocalJob
from core.ids import new_id
from core.specs.validation.limits import Limits
from core.specs.parsing.job import parse_job
from core.settings import Settings
from core.train.loop import run

class Nobody:
    stop_requested = None
    dropped = ()

spec = parse_job(sys.argv[1].encode(), Limits.of(Settings()))
for _ in sys.stdin:
    with tempfile.TemporaryDirectory() as folder:
        artifacts = LocalJob(Path(folder), new_id("job"))
        ending = run(spec, artifacts=artifacts, emit=lambda event: None, control=Nobody())
    print(ending.result["train_s"] / ending.result["num_steps"], flush=True)
"""


@contextmanager
def bare_loop(spec: Json) -> Iterator[Callable[[], float]]:
    """Gives seconds a step of the same loop in a process of its own, as warm as a trainer: no
    worker, no lease, no checkpoint on the way, rows that go nowhere."""
    command = [sys.executable, "-c", BARE, json.dumps(spec | {"checkpoint": {"every_steps": None}})]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        asked, answered = process.stdin, process.stdout
        assert asked is not None
        assert answered is not None

        def seconds() -> float:
            print(file=asked, flush=True)
            return float(answered.readline())

        yield seconds
        asked.close()


def interval(ratios: list[float]) -> str:
    """Tell where the median of such pairs lies with a probability of 95 % (order statistics)."""
    low, high = binom.interval(0.95, len(ratios), 0.5)
    ordered = sorted(ratios)
    return f"{ordered[int(low) - 1]:.2f} to {ordered[int(high)]:.2f}"


def cancel_seconds(service: Client) -> float:
    """Measure the seconds from the cancel of a job in mid-training to its end."""
    endless = digits_job(
        budget={"max_steps": 50_000_000}, record={"every": 1000, "eval_every": None}
    )
    job_id = service.json("POST", "/v1/jobs", endless)["id"]
    while service.json("GET", f"/v1/jobs/{job_id}?wait=0.1")["phase"] != "training":
        pass
    begin = perf_counter()
    service.json("POST", f"/v1/jobs/{job_id}/cancel", {})
    while service.json("GET", f"/v1/jobs/{job_id}?wait=10")["finished_at"] is None:
        pass
    return perf_counter() - begin


def measure() -> list[Figure]:
    spec = digits_job(budget={"max_steps": STEPS})
    pairs: list[tuple[float, float]] = []
    with running_service() as service, bare_loop(spec) as bare_seconds:
        for n in range(1 + PAIRS):
            bare_before = bare_seconds() if n % 2 else None
            served = service_loop(service, spec)
            pairs.append((served, bare_before or bare_seconds()))
        del pairs[0]  # warming up
        cancels = sorted(cancel_seconds(service) for _ in range(CANCELS))
    ours, bare = (median(side) * 1e6 for side in zip(*pairs, strict=True))
    ratios = [a / b for a, b in pairs]
    return [
        Figure(
            name="a step with leases, heartbeats, rows and checkpoints, beside the bare loop",
            ours=f"{ours:,.0f} µs a step; median of {PAIRS} pairs in {interval(ratios)}",
            reference=f"{bare:,.0f} µs in a process of its own",
            value=median(ratios),
            goal=1.02,
        ),
        Figure(
            name=f"cancel of a running job, worst of {CANCELS}",
            ours=f"median {median(cancels) * 1e3:.0f} ms",
            reference="",
            value=cancels[-1],
            goal=2.0,
            unit="s",
        ),
    ]
