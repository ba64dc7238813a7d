"""DeepOBS's `quadratic_deep`: the published losses of SGD and Adam are found again.

A noisy quadratic of 100 dimensions, 0.5·(θ − x)ᵀQ(θ − x) with x from a normal distribution; a tenth
of Q's eigenvalues are large. Q and x are those of the benchmark (Schneider, Balles, Hennig 2019,
arXiv 1903.05499), drawn by its seeds, and its baselines' figures are means of ten seeds after 100
epochs of batches of 128 from θ = 1, on 896 rows that were not trained on, with their standard
deviations. The order of the rows is this service's own.

As a job: the first of two linear layers has θ for its weights and a constant for its input, the
second, which stays as it is, has √50·Q^½, and so the mean squared error is the loss above.

    python -m tests.core.train.deepobs
"""

import json
import sys
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from core.specs.parsing.job import parse_job
from core.specs.validation.limits import Limits
from core.train.loop import descend
from core.train.problems.build import build_problem
from core.train.state import OptimizationState
from tests.core.train.test_baselines import CPU, Losses

DIM: Final = 100
ROWS: Final = 1000
BATCH: Final = 128
EPOCHS: Final = 100
STEPS: Final = EPOCHS * (ROWS // BATCH)
SEEDS: Final = 10

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Baseline:
    """A published figure: mean and standard deviation of ten seeds' losses on the test's rows."""

    kind: str
    lr: float
    mean: float
    deviation: float


BASELINES: Final = (
    Baseline("sgd", 0.01584893192461114, 87.3975, 0.1690),
    Baseline("adam", 0.039810717055349734, 87.1119, 0.0242),
)


def hessian() -> Floats:
    """Return Q: its eigenvalues are drawn first, then its rotation, dimension by dimension, each as
    a reflection that takes the first axis to a random direction (Diaconis and Shahshahani 1987)."""
    draw = np.random.RandomState(42)
    eigenvalues = np.concatenate([draw.uniform(0.0, 1.0, 90), draw.uniform(30.0, 60.0, 10)])
    angle = 2 * np.pi * draw.uniform()
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.array([[cos, sin], [-sin, cos]])
    for size in range(3, DIM + 1):
        direction = draw.normal(size=(size, 1))[:, 0]
        direction /= np.linalg.norm(direction)
        normal = np.eye(size)[0] - direction
        normal /= np.linalg.norm(normal)
        larger = np.eye(size)
        larger[1:, 1:] = rotation
        rotation = larger - 2 * np.outer(normal, normal @ larger)
    return np.asarray(rotation.T @ np.diag(eigenvalues) @ rotation)


def rows(seed: int) -> Floats:
    """Return the x of training (seed 42) or of the test (43)."""
    found = np.random.RandomState(seed).normal(0.0, 0.6, (ROWS, DIM))
    return np.asarray(found, np.float32).astype(np.float64)


def loss_of(q: Floats, theta: Floats, x: Floats) -> float:
    """Return the mean loss over rows, of which as many are taken as make whole batches."""
    apart = theta - x[: len(x) // BATCH * BATCH]
    return float(0.5 * np.einsum("ni,ij,nj->n", apart, q, apart).mean())


def trained(
    optimizer: dict[str, Any], q: Floats, seed: int, steps: int = STEPS, batch: int = BATCH
) -> Floats:
    """Train by the service's own loop, and return θ."""
    values, vectors = np.linalg.eigh(q)
    root = np.sqrt(DIM / 2) * (vectors * np.sqrt(values)) @ vectors.T
    layer = {"kind": "linear", "out_features": DIM, "bias": False}
    data = {
        "kind": "inline", "features": [[1.0]] * ROWS, "targets": (rows(42) @ root).tolist(),
        "eval_fraction": 0.0, "standardize": False, "drop_last": True,
    }  # fmt: skip
    body = {
        "problem": {
            "kind": "supervised", "data": data, "loss": {"kind": "mse"},
            "model": {"kind": "layers", "layers": [layer, layer]},
        },
        "optimizer": {**optimizer, "groups": [{"match": "1.*", "frozen_steps": 2 * steps}]},
        "batch_size": batch, "budget": {"max_steps": steps}, "seed": seed, "device": "cpu",
    }  # fmt: skip
    spec = parse_job(json.dumps(body).encode(), Limits())
    problem = build_problem(spec, CPU, torch.float32)
    first, second = (f"{place}.weight" for place in (0, 1))
    problem.load_state({
        first: torch.ones(DIM, 1), second: torch.from_numpy(root).to(torch.float32)
    })  # fmt: skip
    state = OptimizationState(spec, problem)
    descend(state, range(steps), Losses())  # type: ignore[arg-type]
    return problem.state()[first].double().numpy()[:, 0]


def figures(baseline: Baseline, seeds: range) -> list[float]:
    """Return the losses on the test's rows, one a seed."""
    q, test = hessian(), rows(43)
    optimizer = {"kind": baseline.kind, "lr": baseline.lr}
    return [loss_of(q, trained(optimizer, q, seed), test) for seed in seeds]


def holds(baseline: Baseline, found: list[float]) -> bool:
    """Tell whether the mean lies within three standard errors of the published one: those of both
    means together."""
    error = np.hypot(baseline.deviation / np.sqrt(10), stdev(found) / np.sqrt(len(found)))
    return bool(abs(fmean(found) - baseline.mean) <= 3 * error)


def main() -> int:
    """Print both means; return 0 if each is the published one."""
    failed = 0
    for baseline in BASELINES:
        found = figures(baseline, range(SEEDS))
        fits = holds(baseline, found)
        failed += not fits
        print(  # noqa: T201
            f"{baseline.kind:<5} lr {baseline.lr:.6f}: {fmean(found):.4f} ± {stdev(found):.4f},"
            f" published {baseline.mean} ± {baseline.deviation}: {'holds' if fits else 'FAILS'}"
        )
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
