"""Devices and torch's settings."""

import pytest
import torch

from core.errors import JobFailure
from core.train.devices import available, exact_kernels, pick_device


def test_the_cpu_is_always_there_and_last() -> None:
    assert available()[-1] == "cpu"


def test_auto_is_the_best_device_there_is() -> None:
    assert str(pick_device("auto")) == available()[0]


def test_a_device_that_is_not_there_fails_the_job() -> None:
    with pytest.raises(JobFailure, match="cuda:99") as failure:
        pick_device("cuda:99")
    assert failure.value.failure_code == "device_unavailable"


def settings() -> tuple[bool, bool, int]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.allow_tf32,
        torch.get_num_threads(),
    )


def test_inside_kernels_are_deterministic_on_one_thread_and_outside_all_is_as_before() -> None:
    before = settings()
    with exact_kernels():
        assert settings() == (True, False, 1)
    assert settings() == before
