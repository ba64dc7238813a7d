"""Rules of augmentation: what is turned or shifted must be an image or a line."""

from typing import Final, assert_never

from core.specs.augment.kinds import CropRows, FlipRows, NoiseOnRows, RotateRows
from core.specs.data import DataSpec
from core.specs.layers.effects.base import shown as shown_shape
from core.specs.sizes.shapes import DataShape
from core.specs.validation.errors import FieldErrorList

_PATH: Final = "problem.data.augment"
IMAGE_AXES: Final = 3
"""Axes of an image: channels, height, width."""


def check_augment(data: DataSpec, shape: DataShape, faults: FieldErrorList) -> None:
    """Check that each augmentation can be made of the data's rows."""
    for place, each in enumerate(data.augment):
        path = f"{_PATH}.{place}"
        match each:
            case NoiseOnRows():
                pass
            case FlipRows(axis="horizontal"):
                _check_axes(path, each.kind, shape, 1, faults)
            case FlipRows():
                _check_axes(f"{path}.axis", "flip vertical", shape, IMAGE_AXES, faults)
            case CropRows():
                _check_axes(path, each.kind, shape, 1, faults)
            case RotateRows():
                _check_axes(path, each.kind, shape, IMAGE_AXES, faults)
            case _:
                assert_never(each)


def _check_axes(path: str, name: str, shape: DataShape, least: int, faults: FieldErrorList) -> None:
    sample = shape.sample_shape
    axes = 0 if sample is None else len(sample)
    if least <= axes <= IMAGE_AXES:
        return
    wanted = "images" if least == IMAGE_AXES else "images or lines"
    rows = "have no shape" if sample is None else f"are {shown_shape(sample)}"
    faults.add(
        path, "no_image",
        f"{path}: {name} is of {wanted}, and the rows here {rows}: leave it out, or name one"
        " feature that is an image or an array of (channels, height, width); noise suits any data",
    )  # fmt: skip
