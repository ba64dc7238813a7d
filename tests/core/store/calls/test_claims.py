"""Who gets a job, for how long, and what becomes of it when its worker dies."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis

from core.errors import StaleAttemptError
from core.store.history.layout import Columns
from core.store.protocols.types import Claim, NewJob, WorkerInfo
from core.store.redis import AsyncRedisStore, RedisStore
from tests.core.store.places import positions

pytestmark = pytest.mark.anyio
NewJobs = Callable[..., NewJob]
TrainRows = Callable[..., Columns]


def claim(worker: RedisStore, devices: tuple[str, ...] = ("cpu",), lease_s: float = 60.0) -> Claim:
    claimed = worker.claim_next("w", devices, lease_s)
    assert isinstance(claimed, Claim)
    return claimed


def expire(raw: redis.Redis, namespace: str, job_id: str) -> None:
    """Let the lease have run out, without waiting for it."""
    assert raw.zadd(f"{namespace}:leases", {job_id: 1}, xx=True, ch=True) == 1


async def test_a_claim_starts_an_attempt(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str, new_job: NewJobs
) -> None:
    new = new_job()
    await api.create(new, None)

    got = worker.claim_next("gpu-3", ["cpu"], 6.0)

    assert isinstance(got, Claim)
    assert got.job == await api.get(new.id)
    assert (got.token, got.attempt, got.layouts) == (1, 1, new.layouts)
    (attempt,) = got.job.attempts
    assert (attempt.number, attempt.worker, attempt.device, attempt.end) == (1, "gpu-3", None, None)
    assert attempt.started_at == got.job.started_at
    seconds, micros = raw.time()
    lease = raw.zscore(f"{namespace}:leases", new.id)
    assert lease is not None
    assert 0 < float(lease) / 1000 - (seconds + micros / 1e6) <= 6.0
    assert worker.claim_next("w", ["cpu"], 6.0) is None
    assert worker.num_queued() == 0


async def test_the_server_writes_times_as_the_contract_does(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, new_job: NewJobs
) -> None:
    from datetime import UTC, datetime

    await api.create(new_job(), None)
    earliest = raw.time()
    started = claim(worker).job.started_at
    latest = raw.time()

    assert started is not None
    moment = datetime.strptime(started, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    micros = round(moment.timestamp() * 1e6)
    assert _micros(earliest) <= micros <= _micros(latest)


def _micros(time: Any) -> int:
    return int(time[0]) * 1_000_000 + int(time[1])


async def test_higher_priority_goes_first_and_among_equals_the_oldest(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    jobs = [new_job(priority=priority) for priority in (5, 0, 9, 5, 9)]
    for job in jobs:
        await api.create(job, None)

    expected = [jobs[i].id for i in (2, 4, 0, 3, 1)]
    assert await positions(api, [job.id for job in jobs]) == [2, 4, 0, 3, 1]
    assert [claim(worker).job.id for _ in jobs] == expected


async def test_a_job_that_is_queued_again_keeps_its_place(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    first, second = new_job(), new_job()
    await api.create(first, None)
    await api.create(second, None)
    held = claim(worker)
    worker.hand_over(held)

    assert await positions(api, [first.id]) == [0]
    assert claim(worker).job.id == first.id


async def test_a_job_that_no_worker_can_run_blocks_no_other(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    stuck = new_job(device="cuda:7", priority=9)
    free = new_job(device="cpu", priority=0)
    await api.create(stuck, None)
    await api.create(free, None)

    assert await positions(api, [free.id]) == [0]
    assert claim(worker).job.id == free.id
    assert worker.claim_next("w", ["cpu", "cuda:0"], 60) is None
    assert worker.num_queued() == 1


@pytest.mark.parametrize(
    ("device", "devices", "fits"),
    [
        ("auto", ("cpu",), True),
        ("auto", ("cuda:0",), True),
        ("cpu", ("cuda:0", "cpu"), True),
        ("cuda", ("cpu",), False),
        ("cuda", ("cuda:3", "cpu"), True),
        ("cuda:1", ("cuda:0", "cpu"), False),
        ("cuda:1", ("cuda:0", "cuda:1", "cpu"), True),
    ],
)
async def test_a_job_goes_to_a_worker_that_has_its_device(
    device: str,
    devices: tuple[str, ...],
    fits: bool,
    api: AsyncRedisStore,
    worker: RedisStore,
    new_job: NewJobs,
) -> None:
    await api.create(new_job(device=device), None)
    assert (worker.claim_next("w", devices, 60) is not None) == fits


async def test_a_worker_with_a_gpu_takes_the_first_of_all_its_queues(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    jobs = [new_job(device=device) for device in ("cuda:0", "auto", "cuda", "cpu", "cuda:0")]
    for job in jobs:
        await api.create(job, None)

    assert await positions(api, [job.id for job in jobs]) == [0, 0, 1, 1, 4]
    assert [claim(worker, ("cuda:0", "cpu")).job.id for _ in jobs] == [job.id for job in jobs]


async def test_claimers_at_once_never_get_the_same_job(
    api: AsyncRedisStore, redis_url: str, namespace: str, new_job: NewJobs
) -> None:
    jobs = [new_job() for _ in range(60)]
    for job in jobs:
        await api.create(job, None)
    taken: list[str] = []
    barrier = threading.Barrier(4)

    def take() -> None:
        store = RedisStore(redis_url, namespace)
        barrier.wait()
        while isinstance(got := store.claim_next("w", ["cpu"], 60), Claim):
            taken.append(got.job.id)
        store.disconnect()

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(taken) == sorted(job.id for job in jobs)


WRITES: dict[str, Callable[[RedisStore, Claim, Columns], object]] = {
    "renew": lambda store, held, rows: store.renew(held, 60),
    "append_rows": lambda store, held, rows: store.append_rows(held, "train", 0, rows),
    "truncate_rows": lambda store, held, rows: store.truncate_rows(held, "train", 0),
    "update": lambda store, held, rows: store.update(held, {"phase": "training"}),
    "update with rows": lambda store, held, rows: store.update(held, {}, [("train", 0, rows)]),
    "close": lambda store, held, rows: store.close(
        held, "succeeded", "finished", outcome="stalled", fields={}, rows=[("train", 0, rows)]
    ),
    "hand_over": lambda store, held, rows: store.hand_over(held),
    "lose": lambda store, held, rows: store.lose(held),
}


@pytest.mark.parametrize("write", WRITES)
async def test_a_write_with_a_stale_token_is_refused_and_changes_nothing(
    write: str,
    api: AsyncRedisStore,
    worker: RedisStore,
    raw: redis.Redis,
    namespace: str,
    new_job: NewJobs,
    train_rows: TrainRows,
) -> None:
    await api.create(new_job(), None)
    stale = claim(worker)
    expire(raw, namespace, stale.job.id)
    assert worker.reap() == [stale.job.id]
    current = claim(worker)
    assert (current.job.id, current.token, current.attempt) == (stale.job.id, 2, 2)
    before = raw.hgetall(f"{namespace}:job:{stale.job.id}")

    with pytest.raises(StaleAttemptError):
        WRITES[write](worker, stale, train_rows(0, 5))

    assert raw.hgetall(f"{namespace}:job:{stale.job.id}") == before
    assert list(raw.scan_iter(f"{namespace}:rows:*")) == []
    worker.renew(current, 60)


@pytest.mark.parametrize("write", WRITES)
async def test_a_write_between_the_loss_and_the_next_claim_is_refused_too(
    write: str,
    api: AsyncRedisStore,
    worker: RedisStore,
    raw: redis.Redis,
    namespace: str,
    new_job: NewJobs,
    train_rows: TrainRows,
) -> None:
    await api.create(new_job(), None)
    stale = claim(worker)
    expire(raw, namespace, stale.job.id)
    worker.reap()

    with pytest.raises(StaleAttemptError):
        WRITES[write](worker, stale, train_rows(0, 5))
    job = await api.get(stale.job.id)
    assert (job.status, job.outcome, job.attempts[0].end) == ("queued", None, "lost")


async def test_a_lease_that_was_renewed_is_not_reaped(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str, new_job: NewJobs
) -> None:
    await api.create(new_job(), None)
    held = claim(worker)
    expire(raw, namespace, held.job.id)
    assert worker.renew(held, 60) == "running"
    assert worker.reap() == []


async def test_a_job_whose_every_attempt_was_lost_fails(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str, new_job: NewJobs
) -> None:
    new = new_job(max_attempts=3)
    await api.create(new, None)
    for number in range(1, 6):
        held = claim(worker)
        assert held.attempt == number
        if number in {2, 4}:  # handed over: does not count
            worker.hand_over(held)
        else:
            expire(raw, namespace, new.id)
            worker.reap()

    job = await api.get(new.id)
    assert job.status == "failed"
    assert [attempt.end for attempt in job.attempts] == [
        "lost", "handed_over", "lost", "handed_over", "lost",
    ]  # fmt: skip
    assert job.error == {
        "code": "worker_lost",
        "message": "The worker died on each of 3 attempts.",
        "param": None,
    }
    assert job.finished_at is not None
    assert worker.claim_next("w", ["cpu"], 60) is None


async def test_the_loss_of_a_job_being_cancelled_cancels_it(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str, new_job: NewJobs
) -> None:
    new = new_job()
    await api.create(new, None)
    claim(worker)
    await api.request_cancel(new.id)
    expire(raw, namespace, new.id)

    assert worker.reap() == [new.id]

    job = await api.get(new.id)
    assert (job.status, job.attempts[0].end) == ("cancelled", "lost")


async def test_a_worker_may_give_a_job_up_for_lost_at_once(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    await api.create(new_job(max_attempts=2), None)

    held = claim(worker)
    assert worker.lose(held) == "queued"
    assert worker.lose(held) == "queued"
    held = claim(worker)
    assert worker.lose(held) == "failed"

    job = await api.get(held.job.id)
    assert [attempt.end for attempt in job.attempts] == ["lost", "lost"]
    assert job.error is not None
    assert job.error["code"] == "worker_lost"


async def test_a_clock_set_back_makes_no_lease_longer(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str, new_job: NewJobs
) -> None:
    jobs = [new_job() for _ in range(3)]
    for job in jobs:
        await api.create(job, None)
    dead, alive, short = (claim(worker, lease_s=6.0) for _ in jobs)
    info = WorkerInfo("w", ("cpu",), ("cpu", "auto"), None, "2026-11-29T00:00:00Z", "2026", 1)
    worker.report_worker(info, 12.0)
    leases, *lists = (f"{namespace}:{key}" for key in ("leases", "workers:until", "workers:cpu"))
    for key, name in (
        (leases, dead.job.id),
        (leases, alive.job.id),
        *((each, "w") for each in lists),
    ):
        raw.zincrby(key, 120_000, name)  # as they look once the clock is 120 s behind
    before = raw.zscore(leases, short.job.id)

    assert worker.reap(6.0) == []

    now = worker.clock_s()
    for key, name, longest_s in (
        (leases, dead.job.id, 6.0),
        *((each, "w", 12.0) for each in lists),
    ):
        found = raw.zscore(key, name)
        assert found is not None
        assert 0 < found / 1000 - now <= longest_s
    assert raw.zscore(leases, short.job.id) == before
    assert worker.renew(alive, 60.0) == "running"  # one of a worker with other settings
    assert worker.renew(dead, 6.0) == "running"
    expire(raw, namespace, dead.job.id)
    assert worker.reap(6.0) == [dead.job.id]


async def test_one_reap_takes_every_expired_lease(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str, new_job: NewJobs
) -> None:
    jobs = [new_job() for _ in range(250)]
    for job in jobs:
        await api.create(job, None)
        claim(worker)
        expire(raw, namespace, job.id)

    assert sorted(worker.reap()) == sorted(job.id for job in jobs)
    assert worker.num_queued() == 250


async def test_an_update_sets_what_an_attempt_may_set_to_the_bit(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    await api.create(new_job(), None)
    held = claim(worker)
    fields: dict[str, Any] = {
        "phase": "training",
        "progress": {"step": 3, "max_steps": 10, "steps_per_s": 812.0},
        "latest": {"step": 2, "loss": float("inf")},
        "best": {"step": 1, "loss": 0.1 + 0.2},
        "checkpoints": [{"name": "initial", "step": 0, "metrics": {"loss": float("-inf")}}],
        "resolved": {"optimizer.lr": {"value": 0.02}},
    }

    worker.update(held, {**fields, "device": "cuda:0"})

    job = await api.get(held.job.id)
    assert {name: getattr(job, name) for name in fields} == {
        **fields,
        "checkpoints": tuple(fields["checkpoints"]),
    }
    assert job.attempts[0].device == "cuda:0"
    worker.update(held, {"latest": {"step": 3, "loss": float("nan")}, "best": None})
    job = await api.get(held.job.id)
    assert json.dumps(job.latest) == '{"step": 3, "loss": NaN}'
    assert job.best is None


@pytest.mark.parametrize("field", ["status", "token", "result", "labels", "loss"])
async def test_an_update_sets_nothing_else(
    field: str, api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    await api.create(new_job(), None)
    with pytest.raises(ValueError, match=field):
        worker.update(claim(worker), {field: "x"})


async def test_close_writes_the_result_and_the_last_rows_in_one_round_trip(
    api: AsyncRedisStore,
    worker: RedisStore,
    raw: redis.Redis,
    new_job: NewJobs,
    train_rows: TrainRows,
) -> None:
    await api.create(new_job(), None)
    held = claim(worker)
    fields = {
        "result": {"final_loss": float("nan"), "num_steps": 3},
        "diagnosis": {"verdict": "diverging"},
        "error": None,
    }
    rows = [("train", 0, train_rows(0, 3)), ("train", 3, train_rows(3, 2))]

    status = worker.close(
        held,
        "succeeded",
        "finished",
        outcome="diverged",
        fields=fields,
        rows=rows,  # type: ignore[arg-type]
    )

    assert status == "succeeded"
    job = await api.get(held.job.id)
    assert (job.outcome, job.diagnosis) == ("diverged", {"verdict": "diverging"})
    assert job.result is not None
    assert str(job.result["final_loss"]) == "nan"
    assert worker.read_columns(held.job.id, "train")["step"].tolist() == [0, 1, 2, 3, 4]
    again = worker.close(
        held,
        "succeeded",
        "finished",
        outcome="diverged",
        fields=fields,
        rows=rows,  # type: ignore[arg-type]
    )
    assert again == "succeeded"
