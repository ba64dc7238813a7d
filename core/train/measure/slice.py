"""The loss around a point on a plane through it, for a picture.

Two random directions, each filter by filter as long as the weights, biases and norms left alone, so
that pictures of different networks can be compared: Li et al. 2018, "Visualizing the Loss Landscape
of Neural Nets", section 4.
"""

import math
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Final

import torch
from torch import Tensor

from core.artifacts.base import JobArtifacts
from core.specs.base import Json
from core.specs.direction import sign_of_job
from core.specs.job import JobSpec
from core.train.checkpoint.snapshot import decode, step_name
from core.train.determinism import generator
from core.train.devices import exact_kernels, pick_device
from core.train.measure.objective import Objective, build_objective, flat, weights_at
from core.train.tensors.tensor_file import parse

FINEST: Final = 21
COARSEST: Final = 5
"""Points a side: as many as there is time for, an odd number, so that the middle is the point."""


def slice_checkpoint(
    spec: JobSpec,
    artifacts: JobArtifacts,
    checkpoint: str,
    *,
    device: str = "cpu",
    budget_s: float,
    clock: Callable[[], float] = perf_counter,
) -> Json | None:
    """Return `{"offsets", "loss"}`: the loss at offsets[i] along the first direction and offsets[j]
    along the second is `loss[j][i]`, None where it is not finite. None: no time for it.

    Args:
        checkpoint: as for `core.train.measure.measure.measure_checkpoint`.
        budget_s: about how long it may take.

    Raises:
        NotFoundError: there is no such checkpoint.
        ArtifactError: it cannot be read.
    """
    weights: Mapping[str, Tensor]
    if checkpoint.isdigit():
        where = str(pick_device(device))
        data = artifacts.read(step_name(int(checkpoint)))
        weights = weights_at(spec, decode(data, spec, where).moment, where)
    else:
        weights, _ = parse(artifacts.read(f"{checkpoint}.safetensors"))
    with exact_kernels():
        objective = build_objective(spec, weights, pick_device(device))
        return loss_slice(objective, spec.seed, budget_s, clock, sign_of_job(spec))


def loss_slice(
    objective: Objective,
    seed: int,
    budget_s: float,
    clock: Callable[[], float] = perf_counter,
    sign: float = 1.0,
) -> Json | None:
    """Compute the slice of `slice_checkpoint`. The plane follows from the seed; `sign`: by which
    the objective is the loss."""
    begin = clock()
    first, second = (direction(objective, seed, index) for index in (0, 1))
    objective.loss_at(first)  # the first pass allocates
    started = clock()
    objective.loss_at(second)
    each = max(clock() - started, 1e-6)
    left = budget_s - (clock() - begin)
    affordable = math.isqrt(max(0, int(left / each))) if math.isfinite(left) else 0
    points = min(FINEST, affordable - (affordable + 1) % 2)
    if points < COARSEST:
        return None
    last = points - 1
    offsets = [(2 * place - last) / last for place in range(points)]
    loss: list[list[float | None]] = []
    for down in offsets:
        row = [sign * objective.loss_at(across * first + down * second) for across in offsets]
        loss.append([value if math.isfinite(value) else None for value in row])
        if clock() - begin > 2 * budget_s:
            return None
    return {"offsets": offsets, "loss": loss}


def direction(objective: Objective, seed: int, index: int) -> Tensor:
    """Return a random direction: for a function's point, of the length of the point (at least 1);
    for a model, each row of a weight matrix as long as that row, biases and norms 0."""
    draws = generator(seed, "slice", index)
    parts: list[Tensor] = []
    for parameter in objective.parameters:
        weights = parameter.detach()
        drawn = torch.randn(weights.shape, generator=draws, dtype=torch.float64)
        drawn = drawn.to(weights.device)
        if objective.model is None:
            length = max(1.0, float(weights.norm()))
            parts.append(drawn * (length / max(float(drawn.norm()), 1e-300)))
        elif weights.dim() < 2:
            parts.append(torch.zeros_like(weights))
        else:
            sizes, lengths = (
                each.flatten(1).norm(dim=1).view(-1, *[1] * (each.dim() - 1))
                for each in (weights, drawn)
            )
            parts.append(drawn * (sizes / lengths))
    return flat(parts)
