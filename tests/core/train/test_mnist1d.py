"""A small case of the trial on MNIST-1D: shapes that lie at random places of a line."""

from pathlib import Path

import numpy as np

from tests.core.train.data.uploads import stored
from tests.core.train.mnist1d import ROWS, accuracy, npz


def test_a_convolution_tells_shapes_at_any_place_and_a_linear_map_does_not(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    shapes = draw.normal(size=(4, 8))
    ids = draw.integers(0, 4, 500)
    lines = 0.05 * draw.normal(size=(500, 40))
    for line, which, place in zip(lines, ids, draw.integers(0, 33, 500), strict=True):
        line[place : place + 8] += draw.choice([-1.0, 1.0]) * shapes[which]
    content = npz(lines[:400], ids[:400], lines[400:], ids[400:])
    file = stored(tmp_path / "upload", content, "application/x-npz")
    linear, cnn = (
        accuracy(file, ROWS[kind].model, 120, tmp_path / kind) for kind in ("logistic", "cnn")
    )
    assert linear < 60.0
    assert cnn > 90.0
