"""The loop that people write: DataLoader, zero_grad, backward, step, `.item()`; two leaner ones.

Run as a program: `python -m benchmarks.usual_loop '{"hidden": [64], …}'` prints seconds a step.
With `"bare": true` the rows lie in memory and the optimizer is torch's fused one; with `"function":
true` it is Rosenbrock's function of two variables.
"""

import json
import sys
from collections.abc import Iterator
from itertools import pairwise
from time import perf_counter

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def make_data(samples: int | None, features: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Digits' training rows (80 %), or `samples` Gaussian rows of 10 classes."""
    if samples is None:
        digits = load_digits()
        x = torch.as_tensor(digits.data, dtype=torch.float32)
        y = torch.as_tensor(digits.target)
        rows = torch.randperm(len(x))[: round(0.8 * len(x))]
        return (x[rows] - x[rows].mean(0)) / (x[rows].std(0) + 1e-8), y[rows]
    return torch.randn(samples, features), torch.randint(10, (samples,))


def seconds_a_step(
    *,
    hidden: list[int],
    batch: int,
    steps: int,
    threads: int,
    samples: int | None,
    features: int,
    bare: bool = False,
) -> float:
    """Train for `steps` updates and keep each loss as a number."""
    torch.set_num_threads(threads)
    x, y = make_data(samples, features)
    widths = [x.shape[1], *hidden]
    layers: list[nn.Module] = []
    for width_in, width_out in pairwise(widths):
        layers += [nn.Linear(width_in, width_out), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(widths[-1], 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001, fused=bare or None)
    loss_function = nn.CrossEntropyLoss()
    loader = DataLoader(TensorDataset(x, y), batch_size=batch, shuffle=True)
    losses: list[float] = []
    begin = perf_counter()
    while len(losses) < steps:
        for inputs, targets in _epoch(x, y, batch) if bare else loader:
            optimizer.zero_grad()
            loss = loss_function(model(inputs), targets)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if len(losses) == steps:
                break
    return (perf_counter() - begin) / steps


def _epoch(
    x: torch.Tensor, y: torch.Tensor, batch: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for rows in torch.split(torch.randperm(len(x)), batch):
        yield x[rows], y[rows]


def seconds_a_function_step(*, steps: int) -> float:
    """Minimize Rosenbrock's function with Adam, each loss and point kept."""
    torch.set_num_threads(1)
    x = torch.tensor([-1.2, 1.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([x], lr=0.01)
    kept: list[tuple[float, list[float]]] = []
    begin = perf_counter()
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        kept.append((loss.item(), x.tolist()))
        optimizer.step()
    return (perf_counter() - begin) / steps


if __name__ == "__main__":
    case = json.loads(sys.argv[1])
    of_function = case.pop("function", False)
    print(seconds_a_function_step(**case) if of_function else seconds_a_step(**case))
