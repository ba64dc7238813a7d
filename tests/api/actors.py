"""Who takes part in the API's tests: a client, a worker without torch, and their specs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from fastapi import FastAPI
from starlette.testclient import TestClient

from api.app import create_app
from api.services.uploads import StartCheck
from core.artifacts.local import LocalJob, LocalStore
from core.jobs import Outcome, Status
from core.settings import Settings
from core.store.history.layout import Columns, HistoryKind
from core.store.protocols.types import Claim
from core.store.redis import AsyncRedisStore, RedisStore
from core.uploads.check import start_check

Json = dict[str, Any]
LEASE_S = 600.0
NO_SUCH_JOB = "job_00000000000000000000000000"


def rosenbrock(**changes: Any) -> Json:
    """A function of two variables; two train series of width 1, and `x`."""
    problem = {"kind": "function", "function": {"kind": "rosenbrock", "dim": 2}}
    optimizer = {"kind": "sgd", "lr": 0.001}
    return {"problem": problem, "optimizer": optimizer, "budget": {"max_steps": 100}, **changes}


def digits(**changes: Any) -> Json:
    """A classifier, with evaluations."""
    problem = {
        "kind": "supervised",
        "data": {"kind": "builtin", "name": "digits"},
        "model": {"kind": "linear"},
    }
    return {
        "problem": problem,
        "optimizer": {"kind": "adam"},
        "budget": {"max_steps": 100},
        **changes,
    }


@dataclass
class CountingDispatcher:
    """Counts the announcements."""

    announced: int = 0
    running: bool = False

    def start(self) -> None:
        self.running = True

    def announce(self, *, heard: bool = False) -> None:
        self.announced += 1

    def stop(self) -> None:
        self.running = False


def make_app(
    settings: Settings,
    dispatcher: CountingDispatcher | None = None,
    *,
    check: StartCheck = start_check,
    **options: Any,
) -> FastAPI:
    """The application on real parts, but for the dispatcher; `options` are the store's."""
    store = AsyncRedisStore(settings.redis_url, settings.namespace, **options)
    artifacts = LocalStore(Path(settings.artifacts_location))
    # The safety poll is far beyond the tests' patience: what wakes a waiter is the feed.
    dispatcher = dispatcher or CountingDispatcher()
    return create_app(settings, store, dispatcher, artifacts, poll_s=300.0, check=check)


@dataclass
class Worker:
    """Moves jobs as a worker does; the numbers come from the test."""

    store: RedisStore
    artifacts: Path
    name: str = "worker-1"

    def claim(self) -> Claim:
        claim = self.store.claim_next(self.name, ("cpu",), LEASE_S)
        assert isinstance(claim, Claim), "nothing is queued"
        return claim

    def append(self, claim: Claim, kind: HistoryKind = "train", **columns: Any) -> None:
        rows: Columns = {name: np.asarray(each, dtype=float) for name, each in columns.items()}
        self.store.append_rows(claim, kind, 0, rows)

    def save(self, claim: Claim, content: bytes, *, name: str, step: int) -> Json:
        """Write weights and list them in the record, after those that are there."""
        path = f"{name}.safetensors" if name != "resume" else f"checkpoints/step_{step}.safetensors"
        stored = LocalJob(self.artifacts, claim.job.id).write(path, [content])
        saved = {
            "name": name,
            "step": step,
            "path": path,
            "metrics": {"loss": 0.5},
            "size_bytes": stored.size_bytes,
            "sha256": stored.sha256,
        }
        before = self.store.get(claim.job.id).checkpoints
        self.store.update(claim, {"checkpoints": [*before, saved]})
        return saved

    def close(
        self,
        claim: Claim,
        status: Status = "succeeded",
        *,
        outcome: Outcome | None = "budget_exhausted",
        **fields: Any,
    ) -> None:
        end = {"succeeded": "finished", "failed": "failed", "cancelled": "cancelled"}[status]
        self.store.close(
            claim,
            status,
            end,  # type: ignore[arg-type]
            outcome=outcome if status == "succeeded" else None,
            fields=fields,
        )


@dataclass
class Api:
    """A running application and the parts around it."""

    http: TestClient
    worker: Worker
    dispatcher: CountingDispatcher
    settings: Settings

    def post(self, spec: Json | None = None, headers: dict[str, str] | None = None) -> Json:
        reply = self.http.post("/v1/jobs", json=spec or rosenbrock(), headers=headers)
        assert reply.status_code == 202, reply.text
        job: Json = reply.json()
        return job

    def get(self, path: str, **query: Any) -> Json:
        reply = self.http.get(path, params=query)
        assert reply.status_code == 200, reply.text
        body: Json = reply.json()
        return body

    def job(self, job_id: str) -> Json:
        return self.get(f"/v1/jobs/{job_id}")

    def finished(self, spec: Json | None = None, **fields: Any) -> Json:
        """A job that a worker has closed."""
        job_id = self.post(spec)["id"]
        self.worker.close(self.worker.claim(), **fields)
        return self.job(job_id)


def problem_of(reply: httpx2.Response, status: int, code: str) -> Json:
    """The problem document of a reply, after a look at its form."""
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    body: Json = reply.json()
    assert {"type", "title", "status", "detail", "instance", "code"} <= body.keys()
    assert body["status"] == status
    assert body["code"] == code, body
    assert body["title"]
    assert body["detail"]
    assert "Traceback" not in reply.text
    return body


def refused_params(reply: httpx2.Response) -> list[str]:
    """The parameters that a 422 names."""
    body = problem_of(reply, 422, "invalid_request")
    assert all(error["code"] and error["message"] for error in body["errors"])
    return [error["param"] for error in body["errors"]]
