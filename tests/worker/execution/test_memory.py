"""Jobs that do not fit into the memory of a device: they wait, or fail with the numbers."""

import json

import pytest

from core.specs.parsing.job import parse_job
from core.specs.sizes.cost import estimate
from core.specs.validation.errors import size_text
from core.specs.validation.limits import NO_LIMITS
from tests.worker.bench import Bench
from tests.worker.scenarios import Fail, Finish
from tests.worker.study_bench import StudyBench
from tests.worker.test_runner import listed

GIB = 2**30


def memory_told(bench: Bench) -> set[int]:
    """The memory of the GPUs of workers that have reported."""
    return {info.memory_bytes.get("cuda:0", 0) for info in listed(bench)}


def test_what_surely_does_not_fit_fails_with_the_numbers_and_is_not_begun(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_GPUS", str(8 * GIB))
    bench.worker()
    job = bench.until_status(bench.submit(Finish(5), memory_bytes=17 * GIB), "failed")
    assert job.error is not None
    assert job.error["code"] == "out_of_memory"
    for words in ("17.0 GiB", "cuda:0", "8.0 GiB", "batch_size", "more memory"):
        assert words in job.error["message"]
    assert [attempt.end for attempt in job.attempts] == ["failed"]
    assert bench.steps(job.id) == []
    # The estimate is from above: what may fit is tried, and the CPU's memory is not known here.
    for device, need in (("auto", 15 * GIB), ("cpu", 900 * GIB)):
        fits = bench.submit(Finish(5), memory_bytes=need, device=device)
        bench.until_status(fits, "succeeded")


@pytest.mark.parametrize("need", [0, 6 * GIB])
def test_memory_that_runs_out_is_told_with_the_numbers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, need: int
) -> None:
    monkeypatch.setenv("FAKE_GPUS", str(8 * GIB))
    bench.worker()
    job = bench.until_status(bench.submit(Fail("memory"), memory_bytes=need), "failed")
    assert job.error is not None
    assert "cuda:0 of this worker has 8.0 GiB" in job.error["message"]
    assert ("the estimate was 6.0 GiB" in job.error["message"]) == bool(need)
    assert "smaller model or batch_size" in job.error["message"]


def test_a_large_job_waits_for_the_worker_with_more_memory(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_GPUS", str(8 * GIB))
    small = bench.worker()
    bench.until(lambda: small.link.devices)
    monkeypatch.setenv("FAKE_GPUS", str(80 * GIB))
    large = bench.worker()
    bench.until(lambda: large.link.devices)
    bench.until(lambda: {8 * GIB, 80 * GIB} <= memory_told(bench))
    ids = [bench.submit(Finish(5), memory_bytes=30 * GIB) for _ in range(4)]
    for id_ in ids:
        job = bench.until_status(id_, "succeeded", "failed")
        assert [attempt.worker for attempt in job.attempts] == ["worker-1"]


def wide(dim: int) -> dict[str, object]:
    """A run of a function of so many variables."""
    return {"problem.function.dim": dim}


def test_a_task_of_which_no_run_fits_fails_with_the_numbers_and_is_not_begun(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_GPUS", str(2**20))
    studies = StudyBench(bench)
    bench.worker()
    params = {"0": wide(90_000), "1": wide(100_000), "2": wide(2), "3": wide(100_000)}
    study = studies.submit(Finish(3), [[0, 1], [2, 3]], params=params, memory_bytes=GIB)
    studies.until(lambda: studies.get(study).finished_at)
    first, second, *others = studies.runs(study)
    for run in (first, second):
        assert run.status == "failed"
        assert run.error is not None
        assert run.error["code"] == "out_of_memory"
        for words in ("cuda:0", "1.0 MiB", "batch_size", "more memory"):
            assert words in run.error["message"]
        assert studies.steps(study, run.index) == []
    # One of them fits: the task is tried.
    assert [run.status for run in others] == ["succeeded"] * 2
    assert first.error is not None
    assert f"takes about {size_text(estimate_of(90_000))}," in first.error["message"]


def estimate_of(dim: int) -> int:
    problem = {"kind": "function", "function": {"kind": "sphere", "dim": dim}}
    body = json.dumps({"problem": problem, "optimizer": {"kind": "sgd"}}).encode()
    return estimate(parse_job(body, NO_LIMITS)).memory_bytes
