"""Rows of many runs in one value: read, taken back and freed as those in chunks."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import redis

from core.errors import LostRowsError, StaleAttemptError
from core.store.history.bundles import MAX_BYTES, MAX_HISTORY_BYTES, bundles
from core.store.history.layout import Columns, HistoryKind, HistoryLayout, RunRows
from core.store.protocols.types import NewRun, Round, TaskClaim
from core.store.redis import AsyncRedisStore, RedisStore
from core.studies import TaskRecord, run_id
from tests.core.store.study_makers import new_study, run_of, take

pytestmark = pytest.mark.anyio
WIDTHS = {"loss": 1, "lr": 1, "grad_norm": 1, "x": 10}
LAYOUT = HistoryLayout(1, WIDTHS, 1000)
EVAL = HistoryLayout(100, {f"metric_{i}": 1 for i in range(8)} | {"loss": 1}, 11)
LAYOUTS: dict[HistoryKind, HistoryLayout] = {"train": LAYOUT, "eval": EVAL}


def columns(layout: HistoryLayout, index: int, count: int, first: int = 0) -> Columns:
    """Numbers of every bit pattern's kind, of this run alone."""
    drawn = np.random.default_rng(index)
    found = {}
    for name, width in layout.widths.items():
        shape = (1000, width) if name == "x" else (1000,)
        found[name] = drawn.standard_normal(shape)[first : first + count]
    found["step"] = layout.first_step + layout.every * np.arange(first, first + count, dtype=float)
    return found


def segment(
    index: int, count: int, kind: HistoryKind = "train", *, first: int = 0, **changes: Any
) -> RunRows:
    layout = LAYOUTS[kind]
    values = columns(layout, index, count, first) | changes.pop("columns", {})
    return RunRows(index, kind, layout, first, values, bundled=True, **changes)


async def trained(api: AsyncRedisStore, worker: RedisStore, num_runs: int) -> TaskClaim:
    """The claim of a task with so many runs."""
    new = new_study(num_runs=num_runs)
    await api.studies.create(new, None)
    task = TaskRecord(new.id, 0, 1, "train", tuple(range(num_runs)))
    runs = tuple(NewRun(run_of(index), LAYOUTS) for index in range(num_runs))
    worker.studies.plan(take(worker), Round((task,), runs))
    return take(worker)


def same(found: Columns, expected: Columns) -> bool:
    return found.keys() == expected.keys() and all(
        found[name].tobytes() == np.ascontiguousarray(expected[name]).tobytes()
        and found[name].shape == expected[name].shape
        for name in expected
    )


@pytest.mark.parametrize("cuts", [(), (500,), (1, 64, 700, 999)])
async def test_what_lies_in_bundles_is_read_as_any_history(
    api: AsyncRedisStore,
    worker: RedisStore,
    raw: redis.Redis,
    namespace: str,
    cuts: tuple[int, ...],
) -> None:
    claim = await trained(api, worker, 25)
    lengths = {index: 1000 - 3 * index for index in range(25)}
    edges = (0, *cuts, 1000)
    for first, stop in pairwise(edges):
        parts = [
            segment(index, min(stop, count) - first, first=first)
            for index, count in lengths.items()
            if first < count
        ]
        evals = [segment(index, 11, "eval") for index in lengths] if first == 0 else []
        worker.studies.write(claim, rows=[*parts, *evals])
    if not cuts:
        assert len(list(raw.scan_iter(f"{namespace}:rows:*"))) == 4
    for index, count in lengths.items():
        name = run_id(claim.study.id, index)
        expected = columns(LAYOUT, index, count)
        assert same(worker.read_columns(name, "train"), expected)
        assert same(worker.read_columns(name, "eval"), columns(EVAL, index, 11))
        meta = await api.history_meta(name, "train")
        assert (meta.num_rows, meta.last_step) == (count, count - 1)
        page = await api.history_rows(name, "train", meta, ("step", "x", "loss"), 450, 300)
        assert same(page, {s: expected[s][450:750] for s in ("step", "x", "loss")})
        picked = np.array([0, 5, 63, 64, 700, count - 1])
        some = await api.history_pick(name, "train", meta, ("loss", "step", "x"), picked)
        assert same(some, {s: expected[s][picked] for s in ("loss", "step", "x")})
        beyond = await api.history_rows(name, "train", meta, ("loss",), count, 10)
        assert len(beyond["loss"]) == 0
    assert worker.studies.num_rows(claim.study.id, [7]) == {7: {"train": 979, "eval": 11}}


