"""The torch module of each layer that has parameters; unfilled: `initializers` draws them, once."""

import math
from typing import Any, assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional

from core.specs.base import Spec
from core.specs.layers import kinds as k
from core.specs.layers.trace import Placed


class _Unfilled(nn.Module):
    def reset_parameters(self) -> None:
        """Leave the parameters undrawn: `initialize` fills them."""


class Affine(_Unfilled, nn.Linear):
    """torch's Linear."""


class _Conv1d(_Unfilled, nn.Conv1d):
    pass


class _Conv2d(_Unfilled, nn.Conv2d):
    pass


class _ConvTranspose1d(_Unfilled, nn.ConvTranspose1d):
    pass


class _ConvTranspose2d(_Unfilled, nn.ConvTranspose2d):
    pass


class _RNN(_Unfilled, nn.RNN):
    pass


class _LSTM(_Unfilled, nn.LSTM):
    pass


class _GRU(_Unfilled, nn.GRU):
    pass


class CategoryVectors(nn.Module):
    """Rows of features (…, features) → those that are no category, then the categories' vectors.

    A product with columns of 0 and 1 is a look-up of a row, to the bit.
    """

    def __init__(self, layer: k.EmbedCategories, features: int, dtype: torch.dtype) -> None:
        super().__init__()
        widths = [width for _, width in layer.places]
        shape = (sum(widths), layer.embedding_dim)
        self.weight = nn.Parameter(torch.empty(shape, dtype=dtype))
        self._places = layer.places
        self._widths = widths
        bounds = [0, *(end for start, width in layer.places for end in (start, start + width))]
        # Between the categories: from the end of one to the start of the next.
        self._others = [
            slice(*between)
            for between in zip(bounds[::2], [*bounds[1::2], features], strict=True)
            if between[0] < between[1]
        ]

    def forward(self, x: Tensor) -> Tensor:
        parts = [x[..., part] for part in self._others]
        tables = torch.split(self.weight, self._widths)
        parts += [
            x[..., start : start + width] @ table
            for (start, width), table in zip(self._places, tables, strict=True)
        ]
        return torch.cat(parts, -1)


class Embedding(_Unfilled, nn.Embedding):
    """torch's Embedding."""


class Positions(nn.Module):
    """A vector for each time: (rows, time, features) → the same."""

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight


