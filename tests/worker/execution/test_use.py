"""Uses of weights: real store, real processes, no torch."""

import pytest

from core.uses.record import RESULT_NAME, UseRecord
from tests.core.store.uses import new_use
from tests.worker.bench import Bench
from tests.worker.scenarios import Finish, Measuring


def asked(bench: Bench, does: Measuring, job_id: str | None = None) -> str:
    """A use of a job that has ended, which goes as it is said."""
    if job_id is None:
        if not bench.workers:
            bench.worker()
        job_id = bench.submit(Finish(1))
        bench.until_status(job_id, "succeeded")
    use = new_use(job_id, model={"does": does.value})
    bench.api(lambda store: store.uses.add(use, None))
    return use.id


def read(bench: Bench, use_id: str) -> UseRecord | None:
    found: list[UseRecord | None] = []

    async def look(store: object) -> None:
        found.append(await store.uses.find(use_id))  # type: ignore[attr-defined]

    bench.api(look)
    return found[0]


def ended(bench: Bench, use_id: str) -> UseRecord:
    bench.until(lambda: (use := read(bench, use_id)) is not None and use.terminal)
    use = read(bench, use_id)
    assert use is not None
    return use


def test_it_is_made_without_a_message_and_told_when_it_is_there(bench: Bench) -> None:
    use = ended(bench, asked(bench, Measuring.NOW))
    assert (use.status, use.result, use.size_bytes) == ("succeeded", {"metrics": None}, 101)
    assert bench.workers[0].artifacts.job(use.id).read(RESULT_NAME) == b"1"


def test_one_that_fails_says_why_and_the_worker_goes_on(bench: Bench) -> None:
    use = ended(bench, asked(bench, Measuring.FAIL))
    error = {"code": "data_unavailable", "message": "The rows are gone.", "param": "dataset"}
    assert (use.status, use.error) == ("failed", error)
    assert ended(bench, asked(bench, Measuring.NOW)).status == "succeeded"


def test_one_whose_trainer_dies_is_tried_three_times(bench: Bench) -> None:
    use = ended(bench, asked(bench, Measuring.DIE))
    assert use.error is not None
    assert use.error["code"] == "worker_lost"
    assert "3 attempts" in use.error["message"]


@pytest.mark.parametrize("does", [Measuring.LONGER_THAN_A_LEASE])
def test_a_long_one_keeps_its_lease(bench: Bench, does: Measuring) -> None:
    bench.worker(lease_s=0.6)
    assert ended(bench, asked(bench, does)).status == "succeeded"


def test_a_worker_that_shuts_down_leaves_it_to_the_next(bench: Bench) -> None:
    use_id = asked(bench, Measuring.DEAF)
    bench.until(lambda: not bench.store.num_queued())
    bench.workers[0].stop()
    assert bench.store.num_queued() == 1
    use = read(bench, use_id)
    assert use is not None
    assert use.status == "queued"


def test_one_at_work_ends_with_its_job_and_leaves_nothing(bench: Bench) -> None:
    bench.worker(lease_s=3.0)  # a third of which goes by until it learns of it
    use_id = asked(bench, Measuring.WAIT)
    bench.until(lambda: not bench.store.num_queued())
    job_id = (read(bench, use_id) or new_use("")).of
    bench.api(lambda store: store.delete(job_id))
    assert ended(bench, asked(bench, Measuring.NOW)).status == "succeeded"
    assert not bench.workers[0].artifacts.job(use_id).list()