async def test_the_first_loss_that_is_no_number_is_known(
    api: AsyncRedisStore, worker: RedisStore
) -> None:
    claim = await trained(api, worker, 2)
    loss = np.array([1.0, 2.0, np.inf])
    worker.studies.write(claim, rows=[segment(0, 3, columns={"loss": loss}), segment(1, 3)])
    late = {"loss": np.array([5.0, np.nan, np.inf])}
    worker.studies.write(claim, rows=[segment(i, 3, first=3, columns=late) for i in (0, 1)])
    metas = [await api.history_meta(run_id(claim.study.id, i), "train") for i in (0, 1)]
    assert [meta.first_nonfinite_step for meta in metas] == [2, 4]


async def test_the_same_again_changes_nothing(api: AsyncRedisStore, worker: RedisStore) -> None:
    """An answer that was lost: the rows come again, alone or with those that follow."""
    claim = await trained(api, worker, 3)
    for several in ([0, 1, 2], [0, 1, 2], [1, 2]):
        worker.studies.write(claim, rows=[segment(index, 50) for index in several])
    for first, stop in [(50, 70), (50, 70), (50, 90), (90, 95)]:
        worker.studies.write(
            claim, rows=[segment(index, stop - first, first=first) for index in (0, 2)]
        )
    for index, count in [(0, 95), (1, 50), (2, 95)]:
        found = worker.read_columns(run_id(claim.study.id, index), "train")
        assert same(found, columns(LAYOUT, index, count))


@pytest.mark.parametrize(("first", "why"), [(40, "gap"), (60, "gap")])
async def test_a_segment_begins_where_another_ends(
    api: AsyncRedisStore, worker: RedisStore, first: int, why: str
) -> None:
    claim = await trained(api, worker, 2)
    worker.studies.write(claim, rows=[segment(0, 50)])
    with pytest.raises(LostRowsError, match=why):
        worker.studies.write(claim, rows=[segment(1, 5), segment(0, 5, first=first)])
    assert worker.studies.num_rows(claim.study.id, [0, 1]) == {
        0: {"train": 50, "eval": 0},
        1: {"train": 0, "eval": 0},
    }


async def test_no_row_follows_one_that_is_off_the_grid(
    api: AsyncRedisStore, worker: RedisStore
) -> None:
    claim = await trained(api, worker, 1)
    off = {"step": np.array([0.0, 100.0, 150.0])}
    worker.studies.write(claim, rows=[segment(0, 3, "eval", columns=off)])
    with pytest.raises(ValueError, match="row 2"):
        worker.studies.write(claim, rows=[segment(0, 2, "eval", first=3)])


@pytest.mark.parametrize("cuts", [(), (3, 818, 821)])
@pytest.mark.parametrize("kept", [0, 1, 818, 819, 820, 900, 1000])
async def test_a_run_that_goes_on_leaves_its_bundles_and_the_others_stay(
    api: AsyncRedisStore, worker: RedisStore, kept: int, cuts: tuple[int, ...]
) -> None:
    claim = await trained(api, worker, 2)
    stored = 1000 if kept == 1000 else 900
    for first, stop in pairwise((0, *cuts, stored)):
        parts = [segment(index, stop - first, first=first) for index in (0, 1)]
        worker.studies.write(claim, rows=parts)
    name = run_id(claim.study.id, 0)
    before = await api.history_meta(name, "train")

    empty = columns(LAYOUT, 0, 0)
    worker.studies.write(claim, rows=[RunRows(0, "train", LAYOUT, kept, empty, truncate=True)])
    assert same(worker.read_columns(name, "train"), columns(LAYOUT, 0, kept))
    # A reader that had begun before goes on where it was.
    page = await api.history_rows(name, "train", before, ("x",), 0, stored)
    assert same(page, {"x": columns(LAYOUT, 0, stored)["x"]})

    if kept < 1000:
        rest = columns(LAYOUT, 0, 1000 - kept, kept)
        worker.studies.write(claim, rows=[RunRows(0, "train", LAYOUT, kept, rest)])
    assert same(worker.read_columns(name, "train"), columns(LAYOUT, 0, 1000))
    other = worker.read_columns(run_id(claim.study.id, 1), "train")
    assert same(other, columns(LAYOUT, 1, stored))


