"""Messages to webhooks are made with the events that they tell of."""

import math
from dataclasses import replace
from typing import Any

import pytest

from core.jobs import Status
from core.specs.webhooks.fields import JOB_EVENTS, STUDY_EVENTS
from core.store.redis import AsyncRedisStore, RedisStore
from tests.core.store.redis.webhook_jobs import (
    URL,
    NewJobs,
    claim_job,
    close,
    due,
    hooked,
    job_spec,
    told,
)
from tests.core.store.study_makers import new_study, round_of, take

pytestmark = pytest.mark.anyio


async def test_each_event_of_a_job_makes_one_message(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    job = (await api.create(hooked(new_job, *JOB_EVENTS, target=0.5), None)).job
    assert await told(api) == []
    claim = claim_job(worker)
    assert await told(api) == ["job.started"]
    worker.update(claim, {"diagnosis": {"verdict": "healthy", "confidence": 1.0}})
    worker.update(claim, {"diagnosis": {"verdict": "healthy", "confidence": 0.5}})
    worker.update(claim, {"diagnosis": {"verdict": "plateau", "confidence": 0.5}})
    close(worker, claim, "succeeded", outcome="converged", result={"final_loss": 0.4})
    close(worker, claim, "succeeded", outcome="converged", result={"final_loss": 0.4})
    assert await told(api) == [
        "job.started", "job.verdict_changed", "job.verdict_changed", "job.succeeded",
        "job.target_reached",
    ]  # fmt: skip
    first, second = (
        each.data
        for each in reversed((await api.webhooks.list([], {"of": job.id}, 100, None)).deliveries)
        if each.type == "job.verdict_changed"
    )
    assert (first["previous_verdict"], first["verdict"]) == (None, "healthy")
    assert (second["previous_verdict"], second["verdict"]) == ("healthy", "plateau")


async def test_a_message_tells_the_record_of_that_moment(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    new = hooked(new_job, "job.succeeded")
    await api.create(replace(new, name="mine"), None)
    result = {"final_loss": math.inf, "eval": {"loss": math.nan}}
    close(worker, claim_job(worker), "succeeded", outcome="diverged", result=result)
    (claim,) = due(worker)
    found = claim.delivery
    record = await api.get(new.id)
    assert (found.type, found.subject, found.url, found.format, found.status) == (
        "job.succeeded", new.id, URL, "slack", "waiting",
    )  # fmt: skip
    assert found.created_at == record.finished_at
    data = found.data
    assert (data["status"], data["outcome"], data["name"]) == ("succeeded", "diverged", "mine")
    assert data["labels"] == {"team": "vision"}
    assert data["result"]["final_loss"] == math.inf
    assert math.isnan(data["result"]["eval"]["loss"])
    assert (record.webhook_url, record.spec["webhook"]["url"]) == (URL, "https://example.org")
    assert URL not in repr(record)
    assert URL not in repr(found)


async def test_a_large_result_is_left_out_of_the_copy(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    await api.create(hooked(new_job, "job.succeeded"), None)
    result = {"final_loss": 1.0, "solution": [0.5] * 10_000}
    close(worker, claim_job(worker), "succeeded", outcome="converged", result=result)
    (claim,) = due(worker)
    assert "result" not in claim.delivery.data


@pytest.mark.parametrize(
    ("outcome", "loss", "target", "maximize", "reached"),
    [
        ("converged", 0.5, 0.5, False, True),
        ("converged", 0.6, 0.5, False, False),
        ("budget_exhausted", 0.4, 0.5, False, False),
        ("converged", 0.6, 0.5, True, True),
        ("converged", 0.4, 0.5, True, False),
        ("converged", -2.0, -1.5e-3, False, True),
        ("converged", math.nan, 0.5, False, False),
        ("converged", math.inf, 0.5, False, False),
        ("converged", 0.0, None, False, False),
    ],
)
async def test_a_target_is_reached_where_the_descent_ended_by_it(
    api: AsyncRedisStore,
    worker: RedisStore,
    new_job: NewJobs,
    outcome: Any,
    loss: float,
    target: float | None,
    maximize: bool,
    reached: bool,
) -> None:
    new = hooked(new_job, "job.target_reached", target=target, maximize=maximize)
    await api.create(new, None)
    close(worker, claim_job(worker), "succeeded", outcome=outcome, result={"final_loss": loss})
    assert await told(api) == (["job.target_reached"] if reached else [])


@pytest.mark.parametrize(
    ("metric", "value", "maximize", "reached"),
    [
        ("eval.accuracy", 0.9, False, True),
        ("eval.accuracy", 0.7, False, False),
        ("eval.loss", 0.7, False, True),
        ("eval.loss", 0.9, False, False),
        ("eval.loss", 0.9, True, True),
        ("eval.accuracy", math.nan, False, False),
        ("eval.f1", None, False, False),
    ],
)
async def test_a_target_of_an_evaluation_is_reached_by_its_better_side(
    api: AsyncRedisStore,
    worker: RedisStore,
    new_job: NewJobs,
    metric: str,
    value: float | None,
    maximize: bool,
    reached: bool,
) -> None:
    spec = job_spec("job.target_reached", maximize=maximize)
    spec["stop"] = {"target_loss": None, "metric": metric, "target": 0.8}
    await api.create(new_job(spec=spec, webhook_url=URL), None)
    result = {"final_loss": 0.8, "eval": {"step": 3, metric.removeprefix("eval."): value}}
    close(worker, claim_job(worker), "succeeded", outcome="converged", result=result)
    assert await told(api) == (["job.target_reached"] if reached else [])


@pytest.mark.parametrize("status", ["failed", "cancelled"])
async def test_an_end_of_any_kind_is_told(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs, status: Status
) -> None:
    job = (await api.create(hooked(new_job, *JOB_EVENTS), None)).job
    claim = claim_job(worker)
    if status == "cancelled":
        await api.request_cancel(job.id)
    close(worker, claim, status)
    assert await told(api) == ["job.started", f"job.{status}"]


async def test_a_queued_job_that_is_cancelled_is_told(
    api: AsyncRedisStore, new_job: NewJobs
) -> None:
    job = (await api.create(hooked(new_job, *JOB_EVENTS), None)).job
    await api.request_cancel(job.id)
    await api.request_cancel(job.id)
    assert await told(api, job.id) == ["job.cancelled"]


async def test_a_job_whose_workers_die_started_once_and_failed(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    await api.create(replace(hooked(new_job, *JOB_EVENTS), max_attempts=2), None)
    for _ in range(2):
        worker.lose(claim_job(worker))
    assert await told(api) == ["job.started", "job.failed"]


async def test_a_pause_makes_no_second_start(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    job = (await api.create(hooked(new_job, *JOB_EVENTS), None)).job
    claim = claim_job(worker)
    await api.request_pause(job.id)
    worker.hand_over(claim)
    await api.request_resume(job.id)
    claim_job(worker)
    assert await told(api) == ["job.started"]


async def test_a_diagnosis_asked_for_later_may_change_the_verdict(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    job = (await api.create(hooked(new_job, "job.verdict_changed"), None)).job
    found = {"verdict": "healthy", "confidence": 1.0}
    close(worker, claim_job(worker), "succeeded", outcome="converged", diagnosis=found)
    for verdict in ("healthy", "saddle_point"):
        await api.request_diagnosis(job.id, "final")
        claim = worker.diagnoses.claim("w", ["cpu"], 60.0)
        assert claim is not None
        worker.diagnoses.finish(claim, {"verdict": verdict, "confidence": 1.0})
    assert await told(api) == ["job.verdict_changed"] * 2


async def test_only_what_was_asked_for_is_told(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    await api.create(hooked(new_job, "job.failed"), None)
    close(worker, claim_job(worker), "succeeded", outcome="diverged")
    await api.create(new_job(), None)
    close(worker, claim_job(worker), "failed")
    assert await told(api) == []


@pytest.mark.parametrize("goal", ["min", "max"])
@pytest.mark.parametrize("metric", [0.1, 0.3, None, math.nan])
async def test_a_study_tells_its_start_its_end_and_its_target(
    api: AsyncRedisStore, worker: RedisStore, goal: str, metric: float | None
) -> None:
    spec = {
        "base": {},
        "sweep": {},
        "metric": {"name": "loss", "goal": goal, "target": 0.2},
        "webhook": {
            "url": "https://example.org", "events": list(STUDY_EVENTS), "format": "standard",
        },
    }  # fmt: skip
    new = new_study(spec=spec, webhook_url=URL)
    await api.studies.create(new, None)
    worker.studies.plan(claim := take(worker), round_of(claim.study, [0]))
    assert await told(api) == ["study.started"]
    worker.studies.close(take(worker), "succeeded", "finished")
    best = {"configuration": 0, "params": {}, "metric": metric}
    worker.studies.finish(take(worker), "succeeded", {"result": {"best": best}})
    reached = metric is not None and (metric <= 0.2 if goal == "min" else metric >= 0.2)
    ends = ["study.succeeded", *(["study.target_reached"] if reached else [])]
    assert await told(api, new.id) == ["study.started", *ends]
    (_, claimed, *_) = due(worker)
    assert claimed.delivery.data["num_runs"] == 4


async def test_a_study_that_fails_or_is_cancelled_is_told(
    api: AsyncRedisStore, worker: RedisStore
) -> None:
    webhook = {"url": "https://example.org", "events": list(STUDY_EVENTS), "format": "standard"}
    spec = {"base": {}, "sweep": {}, "metric": {}, "webhook": webhook}
    first = new_study(spec=spec, webhook_url=URL)
    await api.studies.create(first, None)
    await api.studies.request_cancel(first.id)
    second = new_study(spec=spec, webhook_url=URL)
    await api.studies.create(second, None)
    worker.studies.finish(take(worker), "failed", {"error": {"code": "internal_error"}})
    assert await told(api, first.id) == ["study.cancelled"]
    assert await told(api, second.id) == ["study.started", "study.failed"]


async def test_a_long_diagnosis_is_compressed_and_its_verdict_is_told(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    await api.create(hooked(new_job, "job.verdict_changed"), None)
    long = {"findings": ["x" * 10_000], "confidence": 1.0}
    claim = claim_job(worker)
    worker.update(claim, {"diagnosis": {"verdict": "healthy", **long}})
    close(worker, claim, "succeeded", outcome="stalled", diagnosis={"verdict": "plateau", **long})
    assert [each.delivery.data["verdict"] for each in due(worker)] == ["healthy", "plateau"]
