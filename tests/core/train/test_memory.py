"""Running out of memory: recognised however it is said, and answered with the way out."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from core.errors import FAILURE_CODES, JobFailure, is_out_of_memory
from tests.core.train.harness import blobs_job, train

TOO_MANY = 2**60
WIDE = 10**7
"""Two layers of this width take 400 TB, more than a process can address."""


@pytest.mark.parametrize("allocate", [bytearray, torch.empty])
def test_an_allocation_that_fails_is_recognised(allocate: Callable[[int], object]) -> None:
    with pytest.raises((MemoryError, RuntimeError)) as failed:
        allocate(TOO_MANY)
    assert is_out_of_memory(failed.value)


def test_the_word_of_a_device_is_recognised_and_other_faults_are_not() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("not enough memory"))


def test_a_job_that_does_not_fit_is_told_what_needs_less(tmp_path: Path) -> None:
    spec = blobs_job(model={"kind": "mlp", "hidden": [WIDE, WIDE]})
    with pytest.raises(JobFailure, match="a smaller model or batch_size needs less") as failed:
        train(spec, tmp_path)
    assert failed.value.failure_code == "out_of_memory"
    assert str(failed.value) == FAILURE_CODES["out_of_memory"]
