"""A fleet whose machines come and go: workers are taken away by SIGTERM, with 10 s of grace, every
few seconds. `python -m tests.faults.fleet`; `make trials` runs it.

Each job may have one attempt, and so may each task of a study: one that was counted would fail it.
Afterwards every job must have succeeded, by one attempt that finished after any number that were
handed over, with the history and the weights of a run that was left in peace; and so must every
study, with those of all its runs.
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

from tests.faults.fire import Posted
from tests.faults.jobs import TEMPLATES, Client, Json, Trace
from tests.faults.stack import Part, Stack, wait_for
from tests.faults.studies import STUDIES, StudyClient

GRACE_S = 10.0
_COUNT = re.compile(
    r'^thalweg_attempts_ended_total\{device="\w+",end="(\w+)"\} (\S+)$', re.MULTILINE
)


@dataclass
class Findings:
    """Counts of a trial; `complaints` must be empty."""

    jobs: Counter[str] = field(default_factory=Counter)
    """Jobs by template."""
    studies: Counter[str] = field(default_factory=Counter)
    """Studies by template."""
    task_hand_overs: int = 0
    """Attempts at tasks of studies that were handed over."""
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
    studies: Sequence[str] = tuple(STUDIES),
) -> Findings:
    """Keep the fleet busy with jobs and studies and take workers away; then look at them all."""
    dice = random.Random(seed)
    specs = {name: {**TEMPLATES[name], "max_attempts": 1} for name in templates}
    sweeps = {
        name: {**STUDIES[name], "base": {**STUDIES[name]["base"], "max_attempts": 1}}
        for name in studies
    }
    found = Findings()
    mark = f"fleet{seed}x{time.time_ns()}"
    with Stack(folder / mark, mark, workers=workers, lease_s=6.0) as stack:
        client, of_studies = Client(stack.address), StudyClient(stack.address)
        client.call("GET", "/readyz")
        wait_for("the workers", lambda: len(client.body("/v1/workers")["data"]) == workers)
        with (
            posting(Client, stack.address, specs, workers + 1) as jobs,
            posting(StudyClient, stack.address, sweeps, 1 if sweeps else 0) as swept,
        ):
            give_up = time.monotonic() + seconds
            while time.monotonic() < give_up:
                time.sleep(dice.uniform(*gap_s))
                there = reported(client, stack)
                if not there:  # all of them are starting
                    continue
                began = time.monotonic()
                last_words = dice.choice(there).end(signal.SIGTERM, GRACE_S)
                found.hand_overs_s.append(time.monotonic() - began)
                if last_words is not None:
                    found.complaints.append(f"a worker did not end, and its log does: {last_words}")
        inspect_all(client, of_studies, found, jobs, swept, specs, sweeps)
        client.close()
        of_studies.close()
    return found


def inspect_all(
    client: Client,
    of_studies: StudyClient,
    found: Findings,
    jobs: Posted,
    studies: Posted,
    specs: dict[str, Json],
    sweeps: dict[str, Json],
) -> None:
    """Wait for all ends, have the same done on the same fleet, which nobody disturbs any more, and
    note what differs, and what the service's own counts say."""
    ended = [(name, client.ended(job_id)) for name, job_id in jobs]
    swept = [(name, of_studies.ended(study_id)) for name, study_id in studies]
    counts = ends_counted(client)
    peace = {name: client.ended(client.post(spec, f"peace-{name}")) for name, spec in specs.items()}
    references = {name: client.trace(job) for name, job in peace.items()}
    for name, job in ended:
        found.jobs[name] += 1
        found.ends.update(str(attempt["end"]) for attempt in job["attempts"])
        found.complaints += complaints_of(client, name, job, references[name])
    finished = found.ends["finished"]
    for name in sorted({name for name, _ in swept}):
        before = ends_counted(client)
        study = of_studies.ended(of_studies.post(sweeps[name], f"peace-{name}"))
        tasks = ends_counted(client) - before
        whole = of_studies.traces(study["id"])
        for study in (study for each, study in swept if each == name):
            found.studies[name] += 1
            finished += tasks["finished"]
            label = f"{name} {study['id']}"
            if study["status"] != "succeeded":
                found.complaints.append(f"{label} is {study['status']}: {study['error']}")
            elif of_studies.traces(study["id"]) != whole:
                found.complaints.append(f"{label} differs from one that was left in peace")
    found.task_hand_overs = counts["handed_over"] - found.ends["handed_over"]
    if counts["finished"] != finished or set(counts) - {"finished", "handed_over"}:
        found.complaints.append(f"the metrics count {counts}, the records {finished} finished")
    if found.task_hand_overs < 0 or (found.task_hand_overs and not swept):
        found.complaints.append(f"the metrics count {counts}, the records {found.ends}")
    late = [seconds for seconds in found.hand_overs_s if seconds >= GRACE_S]
    found.complaints += [f"a worker took {seconds:.1f} s" for seconds in late]


def ends_counted(client: Client) -> Counter[str]:
    """Read how many attempts ended, by how, those at tasks of studies with those at jobs."""
    text = client.call("GET", "/metrics").text
    counts: Counter[str] = Counter()
    for end, number in _COUNT.findall(text):  # of each device
        counts[end] += int(float(number))
    return +counts


def reported(client: Client, stack: Stack) -> list[Part]:
    """The workers that take work."""
    pids = {worker["pid"] for worker in client.body("/v1/workers")["data"]}
    return [worker for worker in stack.workers if worker.pid in pids]


@contextmanager
def posting(
    kind: type[Client], address: str, specs: dict[str, Json], most: int
) -> Iterator[Posted]:
    """Keep so many at work or waiting while the block runs; yields what has been posted."""
    posted: Posted = []
    over = threading.Event()

    def post(caller: int) -> None:
        client = kind(address)
        number = 0
        while not over.is_set():
            name = sorted(specs)[(caller + number) % len(specs)]
            id_ = client.post(specs[name], f"{caller}-{number}")
            posted.append((name, id_))
            number += 1
            while not over.is_set() and client.get(id_, wait_s=1)["finished_at"] is None:
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
        f"{found.studies.total()} studies, {found.task_hand_overs} tasks handed over\n"
        f"{len(found.complaints)} complaints\n"
    )
    for complaint in found.complaints:
        sys.stdout.write(f"  {complaint}\n")
    return int(bool(found.complaints))


if __name__ == "__main__":
    sys.exit(main())
