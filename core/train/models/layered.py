"""A list of layers as one torch module."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from core.specs.layers import kinds as k
from core.specs.layers.expand import Expanded
from core.specs.layers.trace import Placed
from core.train.models.activations import activation_function
from core.train.models.modules import Attention, module_of
from core.train.models.recurrent import written_out

Apply = Callable[[Tensor], Tensor]


@dataclass
class _Pass:
    """State of the present forward pass. Layers hold it, and not the model, which would then
    hold itself and live until its garbage is collected.

    Attributes:
        drops: whether dropout leaves numbers out: in training.
        masks: in place of what it would draw.
        seen: receives what activations are applied to.
    """

    drops: bool = True
    masks: Iterator[Tensor] | None = None
    seen: list[Tensor] | None = None


class LayeredModel(nn.Module):
    """Rows → rows of outputs, layer by layer, as `core.specs.layers` has them.

    Parameters have the names of `Expanded.parameters` and are made on the CPU, unfilled. The
    forward pass calls torch's functions on them directly, which spares the modules' call overhead;
    the numbers are those of torch's modules.

    Attributes:
        layers: what it was made from.
    """

    def __init__(
        self, layers: Expanded, dtype: torch.dtype, *, recurrence_written_out: bool = False
    ) -> None:
        """Make the modules. `recurrence_written_out`: step by step, as many models at once can
        compute it, in place of torch's own."""
        super().__init__()
        self.layers = layers
        self._never_drops = False
        self._pass = _Pass()
        self._by_hand = recurrence_written_out
        self._modules_of: dict[str, nn.Module] = {}  # a plain dict: they are registered once, below
        for placed in layers.all_layers:
            module = module_of(placed, dtype)
            if module is not None:
                self._register(placed.name, module)
        self._with_modes = [m for m in self._modules_of.values() if not isinstance(m, nn.Linear)]
        """Modules that may compute otherwise in training; a plain list, as they are registered."""
        self._apply_all = self._sequence(layers.layers)

    def forward(self, x: Tensor, masks: Sequence[Tensor] | None = None) -> Tensor:
        """Map `x` (rows, …) → (rows, outputs).

        Args:
            masks: in place of what layers of dropout with p > 0 draw, in their order: 0 or
                1/(1 − p).
        """
        if masks is None:
            return self._apply_all(x)
        self._pass.masks = iter(masks)
        try:
            return self._apply_all(x)
        finally:
            self._pass.masks = None

    def train(self, mode: bool = True) -> Self:
        self._pass.drops = mode and not self._never_drops
        self.training = mode
        for module in self._with_modes:
            module.train(mode)
        return self

    def leave_nothing_out(self) -> None:
        """Compute without dropout, in training too."""
        self._never_drops, self._pass.drops = True, False

    def before_activations(self, x: Tensor) -> list[Tensor]:
        """Return what each activation is applied to, in the order of `Expanded.activations`."""
        seen: list[Tensor] = []
        self._pass.seen = seen
        try:
            self._apply_all(x)
        finally:
            self._pass.seen = None
        return seen

    def _register(self, name: str, module: nn.Module) -> None:
        holder: nn.Module = self
        *path, last = name.split(".")
        for part in path:
            if part not in holder._modules:
                holder.add_module(part, nn.Module())
            holder = cast(nn.Module, holder._modules[part])
        holder.add_module(last, module)
        self._modules_of[name] = module

    def _sequence(self, placed: Sequence[Placed]) -> Apply:
        sources = {each.layer.source for each in placed if isinstance(each.layer, k.Skip)}
        applied = [self._apply_of(each) for each in placed]
        if not sources:
            return _in_turn(applied)
        names = [each.name.rsplit(".", 1)[-1] for each in placed]
        skips = [each.layer if isinstance(each.layer, k.Skip) else None for each in placed]
        return _with_skips(applied, names, skips, sources)

    def _apply_of(self, placed: Placed) -> Apply:
        layer = placed.layer
        match layer:
            case k.Residual():
                inside, around = (self._sequence(inner) for inner in placed.inner)
                return lambda x: inside(x) + around(x)
            case k.Branches(combine=combine, dim=dim):
                branches = [self._sequence(inner) for inner in placed.inner]
                return lambda x: combined([branch(x) for branch in branches], combine, dim)
            case k.Skip():
                return _same
            case k.LinearLayer():
                return _linear(cast(nn.Linear, self._modules_of[placed.name]))
            case k.Dropout(p=p):
                return _dropout(p, self._pass) if p else _same
            case k.RNN() | k.LSTM() | k.GRU():
                module = cast(nn.RNNBase, self._modules_of[placed.name])
                if self._by_hand:
                    return lambda x: written_out(layer, module, x)
                return _recurrence(layer, module, self._pass)
            case k.MultiheadAttention():
                attention = cast(Attention, self._modules_of[placed.name])
                return _attention(layer, attention, self._pass)
            case k.Embedding():
                table = cast(nn.Embedding, self._modules_of[placed.name])
                return lambda ids: functional.embedding(ids.long(), table.weight)
            case k.RMSNorm():
                norm = self._modules_of[placed.name]
                # Which autocast, unlike torch's other norms, does not compute in float32.
                kept = next((each.dtype for each in norm.parameters()), torch.float32)
                return lambda x: norm(x.to(kept) if x.dtype == torch.bfloat16 else x)
            case _ if isinstance(layer, get_args(k.Activation)):
                return _activation(cast(k.Activation, layer), self._pass)
            case _:
                plain = self._modules_of.get(placed.name)
                return _plain(placed) if plain is None else plain


