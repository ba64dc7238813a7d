"""Scaling of images that are posted, as those of a data set are scaled where torch is."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Sides = tuple[int, int]
"""Height and width."""
MOST_PIXELS: Final = 2**24
"""Pixels of an image, at most, as of one that is uploaded."""
_MOST_WEIGHTS: Final = 2**22
"""Most weights of a side that are made at once."""
_Floats = NDArray[np.float64]


def scaled_image(image: NDArray[Any], sides: Sides) -> _Floats:
    """Scale an image (channels, height, width) to this height and width, bilinear and with
    antialiasing: each pixel is a mean of those around its place, weighted by a triangle that is as
    wide as the pixel, or as one of the image where that is wider (torch's
    `interpolate(…, mode="bilinear", antialias=True)`).

    No more memory is needed than for the larger of both images, and `_MOST_WEIGHTS` weights.
    """
    found = image.astype(np.float64)
    # First the side that shrinks more: a narrow image is not made large between the two steps.
    for axis in sorted((1, 2), key=lambda axis: sides[axis - 1] / image.shape[axis]):
        found = _scaled(found.swapaxes(axis, 2), sides[axis - 1]).swapaxes(axis, 2)
    return found


def _scaled(image: _Floats, new: int) -> _Floats:
    """Scale the last side of an image."""
    old = image.shape[2]
    ratio = old / new
    reach = max(ratio, 1.0)
    centers = (np.arange(new) + 0.5) * ratio
    if old * new <= _MOST_WEIGHTS:
        found: _Floats = image @ _weights(0, old, centers, reach).T
        return found
    found = np.empty((*image.shape[:2], new))
    for place, center in enumerate(centers):
        first, last = max(0, int(center - reach)), min(old, int(center + reach) + 1)
        weights = _weights(first, last, centers[place : place + 1], reach)
        found[:, :, place] = image[:, :, first:last] @ weights[0]
    return found


def _weights(first: int, last: int, centers: _Floats, reach: float) -> _Floats:
    """Return the share of each place from `first` to `last` (not itself) in that around each
    center."""
    apart = np.abs(np.arange(first, last) + 0.5 - centers[:, None]) / reach
    weights = np.clip(1.0 - apart, 0.0, None)
    return np.asarray(weights / weights.sum(1, keepdims=True))
