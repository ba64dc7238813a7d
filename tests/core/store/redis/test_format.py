"""The store's format: noted at first use, refused when it is newer; records are read by it."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import redis

from core.errors import NewerFormatError
from core.formats import OLD_VALUES, STORE
from core.specs.studies.runs import run_spec
from core.store.protocols.types import Claim, NewJob, TaskClaim
from core.store.redis import AsyncRedisStore, RedisStore
from tests.core.store.study_makers import new_study

pytestmark = pytest.mark.anyio
LEASE_S = 60.0
OLD_SPEC = {
    "problem": {"kind": "function", "function": {"kind": "sphere", "dim": 2}},
    "optimizer": {"kind": "sgd", "lr": 0.1},
}


def test_the_first_use_notes_the_format(
    worker: RedisStore, raw: redis.Redis, namespace: str
) -> None:
    worker.open()
    worker.open()
    assert raw.get(f"{namespace}:format") == str(STORE).encode()


@pytest.mark.parametrize("found", [b"999", b"", b"nan", b"0", b"soon", b"\xff"])
async def test_what_this_version_cannot_read_is_refused_and_left_alone(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str, found: bytes
) -> None:
    raw.set(f"{namespace}:format", found)
    with pytest.raises(NewerFormatError):
        worker.open()
    with pytest.raises(NewerFormatError):
        await api.open()
    assert raw.get(f"{namespace}:format") == found


def test_a_key_of_another_type_is_refused(
    worker: RedisStore, raw: redis.Redis, namespace: str
) -> None:
    raw.rpush(f"{namespace}:format", "1")
    with pytest.raises(NewerFormatError, match="a list"):
        worker.open()


async def test_nothing_is_claimed_once_a_newer_version_has_opened_the_store(
    api: AsyncRedisStore,
    worker: RedisStore,
    raw: redis.Redis,
    namespace: str,
    new_job: Callable[..., NewJob],
) -> None:
    job = (await api.create(new_job(), None)).job
    claim = worker.claim_next("w", ["cpu"], LEASE_S)
    assert isinstance(claim, Claim)
    later = (await api.create(new_job(), None)).job
    raw.set(f"{namespace}:format", STORE + 1)
    with pytest.raises(NewerFormatError, match=f"format {STORE + 1}"):
        worker.claim_next("w", ["cpu"], LEASE_S)
    assert (await api.get(later.id)).status == "queued"
    # What was begun is brought to its end.
    worker.close(claim, "succeeded", "finished", outcome="converged", fields={})
    assert (await api.get(job.id)).status == "succeeded"
    await api.request_diagnosis(job.id, "final")
    assert worker.diagnoses.claim("w", ["cpu"], LEASE_S) is None


async def test_a_stored_job_is_read_with_what_was_done_before_a_field_was_there(
    api: AsyncRedisStore,
    worker: RedisStore,
    raw: redis.Redis,
    namespace: str,
    new_job: Callable[..., NewJob],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = (await api.create(new_job(spec=OLD_SPEC), None)).job
    raw.hdel(f"{namespace}:job:{job.id}", "format")  # as versions before the numbers wrote it
    monkeypatch.delitem(OLD_VALUES, 4)
    monkeypatch.setitem(OLD_VALUES, 2, {"optimizer[sgd].momentum": 0.5, "seed": 7})
    expected = {**OLD_SPEC, "optimizer": {"kind": "sgd", "lr": 0.1, "momentum": 0.5}, "seed": 7}
    assert (await api.get(job.id)).spec == expected
    assert worker.get(job.id).spec == expected
    claim = worker.claim_next("w", ["cpu"], LEASE_S)
    assert isinstance(claim, Claim)
    assert claim.job.spec == expected
    raw.hset(f"{namespace}:job:{job.id}", "format", 2)
    assert (await api.get(job.id)).spec == OLD_SPEC


async def test_the_runs_of_a_stored_study_are_read_so_too(
    api: AsyncRedisStore,
    worker: RedisStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec: dict[str, Any] = {
        "base": OLD_SPEC,
        "sweep": {"optimizer": {"values": [{"kind": "sgd", "lr": 0.2}, {"kind": "adam"}]}},
        "strategy": {"kind": "grid"},
        "repeats": 1,
        "metric": {"name": "loss", "goal": "min", "target": None},
    }
    made = await api.studies.create(new_study(spec=spec), None)
    monkeypatch.setitem(OLD_VALUES, STORE + 1, {"optimizer[sgd].momentum": 0.5})
    claim = worker.claim_next("w", ["cpu"], LEASE_S)
    assert isinstance(claim, TaskClaim)
    study = await api.studies.get(made.study.id)
    assert study.format == claim.study.format == STORE
    values = spec["sweep"]["optimizer"]["values"]
    runs = [run_spec(study.spec, {"optimizer": value}, 0, study.format) for value in values]
    found = [json.loads(run.optimizer.model_dump_json()) for run in runs]
    assert found[0]["momentum"] == 0.5
    assert found[1]["kind"] == "adam"
    posted = run_spec(study.spec, {"optimizer": values[0]}, 0, STORE + 1)
    assert json.loads(posted.optimizer.model_dump_json())["momentum"] == 0.0
