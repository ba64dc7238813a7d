"""Measurements inside a model: layers' gradients and updates, dead units, saturation, noise."""

import math
from collections.abc import Callable
from typing import Final, cast

import numpy as np
import torch
from torch import Tensor, nn

from core.specs.base import Json
from core.specs.job import DataProblem, JobSpec
from core.specs.layers.kinds import GRU, LSTM, RNN, Activation
from core.specs.losses import L1, MSE, BinaryCrossEntropy, CrossEntropy
from core.train.measure.objective import Model, Objective
from core.train.models.activations import activation_function

_ROWS: Final = 2048
_ROWS_IN_TIME: Final = 256
_TIMES: Final = 64
_SATURATING: Final = {"tanh": 1.0, "sigmoid": 0.25, "softsign": 1.0}
"""Activations that flatten out on both sides, and their steepest slope."""
_SEED: Final = 25


def layer_table(
    objective: Objective, gradient: Tensor, update: dict[str, float] | None
) -> list[Json]:
    """Return one entry a weight matrix or kernel: full-data gradient norm, per weight too, and the
    weights' norm.

    Args:
        update: norm of the next (or last) update by parameter name; None: not known.
    """
    found, offset = [], 0
    for name, parameter in zip(objective.names, objective.parameters, strict=True):
        count = parameter.numel()
        part = gradient[offset : offset + count]
        offset += count
        if parameter.ndim < 2:
            continue
        norm, size = float(part.norm()), float(parameter.detach().norm())
        row: Json = {
            "name": name.removesuffix(".weight"),
            "grad_norm": norm,
            "grad_rms": norm / math.sqrt(count),
            "weight_norm": size,
        }
        if update is not None and name in update and size > 0:
            row["update_to_weight"] = update[name] / size
        found.append(row)
    return found


def units(model: Model) -> Json | None:
    """Share of hidden units that are dead (no slope on any row) and of (unit, row) pairs that are
    saturated (slope below 2 % of the steepest; tanh, sigmoid, softsign). None without any."""
    activations = model.module.layers.activations
    if not activations:
        return None
    x = model.features[:: max(1, len(model.features) // _ROWS)]
    with torch.no_grad():
        seen = model.module.before_activations(x)
    dead, flat, layers = 0, 0.0, []
    for placed, z in zip(activations, seen, strict=True):
        layer = cast(Activation, placed.layer)
        top = _SATURATING.get(layer.kind)
        at = z.detach().requires_grad_()
        (slope,) = torch.autograd.grad(activation_function(layer)(at).sum(), at)
        # Channels of images and features of sequences are units; each place is another row.
        axis = model.module.layers.unit_axis(placed)
        by_unit = slope.abs().movedim(axis, -1).flatten(0, -2)
        gone = int((by_unit.amax(dim=0) <= 1e-9).sum())
        share = float((slope.abs() < 0.02 * top).double().mean()) if top is not None else 0.0
        layers.append({"units": by_unit.shape[-1], "dead": gone, "saturated": share})
        dead, flat = dead + gone, flat + share
    total = sum(row["units"] for row in layers)
    return {"dead": dead / total, "saturated": flat / len(layers), "layers": layers}


def through_time(model: Model) -> Json | None:
    """Gradient of the loss in what the first recurrent layer takes at each step: the norm over rows
    and features, at most `_TIMES` of them evenly.

    Returns the `layer`, the number of `steps`, which of them were taken (`at`, from 0 on) and their
    `norms`. None without a recurrent layer of two steps or more.
    """
    layers = model.module.layers.all_layers
    kinds = (RNN, LSTM, GRU)
    first = next((each for each in layers if isinstance(each.layer, kinds)), None)
    if first is None or first.input[0] < 2:
        return None
    taken: list[Tensor] = []

    def take(module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        taken.append(given[0].detach().requires_grad_())
        return (taken[0],)

    rows = slice(None, None, max(1, len(model.features) // _ROWS_IN_TIME))
    hook = model.module.get_submodule(first.name).register_forward_pre_hook(take)
    try:
        loss = model.loss(model.module.forward(model.features[rows]), model.targets[rows])
        (gradient,) = torch.autograd.grad(loss, taken)
    finally:
        hook.remove()
    steps = first.input[0]
    at = np.unique(np.linspace(0, steps - 1, _TIMES).round().astype(int)).tolist()
    norms = torch.linalg.vector_norm(gradient, dim=(0, 2))[at]
    return {"layer": first.name, "steps": steps, "at": at, "norms": norms.tolist()}


def constant_loss(spec: JobSpec, model: Model) -> float | None:
    """Return the loss of the best constant output: a model above it has learned nothing of the
    features. Known for cross-entropy, MSE and L1."""
    problem = spec.problem
    assert isinstance(problem, DataProblem)
    targets = model.targets
    match problem.loss:
        case CrossEntropy(label_smoothing=0.0, class_weights=None, ignore_index=None):
            share = torch.bincount(targets.flatten()).double() / targets.numel()
            share = share[share > 0]
            return float(-(share * share.log()).sum())
        case BinaryCrossEntropy(pos_weight=None) if targets.shape[1] == 1:
            p = targets.double().mean().clamp(1e-12, 1 - 1e-12)
            return float(-(p * p.log() + (1 - p) * (1 - p).log()))
        case MSE():
            return float(targets.var(dim=0, unbiased=False).mean())
        case L1():
            return float((targets - targets.median(dim=0).values).abs().mean())
        case _:
            return None


def noise_scale(
    objective: Objective, gradient: Tensor, batch: int, draws: int, in_time: Callable[[], bool]
) -> Json:
    """Return the gradient noise scale tr(Σ)/|G|² from batches of two sizes: the run's and all rows.

    (McCandlish et al. 2018, arXiv 1812.06162, appendix A.1.) A batch far above it wastes rows, one
    far below it is mostly noise.

    Also returns `squares`, E[g²] over the batches, for the caller (a tensor, not JSON), and the sum
    of its square roots: by how much adaptive steps of rate 1 move all weights together.
    """
    source = torch.Generator().manual_seed(_SEED)
    total, squares = 0.0, torch.zeros_like(gradient)
    done = 0
    while done == 0 or (done < draws and in_time()):
        done += 1
        rows = torch.randperm(objective.rows, generator=source)[:batch].to(gradient.device)
        one = objective.gradient(rows)
        total += float(one @ one)
        squares += one * one
    total, squares = total / done, squares / done
    full = float(gradient @ gradient)
    noise = (total - full) / (1.0 / batch - 1.0 / objective.rows)
    found: Json = {"batch": batch, "trace": max(0.0, noise), "squares": squares}
    found["sum_of_roots"] = float(squares.sqrt().sum())
    if full > 0:
        found["noise_scale"] = max(0.0, noise) / full
    return found
