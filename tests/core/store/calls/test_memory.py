"""What does not fit into a worker's device, by its estimate, is left to a worker with more memory
while there is one. Jobs and studies alike."""

import itertools
from typing import Final

import pytest

from core.store.protocols.types import Claim, TaskClaim, WorkerInfo
from core.store.redis import AsyncRedisStore, RedisStore
from tests.core.store.conftest import Twin
from tests.core.store.study_makers import round_of

pytestmark = pytest.mark.anyio
GIB: Final = 2**30
GPU: Final = ("cuda:0", "cpu")
CPU: Final = ("cpu",)


def report(
    worker: RedisStore, name: str, devices: tuple[str, ...], gib: int, *, ttl_s: float = 60.0
) -> None:
    stamp = "2026-11-29T00:00:00.000000Z"
    memory = {devices[0]: gib * GIB} if gib else {}
    info = WorkerInfo(name, devices, (), None, stamp, stamp, 1, memory)
    worker.report_worker(info, ttl_s)


def claim(
    worker: RedisStore, name: str, devices: tuple[str, ...], gib: int
) -> Claim | TaskClaim | None:
    return worker.claim_next(name, devices, 60.0, {devices[0]: gib * GIB} if gib else {})


async def put(twin: Twin, worker: RedisStore, gib: float, device: str = "auto") -> str:
    """Queue a job, or a study whose first task has been planned."""
    made = await twin.records.create(twin.make(device=device, memory_bytes=int(gib * GIB)), None)
    if twin.noun == "study":
        # A plan takes no memory: whoever has little takes it, and leaves what came before.
        plan = worker.claim_next("planner", GPU, 60.0, {GPU[0]: 1})
        assert isinstance(plan, TaskClaim)
        worker.studies.plan(plan, round_of(plan.study, [0]))
    return str(twin.record(made).id)


def id_of(found: Claim | TaskClaim | None) -> str | None:
    if isinstance(found, TaskClaim):
        return found.study.id
    return None if found is None else found.job.id


@pytest.mark.parametrize(
    ("own", "others", "need"),
    list(itertools.product((0, 8, 24), ((), (8,), (24,), (8, 80), (0,)), (0, 1, 10, 30, 100))),
    ids=str,
)
async def test_work_goes_to_who_has_the_memory_or_the_most(
    twin: Twin, worker: RedisStore, own: int, others: tuple[int, ...], need: int
) -> None:
    report(worker, "own", GPU, own)
    for number, gib in enumerate(others):
        report(worker, f"other-{number}", GPU, gib)
    id_ = await put(twin, worker, need)
    fits = need <= own or own == 0
    found = claim(worker, "own", GPU, own)
    assert (id_of(found) == id_) == (fits or all(gib <= own for gib in others))
    if found is not None:
        assert found.memory_bytes == need * GIB


async def test_what_a_worker_leaves_does_not_hold_up_what_fits(
    twin: Twin, worker: RedisStore
) -> None:
    report(worker, "small", GPU, 8)
    report(worker, "large", GPU, 80)
    large = [await put(twin, worker, 30) for _ in range(3)]
    small = await put(twin, worker, 2)
    assert id_of(claim(worker, "small", GPU, 8)) == small
    assert claim(worker, "small", GPU, 8) is None
    assert [id_of(claim(worker, "large", GPU, 80)) for _ in large] == large


async def test_a_worker_that_is_gone_is_not_waited_for(twin: Twin, worker: RedisStore) -> None:
    report(worker, "small", GPU, 8)
    report(worker, "large", GPU, 80)
    id_ = await put(twin, worker, 30)
    assert claim(worker, "small", GPU, 8) is None
    worker.forget_worker("large")
    assert id_of(claim(worker, "small", GPU, 8)) == id_


async def test_a_worker_that_would_not_be_given_it_is_not_waited_for(
    twin: Twin, worker: RedisStore
) -> None:
    """A machine without a GPU has more memory, but `auto` is left to those that have one."""
    report(worker, "gpu", GPU, 8)
    report(worker, "cpu", CPU, 80)
    id_ = await put(twin, worker, 30)
    assert claim(worker, "cpu", CPU, 80) is None
    assert id_of(claim(worker, "gpu", GPU, 8)) == id_


async def test_another_gpu_that_the_spec_does_not_name_is_not_waited_for(
    twin: Twin, worker: RedisStore
) -> None:
    report(worker, "own", ("cuda:0",), 8)
    report(worker, "other", ("cuda:1",), 80)
    id_ = await put(twin, worker, 30, "cuda:0")
    assert claim(worker, "other", ("cuda:1",), 80) is None
    assert id_of(claim(worker, "own", ("cuda:0",), 8)) == id_


async def test_a_worker_tells_the_memory_of_its_devices(
    api: AsyncRedisStore, worker: RedisStore
) -> None:
    report(worker, "new", GPU, 8)
    report(worker, "old", GPU, 0)
    found = {info.name: info.memory_bytes for info in await api.workers()}
    assert found == {"new": {"cuda:0": 8 * GIB}, "old": {}}