async def test_the_first_rows_take_the_place_of_what_a_former_attempt_left(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str
) -> None:
    claim = await trained(api, worker, 1)
    worker.studies.write(claim, rows=[RunRows(0, "train", LAYOUT, 0, columns(LAYOUT, 5, 40))])
    worker.studies.write(claim, rows=[segment(0, 30, truncate=True)])
    found = worker.read_columns(run_id(claim.study.id, 0), "train")
    assert same(found, columns(LAYOUT, 0, 30))
    assert len(list(raw.scan_iter(f"{namespace}:rows:*"))) == 1


async def test_no_row_for_a_chunk_follows_in_a_history_that_lies_in_bundles(
    api: AsyncRedisStore, worker: RedisStore
) -> None:
    claim = await trained(api, worker, 1)
    worker.studies.write(claim, rows=[segment(0, 30)])
    more = RunRows(0, "train", LAYOUT, 30, columns(LAYOUT, 0, 5, 30))
    with pytest.raises(LostRowsError, match="have moved"):
        worker.studies.write(claim, rows=[more])


async def test_no_end_of_a_run_is_written_where_its_rows_are_lost(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str
) -> None:
    claim = await trained(api, worker, 2)
    study_id = claim.study.id
    worker.studies.write(claim, rows=[segment(0, 50), segment(1, 50)])
    raw.hset(f"{namespace}:study:{run_id(study_id, 1)}", "rows:train", 49)
    ended = [replace(run, status="succeeded") for run in worker.studies.runs(study_id)]
    counts: dict[int, dict[HistoryKind, int]] = {index: {"train": 50} for index in (0, 1)}
    with pytest.raises(LostRowsError):
        worker.studies.write(claim, runs=ended, num_rows=counts)
    assert [run.status for run in worker.studies.runs(study_id)] == ["running"] * 2
    counts[1]["train"] = 49
    worker.studies.write(claim, runs=ended, num_rows=counts)
    assert [run.status for run in worker.studies.runs(study_id)] == ["succeeded"] * 2


async def test_a_stale_attempt_writes_no_bundle(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str
) -> None:
    stale = await trained(api, worker, 1)
    raw.zadd(f"{namespace}:leases", {stale.task.id: 1}, xx=True)
    assert worker.reap() == [stale.task.id]
    take(worker, "other")
    with pytest.raises(StaleAttemptError):
        worker.studies.write(stale, rows=[segment(0, 30)])
    assert list(raw.scan_iter(f"{namespace}:rows:*")) == []
    assert worker.studies.num_rows(stale.study.id, [0])[0]["train"] == 0


def test_a_bundle_is_a_little_smaller_than_a_size_class() -> None:
    found = list(bundles([segment(index, 1000) for index in range(25)]))
    assert [len(bundle.parts) for bundle in found] == [10, 10, 5]
    assert all(len(bundle.data) <= MAX_BYTES for bundle in found)
    assert MAX_BYTES - len(found[0].data) < MAX_HISTORY_BYTES


def test_rows_that_do_not_fit_their_layout_are_refused() -> None:
    for wrong in ({"loss": np.zeros(4)}, {"step": np.array([0.0, 2.0, 4.0])}):
        with pytest.raises(ValueError, match="train"):
            list(bundles([segment(0, 3, columns=wrong)]))
