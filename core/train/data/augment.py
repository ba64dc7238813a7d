"""Augmentation of a batch: drawn from (seed, step) alone, row by row in the batch's order."""

import math
from collections.abc import Sequence
from typing import assert_never

import torch
from torch import Tensor
from torch.nn import functional

from core.specs.augment.kinds import Augmentation, CropRows, FlipRows, NoiseOnRows, RotateRows
from core.train.data.dataset import Dataset
from core.train.determinism import generator


class Augment:
    """Changes batches of one data set.

    Images are changed as they came: standardized ones are taken back to their units before, and
    standardized again. Noise is added last, to what the model gets.
    """

    def __init__(
        self, kinds: Sequence[Augmentation], sample: tuple[int, ...] | None, dataset: Dataset
    ) -> None:
        """Take as `sample` the shape of a row."""
        self._shapes: list[FlipRows | CropRows | RotateRows] = [
            each for each in kinds if not isinstance(each, NoiseOnRows)
        ]
        self._noises = [each for each in kinds if isinstance(each, NoiseOnRows)]
        shape = sample or ()
        self._sample = shape if len(shape) > 1 else (1, *shape)
        self._mean: Tensor | None = None
        self._scale: Tensor | None = None
        like = dataset.train_features
        if self._shapes and dataset.mean is not None and dataset.scale is not None:
            self._mean = torch.from_numpy(dataset.mean).to(like)
            self._scale = torch.from_numpy(dataset.scale).to(like)

    def at(self, features: Tensor, seed: int, step: int) -> Tensor:
        """Return the rows of a batch (rows, features), changed; the given ones stay."""
        source = generator(seed, "augment", step)
        if self._shapes:
            features = self._changed(features, source)
        for noise in self._noises:
            drawn = torch.randn(features.shape, generator=source, dtype=torch.float64)
            features = features + (noise.std * drawn).to(features)
        return features

    def _changed(self, features: Tensor, source: torch.Generator) -> Tensor:
        raw = features
        if self._mean is not None and self._scale is not None:
            raw = raw * self._scale + self._mean
        x = raw.reshape(len(raw), *self._sample)
        for each in self._shapes:
            match each:
                case FlipRows():
                    x = _flipped(x, each, source)
                case CropRows(padding=padding):
                    x = _shifted(x, padding, source)
                case RotateRows(degrees=degrees):
                    x = _turned(x, degrees, source)
                case _:
                    assert_never(each)
        found = x.reshape(features.shape)
        if self._mean is not None and self._scale is not None:
            found = (found - self._mean) / self._scale
        return found


def _flipped(x: Tensor, flip: FlipRows, source: torch.Generator) -> Tensor:
    """Turn rows (rows, channels, …) round with probability p."""
    turned = torch.rand(len(x), generator=source, dtype=torch.float64) < flip.p
    chosen = turned.to(x.device).reshape(-1, *[1] * (x.dim() - 1))
    return torch.where(chosen, x.flip(-1 if flip.axis == "horizontal" else -2), x)


def _shifted(x: Tensor, padding: int, source: torch.Generator) -> Tensor:
    """Cut rows (rows, channels, …) out of padded ones, each at its own place."""
    sizes = x.shape[2:]
    starts = torch.randint(2 * padding + 1, (len(x), len(sizes)), generator=source).to(x.device)
    padded = functional.pad(x, [padding, padding] * len(sizes))
    rows = torch.arange(len(x), device=x.device)
    channels = torch.arange(x.shape[1], device=x.device)
    index = [_along(rows, 0, x.dim()), _along(channels, 1, x.dim())]
    for axis, size in enumerate(sizes):
        places = starts[:, axis : axis + 1] + torch.arange(size, device=x.device)
        shape = [1] * x.dim()
        shape[0], shape[axis + 2] = len(x), size
        index.append(places.reshape(shape))
    return padded[tuple(index)]


def _along(numbers: Tensor, axis: int, axes: int) -> Tensor:
    shape = [1] * axes
    shape[axis] = len(numbers)
    return numbers.reshape(shape)


def _turned(x: Tensor, degrees: float, source: torch.Generator) -> Tensor:
    """Turn images (rows, channels, height, width), each by its own angle, counterclockwise for a
    positive one, with the vertical axis pointing down."""
    drawn = torch.rand(len(x), generator=source, dtype=torch.float64)
    angles = (2.0 * drawn - 1.0) * math.radians(degrees)
    height, width = x.shape[2:]
    cos, sin = angles.cos(), angles.sin()
    zero = torch.zeros_like(cos)
    # The place in the image that a place in the turned one comes from, in units of half an axis.
    across = torch.stack([cos, -sin * height / width, zero], 1)
    down = torch.stack([sin * width / height, cos, zero], 1)
    theta = torch.stack([across, down], 1).to(x)
    grid = functional.affine_grid(theta, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, mode="bilinear", align_corners=False)
