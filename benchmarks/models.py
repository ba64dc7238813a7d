"""A CNN on digits: a step beside the loop by hand, and 64 rates in stacks beside one by one.

Run `python -m benchmarks.models`. Times are CPU times of one thread, in pairs that take turns: they
hold on a busy machine. Two processes that train half of the runs each take at best half of the time
that the runs take one by one; each of the two cores may have a stack just as well.
"""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from core.artifacts.local import LocalJob
from core.specs.job import JobSpec
from core.specs.parsing.job import parse_job
from core.specs.sizes.fusing import stacks
from core.specs.validation.limits import Limits
from core.train.fused.run import run as run_stack
from core.train.loop import run

Json = dict[str, Any]
ROUNDS: Final = 7
SHORT, LONG = 50, 450
"""Steps of two runs: what begins and ends a run cancels in their difference."""
RATES: Final = 64
BATCH: Final = 64
MODEL: Final[Json] = {"kind": "cnn", "channels": [8, 16]}


class _Control:
    stop_requested = None
    dropped: tuple[int, ...] = ()


def job(steps: int, lr: float = 1e-3) -> JobSpec:
    body = {
        "problem": {
            "kind": "supervised",
            "data": {"kind": "builtin", "name": "digits"},
            "model": MODEL,
        },
        "optimizer": {"kind": "adam", "lr": lr},
        "batch_size": BATCH,
        "budget": {"max_steps": steps},
        "record": {"eval_every": None},
        "device": "cpu",
        "diagnose": "off",
    }
    return parse_job(json.dumps(body).encode(), Limits())


def train(spec: JobSpec) -> None:
    """Train as a worker does, every row recorded."""
    with tempfile.TemporaryDirectory() as folder:
        artifacts = LocalJob(Path(folder), "job_01k2b3c4d5e6f7g8h9jkmnpqrs")
        run(spec, artifacts=artifacts, emit=lambda _: None, control=_Control(), device="cpu")


def by_hand(steps: int, *, loader: bool) -> list[float]:
    """Train the same model in a loop as people write it, each loss kept."""
    digits = load_digits()
    x = torch.as_tensor(digits.data, dtype=torch.float32)[:1438]
    x = (x - x.mean(0)) / (x.std(0) + 1e-8)
    y = torch.as_tensor(digits.target)[:1438]
    model = nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters())
    loss_function = nn.CrossEntropyLoss()
    rows = DataLoader(TensorDataset(x, y), batch_size=BATCH, shuffle=True)
    losses: list[float] = []
    while True:
        batches: Any = rows if loader else _in_memory(x, y)
        for inputs, targets in batches:
            optimizer.zero_grad()
            loss = loss_function(model(inputs), targets)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if len(losses) == steps:
                return losses


def _in_memory(x: Tensor, y: Tensor) -> list[tuple[Tensor, Tensor]]:
    return [(x[rows], y[rows]) for rows in torch.split(torch.randperm(len(x)), BATCH)]


def one_by_one(specs: list[JobSpec]) -> None:
    """Train each by itself."""
    for spec in specs:
        train(spec)


def seconds(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def a_step(call: Callable[[int], object]) -> float:
    """Return the seconds of a step: of a long run less a short one."""
    return (seconds(lambda: call(LONG)) - seconds(lambda: call(SHORT))) / (LONG - SHORT)


def in_stacks(specs: list[JobSpec]) -> None:
    for part in stacks(specs):
        run_stack([specs[i] for i in part], emit=lambda _: None, control=_Control(), device="cpu")


def main() -> None:
    """Print the figures; the exit status does not depend on them."""
    torch.set_num_threads(1)
    train(job(SHORT))
    found = [
        (a_step(lambda n: train(job(n))), a_step(lambda n: by_hand(n, loader=False)),
         a_step(lambda n: by_hand(n, loader=True)))
        for _ in range(ROUNDS)
    ]  # fmt: skip
    ours, memory, loader = (median(side) * 1e6 for side in zip(*found, strict=True))
    print(f"a step of a CNN 8, 16 on digits, batch {BATCH}: {ours:,.0f} µs")
    print(f"  by hand, rows in memory {memory:,.0f} µs, {median(a / b for a, b, _ in found):.2f} ×")
    print(f"  by hand, DataLoader {loader:,.0f} µs, {median(a / c for a, _, c in found):.2f} ×")
    specs = [job(100, lr) for lr in np.geomspace(1e-4, 1e-1, RATES).tolist()]
    pairs = [
        (seconds(lambda: in_stacks(specs)), seconds(lambda: one_by_one(specs))) for _ in range(3)
    ]
    fused, alone = (median(side) for side in zip(*pairs, strict=True))
    ratio = median(b / a for a, b in pairs)
    print(f"{RATES} rates, 100 steps: in {len(stacks(specs))} stacks {fused:.1f} s, one by one")
    print(
        f"  {alone:.1f} s: {ratio:.2f} times; two processes at best {alone / 2:.1f} s of wall time"
    )


if __name__ == "__main__":
    main()
