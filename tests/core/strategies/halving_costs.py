"""What a first rung costs: `python -m tests.core.strategies.halving_costs`.

Full grids of 27 configurations are trained as a worker trains them. Their evaluations say what each
would have at a rung, and the strategy itself decides who goes on there.
"""

import math
import sys
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from core.specs.studies.runs import RunSpecs, resolved_configurations
from core.studies import RunRecord
from tests.core.specs.studies.specs_of_studies import Json, parsed, study
from tests.core.strategies.simulated import simulate
from tests.core.train.fused.harness import train_population

DATA: Final = ("digits", "wine", "breast_cancer", "diabetes")
LENGTHS: Final = (270, 2_700)
SEEDS: Final = 8
PARTS: Final = (27, 9, 3)
"""The first rung comes after the budget over this number; 3: the default with factor 3."""

Curve = dict[int, float]
"""The evaluation loss by step, infinite where it is not finite."""


class Cost(NamedTuple):
    """What a first rung did to one grid.

    Attributes:
        dropped: whether the configuration that is best at the end was stopped.
        loss: the best loss that was left, over the best of the grid.
        updates: applied, over those of the grid.
    """

    dropped: bool
    loss: float
    updates: float


def grid(data: str, steps: int, seed: int, stopper: Json | None = None) -> Json:
    """Return a study of three methods at nine rates."""
    base = {
        "problem": {
            "kind": "supervised",
            "data": {"kind": "builtin", "name": data, "eval_fraction": 0.3},
            "model": {"kind": "mlp", "hidden": [32]},
        },
        "budget": {"max_steps": steps},
        "record": {"every": steps, "eval_every": steps // max(PARTS)},
        "seed": seed,
    }
    sweep = {
        "optimizer": {"values": [{"kind": kind} for kind in ("sgd", "adam", "rmsprop")]},
        "optimizer.lr": {"log": [1e-4, 1.0], "count": 9},
    }
    strategy = {"kind": "grid", "stopper": stopper}
    metric = {"name": "eval.loss", "at": "final"}
    return study(base, sweep, strategy=strategy, metric=metric)


def trained(body: Json) -> list[Curve]:
    """Train every configuration to its end."""
    spec = parsed(body).spec
    specs = RunSpecs(spec)
    gathered = train_population([specs.of(each, 0) for each, _ in resolved_configurations(spec)])
    return [
        dict(zip(gathered.column(run, "step", "eval"), map(_or_infinite, losses), strict=True))
        for run in sorted(gathered.endings)
        for losses in [gathered.column(run, "loss", "eval")]
    ]


def _or_infinite(loss: float) -> float:
    return loss if math.isfinite(loss) else math.inf


def cost(body: Json, curves: list[Curve], part: int) -> Cost:
    """Halve the grid with a first rung at this part of its budget."""
    steps = body["base"]["budget"]["max_steps"]
    stopper = {"kind": "successive_halving", "min_steps": steps // part}

    def metric(run: RunRecord, step: int) -> float:
        return curves[run.index].get(step, math.inf)

    halved = {**body, "strategy": {"kind": "grid", "stopper": stopper}}
    simulated = simulate(halved).go(metric, steps)
    ends = [curve.get(steps, math.inf) for curve in curves]
    left = [ends[run.index] for run in simulated.records if run.stopped is None]
    return Cost(
        min(ends) not in left, min(left) / min(ends), simulated.updates / (len(curves) * steps)
    )


def costs(steps: int) -> Iterator[dict[int, Cost]]:
    """Yield what each first rung costs, grid after grid."""
    for data in DATA:
        for seed in range(SEEDS):
            body = grid(data, steps, 1_000 * seed + 1)
            curves = trained(body)
            yield {part: cost(body, curves, part) for part in PARTS}


def main() -> int:
    """Print the figures; return 0 where they are as docs/figures.md has them, about."""
    held = True
    for steps in LENGTHS:
        found = list(costs(steps))
        print(f"{steps:,} steps, {len(found)} grids: first rung, updates, best stopped, loss left")
        dropped = {}
        for part in PARTS:
            of_part = [each[part] for each in found]
            dropped[part] = sum(each.dropped for each in of_part)
            losses = [each.loss for each in of_part]
            print(
                f"  1/{part:<3} {of_part[0].updates:.0%}  {dropped[part]} of {len(found)}"
                f"  {np.median(losses):.2f} (worst {max(losses):.3g})",
                flush=True,
            )
        held = held and dropped[3] < len(found) / 2 < dropped[27] and dropped[9] < dropped[27]
    return int(not held)


if __name__ == "__main__":
    sys.exit(main())
