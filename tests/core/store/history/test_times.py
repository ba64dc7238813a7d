"""Times of histories in the store: what is kept, dropped, thinned and freed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import redis

from core.errors import StaleAttemptError
from core.store.history.layout import Columns, RunRows
from core.store.history.times import RunTimes, TimeLine, entries_in
from core.store.protocols.types import Claim, NewJob
from core.store.redis import AsyncRedisStore, RedisStore
from core.studies import run_id
from tests.core.store.conftest import LEASE_S
from tests.core.store.study_makers import LAYOUT, planned, rows, take

pytestmark = pytest.mark.anyio

MOST = 512


async def claimed(
    api: AsyncRedisStore, worker: RedisStore, new_job: Callable[..., NewJob]
) -> Claim:
    await api.create(new_job(), None)
    claim = worker.claim_next("w", ["cpu"], LEASE_S)
    assert isinstance(claim, Claim)
    return claim


def pairs(line: TimeLine) -> list[tuple[float, float]]:
    return list(zip(line.steps.tolist(), line.seconds.tolist(), strict=True))


async def test_the_time_of_a_step_lies_between_its_stamps(
    api: AsyncRedisStore,
    worker: RedisStore,
    new_job: Callable[..., NewJob],
    train_rows: Callable[..., Columns],
) -> None:
    claim = await claimed(api, worker, new_job)
    times = [[0, 0.0], [10, 2.0], [30, 3.0]]
    worker.update(claim, {}, rows=[("train", 0, train_rows(0, 31))], times=times[:2])
    worker.update(claim, {}, times=times[2:])
    line = await api.history_times(claim.job.id)
    # By hand: 10 steps in 2 s, then 20 in 1 s; beyond the last stamp nothing is known.
    asked = np.array([0.0, 5.0, 10.0, 20.0, 30.0, 35.0])
    assert line.at(asked).tolist() == [0.0, 1.0, 2.0, 2.5, 3.0, 3.0]
    assert line.covers(asked)
    assert not TimeLine(line.steps + 1, line.seconds).covers(asked)


@pytest.mark.parametrize(
    ("added", "left"),
    [
        ([[10, 2.5], [20, 4.0]], [(0, 0), (5, 1), (10, 2.5), (20, 4)]),  # went on at step 10
        ([[7, 1.5]], [(0, 0), (5, 1), (7, 1.5)]),  # between two of them
        ([[0, 0.0], [3, 9.0]], [(0, 0), (3, 9)]),  # began anew
        ([[40, 5.0], [12, 5.5], [13, 6.0]], [(0, 0), (5, 1), (10, 2), (12, 5.5), (13, 6)]),
        ([[15, 3.0]], [(0, 0), (5, 1), (10, 2), (15, 3)]),  # the same again: its answer was lost
    ],
)
async def test_stamps_behind_the_step_where_it_goes_on_are_dropped(
    added: list[list[float]],
    left: list[tuple[float, float]],
    api: AsyncRedisStore,
    worker: RedisStore,
    new_job: Callable[..., NewJob],
) -> None:
    claim = await claimed(api, worker, new_job)
    worker.update(claim, {}, times=[[0, 0.0], [5, 1.0], [10, 2.0], [15, 3.0]])
    worker.update(claim, {}, times=added)
    assert pairs(await api.history_times(claim.job.id)) == left


@pytest.mark.parametrize("a_call", [1, 7, 5_000])
async def test_many_stamps_are_thinned_evenly(
    a_call: int, api: AsyncRedisStore, worker: RedisStore, new_job: Callable[..., NewJob], raw: Any
) -> None:
    claim = await claimed(api, worker, new_job)
    count = 1_500 if a_call == 1 else 5_000
    times = [[step, 0.25 * step] for step in range(count)]
    for first in range(0, count, a_call):
        worker.update(claim, {}, times=times[first : first + a_call])
    line = await api.history_times(claim.job.id)
    total = times[-1][1]
    assert (line.steps[0], line.steps[-1]) == (0, count - 1)
    assert MOST / 4 < len(line.steps) <= MOST
    assert np.diff(line.seconds).max() <= 3 * total * 2 / MOST + 0.25
    asked = np.arange(float(count))
    assert line.at(asked) == pytest.approx(0.25 * asked)
    (key,) = raw.keys(f"*{claim.job.id}:times")
    assert raw.strlen(key) <= 16 * MOST


async def test_stamps_of_one_moment_do_not_pile_up(
    api: AsyncRedisStore, worker: RedisStore, new_job: Callable[..., NewJob]
) -> None:
    claim = await claimed(api, worker, new_job)
    worker.update(claim, {}, times=[[step, 1.0] for step in range(3 * MOST)])
    assert len((await api.history_times(claim.job.id)).steps) <= MOST


async def test_stamps_of_a_lost_attempt_are_refused(
    api: AsyncRedisStore, worker: RedisStore, new_job: Callable[..., NewJob]
) -> None:
    claim = await claimed(api, worker, new_job)
    worker.update(claim, {}, times=[[0, 0.0]])
    worker.lose(claim)
    with pytest.raises(StaleAttemptError):
        worker.update(claim, {}, times=[[9, 1.0]])
    assert pairs(await api.history_times(claim.job.id)) == [(0, 0)]


async def test_they_go_with_their_job(
    api: AsyncRedisStore,
    worker: RedisStore,
    new_job: Callable[..., NewJob],
    raw: redis.Redis,
    namespace: str,
) -> None:
    claim = await claimed(api, worker, new_job)
    worker.close(
        claim, "succeeded", "finished", outcome="converged", fields={}, times=[[0, 0.0], [9, 1.0]]
    )
    assert pairs(await api.history_times(claim.job.id)) == [(0, 0), (9, 1)]
    await api.delete(claim.job.id)
    await api.free(claim.job.id)
    assert raw.keys(f"{namespace}:*{claim.job.id}*") == []


async def test_runs_of_a_task_share_their_stamps(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str
) -> None:
    study = await planned(api, worker, [0, 1, 2])
    claim = take(worker)
    task = f"{claim.task.round}.{claim.task.number}"
    together = {run: RunTimes(task, 0, 0.0) for run in (0, 1)}
    apart = {2: RunTimes(task, 1, 1.5)}
    worker.studies.write(
        claim,
        rows=[RunRows(0, "train", LAYOUT, 0, rows(0, 3))],
        times={0: [[0, 0.0], [8, 4.0]], 1: [[0, 0.0], [8, 2.0]]},
        timed=together | apart,
    )
    worker.studies.write(claim, times={0: [[10, 5.0]]})

    async def at(run: int, step: float) -> float:
        line = await api.history_times(run_id(study, run))
        return float(line.at(np.array([step]))[0])

    assert [await at(run, 4) for run in (0, 1, 2)] == [2.0, 2.0, 2.5]
    assert await at(0, 9) == 4.5
    assert len(raw.keys(f"{namespace}:rows:*:times:*")) == 2

    # The task goes on elsewhere, with run 1 by itself.
    worker.lose(claim)
    claim = take(worker)
    worker.studies.write(claim, times={2: [[0, 0.0], [8, 8.0]]}, timed={1: RunTimes(task, 2, 0.0)})
    assert [await at(run, 4) for run in (0, 1, 2)] == [2.0, 4.0, 2.5]
    worker.studies.close(claim, "succeeded", "finished")
    worker.studies.finish(take(worker), "succeeded", {})
    await api.studies.delete(study)
    await api.studies.free(study)
    assert raw.keys(f"{namespace}:rows:*") == []


async def test_a_run_goes_on_in_another_task_after_the_time_that_it_had(
    api: AsyncRedisStore, worker: RedisStore
) -> None:
    study = await planned(api, worker, [0])
    first = take(worker)
    worker.studies.write(
        first, times={0: [[0, 0.0], [10, 1.0], [12, 1.2]]}, timed={0: RunTimes("0.1", 0, 0.0)}
    )
    entry = RunTimes("1.1", 3, 1.1)
    worker.studies.write(first, times={}, timed={0: entry})
    # Of a task that has not come to its first stamp, nothing is known yet.
    before = await api.history_times(run_id(study, 0))
    assert pairs(before) == [(0, 0), (10, 1), (12, 1.2)]
    assert entries_in(b"0.1 0 0.0;1.1 3 1.1;") == [RunTimes("0.1", 0, 0.0), entry]
    assert entries_in(None) == []


async def test_nothing_is_known_of_what_an_older_version_wrote(
    api: AsyncRedisStore, worker: RedisStore, new_job: Callable[..., NewJob]
) -> None:
    claim = await claimed(api, worker, new_job)
    study = await planned(api, worker, [0])
    for name in (claim.job.id, run_id(study, 0)):
        line = await api.history_times(name)
        assert pairs(line) == []
        assert not line.covers(np.array([0.0]))
        assert line.covers(np.array([]))
