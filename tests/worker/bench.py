"""A worker in this process, with a real store and a trainer that needs no torch."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, Literal, TypeVar

import pytest

from core.artifacts.build import open_artifacts
from core.ids import JOB_PREFIX, new_id, rfc3339, utc_now
from core.jobs import JobRecord
from core.settings import Settings
from core.specs.base import Json
from core.specs.parsing.job import Limits, parse_job
from core.store.history.layout import HistoryLayout
from core.store.protocols.types import Claim, NewJob, TaskClaim
from core.store.redis import AsyncRedisStore, RedisStore
from core.strategies.plan import next_round
from tests.worker.scenarios import JobScenario, Measuring, labels
from worker.execution.plan import Decide
from worker.heartbeat import Heartbeat
from worker.janitor import Janitor
from worker.reconciler import Reconciler
from worker.runner import FOREVER, Runner, Stint
from worker.trainer.client import TrainerClient

T = TypeVar("T")

SPHERE: Json = {"kind": "function", "function": {"kind": "sphere", "dim": 1}}
FAKE = (sys.executable, "-P", str(Path(__file__).with_name("fake_trainer.py")))


def until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    """Wait for a condition; fails when it has not come true in time."""
    give_up = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up, "it never came true"
        time.sleep(0.005)


def there(value: T | None) -> T:
    """What must be there."""
    assert value is not None
    return value


class Away:
    """A store that can be away: `refuse` is given each call's name, and raises then."""

    def __init__(self, behind: object, refuse: Callable[[str], None]) -> None:
        self._behind = behind
        self._refuse = refuse

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._behind, name)
        if name in {"studies", "diagnoses"}:
            return Away(found, self._refuse)
        if not callable(found):
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            self._refuse(name)
            return found(*arguments, **named)

        return call


class InProcessWorker:
    """The threads of one worker, without Celery."""

    def __init__(
        self,
        name: str,
        store: RedisStore,
        settings: Settings,
        decide: Decide,
        *,
        devices: Sequence[str] | None = None,
        trainer: Sequence[str] = FAKE,
        stint: Stint = FOREVER,
    ) -> None:
        self.link = TrainerClient(command=trainer)
        self.artifacts = open_artifacts(settings.artifacts_location)
        self.runner = Runner(
            store,
            name=name,
            settings=settings,
            link=self.link,
            artifacts=self.artifacts,
            devices=tuple if devices is None else lambda found: tuple(devices),
            decide=decide,
            stint=stint,
        )
        self.ended = Event()
        """Set when it would end its process."""
        self.runner.end_process = self.ended.set
        self.heartbeat = Heartbeat(
            store,
            name,
            lease_s=settings.lease_s,
            devices=lambda: self.runner.devices,
            trouble=lambda: self.runner.unwritable,
            takes_work=lambda: self.runner.takes_work,
            memory_bytes=lambda: self.runner.memory_bytes,
        )
        self.reconciler = Reconciler(
            store,
            every_s=settings.reconcile_every_s,
            lease_s=settings.lease_s,
            idle=lambda: self.runner.idle,
            wake=self.runner.wake,
        )
        self.janitor = Janitor(store, self.artifacts, settings)
        self.heartbeat.start()
        self.runner.start(self.heartbeat)
        self.reconciler.start()
        self.janitor.start()

    def stop(self) -> None:
        self.janitor.stop()
        self.reconciler.stop()
        self.runner.stop()
        self.heartbeat.stop()


@contextmanager
def no_renewal(bench: "Bench") -> Iterator[None]:
    """Hold the next renewal of a lease back until the block has ended.

    The block begins when a worker is about to renew: so it learns what has become of its claim
    after the block, and not before.
    """
    renew, asks, may_ask = bench.store.renew, Event(), Event()

    def renew_later(*arguments: Any) -> Any:
        asks.set()
        assert may_ask.wait(60)
        return renew(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench.store, "renew", renew_later)
        assert asks.wait(60)
        yield
        may_ask.set()


