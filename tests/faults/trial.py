"""One trial: a service under a schedule of faults, and what was found afterwards."""

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from tests.faults.fire import Posted, deleted, post_under_fire, processes_left, strangers
from tests.faults.harm import skewed_clock, slow_disk
from tests.faults.jobs import TEMPLATES, TERMINAL, Client, Json, Trace, is_prefix
from tests.faults.stack import Stack

Reference = tuple[Trace, dict[int, float]]
"""Of an undisturbed run: its digests, and its losses by step."""
CALLERS = 5
"""More than workers, so that there is always a job to hit."""


@dataclass
class Findings:
    """Counts of a trial; every list of complaints must be empty."""

    faults: Counter[str] = field(default_factory=Counter)
    blows: list[float] = field(default_factory=list)
    acknowledged: int = 0
    attempts: Counter[str] = field(default_factory=Counter)
    recoveries_s: list[float] = field(default_factory=list)
    not_terminal: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)

    @property
    def complaints(self) -> list[str]:
        return [
            f"{what}: {text}"
            for what, texts in (
                ("not terminal", self.not_terminal),
                ("doubled", self.doubled),
                ("differs", self.differing),
                ("failed", self.failed),
                ("left over", self.left_over),
            )
            for text in texts
        ]

    def add(self, other: "Findings") -> None:
        self.faults += other.faults
        self.acknowledged += other.acknowledged
        self.attempts += other.attempts
        self.recoveries_s += other.recoveries_s
        for name in ("not_terminal", "doubled", "differing", "failed", "left_over"):
            getattr(self, name).extend(getattr(other, name))


def undisturbed(folder: Path) -> dict[str, Reference]:
    """Run every template once on a quiet service: name -> its trace and losses."""
    with Stack(folder / "reference", f"ref{time.time_ns()}", lease_s=6.0) as stack:
        client = Client(stack.address)
        ids = {name: client.post(spec, name) for name, spec in TEMPLATES.items()}
        jobs = {name: client.ended(job_id) for name, job_id in ids.items()}
        found = {name: (client.trace(job), client.losses(job["id"])) for name, job in jobs.items()}
        client.close()
    return found


def run_trial(
    folder: Path,
    references: dict[str, Reference],
    *,
    seed: int,
    num_faults: int,
    mean_gap_s: float = 1.2,
    lease_s: float = 1.0,
    cancels: bool = True,
) -> Findings:
    """Post jobs as long as faults fall, let all end in peace, and look at everything."""
    dice = random.Random(seed)
    handicaps = [{}, {}, skewed_clock(dice.uniform(-300, 300)), slow_disk(dice.uniform(0.05, 0.3))]
    chosen = [dice.choice(handicaps) for _ in range(2)]
    findings = Findings()
    mark = f"trial{seed}x{time.time_ns()}"
    with Stack(
        folder / mark, mark, lease_s=lease_s, worker_environment=lambda i: chosen[i]
    ) as stack:
        jobs, blows = post_under_fire(
            stack,
            dice,
            Client,
            TEMPLATES,
            seed=seed,
            num_callers=CALLERS,
            cancelled_share=0.25 if cancels else 0.0,
            num_faults=num_faults,
            mean_gap_s=mean_gap_s,
        )
        findings.blows += [when for when, _ in blows]
        findings.faults.update(name for _, name in blows)
        _inspect(stack, jobs, references, findings)
    findings.left_over += processes_left(mark)
    return findings


def _inspect(
    stack: Stack,
    jobs: Posted,
    references: dict[str, Reference],
    findings: Findings,
) -> None:
    client = Client(stack.address)
    findings.acknowledged += len(jobs)
    if len({job_id for _, job_id in jobs}) < len(jobs):
        findings.doubled.append("two acknowledgements named one job")
    for name, job_id in jobs:
        job = client.ended(job_id)
        _judge(client, name, job, references[name], findings)
    findings.doubled += strangers(client, jobs)
    findings.left_over += deleted(client, stack, jobs)
    client.close()


def _judge(client: Client, name: str, job: Json, reference: Reference, findings: Findings) -> None:
    attempts = job["attempts"]
    label = f"{name} {job['id']} ({len(attempts)} attempts)"
    findings.attempts.update(str(attempt["end"]) for attempt in attempts)
    for before, after in pairwise(attempts):
        if before["end"] == "lost":
            findings.recoveries_s.append(_recovery(before, after, findings.blows))
    if job["status"] not in TERMINAL:
        findings.not_terminal.append(f"{label} is {job['status']}")
    elif job["status"] == "failed":
        findings.failed.append(f"{label}: {job['error']}")
    elif sum(attempt["end"] in {"finished", "cancelled"} for attempt in attempts) > 1:
        findings.doubled.append(f"{label} ended twice: {attempts}")
    elif job["status"] == "succeeded":
        trace = client.trace(job)
        if trace != reference[0]:
            findings.differing.append(f"{label}: {trace} is not {reference[0]}")
    elif not is_prefix(client.losses(job["id"]), reference[1]):
        findings.differing.append(f"{label}: cancelled, and no prefix")


def _recovery(lost: Json, next_one: Json, blows: list[float]) -> float:
    """Seconds from the last fault before the loss was noticed to the next attempt's start."""
    noticed = datetime.fromisoformat(lost["ended_at"]).timestamp()
    struck = max((blow for blow in blows if blow <= noticed), default=noticed)
    return datetime.fromisoformat(next_one["started_at"]).timestamp() - struck
