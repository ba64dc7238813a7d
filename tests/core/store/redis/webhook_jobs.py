"""Jobs and studies with a webhook, and what becomes of their messages."""

from collections.abc import Callable, Sequence
from typing import Any

from core.jobs import Status
from core.store.protocols.types import Claim, NewJob
from core.store.protocols.webhooks import ClaimedDelivery
from core.store.redis import AsyncRedisStore, RedisStore
from core.webhooks.delivery import Delivery

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


def due(
    worker: RedisStore, most: int = 10, under_way: Sequence[Delivery] = ()
) -> list[ClaimedDelivery]:
    return [*worker.webhooks.claim(most, 60.0, AGE_S, under_way)[1]]


def claim_job(worker: RedisStore) -> Claim:
    claim = worker.claim_next("w", ["cpu"], 60.0)
    assert isinstance(claim, Claim)
    return claim


def close(worker: RedisStore, claim: Claim, status: Status, **fields: Any) -> None:
    outcome = fields.pop("outcome", None)
    end: Any = {"succeeded": "finished"}.get(status, status)
    worker.close(claim, status, end, outcome=outcome, fields=fields)
