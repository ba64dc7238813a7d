"""Posted images are scaled as torch scales them, whatever their sides, in little memory."""

import tracemalloc

import numpy as np
import pytest
import torch

from core.uses import images
from core.uses.images import MOST_PIXELS, Sides, scaled_image

SHAPES: tuple[tuple[tuple[int, int], Sides], ...] = (
    ((8, 8), (4, 4)),
    ((5, 7), (3, 11)),
    ((7, 5), (11, 3)),
    ((1, 300), (6, 5)),
    ((300, 1), (5, 6)),
    ((1, 1), (3, 4)),
)


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "place by place"])
@pytest.mark.parametrize(("shape", "sides"), SHAPES)
def test_images_are_scaled_as_torch_scales_them(
    shape: tuple[int, int], sides: Sides, at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not at_once:
        monkeypatch.setattr(images, "_MOST_WEIGHTS", 0)
    image = np.random.default_rng(0).standard_normal((2, *shape))
    right = torch.nn.functional.interpolate(
        torch.from_numpy(image)[None], size=sides, mode="bilinear", antialias=True
    )
    found = scaled_image(image, sides)
    assert found.shape == (2, *sides)
    assert found == pytest.approx(right[0].numpy(), abs=1e-12)


@pytest.mark.parametrize("shape", [(1, 1, MOST_PIXELS // 8), (1, MOST_PIXELS // 8, 1)])
def test_a_long_and_narrow_image_takes_little_memory(shape: tuple[int, int, int]) -> None:
    image = np.ones(shape, np.int8)
    tracemalloc.start()
    try:
        found = scaled_image(image, (224, 224))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.shape == (1, 224, 224)
    assert found == pytest.approx(1.0)
    assert peak < 8 * 8 * image.size
