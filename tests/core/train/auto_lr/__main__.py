"""How good `"lr": "auto"` is with every optimizer that takes it: `python -m
tests.core.train.auto_lr [PART ...]`. A trial of `tests.trials`; deterministic.

Each settled rate is held against the best of a grid of whole runs of the same job. The best of a
grid at a constant rate is a lucky one, so several seeds are looked at. Status 0 when the geometric
mean over the seeds is within the setting's factor, and every single one within `WORST` times that.
"""

import sys
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from tests.core.train.auto_lr.automatic import DIGITS, TAKERS, Json, found, job
from tests.core.train.auto_lr.test_quality import GRID, final_losses

FACTOR: Final = 1.75
SLOW_COMPANION: Final = 2.5
"""The factor where the second rate is a tenth: its slow steps pull the rate that both share up."""
WORST: Final = 1.5
SEEDS: Final = range(3)


class Setting(NamedTuple):
    name: str
    problem: Json
    optimizer: Json
    steps: int
    factor: float = FACTOR


def settings() -> Iterator[Setting]:
    """Every optimizer on the digits; some of those whose rate falls with the number of steps, in a
    longer job too; the one with two rates at several widths and lengths."""
    for kind in TAKERS:
        yield Setting(f"{kind}, 400 steps", DIGITS, {"kind": kind}, 400)
    for kind in ("lion", "ademamix", "rmsprop"):
        yield Setting(f"{kind}, 2000 steps", DIGITS, {"kind": kind}, 2000)
    wide = {**DIGITS, "model": {"kind": "mlp", "hidden": [64, 64]}}
    for steps in (300, 1000, 2000):
        yield Setting(f"muon, wide, {steps} steps", wide, {"kind": "muon"}, steps)
    options: list[Json] = [
        {"adjust_lr_fn": "match_rms_adamw"}, {"adamw_lr_scale": 0.1}, {"adamw_lr_scale": 10.0},
    ]  # fmt: skip
    for option in options:
        ((name, value),) = option.items()
        optimizer = {"kind": "muon", **option}
        factor = SLOW_COMPANION if value == 0.1 else FACTOR
        yield Setting(f"muon, wide, {name} {value}", wide, optimizer, 400, factor)


def against_a_grid(setting: Setting, seed: int) -> tuple[float, float, float]:
    """Return the settled rate, its loss over the best of the grid, and the grid's best rate."""
    spec = job(setting.problem, setting.optimizer, setting.steps, seed=seed)
    lr = found(spec).lr
    ours, *grid = final_losses(spec, [lr, *GRID]).tolist()
    return lr, ours / min(grid), float(GRID[int(np.argmin(grid))])


def main(parts: list[str]) -> int:
    """Print a row a setting; return 0 when all are as good as they should be."""
    failed = 0
    for setting in settings():
        if parts and not any(part in setting.name for part in parts):
            continue
        seen = [against_a_grid(setting, seed) for seed in SEEDS]
        ratios = np.array([each[1] for each in seen])
        mean = float(np.exp(np.log(ratios).mean()))
        good = mean <= setting.factor and float(ratios.max()) <= WORST * setting.factor
        failed += not good
        told = "   ".join(f"{ratio:.2f} at {lr:.3g} ({best:.2g})" for lr, ratio, best in seen)
        mark = "" if good else "   worse than it should be"
        sys.stdout.write(f"{setting.name:<40}{mean:5.2f}:  {told}{mark}\n")
        sys.stdout.flush()
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
