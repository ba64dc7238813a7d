"""Who takes what where some workers have a GPU and others have none: `auto` is left to the former,
`cpu` to the latter, while one of them takes work. Jobs, studies and requested diagnoses alike."""

import itertools
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import pytest
import redis

from core.settings import Settings
from core.store.protocols.types import Claim, NewJob, TaskClaim, WorkerInfo
from core.store.redis import AsyncRedisStore, RedisStore
from core.store.redis.worker_diagnoses import LEFT_S
from tests.core.store.conftest import Twin
from tests.core.store.places import positions
from tests.core.store.study_makers import new_study, planned, round_of

pytestmark = pytest.mark.anyio
NewJobs = Callable[..., NewJob]
BringTo = Callable[..., Awaitable[tuple[str, Claim | None]]]

GPU: Final = ("cuda:0", "cpu")
CPU: Final = ("cpu",)
WORKERS: Final = (CPU, GPU, ("cuda:0",), ("cuda:1", "cuda:0", "cpu"))
"""The devices of workers, as `--device` chooses them."""
LEASE_S: Final = 60.0
AT_ONCE_S: Final = 0.01


def has_gpu(devices: tuple[str, ...]) -> bool:
    return devices != CPU


def report(
    worker: RedisStore, devices: tuple[str, ...], *, takes_work: bool = True, ttl_s: float = 60.0
) -> str:
    """Let a worker with these devices report itself; returns its name."""
    name = "-".join(devices)
    stamp = "2026-11-29T00:00:00.000000Z"
    info = WorkerInfo(name, devices, (), None, stamp, stamp, 1)
    worker.report_worker(info, ttl_s, takes_work=takes_work)
    return name


def claim(worker: RedisStore, devices: tuple[str, ...]) -> Claim | TaskClaim | None:
    return worker.claim_next("-".join(devices), devices, LEASE_S)


def must_take(device: str, devices: tuple[str, ...], alive: tuple[tuple[str, ...], ...]) -> bool:
    """The rule in other words: one takes what it has the device for, unless somebody alive is to be
    preferred."""
    if device.startswith("cuda:"):
        return device in devices
    if device == "cuda":
        return has_gpu(devices)
    prefers_gpu = device == "auto"
    preferred = any(has_gpu(each) == prefers_gpu for each in alive)
    return has_gpu(devices) == prefers_gpu or not preferred


ALIVE: Final = tuple(
    chosen
    for count in range(3)
    for chosen in itertools.combinations((CPU, GPU, ("cuda:0",)), count)
)


@pytest.mark.parametrize("alive", ALIVE, ids=str)
@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:1"])
async def test_work_is_left_to_the_workers_that_suit_it_while_one_is_alive(
    twin: Twin, worker: RedisStore, device: str, alive: tuple[tuple[str, ...], ...]
) -> None:
    for devices in alive:
        report(worker, devices)
    for devices in WORKERS:
        await twin.records.create(twin.make(device=device), None)
        taken = claim(worker, devices)
        assert (taken is not None) == must_take(device, devices, alive), devices
        if taken is None:
            assert any(claim(worker, each) is not None for each in WORKERS)
        assert claim(worker, WORKERS[-1]) is None


@dataclass(frozen=True)
class Departure:
    """A way in which a worker ceases to take work. `is_told`: the others are woken by it."""

    name: str
    leave: Callable[[RedisStore, redis.Redis, str, tuple[str, ...]], None]
    is_told: bool = True


def _is_seen_to_die(store: RedisStore, raw: redis.Redis, space: str, who: tuple[str, ...]) -> None:
    raw.rpush(Settings(namespace=space).lost_workers_key, "-".join(who))
    assert store.await_work(("cuda:9",) if who == CPU else CPU, AT_ONCE_S)


def _falls_silent(store: RedisStore, raw: redis.Redis, space: str, who: tuple[str, ...]) -> None:
    for name in ("until", "gpu", "cpu"):
        raw.zadd(f"{space}:workers:{name}", {"-".join(who): 1}, xx=True)


