"""Both stores on a namespace of their own, and jobs to put into them."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import redis

from core.ids import new_id, rfc3339, utc_now
from core.jobs import Status
from core.store.history.layout import Columns, HistoryLayout
from core.store.protocols.types import Claim, NewJob
from core.store.redis import AsyncRedisStore, RedisStore
from tests.core.store.study_makers import new_study

LEASE_S = 60.0


@pytest.fixture
async def api(redis_url: str, namespace: str) -> AsyncIterator[AsyncRedisStore]:
    store = AsyncRedisStore(redis_url, namespace)
    yield store
    await store.aclose()


@pytest.fixture
def worker(redis_url: str, namespace: str) -> Iterator[RedisStore]:
    store = RedisStore(redis_url, namespace)
    yield store
    store.disconnect()


@pytest.fixture
def raw(redis_url: str) -> Iterator[redis.Redis]:
    """A plain client, to look behind the stores."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def new_job() -> Callable[..., NewJob]:
    """Makes jobs of 20,000 rows at most, one row a step; keywords replace its fields."""

    def make(**changes: Any) -> NewJob:
        layouts = {
            "train": HistoryLayout(1, {"loss": 1, "lr": 1, "grad_norm": 1}, 20_000),
            "eval": HistoryLayout(100, {"loss": 1, "accuracy": 1}, 201),
        }
        fields: dict[str, Any] = {
            "id": new_id("job"),
            "spec": {"seed": 0, "optimizer": {"kind": "sgd", "lr": 0.1}},
            "labels": {},
            "created_at": rfc3339(utc_now()),
            "priority": 5,
            "max_attempts": 3,
            "device": "auto",
            "layouts": layouts,
        }
        return NewJob(**{**fields, **changes})

    return make


@dataclass(frozen=True)
class Twin:
    """Jobs or studies: what both have in common is tried on both."""

    noun: str
    records: Any
    """The API's side of the store."""
    make: Callable[..., Any]

    def record(self, made: Any) -> Any:
        """The job or study in the answer to a creation."""
        return getattr(made, self.noun)

    def listed(self, page: Any) -> Any:
        return page.jobs if self.noun == "job" else page.studies


@pytest.fixture(params=["job", "study"])
def twin(
    request: pytest.FixtureRequest, api: AsyncRedisStore, new_job: Callable[..., NewJob]
) -> Twin:
    if request.param == "job":
        return Twin("job", api, new_job)
    return Twin("study", api.studies, new_study)


@pytest.fixture
def train_rows() -> Callable[..., Columns]:
    """Rows `first …` of `count` for the layout above, each number telling its row."""

    def make(first: int, count: int, every: int = 1) -> Columns:
        rows = np.arange(first, first + count, dtype=np.float64)
        return {"step": rows * every, "loss": rows + 0.25, "lr": rows + 0.5, "grad_norm": -rows}

    return make


@pytest.fixture
def bring_to(
    api: AsyncRedisStore, worker: RedisStore, new_job: Callable[..., NewJob]
) -> Callable[[Status], Any]:
    """Makes a job and brings it to a status; gives its id and the claim made on the way."""

    async def bring(status: Status) -> tuple[str, Claim | None]:
        job = (await api.create(new_job(), None)).job
        if status in {"queued", "paused"}:
            if status == "paused":
                await api.request_pause(job.id)
            return job.id, None
        claim = worker.claim_next("w", ["cpu"], LEASE_S)
        assert isinstance(claim, Claim)
        match status:
            case "cancelling" | "cancelled":
                await api.request_cancel(job.id)
                if status == "cancelled":
                    worker.close(claim, "cancelled", "cancelled", outcome=None, fields={})
            case "succeeded":
                worker.close(claim, "succeeded", "finished", outcome="converged", fields={})
            case "failed":
                worker.close(claim, "failed", "failed", outcome=None, fields={})
            case "running":
                pass
            case _:
                raise AssertionError(status)
        return job.id, claim

    return bring
