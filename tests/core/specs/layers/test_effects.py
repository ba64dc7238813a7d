"""Shapes, counts and work of layers, held against torch's modules on its meta device."""

import random
from collections.abc import Callable
from typing import Any, Final, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from core.specs.layers import kinds as k
from core.specs.layers.effects.base import Shape, ShapeError
from core.specs.layers.effects.effect import effect

TRIES: Final = 80
ROWS: Final = 2

Draw = random.Random
Options = dict[str, Any]


def one(draw: Draw, least: int, most: int) -> int:
    return draw.randint(least, most)


def two(draw: Draw, least: int, most: int) -> tuple[int, int]:
    return draw.randint(least, most), draw.randint(least, most)


def number(draw: Draw, axes: int, least: int, most: int) -> Any:
    return (one if axes == 1 else two)(draw, least, most)


def convolution(axes: int) -> Callable[[Draw], Options]:
    def options(draw: Draw) -> Options:
        same = draw.random() < 0.2
        return {
            "out_channels": draw.choice([1, 2, 4, 6]),
            "kernel_size": number(draw, axes, 1, 4),
            "stride": number(draw, axes, 1, 1 if same and draw.random() < 0.8 else 3),
            "padding": "same" if same else number(draw, axes, 0, 3),
            "dilation": number(draw, axes, 1, 3),
            "groups": draw.choice([1, 1, 2, 3]),
            "bias": draw.random() < 0.5,
            "padding_mode": draw.choice(["zeros", "zeros", "reflect", "replicate", "circular"]),
        }

    return options


def transposed(axes: int) -> Callable[[Draw], Options]:
    def options(draw: Draw) -> Options:
        return {
            "out_channels": draw.choice([1, 2, 4, 6]),
            "kernel_size": number(draw, axes, 1, 4),
            "stride": number(draw, axes, 1, 3),
            "padding": number(draw, axes, 0, 2),
            "output_padding": number(draw, axes, 0, 1),
            "dilation": number(draw, axes, 1, 2),
            "groups": draw.choice([1, 1, 2]),
            "bias": draw.random() < 0.5,
        }

    return options


def window(axes: int, *, dilated: bool) -> Callable[[Draw], Options]:
    def options(draw: Draw) -> Options:
        found: Options = {
            "kernel_size": number(draw, axes, 1, 4),
            "stride": draw.choice([None, number(draw, axes, 1, 3)]),
            "padding": number(draw, axes, 0, 2),
            "ceil_mode": draw.random() < 0.5,
        }
        if dilated:
            return {**found, "dilation": number(draw, axes, 1, 2)}
        return {**found, "count_include_pad": draw.random() < 0.5}

    return options


def recurrent(draw: Draw) -> Options:
    layers = draw.choice([1, 1, 2])
    return {
        "hidden_size": draw.randint(1, 4),
        "num_layers": layers,
        "bias": draw.random() < 0.5,
        "bidirectional": draw.random() < 0.5,
        "dropout": 0.1 if layers > 1 else 0.0,
    }


def nothing(draw: Draw) -> Options:
    return {}


