"""Optimizers built of specs, on parameters of their own."""

import json
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from core.specs.optimizers.kinds import Optimizer, TorchOptimizer
from core.specs.unions import members
from core.train.optim.build import build_optimizer

Json = dict[str, Any]
REFERENCE: Json = json.loads((Path(__file__).parent / "trajectories.json").read_text())
"""Written by scripts/reference_trajectories.py, which says what it holds."""


def built(parameters: list[nn.Parameter], spec: Json) -> torch.optim.Optimizer:
    adapter: TypeAdapter[Optimizer] = TypeAdapter(Optimizer)
    return build_optimizer(adapter.validate_json(json.dumps(spec)), parameters)


def tensors(values: list[Any]) -> list[Tensor]:
    return [torch.tensor(value, dtype=torch.float64) for value in values]


WITH_MOMENTUM: dict[str, Json] = {"sgd": {"momentum": 0.9}, "rmsprop": {"momentum": 0.9}}
"""Options without which a kind has no momentum."""


DECOUPLING = [
    kind
    for kind, model in members("optimizer").items()
    if issubclass(model, TorchOptimizer) and "decoupled_weight_decay" in model.model_fields
]
