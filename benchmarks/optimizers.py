"""Costs of a step of each optimizer in a stack, as a multiple of Adam's, as a table.

`python -m benchmarks.optimizers [KIND …]` trains 64 runs of the digits MLP (64-64-10, batch 64) in
the stacks of a worker's task, each kind in turn with Adam, and prints for each the time of a
step of one run and the median of the ratios. Without names: all kinds that train in stacks.
"""

import json
import statistics
import sys
from time import perf_counter
from typing import Final, get_args

import numpy as np

from benchmarks.service import digits_job
from benchmarks.study_cost import Nobody
from core.specs.job import JobSpec
from core.specs.optimizers.kinds import NotFused
from core.specs.parsing.job import parse_job
from core.specs.unions import kind_of, members
from core.specs.validation.limits import Limits

RUNS: Final = 64
STEPS: Final = 150
PAIRS: Final = 7


def specs_of(kind: str, steps: int) -> list[JobSpec]:
    bodies = (
        digits_job(optimizer={"kind": kind, "lr": float(lr)}, budget={"max_steps": steps})
        for lr in np.geomspace(1e-5, 1e-3, RUNS)
    )
    return [parse_job(json.dumps(body).encode(), Limits()) for body in bodies]


def seconds(kind: str, steps: int = STEPS) -> float:
    """Seconds of a step of one run."""
    from core.train.fused.run import run

    specs, nobody = specs_of(kind, steps), Nobody()
    begin = perf_counter()
    run(specs, emit=nobody.emit, control=nobody, device="cpu")
    return (perf_counter() - begin) / RUNS / steps


def main() -> None:
    """Measure and print."""
    alone = {kind_of(model) for model in get_args(NotFused)}
    kinds = sys.argv[1:] or [each for each in members("optimizer") if each not in alone]
    seconds("adam", 5)
    print("| optimizer | µs a step of one run | times Adam's |\n|---|---|---|")
    for kind in kinds:
        seconds(kind, 5)
        pairs = [(seconds(kind), seconds("adam")) for _ in range(PAIRS)]
        ratio = statistics.median(one / other for one, other in pairs)
        print(f"| {kind} | {1e6 * min(one for one, _ in pairs):.1f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
