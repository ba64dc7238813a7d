"""A fleet whose machines come and go: workers are taken away by SIGTERM, with 10 s of grace, every
few seconds. `python -m tests.faults.fleet`; `make trials` runs it.

Each job may have one attempt: one that was counted would fail it. Afterwards every job must have
succeeded, by one attempt that finished after any number that were handed over, with the history and
the weights of a run that was left in peace.
"""

import argparse
import random
import re
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.jobs import TEMPLATES, Client, Json, Trace
from tests.faults.stack import Part, Stack, wait_for

GRACE_S = 10.0
_COUNT = re.compile(
    r'^thalweg_attempts_ended_total\{device="\w+",end="(\w+)"\} (\S+)$', re.MULTILINE
)


@dataclass
class Findings:
    """Counts of a trial; `complaints` must be empty."""

    jobs: Counter[str] = field(default_factory=Counter)
    """Jobs by template."""
    ends: Counter[str] = field(default_factory=Counter)
    """Ends of their attempts."""
    hand_overs_s: list[float] = field(default_factory=list)
    """Seconds from a SIGTERM to the end of the worker."""
    complaints: list[str] = field(default_factory=list)


def run_trial(
    folder: Path,
    *,
    seed: int,
    seconds: float,
    gap_s: tuple[float, float] = (1.5, 4.5),
    workers: int = 3,
    templates: Sequence[str] = tuple(TEMPLATES),
) -> Findings:
    """Keep the fleet busy with jobs and take workers away; then look at every job."""
    dice = random.Random(seed)
    specs = {name: {**TEMPLATES[name], "max_attempts": 1} for name in templates}
    found = Findings()
    mark = f"fleet{seed}x{time.time_ns()}"
    with Stack(folder / mark, mark, workers=workers, lease_s=6.0) as stack:
        client = Client(stack.address)
        client.call("GET", "/readyz")
        wait_for("the workers", lambda: len(client.body("/v1/workers")["data"]) == workers)
        with posting(stack.address, specs, workers + 1) as posted:
            give_up = time.monotonic() + seconds
            while time.monotonic() < give_up:
                time.sleep(dice.uniform(*gap_s))
                there = reported(client, stack)
                if not there:  # all of them are starting
                    continue
                began = time.monotonic()
                dice.choice(there).end(signal.SIGTERM, GRACE_S)
                found.hand_overs_s.append(time.monotonic() - began)
        jobs = [(name, client.ended(job_id)) for name, job_id in posted]
        # The same specs on the same fleet, which nobody disturbs any more.
        peace = {
            name: client.ended(client.post(spec, f"peace-{name}")) for name, spec in specs.items()
        }
        references = {name: client.trace(job) for name, job in peace.items()}
        for name, job in jobs:
            found.jobs[name] += 1
            found.ends.update(str(attempt["end"]) for attempt in job["attempts"])
            found.complaints += complaints_of(client, name, job, references[name])
        found.complaints += complaints_of_all(client, found, len(specs))
        client.close()
    return found


def reported(client: Client, stack: Stack) -> list[Part]:
    """The workers that take work."""
    pids = {worker["pid"] for worker in client.body("/v1/workers")["data"]}
    return [worker for worker in stack.workers if worker.pid in pids]


@contextmanager
def posting(address: str, specs: dict[str, Json], most: int) -> Iterator[list[tuple[str, str]]]:
    """Keep so many jobs at work or waiting while the block runs; yields what has been posted."""
    posted: list[tuple[str, str]] = []
    over = threading.Event()

    def post(caller: int) -> None:
        client = Client(address)
        number = 0
        while not over.is_set():
            name = sorted(specs)[(caller + number) % len(specs)]
            job_id = client.post(specs[name], f"{caller}-{number}")
            posted.append((name, job_id))
            number += 1
            while not over.is_set() and client.get(job_id, wait_s=1)["finished_at"] is None:
                pass
        client.close()

    callers = [threading.Thread(target=post, args=(number,)) for number in range(most)]
    for caller in callers:
        caller.start()
    try:
        yield posted
    finally:
        over.set()
        for caller in callers:
            caller.join()


def complaints_of(client: Client, name: str, job: Json, reference: Trace) -> list[str]:
    label = f"{name} {job['id']}"
    ends = [attempt["end"] for attempt in job["attempts"]]
    if job["status"] != "succeeded":
        return [f"{label} is {job['status']}: {job['error']}, attempts {ends}"]
    found = []
    if ends != ["handed_over"] * (len(ends) - 1) + ["finished"]:
        found.append(f"{label}: attempts {ends}")
    trace = client.trace(job)
    if trace != reference:
        found.append(f"{label} differs: {trace} is not {reference}")
    return found


def complaints_of_all(client: Client, found: Findings, others: int) -> list[str]:
    """What the service's own counts say, and how long the workers took."""
    reply = client.call("GET", "/metrics")
    counted = Counter({end: int(float(number)) for end, number in _COUNT.findall(reply.text)})
    wanted = found.ends + Counter(finished=others)
    late = [seconds for seconds in found.hand_overs_s if seconds >= GRACE_S]
    return [
        *([f"the metrics count {counted}, the records {wanted}"] if counted != wanted else []),
        *(f"a worker took {seconds:.1f} s" for seconds in late),
    ]


def main() -> int:
    """Exit status 0 when there was no complaint."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.fleet", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="thalweg-fleet-") as name:
        found = run_trial(Path(name), seed=options.seed, seconds=60 * options.minutes)
    seconds = sorted(found.hand_overs_s)
    sys.stdout.write(
        f"{len(seconds)} workers taken away in {options.minutes:g} min, in"
        f" {seconds[len(seconds) // 2]:.2f} s (median), {seconds[-1]:.2f} s (longest)\n"
        f"{found.jobs.total()} jobs, attempts: {dict(found.ends)}\n"
        f"{len(found.complaints)} complaints\n"
    )
    for complaint in found.complaints:
        sys.stdout.write(f"  {complaint}\n")
    return int(bool(found.complaints))


if __name__ == "__main__":
    sys.exit(main())