@dataclass
class Bench:
    """A store of one's own, jobs and workers on it."""

    url: str
    settings: Settings
    store: RedisStore
    workers: list[InProcessWorker]
    decide: Decide = next_round
    """How the workers plan studies."""

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a worker that is a process of its own."""
        return {
            **os.environ,
            "THALWEG_REDIS_URL": self.settings.redis_url,
            "THALWEG_NAMESPACE": self.settings.namespace,
            "THALWEG_ARTIFACTS": self.settings.artifacts,
        }

    def worker(
        self,
        *,
        devices: Sequence[str] | None = None,
        trainer: Sequence[str] = FAKE,
        stint: Stint = FOREVER,
        **changes: Any,
    ) -> InProcessWorker:
        """Start a worker. `devices`: what it says to have (None: what its trainer finds)."""
        settings = self.settings.model_copy(update=changes)
        name = f"worker-{len(self.workers)}"
        worker = InProcessWorker(
            name,
            self.store,
            settings,
            self.decide,
            devices=devices,
            trainer=trainer,
            stint=stint,
        )
        self.workers.append(worker)
        return worker

    def submit(
        self,
        scenario: JobScenario,
        *,
        resumed: JobScenario | None = None,
        measuring: Measuring = Measuring.NOW,
        max_attempts: int = 3,
        diagnose: str = "off",
        parent_id: str | None = None,
        lr: float | Literal["auto"] = 1e-3,
        problem: Json = SPHERE,
        device: str = "auto",
        memory_bytes: int = 0,
    ) -> str:
        """A job that the trainer deals with as the scenario says.

        Args:
            memory_bytes: that it takes by its estimate.
            resumed: what later attempts do, if it is something else.
            measuring: what is done when its weights are to be measured.
        """
        body = {
            "problem": problem,
            "optimizer": {"kind": "sgd", "lr": lr},
            "max_attempts": max_attempts,
            "diagnose": diagnose,
            "device": device,
            "labels": {**labels(scenario, resumed), "measure": measuring.value},
        }
        spec = parse_job(json.dumps(body).encode(), Limits.of(self.settings))
        job = NewJob(
            id=new_id(JOB_PREFIX),
            spec=spec.model_dump(mode="json"),
            labels=spec.labels,
            created_at=rfc3339(utc_now()),
            priority=spec.priority,
            max_attempts=max_attempts,
            device=spec.device,
            layouts={"train": HistoryLayout(1, {"loss": 1, "lr": 1, "grad_norm": 1}, 100)},
            parent_id=parent_id,
            memory_bytes=memory_bytes,
        )
        self.api(lambda store: store.create(job, None))
        return job.id

    def ask(self, job_id: str, checkpoint: str) -> None:
        self.api(lambda store: store.request_diagnosis(job_id, checkpoint))

    def cancel(self, job_id: str) -> None:
        self.api(lambda store: store.request_cancel(job_id))

    def pause(self, job_id: str) -> None:
        self.api(lambda store: store.request_pause(job_id))

    def resume(self, job_id: str) -> None:
        self.api(lambda store: store.request_resume(job_id))

    def get(self, job_id: str) -> JobRecord:
        return self.store.get(job_id)

    def until(self, condition: Callable[[], object]) -> None:
        until(condition)

    def steps(self, job_id: str) -> list[float]:
        return list(self.store.read_columns(job_id, "train")["step"].tolist())

    def until_status(self, job_id: str, *statuses: str) -> JobRecord:
        until(lambda: self.get(job_id).status in statuses)
        return self.get(job_id)

    def claim_job(self) -> Claim:
        """Take the next job, which no worker of the bench holds then."""
        claim = self.store.claim_next("by hand", ("cpu",), 60.0)
        assert isinstance(claim, Claim)
        return claim

    def claim_task(self) -> TaskClaim:
        """Take the next task of a study, which no worker of the bench holds then."""
        claim = self.store.claim_next("by hand", ("cpu",), 60.0)
        assert isinstance(claim, TaskClaim)
        return claim

    def api(self, call: Callable[[AsyncRedisStore], Awaitable[object]]) -> None:
        """Make a call of the API's store."""

        async def run() -> None:
            store = AsyncRedisStore(self.url, self.settings.namespace)
            try:
                await call(store)
            finally:
                await store.aclose()

        asyncio.run(run())