class Attention(nn.Module):
    """Self-attention with the parameters of torch's MultiheadAttention: (…, time, features) → the
    same.

    The products and the softmax are written out (Vaswani et al. 2017, equation 1): torch's fused
    kernel has no rule for many models at once, and is no faster for short sequences.
    """

    def __init__(self, layer: k.MultiheadAttention, width: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty((3 * width, width), dtype=dtype))
        self.in_proj_bias = (
            nn.Parameter(torch.empty(3 * width, dtype=dtype)) if layer.bias else None
        )
        self.out_proj = Affine(width, width, bias=layer.bias, dtype=dtype)
        self._layer = layer

    def forward(self, x: Tensor, dropout: float = 0.0) -> Tensor:
        """Attend; `dropout`: the share of the attention weights that are left out."""
        layer, width = self._layer, x.shape[-1]
        heads = layer.num_heads
        bias: Tensor | None = self.in_proj_bias
        if bias is not None and not layer.rotary:
            # What it adds to all keys the softmax takes away again: its gradient would be rounding
            # errors, of which adaptive methods make whole steps.
            queries, keys, values = bias.chunk(3)
            bias = torch.cat([queries, keys.detach(), values])
        parts = functional.linear(x, self.in_proj_weight, bias).chunk(3, -1)
        q, key, v = (
            part.reshape(*x.shape[:-1], heads, width // heads).transpose(-3, -2) for part in parts
        )
        if layer.rotary:
            q, key = _rotated(q), _rotated(key)
        scores = (q / math.sqrt(width // heads)) @ key.transpose(-2, -1)
        if layer.causal:
            time = x.shape[-2]
            later = torch.ones((time, time), dtype=torch.bool, device=x.device).triu(1)
            scores = scores.masked_fill(later, -math.inf)
        weights = scores.softmax(-1)
        if dropout:
            weights = functional.dropout(weights, dropout)
        seen = (weights @ v).transpose(-3, -2).reshape(x.shape)
        return functional.linear(seen, self.out_proj.weight, self.out_proj.bias)


def _rotated(x: Tensor) -> Tensor:
    """Turn the pair of features i and i + d/2 of (…, time, d) by time·10000^(−2i/d)
    (Su et al. 2021, arXiv 2104.09864)."""
    time, width = x.shape[-2:]
    half = width // 2
    rates = 10000.0 ** (-torch.arange(half, dtype=torch.float64, device=x.device) / half)
    angles = torch.arange(time, dtype=torch.float64, device=x.device).unsqueeze(1) * rates
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def module_of(placed: Placed, dtype: torch.dtype) -> nn.Module | None:
    """Return the layer's module, on the CPU; None: it has neither parameters nor statistics."""
    layer, shape = placed.layer, placed.input
    match layer:
        case k.LinearLayer(out_features=outputs, bias=bias):
            assert outputs is not None
            return Affine(shape[-1], outputs, bias=bias is not False, dtype=dtype)
        case k.Conv1d() | k.Conv2d() | k.ConvTranspose1d() | k.ConvTranspose2d():
            return _convolution(layer, shape[0], dtype)
        case k.EmbedCategories():
            return CategoryVectors(layer, shape[-1], dtype)
        case k.RNN() | k.LSTM() | k.GRU():
            return _recurrent(layer, shape[-1], dtype)
        case k.MultiheadAttention():
            return Attention(layer, shape[-1], dtype)
        case k.Positions():
            return Positions(shape, dtype)
        case k.Embedding(num_embeddings=count, embedding_dim=width):
            assert count is not None
            return Embedding(count, width, dtype=dtype)
        case k.BatchNormLayer() | k.GroupNorm() | k.LayerNormLayer() | k.RMSNorm():
            return _norm(layer, shape, dtype)
        case _:
            return None


def _convolution(
    layer: k.Conv1d | k.Conv2d | k.ConvTranspose1d | k.ConvTranspose2d,
    channels: int,
    dtype: torch.dtype,
) -> nn.Module:
    options: dict[str, Any] = layer.model_dump(exclude={"kind", "name", "out_channels", "bias"})
    kinds: dict[type[Spec], type[nn.Module]] = {
        k.Conv1d: _Conv1d,
        k.Conv2d: _Conv2d,
        k.ConvTranspose1d: _ConvTranspose1d,
        k.ConvTranspose2d: _ConvTranspose2d,
    }
    bias = layer.bias is not False
    return kinds[type(layer)](channels, layer.out_channels, bias=bias, dtype=dtype, **options)


def _recurrent(layer: k.RNN | k.LSTM | k.GRU, width: int, dtype: torch.dtype) -> nn.Module:
    options: dict[str, Any] = layer.model_dump(exclude={"kind", "name", "hidden_size"})
    match layer:
        case k.RNN():
            return _RNN(width, layer.hidden_size, batch_first=True, dtype=dtype, **options)
        case k.LSTM():
            return _LSTM(width, layer.hidden_size, batch_first=True, dtype=dtype, **options)
        case k.GRU():
            return _GRU(width, layer.hidden_size, batch_first=True, dtype=dtype, **options)
        case _:
            assert_never(layer)


def _norm(
    layer: k.BatchNormLayer | k.GroupNorm | k.LayerNormLayer | k.RMSNorm,
    shape: tuple[int, ...],
    dtype: torch.dtype,
) -> nn.Module:
    bias = getattr(layer, "bias", None) is not False
    match layer:
        case k.BatchNormLayer(eps=eps, momentum=momentum, affine=affine):
            of_shape = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
            return of_shape(
                shape[0], eps=eps, momentum=momentum, affine=affine, bias=bias, dtype=dtype
            )
        case k.GroupNorm(num_groups=groups, eps=eps, affine=affine):
            return nn.GroupNorm(groups, shape[0], eps=eps, affine=affine, dtype=dtype)
        case k.LayerNormLayer(eps=eps, elementwise_affine=affine):
            return nn.LayerNorm(
                shape[-1], eps=eps, elementwise_affine=affine, bias=bias, dtype=dtype
            )
        case k.RMSNorm(eps=eps, elementwise_affine=affine):
            return nn.RMSNorm(shape[-1], eps=eps, elementwise_affine=affine, dtype=dtype)
        case _:
            assert_never(layer)
