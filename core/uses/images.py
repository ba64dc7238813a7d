"""Scaling of images that are posted, as those of a data set are scaled where torch is."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Sides = tuple[int, int]
"""Height and width."""
MOST_PIXELS: Final = 2**24
"""Pixels of an image, at most, as of one that is uploaded."""


def scaled_image(image: NDArray[Any], sides: Sides) -> NDArray[np.float64]:
    """Scale an image (channels, height, width) to this height and width, bilinear and with
    antialiasing: each pixel is a mean of those around its place, weighted by a triangle that is as
    wide as the pixel, or as one of the image where that is wider (torch's
    `interpolate(…, mode="bilinear", antialias=True)`)."""
    high, wide = (_weights(old, new) for old, new in zip(image.shape[1:], sides, strict=True))
    found: NDArray[np.float64] = high @ image.astype(np.float64) @ wide.T
    return found


def _weights(old: int, new: int) -> NDArray[np.float64]:
    """Return the share of each of `old` places in each of `new` ones."""
    ratio = old / new
    centers = (np.arange(new) + 0.5) * ratio
    apart = np.abs(np.arange(old) + 0.5 - centers[:, None]) / max(ratio, 1.0)
    weights = np.clip(1.0 - apart, 0.0, None)
    return np.asarray(weights / weights.sum(1, keepdims=True))
