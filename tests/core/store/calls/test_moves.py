"""A status moves along the table, whichever call moves it."""

import itertools
import re
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any

import pytest
import redis

from core.errors import ConflictError, NotFoundError, StaleAttemptError
from core.jobs import HELD, MOVES, STATUSES, TERMINAL, Status
from core.store.connection.client import compose, scripts
from core.store.history.layout import Columns
from core.store.protocols.types import Claim, Stamp
from core.store.redis import AsyncRedisStore, RedisStore
from tests.core.store.conftest import Twin

pytestmark = pytest.mark.anyio
Bring = Callable[[Status], Awaitable[tuple[str, Claim | None]]]


@pytest.mark.parametrize(("start", "end"), list(itertools.product(STATUSES, STATUSES)))
async def test_the_scripts_make_the_moves_of_the_table_and_no_other(
    start: Status,
    end: Status,
    bring_to: Bring,
    api: AsyncRedisStore,
    raw: redis.Redis,
    namespace: str,
) -> None:
    job_id, _ = await bring_to(start)
    script = compose("return move(ARGV[1], ARGV[2]) and 1 or 0")

    moved = raw.execute_command("EVAL", script.source, 1, namespace, job_id, end)  # type: ignore[no-untyped-call]

    assert bool(moved) == (end in MOVES[start])
    assert (await api.get(job_id)).status == (end if moved else start)
    for status in STATUSES:
        listed = raw.zscore(f"{namespace}:status:{status}", job_id) is not None
        assert listed == (status == (end if moved else start))


@pytest.mark.parametrize("start", STATUSES)
async def test_cancel_stops_a_job_that_waits_asks_a_running_one_and_leaves_the_rest(
    start: Status, bring_to: Bring, api: AsyncRedisStore
) -> None:
    job_id, _ = await bring_to(start)
    before = await api.get(job_id)

    after = await api.request_cancel(job_id)

    expected = {
        "queued": "cancelled", "paused": "cancelled", "running": "cancelling"
    }.get(start, start)  # fmt: skip
    assert after.status == expected
    assert after == await api.get(job_id)
    if expected == start:
        assert after == before
    else:
        assert after.cancel_requested_at is not None
        assert after.version == before.version + 1
    assert (after.finished_at is not None) == (expected in TERMINAL)


@pytest.mark.parametrize(("start", "end"), list(itertools.product(sorted(HELD), sorted(TERMINAL))))
async def test_close_ends_a_held_job_where_the_table_allows_it(
    start: Status, end: Status, bring_to: Bring, api: AsyncRedisStore, worker: RedisStore
) -> None:
    job_id, claim = await bring_to(start)
    assert claim is not None
    outcome: Any = "stalled" if end == "succeeded" else None

    if end in MOVES[start]:
        assert worker.close(claim, end, "finished", outcome=outcome, fields={}) == end
        job = await api.get(job_id)
        assert (job.status, job.outcome, job.attempts[0].end) == (end, outcome, "finished")
        assert job.finished_at is not None
        assert job.phase is None
    else:
        with pytest.raises(ConflictError, match=start) as refused:
            worker.close(claim, end, "finished", outcome=outcome, fields={"phase": "saving"})
        assert refused.value.conflict_code == "illegal_move"
        job = await api.get(job_id)
        assert (job.status, job.phase) == (start, None)


@pytest.mark.parametrize("end", ["queued", "running", "cancelling"])
async def test_close_leads_to_a_terminal_status_only(
    end: Status, bring_to: Bring, worker: RedisStore
) -> None:
    _, claim = await bring_to("running")
    assert claim is not None
    with pytest.raises(ConflictError):
        worker.close(claim, end, "finished", outcome=None, fields={})


async def test_an_outcome_goes_with_success_only(bring_to: Bring, worker: RedisStore) -> None:
    _, claim = await bring_to("running")
    assert claim is not None
    with pytest.raises(ValueError, match="outcome"):
        worker.close(claim, "failed", "failed", outcome="diverged", fields={})
    with pytest.raises(ValueError, match="outcome"):
        worker.close(claim, "succeeded", "finished", outcome=None, fields={})


