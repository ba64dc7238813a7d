"""A step of one of many runs in a stack beside a step of the run alone, for models of many kinds.

The table that the bounds in `core/specs/sizes/fusing.py` are from: run
`python -m benchmarks.fused_layers`; a line says which of the two the service chooses, and whether
the other would be more than a tenth faster.
"""

import json
import time
from statistics import median
from typing import Any, Final

import torch

from core.specs.job import JobSpec
from core.specs.parsing.job import parse_job
from core.specs.sizes.fusing import fusable, fused_layers, stacks
from core.specs.sizes.shapes import layers_of
from core.specs.validation.limits import Limits
from core.train.devices import exact_kernels
from core.train.fused.problems.supervised import StackedSupervised, problem_of
from core.train.problems.supervised import build_supervised_problem

Json = dict[str, Any]
CPU: Final = torch.device("cpu")
ROUNDS: Final = 5
ROUND_S: Final = 0.15
MOST_RUNS: Final = 16

RELU: Final[Json] = {"kind": "relu"}
FLAT: Final[Json] = {"kind": "flatten"}
END: Final[Json] = {"kind": "linear"}
NORM: Final[Json] = {"kind": "batch_norm"}
POOL: Final[Json] = {"kind": "max_pool2d", "kernel_size": 2}
LAST: Final[Json] = {"kind": "select"}
MEAN: Final[Json] = {"kind": "mean"}


def axes(*sizes: int) -> Json:
    return {"kind": "unflatten", "unflattened_size": list(sizes)}


def wide(width: int) -> Json:
    return {"kind": "linear", "out_features": width}


def conv(channels: int, size: int = 3, **options: Any) -> Json:
    return {"kind": "conv2d", "out_channels": channels, "kernel_size": size, "padding": "same",
            **options}  # fmt: skip


def recurrent(kind: str, width: int) -> Json:
    return {"kind": kind, "hidden_size": width}


def block(width: int, heads: int) -> list[Json]:
    attention = {"kind": "multihead_attention", "num_heads": heads}
    inner = [{"kind": "layer_norm"}, wide(4 * width), {"kind": "gelu"}, wide(width)]
    return [
        {"kind": "residual", "layers": [{"kind": "layer_norm"}, attention]},
        {"kind": "residual", "layers": inner},
    ]


def residual(*layers: Json) -> Json:
    return {"kind": "residual", "layers": list(layers)}


IMAGE: Final = axes(1, 8, 8)
SEQUENCE: Final = axes(8, 8)
LONG: Final = axes(64, 1)
MODELS: Final[dict[str, list[Json]]] = {
    "cnn 8, 16": [IMAGE, conv(8), RELU, POOL, conv(16), RELU, POOL, FLAT, END],
    "the same, batch norm": [
        IMAGE, conv(8), NORM, RELU, POOL, conv(16), NORM, RELU, POOL, FLAT, END,
    ],
    "cnn 32, 64": [IMAGE, conv(32), RELU, POOL, conv(64), RELU, POOL, FLAT, END],
    "resnet 16": [
        IMAGE, conv(16), residual(conv(16), NORM, RELU, conv(16), NORM), RELU,
        residual(conv(16), NORM, RELU, conv(16), NORM), RELU,
        {"kind": "adaptive_avg_pool2d", "output_size": 1}, FLAT, END,
    ],
    "cnn of a line": [
        axes(1, 64), {"kind": "conv1d", "out_channels": 8, "kernel_size": 5, "stride": 2}, RELU,
        {"kind": "conv1d", "out_channels": 16, "kernel_size": 3, "stride": 2}, RELU, FLAT, END,
    ],
    "depthwise": [
        IMAGE, conv(8), RELU, conv(8, groups=8), RELU, conv(16, 1), RELU, POOL, FLAT, END,
    ],
    "rnn 32": [SEQUENCE, recurrent("rnn", 32), LAST, END],
    "gru 32": [SEQUENCE, recurrent("gru", 32), LAST, END],
    "gru 128": [SEQUENCE, recurrent("gru", 128), LAST, END],
    "gru 16, 64 times": [LONG, recurrent("gru", 16), LAST, END],
    "lstm 32": [SEQUENCE, recurrent("lstm", 32), LAST, END],
    "lstm 128": [SEQUENCE, recurrent("lstm", 128), LAST, END],
    "lstm 16, 64 times": [LONG, recurrent("lstm", 16), LAST, END],
    "transformer 32": [SEQUENCE, wide(32), {"kind": "positions"}, *block(32, 4), MEAN, END],
    "two blocks": [
        SEQUENCE, wide(32), {"kind": "positions"}, *block(32, 4), *block(32, 4), MEAN, END,
    ],
    "transformer 128": [SEQUENCE, wide(128), {"kind": "positions"}, *block(128, 4), MEAN, END],
    "transformer 16, 64 times": [LONG, wide(16), {"kind": "positions"}, *block(16, 2), MEAN, END],
    "residual perceptron": [
        wide(64), RELU, residual(wide(64), RELU), residual(wide(64), RELU), END,
    ],
    "the same, 512": [wide(512), RELU, residual(wide(512), RELU), END],
    "rms norms": [wide(64), {"kind": "rms_norm"}, RELU, wide(64), {"kind": "rms_norm"}, RELU, END],
    "branches": [
        {"kind": "branches", "branches": [[wide(32), RELU], [wide(32), {"kind": "tanh"}]]},
        wide(32), RELU, END,
    ],
}  # fmt: skip
BATCHES: Final = (8, 64, 256)