def _is_silent_and_missed(
    store: RedisStore, raw: redis.Redis, space: str, who: tuple[str, ...]
) -> None:
    _falls_silent(store, raw, space, who)
    report(store, GPU if who == CPU else CPU)


DEPARTURES: Final = (
    Departure("ends", lambda store, raw, space, who: store.forget_worker("-".join(who))),
    Departure("cannot", lambda store, raw, space, who: void(report(store, who, takes_work=False))),
    Departure("dies", _is_seen_to_die),
    Departure("is silent", _falls_silent, is_told=False),
    Departure("is missed", _is_silent_and_missed),
)


def void(_: object) -> None:
    return None


@pytest.mark.parametrize("departure", DEPARTURES, ids=lambda each: each.name)
@pytest.mark.parametrize(
    ("device", "wanted", "other"), [("auto", GPU, CPU), ("cpu", CPU, GPU)], ids=["auto", "cpu"]
)
async def test_once_the_last_of_its_kind_is_gone_the_others_are_woken_and_take_it(
    twin: Twin,
    worker: RedisStore,
    raw: redis.Redis,
    namespace: str,
    device: str,
    wanted: tuple[str, ...],
    other: tuple[str, ...],
    departure: Departure,
) -> None:
    for devices in (wanted, other):
        report(worker, devices)
    await twin.records.create(twin.make(device=device), None)
    assert not worker.await_work(other, AT_ONCE_S)
    assert claim(worker, other) is None
    departure.leave(worker, raw, namespace, wanted)
    assert worker.await_work(other, AT_ONCE_S) == departure.is_told
    assert claim(worker, other) is not None


