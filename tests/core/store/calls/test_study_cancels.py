"""Cancelling studies in the store."""

import pytest

from core.store.redis import AsyncRedisStore, RedisStore
from tests.core.store.study_makers import new_study, planned, round_of, run_of, take

pytestmark = pytest.mark.anyio


async def test_a_queued_study_is_cancelled_at_once(
    api: AsyncRedisStore, worker: RedisStore
) -> None:
    new = new_study()
    await api.studies.create(new, None)

    study = await api.studies.request_cancel(new.id)

    assert (study.status, study.cancel_requested_at is None) == ("cancelled", False)
    assert worker.claim_next("w", ["cpu"], 60.0) is None
    assert worker.num_queued() == 0
    again = await api.studies.request_cancel(new.id)
    assert again == study


async def test_a_cancel_ends_what_waits_and_asks_what_trains(
    api: AsyncRedisStore, worker: RedisStore
) -> None:
    study_id = await planned(api, worker, [0, 1], [2, 3])
    claim = take(worker)
    worker.studies.write(claim, runs=[run_of(0, status="running"), run_of(1, status="running")])

    study = await api.studies.request_cancel(study_id)

    assert study.status == "cancelling"
    statuses = [run.status for run in await api.studies.runs(study_id)]
    assert statuses == ["running", "running", "cancelled", "cancelled"]
    assert worker.renew(claim, 60.0) == "cancelling"
    kept = run_of(0, status="cancelled", result={"num_steps": 5})
    assert worker.studies.close(claim, "cancelled", "cancelled", runs=[kept]) == "cancelled"
    study = await api.studies.get(study_id)
    assert (study.status, study.counts["cancelled"]) == ("cancelled", 4)
    assert (await api.studies.runs(study_id))[0] == kept
    assert worker.claim_next("w", ["cpu"], 60.0) is None


async def test_a_cancel_beats_the_plan_in_hand(api: AsyncRedisStore, worker: RedisStore) -> None:
    for act in ("plan", "finish"):
        new = new_study()
        await api.studies.create(new, None)
        claim = take(worker)
        await api.studies.request_cancel(new.id)

        if act == "plan":
            worker.studies.plan(claim, round_of(claim.study, [0]))
        else:
            assert worker.studies.finish(claim, "succeeded", {}) == "cancelled"

        assert (await api.studies.get(new.id)).status == "cancelled"
        assert worker.claim_next("w", ["cpu"], 60.0) is None
