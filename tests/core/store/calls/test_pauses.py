"""Pauses in the store, of jobs and studies, wherever they stand and whatever comes in between; and
checkpoints that are asked for."""

from collections.abc import Callable
from typing import Any

import pytest
import redis

from core.errors import ConflictError, NotFoundError
from core.jobs import STATUSES, TERMINAL, Status
from core.store.protocols.types import Claim, NewJob, TaskClaim
from core.store.redis import AsyncRedisStore, RedisStore
from tests.core.store.conftest import Twin
from tests.core.store.places import positions
from tests.core.store.study_makers import new_study, planned, round_of, run_of, take

pytestmark = pytest.mark.anyio
Bring = Callable[[Status], Any]


def hold(worker: RedisStore, name: str = "w") -> Claim | TaskClaim:
    claim = worker.claim_next(name, ["cpu"], 60.0)
    assert claim is not None
    return claim


def events(record: Any) -> list[str]:
    return [entry.event for entry in record.timeline.entries]


async def test_what_waits_is_paused_at_once_and_waits_again_behind_the_others(
    twin: Twin, worker: RedisStore, api: AsyncRedisStore
) -> None:
    first, second, low = twin.make(), twin.make(), twin.make(priority=4)
    for new in (first, second, low):
        await twin.records.create(new, None)

    paused = await twin.records.request_pause(first.id)

    assert (paused.status, paused.pause_requested_at is None) == ("paused", False)
    assert paused == await twin.records.request_pause(first.id) == await twin.records.get(first.id)
    assert await positions(api, [first.id, second.id, low.id]) == [None, 0, 1]
    assert worker.num_queued() == 2
    resumed = await twin.records.request_resume(first.id)
    assert (resumed.status, resumed.pause_requested_at) == ("queued", None)
    assert resumed == await twin.records.request_resume(first.id)
    assert await positions(api, [first.id, second.id, low.id]) == [1, 0, 2]
    assert events(resumed) == ["created", "queued", "paused", "resumed", "queued"]
    held = [hold(worker) for _ in range(3)]
    names = [each.study.id if isinstance(each, TaskClaim) else each.job.id for each in held]
    assert names == [second.id, first.id, low.id]


async def test_what_is_resumed_many_times_is_behind_even_those_of_a_clock_ahead(
    twin: Twin, api: AsyncRedisStore
) -> None:
    ahead = twin.make(id=f"{twin.noun}_{'7' + 25 * 'z'}")
    some = [twin.make() for _ in range(3)]
    for new in (*some, ahead):
        await twin.records.create(new, None)
    for new in some:
        await twin.records.request_pause(new.id)
        await twin.records.request_resume(new.id)
    ids = [ahead.id, *(new.id for new in some)]
    assert await positions(api, ids) == [0, 1, 2, 3]


async def test_a_running_job_is_handed_over_and_paused(
    bring_to: Bring, api: AsyncRedisStore, worker: RedisStore
) -> None:
    job_id, claim = await bring_to("running")

    asked = await api.request_pause(job_id)

    assert (asked.status, asked.pause_requested_at is None) == ("running", False)
    assert asked == await api.request_pause(job_id)
    assert worker.renew(claim, 60) == "pausing"
    for _ in range(2):  # the first answer might have been lost
        assert worker.hand_over(claim, {"num_steps": 3}) == "paused"
    job = await api.get(job_id)
    assert (job.status, job.attempts[0].end, job.phase) == ("paused", "paused", None)
    assert events(job)[-2:] == ["pause_requested", "paused"]
    assert worker.reap() == []
    await api.request_resume(job_id)
    again = hold(worker)
    assert isinstance(again, Claim)
    assert (again.job.id, again.attempt) == (job_id, 2)
    assert worker.renew(again, 60) == "running"


async def test_a_pause_uses_up_no_attempt_and_a_lost_worker_does(
    api: AsyncRedisStore, worker: RedisStore, new_job: Callable[..., NewJob]
) -> None:
    new = new_job(max_attempts=2)
    await api.create(new, None)
    for _ in range(4):
        claim = hold(worker)
        await api.request_pause(new.id)
        worker.hand_over(claim)
        await api.request_resume(new.id)
    for expected in ("paused", "failed"):
        claim = hold(worker)
        await api.request_pause(new.id)
        assert worker.lose(claim) == expected
        if expected == "paused":
            await api.request_resume(new.id)
    job = await api.get(new.id)
    assert [each.end for each in job.attempts] == [*4 * ["paused"], "lost", "lost"]
    assert job.error is not None
    assert job.error["code"] == "worker_lost"


