"""Lists of layers as models: the same numbers as the model written by hand in torch."""

import gc
import json
import random
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from core.specs.job import JobSpec
from core.specs.layers.expand import Expanded, expand
from core.specs.layers.inputs import Inputs
from core.specs.layers.trace import LayerError, named, trace
from core.specs.models import LayerList, TorchDefault
from core.specs.parsing.job import parse_job
from core.specs.sizes.shapes import layers_of
from core.specs.validation.limits import Limits
from core.train.models.initializers import initialize
from core.train.models.layered import LayeredModel
from core.train.problems.supervised import SupervisedProblem, build_supervised_problem
from tests.core.specs.layers.test_effects import KINDS, OPTIONS
from tests.core.train.harness import train

Json = dict[str, Any]
CPU = torch.device("cpu")
STEPS = 20
IMAGE: Json = {"kind": "unflatten", "unflattened_size": [1, 8, 8]}
SEQUENCE: Json = {"kind": "unflatten", "unflattened_size": [8, 8]}
END: Json = {"kind": "linear"}


def job(layers: list[Json], **rest: Any) -> JobSpec:
    problem = {
        "kind": "supervised",
        "data": {"kind": "builtin", "name": "digits", "eval_fraction": 0.5},
        "model": {"kind": "layers", "layers": layers},
    }
    body = {
        "problem": problem,
        "optimizer": {"kind": "adam", "lr": 0.003},
        "precision": "float64",
        "batch_size": 32,
        "budget": {"max_steps": STEPS},
        "device": "cpu",
        **rest,
    }
    return parse_job(json.dumps(body).encode(), Limits())


class Residual(nn.Module):
    def __init__(self, *inside: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.inside, self.shortcut = nn.Sequential(*inside), shortcut

    def forward(self, x: Tensor) -> Tensor:
        around: Tensor = x if self.shortcut is None else self.shortcut(x)
        inside: Tensor = self.inside(x)
        return inside + around


class Inception(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.three = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x)], 1)


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.end = nn.Linear(8 * 64, 10)

    def forward(self, x: Tensor) -> Tensor:
        down = self.down(x)
        small = functional.max_pool2d(torch.relu(down), 2)
        large = functional.interpolate(self.up(small), scale_factor=2.0)
        return self.end(torch.cat([large, down], 1).flatten(1))  # type: ignore[no-any-return]


