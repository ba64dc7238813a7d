"""A store that comes back with an older state, without rows that it had confirmed: real store, real
processes, no torch."""

import numpy as np
import pytest
import redis

from core.errors import LostRowsError
from core.studies import run_id
from tests.worker.bench import Bench
from tests.worker.scenarios import Finish, Stream, Wait
from tests.worker.study_bench import StudyBench


def forget(bench: Bench, key: str, *, keep: int = 0) -> None:
    """Have the history at this key as it was when it had fewer rows."""
    with redis.Redis.from_url(bench.url) as server:
        name = f"{bench.settings.namespace}:{key}"
        server.hdel(name, "segments:train")
        server.hset(name, mapping={"rows:train": keep, "last:train": max(0, keep - 1)})


def test_a_job_whose_rows_are_lost_is_handed_over_and_made_whole(bench: Bench) -> None:
    bench.worker()
    job_id = bench.submit(Stream(), resumed=Finish(9), max_attempts=1)
    bench.until(lambda: len(bench.steps(job_id)) > 2)
    forget(bench, f"job:{job_id}", keep=1)
    job = bench.until_status(job_id, "succeeded")
    assert [attempt.end for attempt in job.attempts] == ["handed_over", "finished"]
    assert bench.steps(job_id) == list(range(9))


def test_a_study_whose_rows_are_lost_is_made_whole(bench: Bench) -> None:
    studies = StudyBench(bench)
    bench.worker()
    study_id = studies.submit(Stream(), [[0, 1]], resumed=Finish(9), max_attempts=1)
    name = run_id(study_id, 1)
    bench.until(lambda: len(studies.runs(study_id)) == 2 and len(bench.steps(name)) > 2)
    forget(bench, f"study:{name}")
    bench.until(lambda: studies.get(study_id).status == "succeeded")
    for index in (0, 1):
        assert bench.steps(run_id(study_id, index)) == list(range(9))


def test_no_end_is_written_where_rows_before_it_are_lost(bench: Bench) -> None:
    """Though none are to be written with it."""
    job_id = bench.submit(Wait())
    claim = bench.claim_job()
    series = claim.layouts["train"].widths.items()
    columns = {name: np.ones((3, width) if name == "x" else 3) for name, width in series}
    bench.store.append_rows(claim, "train", 0, {"step": np.arange(3.0), **columns})
    forget(bench, f"job:{job_id}", keep=2)

    def close() -> None:
        bench.store.close(
            claim, "succeeded", "finished", outcome="converged", fields={}, num_rows={"train": 3}
        )

    with pytest.raises(LostRowsError):
        close()
    assert bench.get(job_id).status == "running"
    forget(bench, f"job:{job_id}", keep=3)
    close()
    close()  # its answer was lost
    assert bench.get(job_id).status == "succeeded"