async def test_a_pause_asked_of_a_dead_worker_is_reached_when_its_lease_runs_out(
    bring_to: Bring, api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str
) -> None:
    job_id, _ = await bring_to("running")
    await api.request_pause(job_id)
    raw.zadd(f"{namespace}:leases", {job_id: 1}, xx=True)

    assert worker.reap() == [job_id]

    job = await api.get(job_id)
    assert (job.status, job.attempts[0].end) == ("paused", "lost")
    assert worker.claim_next("w", ["cpu"], 60.0) is None


async def test_a_pause_that_is_not_reached_is_withdrawn(
    bring_to: Bring, api: AsyncRedisStore, worker: RedisStore
) -> None:
    job_id, claim = await bring_to("running")
    await api.request_pause(job_id)

    resumed = await api.request_resume(job_id)

    assert (resumed.status, resumed.pause_requested_at) == ("running", None)
    assert worker.renew(claim, 60) == "running"
    # It may have been heard already: then the job is handed over, as at a shutdown.
    assert worker.hand_over(claim) == "queued"
    assert (await api.get(job_id)).attempts[0].end == "handed_over"


@pytest.mark.parametrize("call", ["request_pause", "request_resume"])
@pytest.mark.parametrize("status", ["cancelling", *sorted(TERMINAL)])
async def test_what_ends_or_has_ended_is_neither_paused_nor_resumed(
    status: Status, call: str, bring_to: Bring, api: AsyncRedisStore
) -> None:
    job_id, _ = await bring_to(status)
    before = await api.get(job_id)
    with pytest.raises(ConflictError, match=f"Job {job_id}") as refused:
        await getattr(api, call)(job_id)
    expected = "cancelling" if status == "cancelling" else "already_ended"
    assert refused.value.conflict_code == expected
    assert await api.get(job_id) == before


async def test_a_cancel_ends_what_is_paused_and_it_keeps_what_it_had(
    bring_to: Bring, api: AsyncRedisStore, worker: RedisStore
) -> None:
    job_id, claim = await bring_to("running")
    await api.request_pause(job_id)
    worker.hand_over(claim, {"num_steps": 3, "final_loss": float("nan")})

    cancelled = await api.request_cancel(job_id)

    assert (cancelled.status, cancelled.outcome) == ("cancelled", None)
    assert cancelled.result is not None
    assert cancelled.result["num_steps"] == 3
    assert str(cancelled.result["final_loss"]) == "nan"
    await api.delete(job_id)


async def test_a_cancel_beats_a_pause(
    bring_to: Bring, api: AsyncRedisStore, worker: RedisStore
) -> None:
    job_id, claim = await bring_to("running")
    await api.request_pause(job_id)
    await api.request_cancel(job_id)
    assert worker.renew(claim, 60) == "cancelling"
    assert worker.hand_over(claim, {"num_steps": 3}) == "cancelled"
    job = await api.get(job_id)
    assert (job.attempts[0].end, job.result) == ("cancelled", {"num_steps": 3})


async def test_an_end_beats_a_pause(
    bring_to: Bring, api: AsyncRedisStore, worker: RedisStore
) -> None:
    job_id, claim = await bring_to("running")
    await api.request_pause(job_id)
    worker.close(claim, "succeeded", "finished", outcome="converged", fields={})
    assert (await api.get(job_id)).status == "succeeded"


async def test_of_a_study_no_task_begins_and_those_at_work_are_handed_over(
    api: AsyncRedisStore, worker: RedisStore
) -> None:
    study_id = await planned(api, worker, [0, 1], [2], [3])
    first, second = take(worker), take(worker)

    study = await api.studies.request_pause(study_id)

    assert study.status == "running"
    assert worker.claim_next("w", ["cpu"], 60.0) is None
    assert [worker.renew(each, 60) for each in (first, second)] == ["pausing", "pausing"]
    assert worker.hand_over(first) == "paused"
    assert (await api.studies.get(study_id)).status == "running"
    ended = run_of(2, status="succeeded", outcome="converged")
    assert worker.studies.close(second, "succeeded", "finished", runs=[ended]) == "paused"
    study = await api.studies.get(study_id)
    assert (study.status, study.counts["running"], study.counts["queued"]) == ("paused", 0, 3)
    started = study.started_at
    assert await positions(api, [study_id]) == [None]

    study = await api.studies.request_resume(study_id)

    assert study.status == "queued"
    assert await positions(api, [study_id]) == [0]
    again = take(worker)
    assert (again.task, again.attempt) == (first.task, 2)
    study = await api.studies.get(study_id)
    assert (study.status, study.started_at) == ("running", started)
    assert study.idle_ms >= 0
    assert take(worker).task.runs == (3,)