@pytest.mark.parametrize(
    ("start", "end", "attempt_end"),
    [("running", "queued", "handed_over"), ("cancelling", "cancelled", "cancelled")],
)
async def test_a_hand_over_queues_again_what_nobody_cancelled(
    start: Status,
    end: Status,
    attempt_end: str,
    bring_to: Bring,
    api: AsyncRedisStore,
    worker: RedisStore,
) -> None:
    job_id, claim = await bring_to(start)
    assert claim is not None

    assert worker.hand_over(claim) == end
    assert worker.hand_over(claim) == end  # its first answer might have been lost

    job = await api.get(job_id)
    assert (job.status, job.attempts[0].end) == (end, attempt_end)


async def test_a_close_that_is_repeated_changes_nothing(
    bring_to: Bring, api: AsyncRedisStore, worker: RedisStore
) -> None:
    job_id, claim = await bring_to("succeeded")
    assert claim is not None
    before = await api.get(job_id)

    again = worker.close(claim, "failed", "failed", outcome=None, fields={"error": {}})

    assert again == "succeeded"
    assert await api.get(job_id) == before


@pytest.mark.parametrize("call", ["get", "version", "status", "stamp", "request_cancel", "delete"])
async def test_a_job_that_does_not_exist_is_not_found(call: str, twin: Twin) -> None:
    with pytest.raises(NotFoundError, match=f"There is no {twin.noun} '{twin.noun}_nowhere'"):
        await getattr(twin.records, call)(f"{twin.noun}_nowhere")


async def test_a_stamp_is_version_and_status(twin: Twin) -> None:
    new = twin.make()
    await twin.records.create(new, None)
    cancelled = await twin.records.request_cancel(new.id)
    assert await twin.records.stamp(new.id) == Stamp(cancelled.version, "cancelled")
    assert await twin.records.version(new.id) == cancelled.version
    assert await twin.records.status(new.id) == "cancelled"


async def test_what_has_not_ended_is_not_deleted(twin: Twin) -> None:
    new = twin.make()
    await twin.records.create(new, None)
    with pytest.raises(ConflictError, match=f"{twin.noun.capitalize()} {new.id} is queued"):
        await twin.records.delete(new.id)


async def test_every_change_grows_the_version_and_a_renewal_does_not(
    bring_to: Bring,
    api: AsyncRedisStore,
    worker: RedisStore,
    train_rows: Callable[..., Columns],
) -> None:
    job_id, claim = await bring_to("running")
    assert claim is not None
    assert await api.version(job_id) == 2  # created, claimed

    worker.renew(claim, 60)
    assert await api.version(job_id) == 2
    worker.update(claim, {}, [("train", 0, train_rows(0, 2))])  # nor do rows alone
    assert await api.version(job_id) == 2
    worker.update(claim, {"phase": "training"})
    assert await api.version(job_id) == 3
    await api.request_cancel(job_id)
    assert await api.version(job_id) == 4
    assert worker.renew(claim, 60) == "cancelling"
    worker.close(claim, "cancelled", "cancelled", outcome=None, fields={})
    assert await api.version(job_id) == 5


async def test_a_claim_of_nothing_leaves_a_renewal_stale(
    bring_to: Bring, worker: RedisStore
) -> None:
    _, claim = await bring_to("succeeded")
    assert claim is not None
    with pytest.raises(StaleAttemptError):
        worker.renew(claim, 60)


def test_a_script_defines_what_it_uses_and_no_more() -> None:
    library = files("core.store").joinpath("lua", "lib.lua").read_text("utf-8")
    known = set(re.findall(r"^local function (\w+)", library, re.MULTILINE))
    for name, script in scripts().items():
        body = files("core.store").joinpath("lua", f"{name}.lua").read_text("utf-8")
        code = re.sub(r"^\s*--.*", "", script.source, flags=re.MULTILINE)
        defined = set(re.findall(r"^local function (\w+)", code, re.MULTILINE)) & known
        used = set(re.findall(r"\w+", re.sub(r"'[^']*'", "", code)))
        assert known & used <= defined, name
        for each in defined:
            assert len(re.findall(rf"\b{each}\b", code)) > 1, (name, each)
        assert script.source.endswith(body), name
