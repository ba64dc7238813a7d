"""What durable jobs cost: leases, heartbeats and checkpoints on the step; the time of a cancel."""

import json
import subprocess
import sys
from statistics import median
from time import perf_counter
from typing import Any

from scipy.stats import binom

from benchmarks.service import Client, digits_job, running_service
from benchmarks.steps import service_loop
from benchmarks.table import Figure

Json = dict[str, Any]
STEPS = 4000
PAIRS = 21
CANCELS = 20

BARE = """
import json, sys, tempfile
from pathlib import Path
from core.artifacts.local import LocalJob
from core.names import new_id
from core.spec.limits import Limits
from core.spec.resolve import parse_job
from core.settings import Settings
from core.train.loop import run

class Nobody:
    stop_requested = None
    def __getattr__(self, name):
        return lambda *a, **k: None

spec = parse_job(sys.argv[1].encode(), Limits.of(Settings()))
for _ in range(2):
    with tempfile.TemporaryDirectory() as folder:
        artifacts = LocalJob(Path(folder), new_id("job"))
        nobody = Nobody()
        ending = run(spec, artifacts=artifacts, events=nobody, control=nobody)
print(ending.result["train_s"] / ending.result["num_steps"])
"""


def bare_loop(spec: Json) -> float:
    """Seconds a step of the same loop in a process of its own: no worker, no lease, no checkpoint
    on the way, rows that go nowhere."""
    body = json.dumps(spec | {"checkpoint": {"every_steps": None}})
    done = subprocess.run(
        [sys.executable, "-c", BARE, body], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def one_pair(service: Client, spec: Json, *, bare_first: bool) -> tuple[float, float]:
    """Seconds a step in the service and bare, one right after the other."""
    if bare_first:
        bare = bare_loop(spec)
        return service_loop(service, spec), bare
    return service_loop(service, spec), bare_loop(spec)


def interval(ratios: list[float]) -> str:
    """Where the median of such pairs lies with a probability of 95 % (by order statistics)."""
    low, high = binom.interval(0.95, len(ratios), 0.5)
    ordered = sorted(ratios)
    return f"{ordered[int(low) - 1]:.2f} to {ordered[int(high)]:.2f}"


def cancel_seconds(service: Client) -> float:
    """From the cancel of a job in mid-training to its end."""
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
    with running_service() as service:
        service_loop(service, spec)
        pairs = [one_pair(service, spec, bare_first=bool(n % 2)) for n in range(PAIRS)]
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