OPTIONS: Final[dict[str, Callable[[Draw], Options]]] = {
    "linear": lambda d: {"out_features": d.randint(1, 5), "bias": d.random() < 0.5},
    "conv1d": convolution(1),
    "conv2d": convolution(2),
    "conv_transpose1d": transposed(1),
    "conv_transpose2d": transposed(2),
    "embed_categories": lambda d: {
        "places": tuple((d.randint(0, 3), d.randint(1, 2)) for _ in range(d.randint(1, 2))),
        "embedding_dim": d.randint(1, 3),
    },
    "rnn": recurrent,
    "lstm": recurrent,
    "gru": recurrent,
    "multihead_attention": lambda d: {"num_heads": d.choice([1, 2, 3]), "bias": d.random() < 0.5},
    "batch_norm": lambda d: {"affine": d.random() < 0.7},
    "layer_norm": lambda d: {"elementwise_affine": d.random() < 0.7, "bias": d.random() < 0.5},
    "rms_norm": lambda d: {"elementwise_affine": d.random() < 0.7},
    "group_norm": lambda d: {"num_groups": d.choice([1, 2, 3]), "affine": d.random() < 0.7},
    "max_pool1d": window(1, dilated=True),
    "max_pool2d": window(2, dilated=True),
    "avg_pool1d": window(1, dilated=False),
    "avg_pool2d": window(2, dilated=False),
    "adaptive_avg_pool1d": lambda d: {"output_size": d.randint(1, 4)},
    "adaptive_avg_pool2d": lambda d: {"output_size": two(d, 1, 4)},
    "upsample": lambda d: {"scale_factor": d.randint(1, 3)},
    "dropout": lambda d: {"p": d.choice([0.0, 0.3])},
    "flatten": lambda d: {"start_dim": d.choice([1, 2, -2]), "end_dim": d.choice([-1, 2, 1])},
    "unflatten": lambda d: {"dim": d.choice([1, -1, 2]), "unflattened_size": two(d, 1, 3)},
    "transpose": lambda d: {"dim0": d.choice([1, -2]), "dim1": d.choice([2, 3, -1])},
    "select": lambda d: {"dim": d.choice([1, 2, -1]), "index": d.randint(-4, 3)},
    "mean": lambda d: {"dim": d.choice([1, 2, 3, -1])},
    "positions": nothing,
    "embedding": lambda d: {"num_embeddings": d.randint(1, 5), "embedding_dim": d.randint(1, 4)},
    "final_state": lambda d: {"bidirectional": d.random() < 0.5},
    **{layer.model_fields["kind"].default: nothing for layer in get_args(k.Activation)},
}
KINDS: Final[dict[str, type[Any]]] = {
    layer.model_fields["kind"].default: layer for layer in get_args(k.Leaf)
}


class First(nn.Module):
    """The first of what a module gives."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.module(x)[0]
        return found


class Looking(First):
    """A table, of numbers that are ids."""

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.module(x.long())
        return found


def both_ends(x: Tensor) -> Tensor:
    ways = torch.unflatten(x, -1, (2, -1))
    return torch.cat([ways[:, -1, 0], ways[:, 0, 1]], -1)


class Attending(nn.Module):
    def __init__(self, width: int, options: Options) -> None:
        super().__init__()
        self.module = nn.MultiheadAttention(width, batch_first=True, **options)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.module(x, x, x, need_weights=True)[0]
        return found


class Vectors(nn.Module):
    """Each category's columns times its part of the weight, behind the other columns."""

    def __init__(self, features: int, options: Options) -> None:
        super().__init__()
        places, width = options["places"], options["embedding_dim"]
        self.columns = [list(range(start, start + count)) for start, count in places]
        every = [column for columns in self.columns for column in columns]
        if every != sorted(set(every)) or every[-1] >= features:
            raise ValueError("places overlap, are not in order, or lie beyond the row")
        self.rest = [column for column in range(features) if column not in every]
        self.weight = nn.Parameter(torch.empty(len(every), width))

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 2:
            raise ValueError("rows of features only")
        found, start = [x[:, self.rest]], 0
        for columns in self.columns:
            found.append(x[:, columns] @ self.weight[start : start + len(columns)])
            start += len(columns)
        return torch.cat(found, 1)


class Calling(nn.Module):
    def __init__(self, call: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x)


def torchs(kind: str, options: Options, shape: Shape) -> nn.Module:  # noqa: C901, PLR0912 (one case a kind)
    """Make torch's own module, as its documentation says."""
    match kind:
        case "linear":
            return nn.Linear(shape[-1], **options)
        case "conv1d":
            return nn.Conv1d(shape[0], **options)
        case "conv2d":
            return nn.Conv2d(shape[0], **options)
        case "conv_transpose1d":
            return nn.ConvTranspose1d(shape[0], **options)
        case "conv_transpose2d":
            return nn.ConvTranspose2d(shape[0], **options)
        case "embed_categories":
            return Vectors(shape[-1], options)
        case "rnn" | "lstm" | "gru":
            module = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[kind]
            return First(module(shape[-1], batch_first=True, **options))
        case "multihead_attention":
            return Attending(shape[-1], options)
        case "batch_norm":
            return [nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d][len(shape) - 1](
                shape[0], **options
            )
        case "layer_norm":
            return nn.LayerNorm(shape[-1], **options)
        case "rms_norm":
            return nn.RMSNorm(shape[-1], **options)
        case "group_norm":
            return nn.GroupNorm(num_channels=shape[0], **options)
        case "transpose":
            return Calling(lambda x: x.transpose(**options))
        case "select":
            return Calling(lambda x: x.select(**options))
        case "mean":
            return Calling(lambda x: x.mean(**options))
        case "positions":
            return Calling(lambda x: x)
        case "embedding":
            return Looking(nn.Embedding(**options))
        case "final_state":
            return Calling(both_ends if options["bidirectional"] else lambda x: x[:, -1])
        case "max_pool1d" | "max_pool2d" | "avg_pool1d" | "avg_pool2d":
            name = kind.replace("max_p", "MaxP").replace("avg_p", "AvgP")
            module = getattr(nn, name)
            return module(**options)  # type: ignore[no-any-return]
        case "adaptive_avg_pool1d":
            return nn.AdaptiveAvgPool1d(**options)
        case "adaptive_avg_pool2d":
            return nn.AdaptiveAvgPool2d(**options)
        case "upsample":
            return nn.Upsample(**options)
        case "dropout":
            return nn.Dropout(**options)
        case "flatten":
            return nn.Flatten(**options)
        case "unflatten":
            return nn.Unflatten(**options)
        case _:
            return nn.Identity()


