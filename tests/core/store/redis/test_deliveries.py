"""Messages to webhooks: each is with one courier, and kept until it is told; log and secrets."""

from dataclasses import replace
from typing import Any

import pytest
import redis

from core.errors import NotFoundError
from core.specs.webhooks.fields import JOB_EVENTS
from core.store.protocols.webhooks import ClaimedDelivery
from core.store.redis import AsyncRedisStore, RedisStore
from core.store.redis.webhooks import RedisSecrets
from core.webhooks.delivery import MOST_OF_OWNER, MOST_TO_ORIGIN, Delivery, Try
from tests.core.store.redis.webhook_jobs import (
    AGE_S,
    URL,
    NewJobs,
    claim_job,
    close,
    due,
    hooked,
    told,
)

pytestmark = pytest.mark.anyio


def tried(claim: ClaimedDelivery, status: Any = "delivered", error: str | None = None) -> Delivery:
    each = Try(at="2026-11-22T10:00:00.000000Z", duration_s=0.1, status_code=200, error=error)
    return replace(
        claim.delivery,
        status=status,
        tries=(*claim.delivery.tries, each),
        num_tries=claim.delivery.num_tries + 1,
    )


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


async def test_one_receiver_and_one_owner_leave_places_to_others(
    api: AsyncRedisStore, worker: RedisStore
) -> None:
    async def make(num: int, url: str, owner: str | None) -> None:
        for number in range(num):
            await api.webhooks.send_trial(url.format(number), "standard", owner)

    await make(MOST_TO_ORIGIN + 3, "https://Slow.example/{}", "ann")
    await make(12, "https://{}.example/", "ann")
    await make(1, "https://other.example/", "ben")
    await make(1, "https://slow.example?{}", None)
    claims = due(worker, 100)
    origins = [claim.delivery.origin for claim in claims]
    assert origins.count("https://Slow.example") == MOST_TO_ORIGIN
    assert origins[MOST_TO_ORIGIN:] == [
        *(f"https://{number}.example" for number in range(MOST_OF_OWNER - MOST_TO_ORIGIN)),
        "https://other.example",
    ]
    held = [claim.delivery for claim in claims]
    assert due(worker, 100, held) == []
    freed = due(worker, 100, held[1:])
    assert [each.delivery.origin for each in freed] == ["https://Slow.example"], "the oldest"
    rest = due(worker, 100, [each for each in held if each.owner == "ben"])
    assert len(rest) == 3 + 12 + 1 - (MOST_OF_OWNER - MOST_TO_ORIGIN) - len(freed), "all are taken"


async def test_what_waits_behind_many_of_one_receiver_has_its_turn(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str
) -> None:
    first = await api.webhooks.send_trial("https://slow.example/", "standard", None)
    record: Any = raw.hgetall(f"{namespace}:msg:{first.id}")
    for number in range(1_200):
        id_ = f"msg_{number:026}"
        raw.hset(f"{namespace}:msg:{id_}", mapping={**record, "id": id_})
        raw.zadd(f"{namespace}:msgs:due", {id_: number + 1})
    await api.webhooks.send_trial("https://other.example/", "standard", None)
    held = [each.delivery for each in due(worker, MOST_TO_ORIGIN)]
    found = [[each.delivery.origin for each in due(worker, 3, held)] for _ in range(4)]
    assert found == [[], [], ["https://other.example"], []]


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
