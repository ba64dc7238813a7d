"""Norms of batches, rows and groups of channels."""

from typing import Literal

from core.specs.base import Positive, PositiveInt, UnitInterval
from core.specs.layers.kinds.base import NamedLayer


class BatchNormLayer(NamedLayer):
    """torch's BatchNorm of (features,), (channels, length) or (channels, height, width)."""

    kind: Literal["batch_norm"] = "batch_norm"
    eps: Positive = 1e-5
    momentum: UnitInterval = 0.1
    affine: bool = True
    bias: bool | None = None
    """Add a shift beside the scale. Left out: true, but where a norm of the batch
    further on takes it away again."""


class LayerNormLayer(NamedLayer):
    """torch's LayerNorm over the last axis."""

    kind: Literal["layer_norm"] = "layer_norm"
    eps: Positive = 1e-5
    elementwise_affine: bool = True
    bias: bool | None = None
    """Add a shift beside the scale. Left out: true, but where a norm of the batch
    further on takes it away again."""


class RMSNorm(NamedLayer):
    """torch's RMSNorm over the last axis (Zhang and Sennrich 2019, arXiv 1910.07467)."""

    kind: Literal["rms_norm"] = "rms_norm"
    eps: Positive = 1e-5
    elementwise_affine: bool = True


class GroupNorm(NamedLayer):
    """torch's GroupNorm of (channels, …) (Wu and He 2018, arXiv 1803.08494)."""

    kind: Literal["group_norm"] = "group_norm"
    num_groups: PositiveInt
    eps: Positive = 1e-5
    affine: bool = True