def axes_of(kind: str) -> int | None:
    """The axes that torch takes with the rows; without them it would take the rows for one."""
    if kind in ("rnn", "lstm", "gru", "multihead_attention", "positions", "final_state"):
        return 2
    if kind in ("embed_categories", "embedding"):
        return 1
    if kind.endswith("1d"):
        return 2
    return 3 if kind.endswith("2d") else None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore")
def test_a_layer_does_to_a_row_what_torchs_module_does(kind: str) -> None:
    draw = random.Random(f"effects {kind}")
    taken = refused = 0
    for _ in range(TRIES):
        axes = axes_of(kind) or draw.randint(1, 3)
        shape = (draw.choice([1, 2, 3, 4, 6]), *(draw.randint(1, 7) for _ in range(axes - 1)))
        options = OPTIONS[kind](draw)
        layer = KINDS[kind](**options)
        try:
            found = effect(layer, shape)
        except ShapeError:
            assert not accepts(kind, options, shape), (kind, options, shape)
            refused += 1
            continue
        module, output, flops = expected(kind, options, shape)
        taken += 1
        case = (kind, options, shape)
        assert found.output == output, case
        if kind == "positions":
            assert [parameter.shape for parameter in found.parameters] == [shape]
            continue
        mine = {parameter.name: parameter.shape for parameter in found.parameters}
        prefix = "module." if isinstance(module, (First, Attending)) else ""
        theirs = {name: tuple(each.shape) for name, each in module.named_parameters()}
        assert {prefix + name: size for name, size in mine.items()} == theirs, case
        assert list(mine) == [name.removeprefix(prefix) for name in theirs], case
        if flops is not None:
            assert found.multiply_adds == flops // (2 * ROWS) + added(kind, found.output, mine), (
                case
            )
    assert taken > TRIES // 10
    assert taken == TRIES or refused > 0


def added(kind: str, output: Shape, parameters: dict[str, Shape]) -> int:
    """What biases, scales and shifts add to the products."""
    numbers = 1
    for size in output:
        numbers *= size
    plain = [name for name in parameters if name in ("bias", "weight")]
    norm = kind.endswith("norm")
    return numbers * sum(norm or name == "bias" for name in plain)


def expected(kind: str, options: Options, shape: Shape) -> tuple[nn.Module, Shape, int | None]:
    """Run torch's module on its meta device: its output's shape, and its floating-point operations
    where torch counts them."""
    with torch.device("meta"):
        module = torchs(kind, options, shape)
        x = torch.empty(ROWS, *shape)
        counter = FlopCounterMode(display=False)
        with counter:
            output = module(x)
    counted = kind not in ("rnn", "lstm", "gru", "multihead_attention")
    return module, tuple(output.shape[1:]), counter.get_total_flops() if counted else None


def accepts(kind: str, options: Options, shape: Shape) -> bool:
    """Tell whether torch takes it: on a CPU, since the meta device takes what a CPU refuses."""
    dims = [
        options[name] for name in ("dim", "dim0", "dim1", "start_dim", "end_dim") if name in options
    ]
    if any(dim < -len(shape) for dim in dims):
        return False  # torch would take the rows' axis
    try:
        output = torchs(kind, options, shape)(torch.zeros(ROWS, *shape))
    except (RuntimeError, ValueError, IndexError, AssertionError, TypeError, NotImplementedError):
        return False
    if kind.startswith("conv_transpose") and 0 in output.shape:
        return False  # torch gives nothing, without an error
    return not (
        kind in ("rnn", "lstm", "gru") and options["dropout"] and options["num_layers"] == 1
    )
