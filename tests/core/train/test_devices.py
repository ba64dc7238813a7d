"""Devices and torch's settings."""

import ctypes
import os
import subprocess
import sys

import pytest
import torch

from core.errors import JobFailure
from core.train.devices import available, exact_kernels, pick_device, total_memory


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


STEPS_OF_A_LARGE_MODEL = """
import resource, sys, torch
from contextlib import nullcontext
from core.train.devices import memory_kept

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

with memory_kept() if sys.argv[1] == "kept" else nullcontext():
    for step in range(20):
        if step == 5:
            before = faults()
        buffers = [torch.zeros(2**22) for _ in range(4)]
        del buffers
    print(faults() - before)
"""


def test_memory_that_a_step_frees_serves_the_next_step() -> None:
    if not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("the C library is not glibc")

    # The thresholds that glibc begins with, and here stays at: left alone it may raise them.
    begins_with = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}

    def faults(how: str) -> int:
        command = [sys.executable, "-c", STEPS_OF_A_LARGE_MODEL, how]
        done = subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, **begins_with},
        )
        return int(done.stdout)

    # Pages of 4 KiB: 15 steps of 64 MiB are 245,760 of them, where nothing is kept. What is kept
    # may still grow by a buffer of 4,096 in one of the steps, as it lies.
    assert faults("kept") < 24_576 < faults("given back")


def test_the_only_gpu_that_a_trainer_sees_keeps_the_name_of_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("THALWEG_OWN_GPU", "cuda:3")
    assert available() == ("cuda:3", "cpu")
    for wanted in ("cuda:3", "cuda", "auto"):
        assert pick_device(wanted) == torch.device("cuda:0")
    assert pick_device("cpu") == torch.device("cpu")
    with pytest.raises(JobFailure, match="no device 'cuda:0'"):
        pick_device("cuda:0")


def test_the_memory_of_the_machine_is_told() -> None:
    told = total_memory("cpu")
    assert told is not None
    assert 2**26 < told <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
