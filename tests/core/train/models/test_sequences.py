"""Models of sequences: the same losses as models made of torch's own modules, from the same
weights; many at once as each alone; shapes that torch's meta device gives."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from core.specs.job import DataProblem, JobSpec
from core.specs.layers.expand import expand
from core.specs.layers.inputs import Inputs
from core.specs.models import GRUModel
from core.specs.parsing.job import parse_job
from core.specs.sizes.fusing import fusable, groups
from core.specs.sizes.shapes import layers_of, problem_shape
from core.specs.validation.limits import Limits
from core.train.models.layered import LayeredModel
from core.train.problems.supervised import SupervisedProblem, build_supervised_problem
from tests.core.train.fused.harness import train_population
from tests.core.train.harness import train

Json = dict[str, Any]
CPU = torch.device("cpu")
STEPS: Final = 20
TEXT: Final = "".join("abcde fghij.\n"[(i * i + i // 7) % 13] for i in range(400))
CONTEXT: Final = 6
WINDOW, HORIZON, CHANNELS = 5, 3, 3


def rows_of_features() -> Json:
    draw = np.random.default_rng(0)
    features = draw.normal(size=(40, 8))
    return {
        "kind": "supervised",
        "data": {"kind": "inline", "features": features.tolist(), "eval_fraction": 0.25,
                 "targets": (features[:, :4].sum(1) > 0).astype(int).tolist()},
    }  # fmt: skip


def series() -> Json:
    times = np.arange(60)
    targets = np.sin(times / 3)
    features = np.stack([np.cos(times / 5), times % 4], 1)
    return {
        "kind": "forecast",
        "data": {"kind": "inline", "features": features.tolist(), "targets": targets.tolist()},
        "window": WINDOW,
        "horizon": HORIZON,
    }


def text(**rest: Any) -> Json:
    return {
        "kind": "language_model",
        "data": {"kind": "text", "text": TEXT},
        "context": CONTEXT,
        **rest,
    }


PROBLEMS: Final[dict[str, Callable[[], Json]]] = {
    "supervised": rows_of_features,
    "forecast": series,
    "language_model": text,
}


def job(of: str, model: Json, **rest: Any) -> JobSpec:
    body = {
        "problem": {**PROBLEMS[of](), "model": model},
        "optimizer": {"kind": "adam", "lr": 0.01},
        "precision": "float64",
        "batch_size": 16,
        "budget": {"max_steps": STEPS},
        "device": "cpu",
        **rest,
    }
    return parse_job(json.dumps(body).encode(), Limits())


def problem_of(spec: JobSpec) -> SupervisedProblem:
    assert isinstance(spec.problem, DataProblem)
    return build_supervised_problem(
        spec.problem, spec.batch_size, seed=spec.seed, device=CPU, dtype=torch.float64, metadata={}
    )


class ByHand(nn.Module):
    """Embedding or rows in time, torch's own layers, and an affine map."""

    def __init__(self, spec: JobSpec, width: int, outputs_of: int) -> None:
        super().__init__()
        assert isinstance(spec.problem, DataProblem)
        shape = problem_shape(spec.problem)
        self.tokens = spec.problem.kind == "language_model"
        self.length = CONTEXT if self.tokens else WINDOW
        if spec.problem.kind == "supervised":
            self.length = 4
        self.channels = shape.num_features // self.length
        outputs = shape.num_classes or shape.target_width
        self.output = nn.Linear(outputs_of, outputs)
        self.embedding: nn.Module | None = nn.Embedding(outputs, width) if self.tokens else None

    def in_time(self, x: Tensor) -> Tensor:
        if self.tokens:
            assert self.embedding is not None
            embedded: Tensor = self.embedding(x.long())
            return embedded
        return x.reshape(len(x), self.length, self.channels)


class Recurrent(ByHand):
    def __init__(self, spec: JobSpec, kind: Callable[..., nn.RNNBase], **options: Any) -> None:
        both = 2 if options.get("bidirectional") else 1
        super().__init__(spec, 5, 5 * both)
        width = 5 if self.tokens else self.channels
        self.inner = kind(width, 5, num_layers=2, batch_first=True, **options)
        self.mean = getattr(spec.problem, "model").pooling == "mean"  # noqa: B009

    def forward(self, x: Tensor) -> Tensor:
        states = self.inner(self.in_time(x))[0]
        if not self.tokens:
            # Of the way back, the state at the first time is the last.
            states = (
                states.mean(1) if self.mean else torch.cat([states[:, -1, :5], states[:, 0, 5:]], 1)
            )
        found: Tensor = self.output(states)
        return found

    def names(self) -> dict[str, str]:
        found = {}
        for name, _ in self.inner.named_parameters():
            layer = int(name.split("_l")[1][0])
            mine = name.replace(f"_l{layer}", "_l0")
            found[f"inner.{name}"] = f"recurrent.{layer}.{mine}"
        return found