def job(layers: list[Json], batch: int, seed: int) -> JobSpec:
    problem = {
        "kind": "supervised",
        "data": {"kind": "builtin", "name": "digits"},
        "model": {"kind": "layers", "layers": layers},
    }
    body = {
        "problem": problem,
        "optimizer": {"kind": "adam"},
        "batch_size": batch,
        "seed": seed,
        "device": "cpu",
    }
    return parse_job(json.dumps(body).encode(), Limits())


class Alone:
    """A step of one run: gradients and Adam."""

    def __init__(self, spec: JobSpec) -> None:
        self._problem = build_supervised_problem(
            problem_of(spec), spec.batch_size, seed=spec.seed, device=CPU, dtype=torch.float32,
            metadata={},
        )  # fmt: skip
        self._parameters = self._problem.parameters()
        self._adam = torch.optim.Adam(self._parameters, foreach=False)

    def step(self, number: int) -> None:
        found = torch.autograd.grad(self._problem.loss(number), self._parameters)
        for parameter, gradient in zip(self._parameters, found, strict=True):
            parameter.grad = gradient
        self._adam.step()


class Together:
    """A step of many: gradients, and Adam on the rows that hold a run each."""

    def __init__(self, specs: list[JobSpec]) -> None:
        self._problem = StackedSupervised(specs, CPU, torch.float32, specs)
        self._means, self._squares = torch.zeros((2, *self._problem.rows.shape))

    def step(self, number: int) -> None:
        _, gradient = self._problem.gradients(number)
        self._problem.commit()
        self._means.lerp_(gradient, 0.1)
        self._squares.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        below = self._squares.sqrt().add_(1e-8)
        self._problem.rows.addcdiv_(self._means, below, value=-1e-3)


def seconds_a_step(of: Alone | Together, first: int) -> float:
    began, steps = time.process_time(), 0
    while steps < 2 or time.process_time() - began < ROUND_S:
        of.step(first + steps)
        steps += 1
    return (time.process_time() - began) / steps


def measure(layers: list[Json], batch: int) -> tuple[int, float, float]:
    """Return how many runs a stack has, and the CPU seconds of a step of a run alone and of one
    among these."""
    specs = [job(layers, batch, seed) for seed in range(MOST_RUNS)]
    runs = len(stacks(specs)[0]) if fusable(specs[0]) else 4
    with exact_kernels():
        torch.set_num_threads(1)
        alone, together = Alone(specs[0]), Together(specs[:runs])
        seconds_a_step(alone, 0), seconds_a_step(together, 0)
        pairs = [
            (seconds_a_step(alone, 1000 * n), seconds_a_step(together, 1000 * n) / runs)
            for n in range(ROUNDS)
        ]
    return runs, median(a for a, _ in pairs), median(b for _, b in pairs)


def main() -> None:
    """Print the table; the exit status does not depend on it."""
    print("model                     batch  runs   alone µs  stack µs  ratio  chosen")
    for name, layers in MODELS.items():
        for batch in BATCHES:
            runs, alone, stack = measure(layers, batch)
            fused = fused_layers(layers_of(problem_of(job(layers, batch, 0))), batch)
            better = alone / stack if fused else stack / alone
            wrong = "" if better > 1 / 1.1 else f"  the other is {1 / better:.2f} times faster"
            print(
                f"{name:24}  {batch:5}  {runs:4}  {alone * 1e6:9.0f} {stack * 1e6:9.0f}"
                f"  {alone / stack:5.2f}  {'stack' if fused else 'alone'}{wrong}",
                flush=True,
            )


if __name__ == "__main__":
    main()
