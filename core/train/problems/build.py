"""Construction of the problem that the loop minimizes, from a resolved spec."""

from typing import assert_never

import torch

from core.specs.job import DataProblem, FunctionProblem, JobSpec
from core.specs.sizes.uploads import spec_text
from core.train.problems.base import Problem
from core.train.problems.functions import build_function_problem
from core.train.problems.supervised import build_supervised_problem


def build_problem(spec: JobSpec, device: torch.device, dtype: torch.dtype) -> Problem:
    """Return the problem of a resolved spec, its parameters initialized from `spec.seed`."""
    metadata = {"spec": spec_text(spec)}
    match spec.problem:
        case DataProblem():
            return build_supervised_problem(
                spec.problem,
                spec.batch_size,
                seed=spec.seed,
                device=device,
                dtype=dtype,
                metadata=metadata,
                metrics=spec.record.metrics,
                micro_batches=spec.accumulate,
                autocast=spec.precision == "bfloat16",
            )
        case FunctionProblem():
            return build_function_problem(
                spec.problem, seed=spec.seed, device=device, dtype=dtype, metadata=metadata
            )
        case _:
            assert_never(spec.problem)
