"""Costs of a run among 1, 8, 64 and 512: time and memory, as a table and a picture for the docs.

`python -m benchmarks.study_cost` trains the digits MLP (64-64-10, batch 64, Adam) in stacks as a
worker's task would, each number of runs in a process of its own, prints a table and writes
docs/pictures/study_cost.svg. `python -m benchmarks.study_cost RUNS` is such a process.
"""

import json
import resource
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Any, Final, Literal

import numpy as np

from benchmarks.service import digits_job

RUNS: Final = (1, 8, 64, 512)
STEPS: Final = {1: 4000, 8: 2000, 64: 600, 512: 100}
ROUNDS: Final = 3
PICTURE: Final = Path(__file__).parent.parent / "docs" / "pictures" / "study_cost.svg"

Json = dict[str, Any]


class Nobody:
    """A control that never asks, and takes events that go nowhere."""

    stop_requested: Literal["cancel", "hand_over"] | None = None
    dropped: tuple[int, ...] = ()

    def emit(self, event: object) -> None: ...


def trained(runs: int) -> Json:
    """Seconds a step of one run, and the peak of the process's memory beyond torch's own."""
    from core.specs.parsing.job import parse_job
    from core.specs.validation.limits import Limits
    from core.strategies.runs import MODELS_A_TASK
    from core.train.fused.run import run

    def specs(steps: int) -> list[Any]:
        rates = np.geomspace(1e-4, 1e-1, runs) if runs > 1 else [1e-3]
        return [
            parse_job(
                json.dumps(
                    digits_job(
                        optimizer={"kind": "adam", "lr": float(lr)}, budget={"max_steps": steps}
                    )
                ).encode(),
                Limits(),
            )
            for lr in rates
        ]

    nobody = Nobody()
    run(specs(2)[:2], emit=nobody.emit, control=nobody, device="cpu")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    population = specs(STEPS[runs])
    begin = perf_counter()
    run(population, emit=nobody.emit, control=nobody, device="cpu", max_runs=MODELS_A_TASK)
    seconds = perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds / runs / STEPS[runs], "kib": after - before}


def measured(runs: int) -> Json:
    """The best of several processes: the machine's other work only ever adds."""
    command = [sys.executable, "-m", "benchmarks.study_cost", str(runs)]
    found = [
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for _ in range(ROUNDS)
    ]
    return {
        "seconds": min(each["seconds"] for each in found),
        "kib": min(each["kib"] for each in found),
    }


def draw(rows: list[tuple[int, Json]]) -> None:
    """Write the picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    runs = [number for number, _ in rows]
    axes.loglog(runs, [1e6 * found["seconds"] for _, found in rows], "o-", label="µs a step of one")
    axes.loglog(
        runs, [found["kib"] / 1024 for _, found in rows], "s--", label="MiB of memory in all"
    )
    axes.set_xlabel("runs of a study")
    axes.set_xticks(runs, [str(number) for number in runs])
    axes.legend(frameon=False)
    figure.savefig(PICTURE, metadata={"Date": None})


def main() -> None:
    """The whole table, or one process of it."""
    if len(sys.argv) > 1:
        print(json.dumps(trained(int(sys.argv[1]))))
        return
    rows = [(runs, measured(runs)) for runs in RUNS]
    print("| runs | µs a step of one run | memory beyond torch's own |\n|---|---|---|")
    for runs, found in rows:
        print(f"| {runs} | {1e6 * found['seconds']:.0f} | {found['kib'] / 1024:.0f} MiB |")
    draw(rows)


if __name__ == "__main__":
    main()
