"""Models of sequences: a step beside loops by hand, and 64 rates in stacks beside run by run.

`python -m benchmarks.sequences`: processor time, one thread, pairs in turn (A B A B …).
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.fused_layers import Alone, Together, seconds_a_step
from core.artifacts.local import LocalJob
from core.specs.job import JobSpec
from core.specs.parsing.job import parse_job
from core.specs.sizes.fusing import fusable, stacks
from core.specs.validation.limits import Limits
from core.train.devices import exact_kernels
from core.train.loop import run
from core.train.problems.build import build_problem

Json = dict[str, Any]
JOB: Final = "job_01k2b3c4d5e6f7g8h9jkmnpqrs"
PAIRS: Final = 7
STEPS: Final = 200
FEW: Final = 20
RATES: Final = 64
DIM, HEADS, BLOCKS, LENGTH, CHANNELS, BATCH = 32, 4, 1, 8, 8, 64
GRU: Final[Json] = {"kind": "gru", "hidden_size": 32, "length": LENGTH}
TRANSFORMER: Final[Json] = {
    "kind": "transformer", "dim": DIM, "num_heads": HEADS, "num_layers": BLOCKS, "length": LENGTH,
}  # fmt: skip


def job(model: Json, steps: int, lr: float = 0.001, batch: int = BATCH) -> JobSpec:
    problem = {
        "kind": "supervised",
        "data": {"kind": "builtin", "name": "digits"},
        "model": model,
    }
    body = {
        "problem": problem,
        "optimizer": {"kind": "adam", "lr": lr},
        "batch_size": batch,
        "budget": {"max_steps": steps},
        "record": {"eval_every": None},
        "checkpoint": {"every_steps": None},
        "device": "cpu",
        "diagnose": "off",
    }
    return parse_job(json.dumps(body).encode(), Limits())


class Quiet:
    """Takes what leaves the loop; asks for nothing."""

    stop_requested = None
    checkpoint_requests = None

    def emit(self, event: object) -> None:
        return


def ours(steps: int) -> float:
    """Processor seconds of a job of the loop: rows, best weights and files included."""
    spec = job(TRANSFORMER, steps)
    quiet: Any = Quiet()
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        run(spec, artifacts=LocalJob(Path(folder), JOB), emit=quiet.emit, control=quiet)
        return time.process_time() - began


class Block(nn.Module):
    """A block with the norm in front, as one writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(DIM), nn.LayerNorm(DIM)
        self.project, self.out = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)
        self.wide, self.back = nn.Linear(DIM, 4 * DIM), nn.Linear(4 * DIM, DIM)

    def forward(self, x: Tensor) -> Tensor:
        rows, length, _ = x.shape
        parts = self.project(self.norm1(x)).view(rows, length, 3, HEADS, DIM // HEADS)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(q, k, v)
        x = x + self.out(seen.transpose(1, 2).reshape(rows, length, DIM))
        found: Tensor = x + self.back(functional.gelu(self.wide(self.norm2(x))))
        return found


class ByHand(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.end = nn.Linear(CHANNELS, DIM), nn.Linear(DIM, 10)
        self.positions = nn.Parameter(0.02 * torch.randn(LENGTH, DIM))
        self.blocks = nn.Sequential(*(Block() for _ in range(BLOCKS)))
        self.norm = nn.LayerNorm(DIM)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x.view(-1, LENGTH, CHANNELS)) + self.positions
        found: Tensor = self.end(self.norm(self.blocks(x)).mean(1))
        return found


def by_hand(steps: int, *, loader: bool) -> float:
    """Processor seconds of the loop that people write, with rows in memory or a DataLoader."""
    problem: Any = build_problem(job(TRANSFORMER, 1), torch.device("cpu"), torch.float32)
    x, y = problem._dataset.rows("train")
    began = time.process_time()
    model = ByHand()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    losses: list[Any] = []

    def in_memory() -> Iterator[tuple[Tensor, Tensor]]:
        for rows in torch.split(torch.randperm(len(x)), BATCH):
            yield x[rows], y[rows]

    loaded = DataLoader(TensorDataset(x, y), batch_size=BATCH, shuffle=True)
    while len(losses) < steps:
        for inputs, targets in loaded if loader else in_memory():
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(inputs), targets)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item() if loader else loss.detach())
            if len(losses) == steps:
                break
    return time.process_time() - began


def a_step(seconds: Callable[[int], float]) -> float:
    """Return the seconds of a step: what more steps take longer than few."""
    return (seconds(STEPS + FEW) - seconds(FEW)) / STEPS


def steps() -> None:
    """Print a step of a small transformer beside both loops by hand."""
    for loader, name in ((False, "rows in memory"), (True, "DataLoader and .item()")):
        a_step(ours)
        pairs = [(a_step(ours), a_step(partial(by_hand, loader=loader))) for _ in range(PAIRS)]
        mine, theirs = (median(side) * 1e6 for side in zip(*pairs, strict=True))
        ratio = median(a / b for a, b in pairs)
        print(f"transformer step {mine:6.0f} µs   {name} {theirs:6.0f} µs   ratio {ratio:.2f}")


def rates() -> None:
    """Print a step of one of 64 rates: run by run, in stacks, and at best in two processes."""
    for name, model in (("gru 32", GRU), ("transformer 32", TRANSFORMER)):
        for batch in (8, BATCH):
            specs = [job(model, 100, 1e-4 * 1.05**n, batch) for n in range(RATES)]
            runs = len(stacks(specs)[0])
            alone, together = Alone(specs[0]), Together(specs[:runs])
            seconds_a_step(alone, 0), seconds_a_step(together, 0)
            pairs = [
                (seconds_a_step(alone, 1000 * n), seconds_a_step(together, 1000 * n) / runs)
                for n in range(PAIRS)
            ]
            one, many = (median(side) * 1e6 for side in zip(*pairs, strict=True))
            chosen = "stacks" if fusable(specs[0]) else "one by one"
            print(
                f"64 rates of {name}, batch {batch:3}: run by run {one:6.0f} µs, stacks of {runs}"
                f" {many:6.0f} µs ({median(a / b for a, b in pairs):.2f} times faster), two"
                f" processes at best {one / 2:6.0f} µs; chosen: {chosen}"
            )


def main() -> None:
    """Print both tables; the exit status does not depend on them."""
    torch.set_num_threads(1)
    with exact_kernels():
        steps()
        rates()


if __name__ == "__main__":
    main()
