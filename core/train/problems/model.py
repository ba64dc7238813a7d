"""A problem's model at its first weights: drawn, or those that its spec names."""

from collections.abc import Mapping, Sequence

import torch

from core.errors import JobFailure
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
        JobFailure: the content of the data set of weights is gone, or the precision cannot hold a
            number in it.
    """
    spec = problem.model
    given = None if spec.initial_weights is None else read_weights(spec)
    _check_range(given or {}, dtype)
    return build_model(
        layers_of(problem), spec.init, seed=seed, device=device, dtype=dtype, ignored=ignored,
        given=given,
    )  # fmt: skip


def _check_range(given: Mapping[str, torch.Tensor], dtype: torch.dtype) -> None:
    for name, tensor in given.items():
        if tensor.dtype != torch.float64 or dtype == torch.float64:  # no other is of a wider range
            continue
        beyond = tensor[~tensor.to(dtype).isfinite()]
        if len(beyond):
            raise JobFailure(
                "data_unavailable",
                f"problem.model.initial_weights: {name} has {beyond[0].item():g}, which does not"
                f" fit {str(dtype).removeprefix('torch.')}: upload smaller weights, or use the"
                ' precision "float64".',
                "problem.model.initial_weights",
            )
