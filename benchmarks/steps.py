"""Time of a training step through the service, beside the loop that people write by hand."""

import json
import subprocess
import sys
from statistics import median
from typing import Any, Final

from benchmarks.service import Client, digits_job, running_service
from benchmarks.table import Figure

ROUNDS = 5
BEFORE: Final = {
    "digits": "393 µs before gradients were written out, 0.61 of the usual loop",
    "function": "220 µs before",
}
"""Figures of older versions (docs/figures.md)."""


def usual_loop(case: dict[str, Any]) -> float:
    """Seconds a step of the hand-written loop, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.usual_loop", json.dumps(case)],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout)


def service_loop(service: Client, spec: dict[str, Any]) -> float:
    result = service.run_job(spec)["result"]
    return float(result["train_s"] / result["num_steps"])


def side_by_side(
    service: Client,
    name: str,
    spec: dict[str, Any],
    case: dict[str, Any],
    goal: float,
    reference: str = "with DataLoader and .item()",
) -> Figure:
    """Run both loops in turn, A B A B …; the ratio is the median of the pairs' ratios."""
    service_loop(service, spec)
    pairs = [(service_loop(service, spec), usual_loop(case)) for _ in range(ROUNDS)]
    ours, theirs = (median(side) * 1e6 for side in zip(*pairs, strict=True))
    return Figure(
        name=name,
        ours=f"{ours:,.0f} µs a step",
        reference=f"{theirs:,.0f} µs {reference}",
        value=median(a / b for a, b in pairs),
        goal=goal,
    )


def measure() -> list[Figure]:
    """The digits MLP with every default recorded, a function of two variables, and a large MLP
    (4 × 2,048, batch 1,024)."""
    from core.specs.sizes.cost import num_threads

    small = {"hidden": [64], "batch": 64, "steps": 4000, "samples": None, "features": 64}
    large = {"hidden": [2048] * 4, "batch": 1024, "steps": 12, "samples": 4096, "features": 64}
    large_spec = digits_job(batch_size=1024, budget={"max_steps": large["steps"]})
    large_spec["problem"] = {
        "kind": "supervised",
        "data": {
            "kind": "synthetic",
            "eval_fraction": 0.02,  # two evaluations in so few steps would weigh as much as one
            "generator": {
                "kind": "blobs",
                "num_samples": 4180,
                "num_features": 64,
                "num_classes": 10,
            },
        },
        "model": {"kind": "mlp", "hidden": large["hidden"]},
    }
    rosenbrock = {
        "problem": {"kind": "function", "function": {"kind": "rosenbrock"}, "start": [-1.2, 1.0]},
        "optimizer": {"kind": "adam", "lr": 0.01},
        "budget": {"max_steps": 4000},
    }
    of_digits = digits_job(budget={"max_steps": small["steps"]})
    small |= {"threads": num_threads(4810 * 64)}
    with running_service() as service:
        return [
            side_by_side(
                service,
                f"a step of the digits MLP, everything recorded ({BEFORE['digits']})",
                of_digits,
                small,
                0.25,
            ),
            side_by_side(
                service,
                "the same beside bare automatic differentiation",
                of_digits,
                small | {"bare": True},
                0.55,
                "with rows in memory and the fused optimizer",
            ),
            side_by_side(
                service,
                f"a step of a function of two variables ({BEFORE['function']})",
                rosenbrock,
                {"function": True, "steps": 4000},
                0.45,
                "in a loop by hand",
            ),
            side_by_side(
                service,
                "a step of a large MLP (4 × 2,048, batch 1,024)",
                large_spec,
                large | {"threads": num_threads(12_700_000 * 1024)},
                1.02,
            ),
        ]