class Recurrent(nn.Module):
    def __init__(self, layer: nn.RNNBase, width: int) -> None:
        super().__init__()
        self.layer, self.end = layer, nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.layer(x)[0][:, -1])  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """A block with the norm in front, over learned positions."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 12)
        self.positions = nn.Parameter(torch.zeros(8, 12))
        self.norm1 = nn.LayerNorm(12)
        self.attend = nn.MultiheadAttention(12, 3, batch_first=True)
        self.norm2 = nn.LayerNorm(12)
        self.wide, self.back = nn.Linear(12, 24), nn.Linear(24, 12)
        self.end = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x) + self.positions
        y = self.norm1(x)
        x = self.attend(y, y, y, need_weights=False)[0] + x
        y = self.norm2(x)
        x = self.back(functional.gelu(self.wide(y))) + x
        return self.end(x.mean(1))  # type: ignore[no-any-return]


CONV: Json = {"kind": "conv2d", "out_channels": 4, "kernel_size": 3, "padding": 1}
RELU: Json = {"kind": "relu"}
FLAT: Json = {"kind": "flatten"}
LAST: Json = {"kind": "select"}

CASES: dict[str, tuple[list[Json], nn.Module]] = {
    "cnn": (
        [IMAGE, CONV, RELU, {"kind": "max_pool2d", "kernel_size": 2}, FLAT, END],
        nn.Sequential(
            nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(),
            nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 10),
        ),
    ),
    "cnn with batch norm": (
        [IMAGE, CONV, {"kind": "batch_norm"}, RELU, {"kind": "avg_pool2d", "kernel_size": 2}, FLAT,
         END],
        nn.Sequential(
            nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(64, 10),
        ),
    ),
    "resnet": (
        [IMAGE, CONV, {"kind": "residual", "layers": [CONV, {"kind": "group_norm", "num_groups": 2},
         RELU], "shortcut": [{"kind": "conv2d", "out_channels": 4, "kernel_size": 1}]},
         {"kind": "adaptive_avg_pool2d", "output_size": 2}, FLAT, END],
        nn.Sequential(
            nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 4, 3, padding=1),
            Residual(nn.Conv2d(4, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU(),
                     shortcut=nn.Conv2d(4, 4, 1)),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 10),
        ),
    ),
    "branches": (
        [IMAGE, {"kind": "branches", "branches": [
            [{"kind": "conv2d", "out_channels": 2, "kernel_size": 1}],
            [{**CONV, "out_channels": 3}]]}, RELU, FLAT, END],
        nn.Sequential(nn.Unflatten(1, (1, 8, 8)), Inception(), nn.ReLU(), nn.Flatten(),
                      nn.Linear(320, 10)),
    ),
    "u-net": (
        [IMAGE, {**CONV, "name": "down"}, RELU, {"kind": "max_pool2d", "kernel_size": 2}, CONV,
         {"kind": "upsample", "scale_factor": 2}, {"kind": "skip", "source": "down",
         "combine": "cat"}, FLAT, END],
        nn.Sequential(nn.Unflatten(1, (1, 8, 8)), UNet()),
    ),
    "1-d": (
        [{"kind": "unflatten", "unflattened_size": [1, 64]}, {"kind": "conv1d", "out_channels": 3,
         "kernel_size": 5, "stride": 2}, RELU, {"kind": "max_pool1d", "kernel_size": 2}, FLAT, END],
        nn.Sequential(nn.Unflatten(1, (1, 64)), nn.Conv1d(1, 3, 5, stride=2), nn.ReLU(),
                      nn.MaxPool1d(2), nn.Flatten(), nn.Linear(45, 10)),
    ),
    "rnn": (
        [SEQUENCE, {"kind": "rnn", "hidden_size": 6, "bidirectional": True}, LAST, END],
        nn.Sequential(nn.Unflatten(1, (8, 8)),
                      Recurrent(nn.RNN(8, 6, batch_first=True, bidirectional=True), 12)),
    ),
    "lstm": (
        [SEQUENCE, {"kind": "lstm", "hidden_size": 6, "num_layers": 2}, LAST, END],
        nn.Sequential(nn.Unflatten(1, (8, 8)),
                      Recurrent(nn.LSTM(8, 6, num_layers=2, batch_first=True), 6)),
    ),
    "gru": (
        [SEQUENCE, {"kind": "gru", "hidden_size": 6}, LAST, END],
        nn.Sequential(nn.Unflatten(1, (8, 8)), Recurrent(nn.GRU(8, 6, batch_first=True), 6)),
    ),
    "transformer": (
        [SEQUENCE, {"kind": "linear", "out_features": 12}, {"kind": "positions"},
         {"kind": "residual", "layers": [{"kind": "layer_norm"},
          {"kind": "multihead_attention", "num_heads": 3}]},
         {"kind": "residual", "layers": [{"kind": "layer_norm"},
          {"kind": "linear", "out_features": 24}, {"kind": "gelu"},
          {"kind": "linear", "out_features": 12}]}, {"kind": "mean"}, END],
        nn.Sequential(nn.Unflatten(1, (8, 8)), Transformer()),
    ),
}  # fmt: skip


def problem_of(spec: JobSpec) -> SupervisedProblem:
    assert spec.problem.kind == "supervised"
    return build_supervised_problem(
        spec.problem, spec.batch_size, seed=spec.seed, device=CPU, dtype=torch.float64, metadata={}
    )


@pytest.mark.parametrize("name", CASES)
def test_a_list_of_layers_trains_as_the_model_written_by_hand(name: str, tmp_path: Path) -> None:
    layers, by_hand = CASES[name]
    spec = job(layers)
    problem = problem_of(spec)
    by_hand = by_hand.double()
    parameters = list(by_hand.parameters())
    assert [tuple(p.shape) for p in parameters] != []
    _copy(problem, by_hand)
    optimizer = torch.optim.Adam(parameters, lr=0.003)
    expected = []
    for step in range(STEPS):
        features, targets = problem._batches.at(step)
        loss = functional.cross_entropy(by_hand(features), targets)
        expected.append(loss.item())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    found = [row["loss"] for row in train(spec, tmp_path).events.histories["train"].values()]
    assert found == pytest.approx(expected, rel=1e-10)


def _copy(problem: SupervisedProblem, by_hand: nn.Module) -> None:
    """Give the hand-written model the first weights: parameters of the same shapes, in order of
    the layers (the hand-written ones may register theirs in another)."""
    mine = [(tuple(p.shape), p) for p in problem.parameters()]
    with torch.no_grad():
        for theirs in by_hand.parameters():
            place = next(n for n, (shape, _) in enumerate(mine) if shape == tuple(theirs.shape))
            theirs.copy_(mine.pop(place)[1])
    assert not mine


def expanded(layers: list[Any], shape: tuple[int, ...]) -> Expanded:
    return Expanded(trace(named(layers), shape), shape)


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.filterwarnings("ignore")
def test_a_random_list_of_layers_has_the_shapes_that_are_foretold(seed: int) -> None:
    """The parameters by name and shape, the output's shape, and the same numbers when recurrence
    is written out."""
    draw = random.Random(f"lists {seed}")
    shape = (draw.choice([2, 3, 4]), *(draw.randint(2, 6) for _ in range(draw.randint(0, 2))))
    layers: list[Any] = []
    kinds = [kind for kind in KINDS if kind not in ("dropout", "embedding")]
    while len(layers) < 8:
        kind = draw.choice(kinds)
        options = {**OPTIONS[kind](draw)}
        if "dropout" in options:
            options["dropout"] = 0.0
        try:
            expanded([*layers, KINDS[kind](**options)], shape)
        except LayerError:
            continue
        layers.append(KINDS[kind](**options))
    model = expanded(layers, shape)
    rows = torch.randn(
        3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    built = []
    for written_out in (False, True):
        module = LayeredModel(model, torch.float64, recurrence_written_out=written_out)
        initialize(module, model.parameters, TorchDefault(kind="torch_default"), seed)
        built.append(module)
    named_shapes = [(name, tuple(p.shape)) for name, p in built[0].named_parameters()]
    assert named_shapes == [(each.name, each.shape) for each in model.parameters]
    assert all(bool(p.isfinite().all()) for p in built[0].parameters())
    outputs = [module(rows) for module in built]
    assert tuple(outputs[0].shape) == (3, *model.layers[-1].output)
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-10, atol=1e-12)


def test_a_model_is_gone_when_nobody_holds_it() -> None:
    model = LayeredModel(layers_of(job(CASES["resnet"][0]).problem), torch.float32)  # type: ignore[arg-type]
    gc.disable()
    try:
        there = weakref.ref(model)
        del model
        assert there() is None
    finally:
        gc.enable()


def test_initial_weights_are_drawn_as_torch_draws_them() -> None:
    model = LayerList.model_validate_json(
        json.dumps({"kind": "layers", "layers": [
            {"kind": "unflatten", "unflattened_size": [20, 20]},
            {"kind": "gru", "hidden_size": 25}, {"kind": "multihead_attention", "num_heads": 5},
            {"kind": "flatten"}, {"kind": "linear", "out_features": 10},
        ]})
    )  # fmt: skip
    layers = expand(model, Inputs(400), 10)
    module = LayeredModel(layers, torch.float64)
    initialize(module, layers.parameters, TorchDefault(kind="torch_default"), 3)
    bounds = {
        "1.weight_ih_l0": 25**-0.5,
        "1.weight_hh_l0": 25**-0.5,
        "1.bias_ih_l0": 25**-0.5,
        "2.in_proj_weight": (6 / (75 + 25)) ** 0.5,
        "2.out_proj.weight": 25**-0.5,
        "4.weight": 500**-0.5,
        "4.bias": 500**-0.5,
    }
    weights = dict(module.named_parameters())
    for name, bound in bounds.items():
        largest = weights[name].abs().max().item()
        assert 0.5 * bound < largest <= bound, name
    assert not weights["2.in_proj_bias"].any()
