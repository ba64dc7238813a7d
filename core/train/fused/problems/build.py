"""Construction of the problem that a stack minimizes, from its specs."""

from collections.abc import Sequence
from typing import Final, assert_never

import torch

from core.specs.job import DataProblem, FunctionProblem, JobSpec
from core.train.fused.problems.base import StackedProblem
from core.train.fused.problems.functions import StackedFunctions
from core.train.fused.problems.supervised import StackedSupervised

DTYPES: Final = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.float32,
}


def build_stacked(
    specs: Sequence[JobSpec], device: torch.device, whole: Sequence[JobSpec] | None = None
) -> StackedProblem:
    """Return the problem of specs that share a structure, each run's parameters at its own start.
    `whole`: the specs of the stack that they are a part of."""
    dtype = DTYPES[specs[0].precision or "float32"]
    match specs[0].problem:
        case DataProblem():
            return StackedSupervised(specs, device, dtype, whole or specs)
        case FunctionProblem():
            return StackedFunctions(specs, device, dtype)
        case _:
            assert_never(specs[0].problem)