async def test_who_is_back_is_preferred_again(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    report(worker, GPU)
    report(worker, GPU, takes_work=False)
    report(worker, GPU)
    await api.create(new_job(), None)
    assert claim(worker, CPU) is None
    assert worker.await_work(GPU, AT_ONCE_S)
    assert claim(worker, GPU) is not None


async def test_one_that_leaves_changes_nothing_while_another_of_its_kind_is_there(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    report(worker, ("cuda:0",))
    worker.forget_worker(report(worker, GPU))
    await api.create(new_job(), None)
    assert not worker.await_work(CPU, AT_ONCE_S)
    assert claim(worker, CPU) is None


async def test_one_whose_trainer_finds_no_gpu_any_more_is_of_the_other_kind(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    stamp = "2026-11-29T00:00:00.000000Z"
    for devices in (GPU, CPU):
        worker.report_worker(WorkerInfo("w", devices, (), None, stamp, stamp, 1), 60.0)
    await api.create(new_job(), None)
    assert claim(worker, CPU) is not None


def _hand_over(worker: RedisStore, raw: redis.Redis, space: str, held: Claim | TaskClaim) -> None:
    worker.hand_over(held)


def _lose(worker: RedisStore, raw: redis.Redis, space: str, held: Claim | TaskClaim) -> None:
    worker.lose(held)


def _expire(worker: RedisStore, raw: redis.Redis, space: str, held: Claim | TaskClaim) -> None:
    name = held.job.id if isinstance(held, Claim) else held.task.id
    raw.zadd(f"{space}:leases", {name: 1}, xx=True)
    assert worker.reap() == [name]


@pytest.mark.parametrize("back", [_hand_over, _lose, _expire])
async def test_work_that_comes_back_is_left_to_the_same_workers(
    twin: Twin,
    worker: RedisStore,
    raw: redis.Redis,
    namespace: str,
    back: Callable[[RedisStore, redis.Redis, str, Claim | TaskClaim], None],
) -> None:
    report(worker, GPU)
    await twin.records.create(twin.make(device="auto"), None)
    held = claim(worker, GPU)
    assert held is not None
    back(worker, raw, namespace, held)
    assert not worker.await_work(CPU, AT_ONCE_S)
    assert claim(worker, CPU) is None
    assert worker.await_work(GPU, AT_ONCE_S)
    assert claim(worker, GPU) is not None


async def test_the_tasks_that_a_plan_queues_are_left_to_the_same_workers(
    api: AsyncRedisStore, worker: RedisStore
) -> None:
    report(worker, GPU)
    await api.studies.create(new_study(device="auto"), None)
    plan = claim(worker, GPU)
    assert isinstance(plan, TaskClaim)
    worker.studies.plan(plan, round_of(plan.study, [0], [1]))
    assert claim(worker, CPU) is None
    taken = [claim(worker, GPU) for _ in range(2)]
    assert [each.task.runs for each in taken if isinstance(each, TaskClaim)] == [(0,), (1,)]


MIXED: Final = [
    (device, priority)
    for device, priority in zip(
        ("auto", "cuda", "cpu", "auto", "cuda", "cpu", "auto", "cuda"),
        (5, 5, 5, 9, 0, 9, 0, 9),
        strict=True,
    )
]


@pytest.mark.parametrize("alive", [(GPU,), (CPU,), (GPU, CPU), ()], ids=str)
@pytest.mark.parametrize("devices", [GPU, CPU])
async def test_over_its_queues_a_worker_goes_by_priority_then_age_and_places_count_that(
    api: AsyncRedisStore,
    worker: RedisStore,
    new_job: NewJobs,
    alive: tuple[tuple[str, ...], ...],
    devices: tuple[str, ...],
) -> None:
    for each in alive:
        report(worker, each)
    jobs = [new_job(device=device, priority=priority) for device, priority in MIXED]
    for job in jobs:
        await api.create(job, None)
    places = await positions(api, [job.id for job in jobs])
    mine = [job for job in jobs if must_take(job.device, devices, alive)]
    expected = [job.id for job in sorted(mine, key=lambda job: (-job.priority, job.id))]
    taken = [held.job.id for _ in jobs if isinstance(held := claim(worker, devices), Claim)]
    assert taken == expected
    # Where workers of this kind alone serve its queue, a job's place is the number before it.
    if devices in alive:
        shared = {"auto", "cpu"} if devices == CPU else {"auto", "cuda", "cpu"}
        counted = [job for job in jobs if job.id in expected and job.device in shared]
        for job in counted:
            assert places[jobs.index(job)] == expected.index(job.id), job.device


@pytest.mark.parametrize(
    ("device", "prefers"), [("auto", GPU), ("cuda", GPU), ("cuda:3", GPU), ("cpu", CPU)]
)
async def test_a_diagnosis_is_left_to_the_workers_that_suit_its_job_for_a_few_seconds(
    api: AsyncRedisStore,
    worker: RedisStore,
    raw: redis.Redis,
    namespace: str,
    new_job: NewJobs,
    device: str,
    prefers: tuple[str, ...],
) -> None:
    other = CPU if prefers == GPU else GPU
    for devices in (GPU, CPU):
        report(worker, devices)

    async def asked(waited_s: float = 0.0) -> str:
        job = new_job(device=device)
        await api.create(job, None)
        held = worker.claim_next("w", ("cuda:3", "cuda:0") if prefers == GPU else CPU, LEASE_S)
        assert isinstance(held, Claim)
        worker.close(held, "succeeded", "finished", outcome="converged", fields={})
        await api.request_diagnosis(job.id, "final")
        raw.zincrby(f"{namespace}:diagnoses", -1000 * waited_s, job.id)
        return job.id

    first = await asked()
    assert worker.diagnoses.claim("w", other, LEASE_S) is None
    mine = worker.diagnoses.claim("w", prefers, LEASE_S)
    assert mine is not None
    assert mine.job.id == first
    # A worker that is busy for long is not waited for; one that is not there, not at all.
    busy = await asked(waited_s=LEFT_S)
    held = worker.diagnoses.claim("w", other, LEASE_S)
    assert held is not None
    assert held.job.id == busy
    await asked()
    worker.forget_worker("-".join(prefers))
    assert worker.diagnoses.claim("w", other, LEASE_S) is not None


async def test_a_diagnosis_that_others_are_to_make_hides_none_behind_it(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    report(worker, GPU)
    asked = []
    for device, devices in (("auto", GPU), ("cpu", CPU)):
        await api.create(new_job(device=device), None)
        held = claim(worker, devices)
        assert isinstance(held, Claim)
        worker.close(held, "succeeded", "finished", outcome="converged", fields={})
        await api.request_diagnosis(held.job.id, "final")
        asked.append(held.job.id)
    found = worker.diagnoses.claim("w", CPU, LEASE_S)
    assert found is not None
    assert found.job.id == asked[1]


def as_format_2(raw: redis.Redis, space: str, owner: str, name: str, spec: object) -> None:
    """Queue a job, or a study's task, where format 2 did, whose specs say the device."""
    key = f"{space}:{'study' if owner.startswith('study') else 'job'}:"
    queue, place = raw.hmget(key + name, "queue", "place")
    assert isinstance(queue, bytes)
    assert isinstance(place, bytes)
    raw.hset(key + owner, mapping={"queue": "any", "spec": json.dumps(spec)})
    raw.hset(key + name, "queue", "any")
    raw.zrem(f"{space}:queue:{queue.decode()}", place)
    raw.zadd(f"{space}:queue:any", {place: 0})


@pytest.mark.parametrize("device", ["auto", "cpu", None])
async def test_what_format_2_queued_for_anybody_goes_where_its_device_says(
    twin: Twin, worker: RedisStore, raw: redis.Redis, namespace: str, device: str | None
) -> None:
    for devices in (GPU, CPU):
        report(worker, devices)
    spec = {} if device is None else {"device": device}
    body = spec if twin.noun == "job" else {"base": spec, "sweep": {"device": {"values": ["x"]}}}
    labels = {"labels": {"device": "cpu"}}  # no device
    names = []
    for _ in range(2):
        new = twin.make(device=device or "auto")
        await twin.records.create(new, None)
        name = new.id if twin.noun == "job" else f"{new.id}/0.0"
        as_format_2(raw, namespace, new.id, name, {**labels, **body})
        names.append(name)
    wanted, other = (CPU, GPU) if device == "cpu" else (GPU, CPU)
    assert claim(worker, other) is None
    for name in names:
        held = claim(worker, wanted)
        assert held is not None
        assert (held.job.id if isinstance(held, Claim) else held.task.id) == name
        worker.hand_over(held)
        again = claim(worker, wanted)
        assert again is not None
    assert not raw.exists(f"{namespace}:queue:any")
    assert claim(worker, GPU) is None


async def test_a_task_of_format_2_that_is_in_hand_finds_its_queue_when_it_comes_back(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str
) -> None:
    study_id = await planned(api, worker, [0])
    name = f"{study_id}/0.1"
    as_format_2(raw, namespace, study_id, name, {"base": {"device": "cpu"}, "sweep": {}})
    held = claim(worker, CPU)
    assert isinstance(held, TaskClaim)
    raw.hset(f"{namespace}:study:{name}", "queue", "any")
    worker.hand_over(held)
    report(worker, CPU)
    assert claim(worker, GPU) is None
    assert claim(worker, CPU) is not None


async def test_specs_that_are_large_or_damaged_hold_no_claim_up(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str, new_job: NewJobs
) -> None:
    """They are looked at a megabyte at a time; what is no JSON is anybody's."""
    padding = "x" * 900_000
    jobs = [new_job(device="cpu") for _ in range(4)]
    for job in jobs:
        await api.create(job, None)
        as_format_2(raw, namespace, job.id, job.id, {"pad": padding, "device": "cpu"})
    raw.hset(f"{namespace}:job:{jobs[0].id}", "spec", '{"device": "cpu"')
    with pytest.raises(ValueError, match="unexpected end"):  # the record cannot be read, either
        claim(worker, CPU)
    assert raw.zcard(f"{namespace}:queue:any") in {2, 3}
    for job in jobs[1:]:
        held = claim(worker, CPU)
        assert isinstance(held, Claim)
        assert held.job.id == job.id
    assert raw.zcard(f"{namespace}:queue:any") == 0
