"""Studies, runs, rounds and rows for the tests of the store."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import redis

from core.ids import new_id, rfc3339, utc_now
from core.store.history.layout import Columns, HistoryLayout
from core.store.protocols.types import NewRun, NewStudy, Round, TaskClaim
from core.store.redis import AsyncRedisStore, RedisStore
from core.studies import RunRecord, StudyRecord, TaskRecord

LAYOUT = HistoryLayout(1, {"loss": 1, "lr": 1, "grad_norm": 1}, 100)


def new_study(**changes: Any) -> NewStudy:
    fields: dict[str, Any] = {
        "id": new_id("study"),
        "spec": {"base": {}, "sweep": {"optimizer.lr": {"values": [0.1, 0.2]}}},
        "labels": {},
        "created_at": rfc3339(utc_now()),
        "priority": 5,
        "max_attempts": 3,
        "device": "auto",
        "num_runs": 4,
        "max_updates": 400,
    }
    return NewStudy(**{**fields, **changes})


def run_of(index: int, **changes: Any) -> RunRecord:
    return replace(RunRecord(index, index, 0, 7, {"optimizer.lr": 0.1 * index}), **changes)


def round_of(study: StudyRecord, *groups: Sequence[int], number: int = 0) -> Round:
    """A round that plans these runs anew and puts each group into a task."""
    return Round(
        tuple(
            TaskRecord(study.id, number, place + 1, "train", tuple(group))
            for place, group in enumerate(groups)
        ),
        tuple(NewRun(run_of(index), {"train": LAYOUT}) for group in groups for index in group),
    )


def take(worker: RedisStore, name: str = "w") -> TaskClaim:
    claim = worker.claim_next(name, ["cpu"], 60.0)
    assert isinstance(claim, TaskClaim)
    return claim


def rows(first: int, count: int) -> Columns:
    numbers = np.arange(first, first + count, dtype=np.float64)
    return {"step": numbers, "loss": numbers + 0.5, "lr": numbers, "grad_norm": -numbers}


async def planned(
    api: AsyncRedisStore, worker: RedisStore, *groups: Sequence[int], **changes: Any
) -> str:
    """A study whose first plan is done: its tasks train these runs."""
    new = new_study(**changes)
    await api.studies.create(new, None)
    claim = take(worker)
    assert claim.task.kind == "plan"
    worker.studies.plan(claim, round_of(claim.study, *groups))
    return new.id


def keys_left(raw: redis.Redis, namespace: str) -> list[str]:
    """The keys of the namespace, but for what outlives records: counts, and the log of events."""
    found = sorted(key.decode() for key in raw.scan_iter(f"{namespace}:*"))
    staying = {f"{namespace}:{name}" for name in ("totals", "events", "events:last")}
    return [key for key in found if key not in staying]