class Encoder(ByHand):
    """torch's encoder with the norm in front, over learned positions."""

    def __init__(self, spec: JobSpec, *, causal: bool, last: bool) -> None:
        super().__init__(spec, 6, 6)
        if not self.tokens:
            self.embedding = nn.Linear(self.channels, 6)
        self.positions = nn.Parameter(torch.zeros(self.length, 6))
        layer = nn.TransformerEncoderLayer(6, 2, 12, 0.0, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(
            layer, 2, norm=nn.LayerNorm(6), enable_nested_tensor=False
        )
        self.causal, self.last = causal, last

    def in_time(self, x: Tensor) -> Tensor:
        x = super().in_time(x)
        assert self.embedding is not None
        x = x if self.tokens else self.embedding(x)
        return x + self.positions

    def forward(self, x: Tensor) -> Tensor:
        mask = None
        if self.causal:
            mask = nn.Transformer.generate_square_subsequent_mask(self.length, dtype=torch.float64)
        states = self.encoder(self.in_time(x), mask=mask)
        if not self.tokens:
            states = states[:, -1] if self.last else states.mean(1)
        found: Tensor = self.output(states)
        return found

    def names(self) -> dict[str, str]:
        parts = {"self_attn": "attend.layers.attention", "norm1": "attend.layers.norm",
                 "linear1": "perceptron.layers.wide", "linear2": "perceptron.layers.back",
                 "norm2": "perceptron.layers.norm"}  # fmt: skip
        found = {"positions": "positions.weight"}
        for name, _ in self.encoder.named_parameters():
            if name.startswith("norm."):
                found[f"encoder.{name}"] = name
                continue
            _, number, part, rest = name.split(".", 3)
            found[f"encoder.{name}"] = f"blocks.{number}.{parts[part]}.{rest}"
        return found


Make = Callable[[JobSpec], Any]
TWO: Final[Json] = {"hidden_size": 5, "num_layers": 2}
SMALL: Final[Json] = {"kind": "transformer", "dim": 6, "num_heads": 2, "mlp_ratio": 2}
OF_ROWS: Final[dict[str, tuple[Json, Make]]] = {
    "rnn": ({"kind": "rnn", **TWO}, lambda spec: Recurrent(spec, nn.RNN)),
    "rnn of relu, mean": (
        {"kind": "rnn", **TWO, "nonlinearity": "relu", "pooling": "mean"},
        lambda spec: Recurrent(spec, nn.RNN, nonlinearity="relu"),
    ),
    "lstm": ({"kind": "lstm", **TWO}, lambda spec: Recurrent(spec, nn.LSTM)),
    "lstm both ways": (
        {"kind": "lstm", **TWO, "bidirectional": True},
        lambda spec: Recurrent(spec, nn.LSTM, bidirectional=True),
    ),
    "gru": ({"kind": "gru", **TWO}, lambda spec: Recurrent(spec, nn.GRU)),
    "gru both ways": (
        {"kind": "gru", **TWO, "bidirectional": True},
        lambda spec: Recurrent(spec, nn.GRU, bidirectional=True),
    ),
    "transformer": (
        {**SMALL, "pooling": "mean"},
        lambda spec: Encoder(spec, causal=False, last=False),
    ),
    "causal transformer": (
        {**SMALL, "causal": True},
        lambda spec: Encoder(spec, causal=True, last=True),
    ),
}
OF_TOKENS: Final[dict[str, tuple[Json, Make]]] = {
    "rnn": ({"kind": "rnn", **TWO}, lambda spec: Recurrent(spec, nn.RNN)),
    "lstm": ({"kind": "lstm", **TWO}, lambda spec: Recurrent(spec, nn.LSTM)),
    "gru": ({"kind": "gru", **TWO}, lambda spec: Recurrent(spec, nn.GRU)),
    "transformer": (SMALL, lambda spec: Encoder(spec, causal=True, last=True)),
}
CASES: Final = [
    *(("supervised", name) for name in OF_ROWS),
    *(("forecast", name) for name in OF_ROWS),
    *(("language_model", name) for name in OF_TOKENS),
]


def case_of(of: str, name: str) -> tuple[JobSpec, Any]:
    model, make = (OF_TOKENS if of == "language_model" else OF_ROWS)[name]
    length = {"length": 4} if of == "supervised" else {}
    spec = job(of, {**model, **length})
    return spec, make(spec).double()


@pytest.mark.parametrize(("of", "name"), CASES)
def test_a_model_of_sequences_trains_as_torchs_own_modules(
    of: str, name: str, tmp_path: Path
) -> None:
    spec, by_hand = case_of(of, name)
    assert_trains_as(spec, by_hand, tmp_path)


def assert_trains_as(spec: JobSpec, by_hand: Any, tmp_path: Path) -> None:
    """Check that a model made by hand has the same losses from the same weights."""
    problem = problem_of(spec)
    mine = dict(problem._model.named_parameters())
    names = by_hand.names()
    with torch.no_grad():
        for theirs, parameter in by_hand.named_parameters():
            parameter.copy_(mine.pop(names.get(theirs, theirs)))
    assert not mine
    optimizer = torch.optim.Adam(by_hand.parameters(), lr=0.01)
    expected = []
    for step in range(STEPS):
        features, targets = problem._batches.at(step)
        outputs = by_hand(features)
        if spec.problem.kind == "forecast":
            loss = functional.mse_loss(outputs, targets)
        else:
            loss = functional.cross_entropy(outputs.movedim(-1, 1), targets)
        expected.append(loss.item())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    trained = train(spec, tmp_path)
    found = [row["loss"] for row in trained.events.histories["train"].values()]
    assert found == pytest.approx(expected, rel=1e-9)


class AlongTime(nn.Module):
    """A convolution along the times of a window, the columns of the series being its channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(CHANNELS, 4, 3, padding=1)
        self.output = nn.Linear(4 * WINDOW, HORIZON)

    def names(self) -> dict[str, str]:
        return {f"conv.{of}": f"stages.0.conv.{of}" for of in ("weight", "bias")}

    def forward(self, rows: Tensor) -> Tensor:
        over_time = rows.reshape(-1, WINDOW, CHANNELS).transpose(1, 2)
        outputs: Tensor = self.output(torch.relu(self.conv(over_time)).flatten(1))
        return outputs


def test_convolutions_of_a_forecast_go_along_time(tmp_path: Path) -> None:
    spec = job("forecast", {"kind": "cnn", "channels": [4], "pool": None})
    assert_trains_as(spec, AlongTime().double(), tmp_path)


STACKED: Final[list[tuple[str, Json]]] = [
    ("supervised", {"kind": "gru", **TWO, "length": 4, "bidirectional": True}),
    ("supervised", {"kind": "rnn", **TWO, "dropout": 0.3}),
    ("forecast", {"kind": "gru", **TWO, "dropout": 0.2}),
    ("forecast", {"kind": "cnn", "channels": [4], "pool": "max"}),
    ("forecast", {**SMALL, "positions": "rotary", "dim": 4, "dropout": 0.1}),
    ("language_model", {"kind": "gru", **TWO}),
    ("language_model", {**SMALL, "dropout": 0.1}),
    ("language_model", {"kind": "rnn", **TWO}),
]


@pytest.mark.parametrize(("of", "model"), STACKED)
def test_many_at_once_are_each_as_alone(of: str, model: Json, tmp_path: Path) -> None:
    record = {"eval_every": 8}
    specs = [
        job(of, model, seed=seed, optimizer={"kind": "adam", "lr": lr}, record=record)
        for seed, lr in ((0, 0.01), (1, 0.02), (1, 0.005))
    ]
    assert groups(specs) == [[0, 1, 2]]
    gathered = train_population(specs)
    for number, spec in enumerate(specs):
        alone = train(spec, tmp_path / str(number))
        losses = gathered.column(number, "loss")
        assert losses == pytest.approx(alone.column("loss"), rel=1e-9)
        for name in ("loss", "accuracy", "perplexity", "rmse"):
            if name in alone.events.histories["eval"][0]:
                found = gathered.column(number, name, "eval")
                assert found == pytest.approx(alone.column(name, "eval"), rel=1e-9)


def test_an_lstm_trains_alone() -> None:
    """torch's own is faster than one that is written out, many at once (docs/figures.md)."""
    assert not fusable(job("supervised", {"kind": "lstm", **TWO}))


@pytest.mark.parametrize("of", PROBLEMS)
def test_micro_batches_of_sequences_are_the_whole_batch(of: str, tmp_path: Path) -> None:
    model = {**SMALL, "dropout": 0.2}
    whole = train(job(of, model), tmp_path / "whole").column("loss")
    parts = train(job(of, model, accumulate=4), tmp_path / "parts").column("loss")
    assert parts == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize(("of", "name"), CASES)
def test_shapes_are_those_of_the_meta_device(of: str, name: str) -> None:
    spec, by_hand = case_of(of, name)
    assert isinstance(spec.problem, DataProblem)
    layers = layers_of(spec.problem)
    assert layers.num_parameters == sum(p.numel() for p in by_hand.parameters())
    model = LayeredModel(layers, torch.float32).to("meta")
    rows = torch.zeros(2, *layers.input, device="meta")
    assert tuple(model(rows).shape[1:]) == layers.layers[-1].output
    assert {n: tuple(p.shape) for n, p in model.named_parameters()} == {
        each.name: each.shape for each in layers.parameters
    }


def test_an_image_is_read_row_by_row() -> None:
    """(channels, height, width) is `height` steps of channels x width numbers."""
    layers = expand(GRUModel(kind="gru", hidden_size=3), Inputs(24, (2, 3, 4)), 5)
    model = LayeredModel(layers, torch.float64)
    seen: list[Tensor] = []
    gru = model.get_submodule("recurrent.0")
    gru.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    image = torch.arange(24.0, dtype=torch.float64).reshape(2, 3, 4)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    model(image.reshape(1, -1))
    expected = torch.stack([torch.cat([image[0, row], image[1, row]]) for row in range(3)])
    assert torch.equal(seen[0][0], expected)
