"""Augmentation: random changes of the rows of a training batch; fields and defaults."""

from typing import Annotated, Literal

from pydantic import Field

from core.specs.base import WHOLE, Positive, Spec, UnitInterval


class FlipRows(Spec):
    """Turn an image, or a line, round."""

    kind: Literal["flip"]
    axis: Literal["horizontal", "vertical"] = "horizontal"
    """Left and right change places, or above and below (of images)."""
    p: UnitInterval = 0.5
    """Probability with which a row is turned."""


class CropRows(Spec):
    """Shift an image, or a line: cut the same size, at a random place, out of one with `padding`
    zeros at each end of each axis (He et al. 2015, arXiv 1512.03385, section 4.2)."""

    kind: Literal["crop"]
    padding: Annotated[int, Field(ge=1, le=10_000), WHOLE] = 2
    """Zeros at each end: the longest shift."""


class RotateRows(Spec):
    """Turn an image about its centre by a random angle; places are interpolated between their four
    neighbours, and zeros come in from outside."""

    kind: Literal["rotation"]
    degrees: Annotated[float, Field(gt=0, le=180)] = 15.0
    """Largest angle, either way."""


class NoiseOnRows(Spec):
    """Add Gaussian noise to the features, as the model gets them: standardized, where they are
    (Vincent et al. 2008, for reconstruction)."""

    kind: Literal["noise"]
    std: Positive = 0.1
    """Standard deviation of the noise."""


Augmentation = Annotated[
    FlipRows | CropRows | RotateRows | NoiseOnRows, Field(discriminator="kind")
]