def _activation(layer: k.Activation, state: _Pass) -> Apply:
    function = activation_function(layer)

    def apply(x: Tensor) -> Tensor:
        if state.seen is not None:
            state.seen.append(x)
        return function(x)

    return apply


def _dropout(p: float, state: _Pass) -> Apply:
    def apply(x: Tensor) -> Tensor:
        if state.masks is not None:
            return x * next(state.masks)
        # Which numbers are left out follows their order in memory: masks are drawn row by row.
        return functional.dropout(x.contiguous(), p, state.drops)

    return apply


def _recurrence(layer: k.RNN | k.LSTM | k.GRU, module: nn.RNNBase, state: _Pass) -> Apply:
    def apply(x: Tensor) -> Tensor:
        module.dropout = layer.dropout if state.drops else 0.0
        return cast(Tensor, module(x)[0])

    return apply


def _attention(layer: k.MultiheadAttention, module: Attention, state: _Pass) -> Apply:
    if not layer.dropout:
        return module.forward
    return lambda x: module.forward(x, layer.dropout if state.drops else 0.0)


def _in_turn(applied: list[Apply]) -> Apply:
    def apply(x: Tensor) -> Tensor:
        for each in applied:
            x = each(x)
        return x

    return apply


def _with_skips(
    applied: list[Apply], names: list[str], skips: list[k.Skip | None], sources: set[str]
) -> Apply:
    def apply(x: Tensor) -> Tensor:
        kept: dict[str, Tensor] = {}
        for name, skip, each in zip(names, skips, applied, strict=True):
            x = (
                each(x)
                if skip is None
                else combined([x, kept[skip.source]], skip.combine, skip.dim)
            )
            if name in sources:
                kept[name] = x
        return x

    return apply


def combined(parts: list[Tensor], how: str, dim: int) -> Tensor:
    """Add tensors, or put them behind each other along `dim`."""
    if how == "cat":
        return torch.cat(parts, dim)
    first, *others = parts
    for other in others:
        first = first + other
    return first


def _same(x: Tensor) -> Tensor:
    return x


def _linear(module: nn.Linear) -> Apply:
    return lambda x: functional.linear(x, module.weight, module.bias)


def _plain(placed: Placed) -> Apply:
    """Return the function of a layer without parameters."""
    layer = placed.layer
    match layer:
        case k.MaxPool1d() | k.MaxPool2d() | k.AvgPool1d() | k.AvgPool2d():
            return _pool(layer)
        case k.AdaptiveAvgPool1d(output_size=size):
            return lambda x: functional.adaptive_avg_pool1d(x, size)
        case k.AdaptiveAvgPool2d(output_size=sizes):
            return lambda x: functional.adaptive_avg_pool2d(x, sizes)
        case k.Upsample(scale_factor=factor):
            return lambda x: functional.interpolate(x, scale_factor=float(factor), mode="nearest")
        case k.Flatten(start_dim=start, end_dim=end):
            return lambda x: x.flatten(start, end)
        case k.Unflatten(dim=dim, unflattened_size=size):
            return lambda x: torch.unflatten(x, dim, size)
        case k.Transpose(dim0=one, dim1=two):
            return lambda x: x.transpose(one, two)
        case k.Select(dim=dim, index=index):
            return lambda x: x.select(dim, index)
        case k.Mean(dim=dim):
            return lambda x: x.mean(dim)
        case k.FinalState(bidirectional=bidirectional):
            return _both_ends if bidirectional else _last_time
        case _:
            raise AssertionError(f"{layer.kind} has a module")


def _last_time(x: Tensor) -> Tensor:
    return x.select(-2, -1)


def _both_ends(x: Tensor) -> Tensor:
    """Return the states at the end of each way: the last time's, and the first one's of the way
    back."""
    forth, back = x.chunk(2, -1)
    return torch.cat([forth.select(-2, -1), back.select(-2, 0)], -1)


def _pool(layer: k.MaxPool1d | k.MaxPool2d | k.AvgPool1d | k.AvgPool2d) -> Apply:
    options = layer.model_dump(exclude={"kind", "name"})
    options["stride"] = layer.kernel_size if layer.stride is None else layer.stride
    functions: dict[str, Callable[..., Tensor]] = {
        "max_pool1d": functional.max_pool1d,
        "max_pool2d": functional.max_pool2d,
        "avg_pool1d": functional.avg_pool1d,
        "avg_pool2d": functional.avg_pool2d,
    }
    return partial(functions[layer.kind], **options)