async def test_a_pause_of_a_study_withdrawn_gives_its_tasks_their_places_back(
    api: AsyncRedisStore, worker: RedisStore
) -> None:
    study_id = await planned(api, worker, [0], [1], [2])
    other = new_study()
    await api.studies.create(other, None)
    held = take(worker)
    await api.studies.request_pause(study_id)

    study = await api.studies.request_resume(study_id)

    assert (study.status, study.pause_requested_at) == ("running", None)
    assert worker.renew(held, 60) == "running"
    assert [take(worker).study.id for _ in range(3)] == [study_id, study_id, other.id]


@pytest.mark.parametrize("kind", ["plan", "next_plan", "finish", "lost", "fails"])
async def test_a_task_in_hand_when_its_study_is_to_pause_leaves_it_paused_or_over(
    kind: str, api: AsyncRedisStore, worker: RedisStore
) -> None:
    new = new_study(max_attempts=1 if kind == "fails" else 3)
    await api.studies.create(new, None)
    claim = take(worker)
    if kind == "next_plan":
        worker.studies.plan(claim, round_of(claim.study, [0]))
        claim = take(worker)
    await api.studies.request_pause(new.id)

    match kind:
        case "plan":
            worker.studies.plan(claim, round_of(claim.study, [0], [1]))
        case "next_plan":
            ended = run_of(0, status="succeeded", outcome="converged")
            worker.studies.close(claim, "succeeded", "finished", runs=[ended])
        case "finish":
            worker.studies.finish(claim, "succeeded", {"result": {}})
        case _:
            worker.lose(claim)

    expected = {"finish": "succeeded", "fails": "failed"}.get(kind, "paused")
    assert (await api.studies.get(new.id)).status == expected
    assert worker.claim_next("w", ["cpu"], 60.0) is None
    if expected == "paused":
        await api.studies.request_resume(new.id)
        assert take(worker).study.id == new.id


@pytest.mark.parametrize("resumed", [False, True])
async def test_a_study_that_was_paused_between_tasks_is_cancelled_whole(
    *, resumed: bool, api: AsyncRedisStore, worker: RedisStore
) -> None:
    study_id = await planned(api, worker, [0, 1], [2, 3])
    await api.studies.request_pause(study_id)
    if resumed:
        await api.studies.request_resume(study_id)

    study = await api.studies.request_cancel(study_id)

    assert (study.status, study.counts["cancelled"]) == ("cancelled", 4)
    assert worker.num_queued() == 0
    await api.studies.delete(study_id)


async def test_a_request_is_told_until_it_is_answered(
    bring_to: Bring, api: AsyncRedisStore, worker: RedisStore
) -> None:
    job_id, claim = await bring_to("running")
    assert worker.renew(claim, 60) == "running"

    job = await api.request_checkpoint(job_id)

    assert (job.status, job.timeline.entries[-1].event) == ("running", "checkpoint_requested")
    assert worker.renew(claim, 60) == 1
    await api.request_checkpoint(job_id)
    assert worker.renew(claim, 60) == 2
    worker.update(claim, {"checkpoints_kept": 1})
    assert worker.renew(claim, 60) == 2
    worker.lose(claim)
    again = hold(worker)
    assert worker.renew(again, 60) == 2
    await api.request_pause(job_id)
    assert worker.renew(again, 60) == "pausing"
    await api.request_resume(job_id)
    assert isinstance(again, Claim)
    worker.update(again, {"checkpoints_kept": 2})
    assert worker.renew(again, 60) == "running"


@pytest.mark.parametrize("status", sorted({*STATUSES} - {"running"}))
async def test_only_a_running_job_is_asked_for_one(
    status: Status, bring_to: Bring, api: AsyncRedisStore
) -> None:
    job_id, _ = await bring_to(status)
    before = await api.get(job_id)
    with pytest.raises(ConflictError, match=status) as refused:
        await api.request_checkpoint(job_id)
    assert refused.value.conflict_code == "not_running"
    assert await api.get(job_id) == before
    with pytest.raises(NotFoundError):
        await api.request_checkpoint("job_nowhere")
