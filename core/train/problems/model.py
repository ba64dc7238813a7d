"""A problem's model at its first weights: drawn, or those that its spec names."""

from collections.abc import Sequence

import torch

from core.specs.job import DataProblem
from core.specs.sizes.shapes import layers_of
from core.train.data.uploaded import read_weights
from core.train.models.build import build_model
from core.train.models.layered import LayeredModel


def model_of(
    problem: DataProblem,
    *,
    seed: int,
    device: torch.device,
    dtype: torch.dtype,
    ignored: Sequence[int] = (),
) -> LayeredModel:
    """Return the model, the same on every device; the weights of `ignored` features in its first
    layer are 0.

    Raises:
        JobFailure: the content of the data set of weights is gone.
    """
    spec = problem.model
    given = None if spec.initial_weights is None else read_weights(spec)
    return build_model(
        layers_of(problem), spec.init, seed=seed, device=device, dtype=dtype, ignored=ignored,
        given=given,
    )  # fmt: skip
