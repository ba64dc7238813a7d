"""Whatever comes in between, a pause and the work are not lost."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import ConflictError
from core.jobs import HELD, TERMINAL, Status
from core.store.protocols.types import Claim, NewJob, TaskClaim
from core.store.redis import AsyncRedisStore, RedisStore
from tests.core.store.study_makers import new_study, round_of, run_of

pytestmark = pytest.mark.anyio
Act = tuple[str, int]
ACTS = st.lists(
    st.tuples(
        st.sampled_from(
            ["pause", "pause", "resume", "claim", "claim", "hand_over", "lose", "done", "cancel"]
        ),
        st.integers(0, 3),
    ),
    max_size=25,
)


class Life:
    """A job or a study on its way, and what must be true of it after each call.

    A study plans a round of three tasks, then one more round of one, and then ends.
    """

    def __init__(self, noun: str, api: AsyncRedisStore, worker: RedisStore, new: Any) -> None:
        self._records: Any = api if noun == "job" else api.studies
        self._worker = worker
        self.id = new.id
        self._held: list[Claim | TaskClaim] = []
        self._asked = False

    async def act(self, what: str, which: int) -> None:
        if what in {"pause", "resume", "cancel"}:
            try:
                await getattr(self._records, f"request_{what}")(self.id)
                self._asked = {"pause": True, "resume": False}.get(what, self._asked)
            except ConflictError:
                assert (await self._records.status(self.id)) in {"cancelling", *TERMINAL}
        elif what == "claim":
            claim = self._worker.claim_next("w", ["cpu"], 60.0)
            if claim is not None:
                assert not self._asked
                self._held.append(claim)
        elif self._held:
            claim = self._held.pop(which % len(self._held))
            if what == "done":
                self._finish(claim)
            else:
                getattr(self._worker, what)(claim)
        await self._check()

    def _finish(self, claim: Claim | TaskClaim) -> None:
        worker = self._worker
        wanted = worker.renew(claim, 60.0)
        cancelled = wanted == "cancelling"
        if isinstance(claim, Claim):
            status: Status = "cancelled" if cancelled else "succeeded"
            outcome: Any = None if cancelled else "converged"
            worker.close(claim, status, "finished", outcome=outcome, fields={})
        elif claim.task.kind == "train":
            status = "cancelled" if cancelled else "succeeded"
            runs = [run_of(each, status=status) for each in claim.task.runs]
            worker.studies.close(claim, status, "finished", runs=runs)
        elif claim.task.round == 2:
            worker.studies.finish(claim, "succeeded", {"result": {}})
        else:
            groups = [[0, 1], [2], [3]] if claim.task.round == 0 else [[4]]
            number = claim.task.round
            worker.studies.plan(claim, round_of(claim.study, *groups, number=number))

    async def _check(self) -> None:
        record = await self._records.get(self.id)
        if record.terminal:
            self._held.clear()
            return
        assert (record.status in HELD) >= bool(self._held)
        if record.status == "paused":
            assert self._asked
            assert not self._held
        elif self._asked and record.status != "cancelling":
            assert self._held  # somebody has still to hear of it
        assert (record.pause_requested_at is not None) == self._asked

    async def end(self) -> None:
        """Whatever was, it comes to an end once it is resumed."""
        for _ in range(40):
            record = await self._records.get(self.id)
            if record.terminal:
                break
            if self._asked and record.status != "cancelling":
                await self.act("resume", 0)
            await self.act("claim", 0)
            await self.act("done", 0)
        assert (await self._records.get(self.id)).terminal
        assert self._worker.num_queued() == 0
        assert self._worker.claim_next("w", ["cpu"], 60.0) is None
        await self._records.delete(self.id)


@pytest.mark.parametrize("noun", ["job", "study"])
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(acts=ACTS)
def test_nothing_that_comes_in_between_loses_a_pause_or_the_work(
    noun: str, acts: list[Act], redis_url: str, namespace: str, new_job: Callable[..., NewJob]
) -> None:
    async def live() -> None:
        api, worker = AsyncRedisStore(redis_url, namespace), RedisStore(redis_url, namespace)
        try:
            new = new_job(max_attempts=30) if noun == "job" else new_study(max_attempts=30)
            await (api if noun == "job" else api.studies).create(new, None)  # type: ignore[arg-type]
            life = Life(noun, api, worker, new)
            for what, which in acts:
                await life.act(what, which)
            await life.end()
        finally:
            await api.aclose()
            worker.disconnect()

    asyncio.run(live())
