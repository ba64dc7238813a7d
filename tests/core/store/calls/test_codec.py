"""A record's fields lie in its hash as their annotations say."""

import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
import redis

from core.jobs import JobRecord, TimelineEntry, Usage
from core.store.calls.codec import Prepacked, dumps, encode_updates
from core.store.protocols.types import Claim, NewJob
from core.store.redis import AsyncRedisStore, RedisStore
from core.studies import StudyRecord
from tests.core.store.conftest import Twin
from tests.core.store.study_makers import planned, take

pytestmark = pytest.mark.anyio

UPDATE: dict[str, Any] = {
    "spec": {"seed": 1},
    "phase": "training",
    "resolved": {"optimizer.lr": {"value": 0.02, "evidence": {"loss": [1.0, math.inf]}}},
    "progress": {"step": 3, "max_steps": None, "steps_per_s": math.inf},
    "latest": {"step": 2, "loss": -math.inf},
    "best": {"step": 1, "loss": 0.1},
    "diagnosis": {"verdict": "healthy"},
    "data": {"num_rows": {"train": 3, "eval": 1, "test": 0}, "num_features": 2, "classes": None},
    "checkpoints": ({"name": "final", "step": 3},),
    "checkpoints_kept": 4,
    "interventions": ({"step": 2, "action": "skip"},),
}
CLOSE: dict[str, Any] = {
    "result": {"final_loss": math.inf},
    "error": {"code": "x", "message": "é", "param": None},
}


def peak_of(record: JobRecord | StudyRecord) -> int | None:
    assert record.usage is not None
    return record.usage.peak_memory_bytes


async def test_what_an_attempt_sets_reads_back_as_it_was(
    api: AsyncRedisStore, worker: RedisStore, new_job: Callable[..., NewJob]
) -> None:
    new = new_job()
    await api.create(new, None)
    claim = worker.claim_next("w", ["cpu"], 60.0)
    assert isinstance(claim, Claim)
    worker.update(claim, {**UPDATE, "device": "cpu"})
    job = await api.get(new.id)
    assert {name: getattr(job, name) for name in UPDATE} == UPDATE
    assert job.attempts[0].device == "cpu"

    worker.update(claim, dict.fromkeys(("diagnosis", "latest", "interventions", "usage")))
    fields = {**CLOSE, "phase": "saving", "usage": Usage(peak_memory_bytes=7)}
    worker.close(claim, "failed", "failed", outcome=None, fields=fields)
    job = await api.get(new.id)
    assert (job.diagnosis, job.latest, job.interventions) == (None, None, ())
    assert {name: getattr(job, name) for name in CLOSE} == CLOSE
    assert (job.phase, peak_of(job)) == (None, 7)


async def test_a_long_diagnosis_takes_less_room_and_a_plain_one_is_read_as_well(
    api: AsyncRedisStore,
    worker: RedisStore,
    new_job: Callable[..., NewJob],
    raw: redis.Redis,
    namespace: str,
) -> None:
    finding = {"rule": "loss_growing", "status": "clear", "evidence": {"trend_z": math.inf}}
    found = {"verdict": "healthy", "findings": [finding | {"explanation": "é"}] * 60}
    new = new_job()
    await api.create(new, None)
    claim = worker.claim_next("w", ["cpu"], 60.0)
    assert isinstance(claim, Claim)
    worker.update(claim, {"diagnosis": found})
    record = f"{namespace}:job:{new.id}"
    assert len(raw.hget(record, "diagnosis") or b"") < len(dumps(found)) / 5
    assert (await api.get(new.id)).diagnosis == found

    raw.hset(record, "diagnosis", dumps(found))  # as format 4 wrote it
    assert (await api.get(new.id)).diagnosis == found


@pytest.mark.parametrize("count", [0, 1, 60])
def test_what_is_packed_ahead_is_written_as_it_is_otherwise(count: int) -> None:
    finding = {"rule": "loss_growing", "status": "clear", "evidence": {"trend_z": math.inf}}
    found = {"verdict": "healthy", "findings": [finding] * count}
    for closing in (False, True):
        ahead = encode_updates({"diagnosis": Prepacked.of(found)}, closing=closing)
        assert ahead == encode_updates({"diagnosis": found}, closing=closing)


def test_each_field_that_an_attempt_may_set_is_tried_above() -> None:
    others = {"outcome", "timeline", "usage", "device"}
    at = TimelineEntry("2026-11-22T10:00:00.000000Z", "restarted")
    for name in (field.name for field in fields(JobRecord)):
        value = {"timeline": [at], "usage": Usage(1), "checkpoints_kept": 1}.get(name, "x")
        for closing, known in ((False, UPDATE), (True, {**UPDATE, **CLOSE})):
            if name in known or name in others - ({"outcome"} if not closing else set()):
                assert encode_updates({name: value}, closing=closing)
            else:
                with pytest.raises(ValueError, match=name):
                    encode_updates({name: value}, closing=closing)


async def test_of_several_attempts_and_tasks_the_largest_use_counts(
    api: AsyncRedisStore, worker: RedisStore, new_job: Callable[..., NewJob]
) -> None:
    new = new_job()
    await api.create(new, None)
    for size in (500, 900):
        claim = worker.claim_next("w", ["cpu"], 60.0)
        assert isinstance(claim, Claim)
        worker.update(claim, {"usage": Usage(size)})
        worker.hand_over(claim)
    claim = worker.claim_next("w", ["cpu"], 60.0)
    assert isinstance(claim, Claim)
    worker.close(claim, "failed", "failed", outcome=None, fields={"usage": Usage(80)})
    assert peak_of(await api.get(new.id)) == 900

    study_id = await planned(api, worker, [0], [1], [2])
    for usage in (Usage(900), Usage(5000), None):
        worker.studies.close(take(worker), "succeeded", "finished", usage=usage)
    assert peak_of(await api.studies.get(study_id)) == 5000
    assert peak_of(take(worker).study) == 5000


async def test_a_record_of_before_its_last_fields_opens(
    twin: Twin, raw: redis.Redis, namespace: str
) -> None:
    new = twin.make(labels={"a": "b"})
    made = twin.record(await twin.records.create(new, None))
    raw.hdel(f"{namespace}:{twin.noun}:{new.id}", "timeline")
    record = await twin.records.get(new.id)
    assert isinstance(record, JobRecord | StudyRecord)
    assert (record.timeline.entries, record.usage) == ([], None)
    assert (record.id, record.labels, record.version) == (made.id, {"a": "b"}, 1)
