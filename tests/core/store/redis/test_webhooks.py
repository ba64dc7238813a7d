"""Deliveries in the store: made with the event, taken by one courier, kept until they are told."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis

from core.errors import NotFoundError
from core.jobs import Status
from core.specs.webhooks.fields import JOB_EVENTS, STUDY_EVENTS
from core.store.protocols.types import Claim, NewJob
from core.store.protocols.webhooks import ClaimedDelivery
from core.store.redis import AsyncRedisStore, RedisStore
from core.store.redis.webhooks import RedisSecrets
from core.webhooks.delivery import Delivery, Try
from tests.core.store.study_makers import new_study, round_of, take

pytestmark = pytest.mark.anyio
NewJobs = Callable[..., NewJob]

URL = "https://example.org/hook?token=1"
AGE_S = 86_400.0


def job_spec(*events: str, target: float | None = None, maximize: bool = False) -> dict[str, Any]:
    return {
        "optimizer": {"kind": "sgd", "lr": 0.1, "maximize": maximize},
        "stop": {"target_loss": target},
        "webhook": {"url": "https://example.org", "events": list(events), "format": "slack"},
    }


def hooked(new_job: NewJobs, *events: str, **spec: Any) -> NewJob:
    return new_job(spec=job_spec(*events, **spec), webhook_url=URL, labels={"team": "vision"})


async def told(api: AsyncRedisStore, of: str | None = None) -> list[str]:
    """The events of which there are messages, the oldest first."""
    page = await api.webhooks.list([], {"of": of} if of else {}, 100, None)
    return [each.type for each in reversed(page.deliveries)]


def due(worker: RedisStore, most: int = 10) -> list[ClaimedDelivery]:
    return [*worker.webhooks.claim(most, 60.0, AGE_S)[1]]


def tried(claim: ClaimedDelivery, status: Any = "delivered", error: str | None = None) -> Delivery:
    each = Try(at="2026-11-22T10:00:00.000000Z", duration_s=0.1, status_code=200, error=error)
    return replace(
        claim.delivery,
        status=status,
        tries=(*claim.delivery.tries, each),
        num_tries=claim.delivery.num_tries + 1,
    )


def claim_job(worker: RedisStore) -> Claim:
    claim = worker.claim_next("w", ["cpu"], 60.0)
    assert isinstance(claim, Claim)
    return claim


def close(worker: RedisStore, claim: Claim, status: Status, **fields: Any) -> None:
    outcome = fields.pop("outcome", None)
    end: Any = {"succeeded": "finished"}.get(status, status)
    worker.close(claim, status, end, outcome=outcome, fields=fields)


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


async def test_a_message_is_with_one_courier_until_its_lease_ends(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str
) -> None:
    made = await api.webhooks.send_trial(URL, "standard", None)
    (lost,) = due(worker)
    assert due(worker) == []
    raw.zadd(f"{namespace}:msgs:due", {made.id: 1})
    (claim,) = due(worker)
    assert not worker.webhooks.settle(lost, tried(lost), None), "it is another's by now"
    assert worker.webhooks.settle(claim, tried(claim), None)
    assert not worker.webhooks.settle(claim, tried(claim), None), "it has ended"
    found = await api.webhooks.get(made.id)
    assert (found.status, found.num_tries, found.due_ms) == ("delivered", 1, None)
    assert due(worker) == []


async def test_a_message_that_failed_waits_and_keeps_its_log(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str
) -> None:
    made = await api.webhooks.send_trial(URL, "feishu", "somebody")
    (claim,) = due(worker)
    worker.webhooks.settle(claim, tried(claim, "waiting", "503"), 30.0)
    found = await api.webhooks.get(made.id)
    assert (found.status, found.owner, found.once) == ("waiting", "somebody", True)
    assert found.tries[0]["error"] == "503"
    assert found.due_ms is not None
    seconds, _ = raw.time()
    assert 25.0 < found.due_ms / 1000 - seconds <= 31.0
    assert due(worker) == []
    again = await api.webhooks.redeliver(made.id)
    assert (again.status, again.num_tries, again.once) == ("waiting", 1, False)
    (claim,) = due(worker)
    worker.webhooks.settle(claim, tried(claim, "failed", "500"), None)
    assert [each["error"] for each in (await api.webhooks.get(made.id)).tries] == ["503", "500"]
    assert (await api.webhooks.redeliver(made.id)).status == "waiting"
    with pytest.raises(NotFoundError):
        await api.webhooks.redeliver("msg_" + "0" * 26)


async def test_a_receiver_that_is_gone_gets_no_more_of_this_job(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    job = (await api.create(hooked(new_job, *JOB_EVENTS), None)).job
    claim = claim_job(worker)
    worker.update(claim, {"diagnosis": {"verdict": "healthy", "confidence": 1.0}})
    (first,) = due(worker, 1)
    worker.webhooks.settle(first, tried(first, "gone", "410"), None)
    close(worker, claim, "succeeded", outcome="converged")
    found = (await api.webhooks.list([], {"of": job.id}, 10, None)).deliveries
    assert [(each.type, each.status) for each in found] == [
        ("job.verdict_changed", "gone"), ("job.started", "gone"),
    ]  # fmt: skip
    other = (await api.create(hooked(new_job, "job.started"), None)).job
    claim_job(worker)
    assert await told(api, other.id) == ["job.started"]


async def test_the_log_is_listed_by_status_and_subject_in_pages(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    job = (await api.create(hooked(new_job, *JOB_EVENTS), None)).job
    claim_job(worker)
    made = [(await api.webhooks.send_trial(URL, "standard", None)).id for _ in range(3)]
    for claim in due(worker, 2):
        worker.webhooks.settle(claim, tried(claim), None)
    everything = (await api.webhooks.list([], {}, 10, None)).deliveries
    assert [each.id for each in everything[:3]] == made[::-1]
    assert [each.id for each in everything] == sorted((e.id for e in everything), reverse=True)
    waiting = await api.webhooks.list(["waiting"], {}, 10, None)
    assert [each.id for each in waiting.deliveries] == made[:0:-1]
    assert (await api.webhooks.list(["delivered"], {"of": job.id}, 10, None)).deliveries[0].subject
    assert (await api.webhooks.list(["failed", "gone"], {}, 10, None)).deliveries == ()
    page = await api.webhooks.list([], {}, 2, None)
    assert page.has_more
    rest = await api.webhooks.list([], {}, 2, page.deliveries[-1].id)
    assert [*page.deliveries, *rest.deliveries] == list(everything)
    assert not rest.has_more


async def test_what_has_ended_goes_after_its_time_and_what_waits_stays(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str, new_job: NewJobs
) -> None:
    job = (await api.create(hooked(new_job, "job.started"), None)).job
    claim_job(worker)
    (claim,) = due(worker)
    worker.webhooks.settle(claim, tried(claim), None)
    raw.zadd(f"{namespace}:msgs:sent", {claim.delivery.id: 1})
    stays = await api.webhooks.send_trial(URL, "standard", None)
    due(worker)
    assert [each.id for each in (await api.webhooks.list([], {}, 10, None)).deliveries] == [
        stays.id
    ]
    left = {key.decode() for key in raw.scan_iter(f"{namespace}:*msg*")}
    assert not [key for key in left if claim.delivery.id in key or job.id in key]


async def test_a_job_may_be_deleted_before_its_message_is_sent(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    job = (await api.create(hooked(new_job, "job.failed"), None)).job
    close(worker, claim_job(worker), "failed")
    await api.delete(job.id)
    (claim,) = due(worker)
    assert claim.delivery.subject == job.id
    worker.webhooks.settle(claim, tried(claim, "gone", "410"), None)


async def test_secrets_are_listed_without_what_they_are(
    api: AsyncRedisStore, worker: RedisStore, redis_url: str, namespace: str
) -> None:
    secrets = RedisSecrets(redis_url, namespace)
    assert not await api.webhooks.has_secret()
    assert secrets.list() == []
    (first, one), (second, other) = secrets.add(), secrets.add()
    assert await api.webhooks.has_secret()
    assert secrets.list() == [first, second]
    assert "whsec" not in str(secrets.list())
    await api.webhooks.send_trial(URL, "standard", None)
    assert sorted(worker.webhooks.claim(1, 60.0, AGE_S)[0]) == sorted([one, other])
    assert secrets.revoke(first.id)
    assert not secrets.revoke(first.id)
    assert secrets.revoke(second.id)
    assert not await api.webhooks.has_secret()
    secrets.disconnect()


async def test_a_message_is_of_the_owner_of_its_job(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str, new_job: NewJobs
) -> None:
    job = (await api.create(hooked(new_job, "job.started"), None)).job
    raw.hset(f"{namespace}:job:{job.id}", "owner", "ann")
    claim_job(worker)
    await api.webhooks.send_trial(URL, "standard", "bob")
    for owner, event in (("ann", "job.started"), ("bob", "webhook.test")):
        (found,) = (await api.webhooks.list([], {"owner": owner}, 10, None)).deliveries
        assert (found.type, found.owner) == (event, owner)
    assert (await api.webhooks.list([], {"owner": "eve"}, 10, None)).deliveries == ()
    of = {"of": job.id, "owner": "bob"}
    assert (await api.webhooks.list([], of, 10, None)).deliveries == ()


async def test_what_waits_is_told_to_whoever_watches(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str
) -> None:
    found = await api.totals()
    assert (found.waiting_messages, found.oldest_message_s) == (0, 0.0)
    made = await api.webhooks.send_trial(URL, "standard", None)
    await api.webhooks.send_trial(URL, "standard", None)
    raw.hincrby(f"{namespace}:msg:{made.id}", "since_ms", -60_000)
    found = await api.totals()
    assert found.waiting_messages == 2
    assert 60.0 <= found.oldest_message_s < 120.0
    for claim in due(worker):
        worker.webhooks.settle(claim, tried(claim, "failed", "x"), None)
    found = await api.totals()
    assert found.waiting_messages == 0
    assert found.counts["webhook failed"] == found.counts["webhook_try failed"] == 2


async def test_a_long_diagnosis_is_compressed_and_its_verdict_is_told(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    await api.create(hooked(new_job, "job.verdict_changed"), None)
    long = {"findings": ["x" * 10_000], "confidence": 1.0}
    claim = claim_job(worker)
    worker.update(claim, {"diagnosis": {"verdict": "healthy", **long}})
    close(worker, claim, "succeeded", outcome="stalled", diagnosis={"verdict": "plateau", **long})
    assert [each.delivery.data["verdict"] for each in due(worker)] == ["healthy", "plateau"]
