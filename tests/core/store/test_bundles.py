"""Whole histories of many runs in one value: read, taken back and freed as those in chunks."""

from typing import Any

import numpy as np
import pytest
import redis

from core.errors import StaleAttemptError
from core.store.bundles import MAX_BYTES, MAX_HISTORY_BYTES, bundles, fits
from core.store.layout import Columns, HistoryKind, HistoryLayout
from core.store.redis import AsyncRedisStore, RedisStore
from core.store.studies_base import NewRun, Round, RunRows, TaskClaim
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


def whole(index: int, count: int, kind: HistoryKind = "train", **changes: Any) -> RunRows:
    layout = LAYOUTS[kind]
    values = columns(layout, index, count) | changes.pop("columns", {})
    return RunRows(index, kind, layout, 0, values, whole=True, **changes)


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


async def test_what_is_written_whole_is_read_as_any_history(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str
) -> None:
    claim = await trained(api, worker, 25)
    lengths = {index: 1000 - 3 * index for index in range(25)}
    worker.studies.write(
        claim,
        rows=[
            *(whole(index, count) for index, count in lengths.items()),
            *(whole(index, 11, "eval") for index in lengths),
        ],
    )
    assert len(list(raw.scan_iter(f"{namespace}:rows:*"))) == 4
    for index, count in lengths.items():
        name = run_id(claim.study.id, index)
        expected = columns(LAYOUT, index, count)
        assert same(worker.read_columns(name, "train"), expected)
        assert same(worker.read_columns(name, "eval"), columns(EVAL, index, 11))
        meta = await api.history_meta(name, "train")
        assert (meta.num_rows, meta.last_step) == (count, count - 1)
        page = await api.history_rows(name, "train", meta, ("step", "x", "loss"), 700, 100)
        assert same(page, {s: expected[s][700:800] for s in ("step", "x", "loss")})
        picked = np.array([0, 5, 700, count - 1])
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
    worker.studies.write(claim, rows=[whole(0, 3, columns={"loss": loss}), whole(1, 3)])
    metas = [await api.history_meta(run_id(claim.study.id, i), "train") for i in (0, 1)]
    assert [meta.first_nonfinite_step for meta in metas] == [2, None]


async def test_the_same_again_changes_nothing(api: AsyncRedisStore, worker: RedisStore) -> None:
    claim = await trained(api, worker, 3)
    for several in ([0, 1, 2], [0, 1, 2], [1, 2]):
        worker.studies.write(claim, rows=[whole(index, 50) for index in several])
    for index in range(3):
        found = worker.read_columns(run_id(claim.study.id, index), "train")
        assert same(found, columns(LAYOUT, index, 50))


@pytest.mark.parametrize("kept", [0, 1, 818, 819, 820, 900, 1000])
async def test_a_run_that_goes_on_leaves_its_bundle_and_the_others_stay(
    api: AsyncRedisStore, worker: RedisStore, kept: int
) -> None:
    claim = await trained(api, worker, 2)
    stored = 1000 if kept == 1000 else 900
    worker.studies.write(claim, rows=[whole(0, stored), whole(1, stored)])
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


async def test_whole_takes_the_place_of_what_a_former_attempt_left(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str
) -> None:
    claim = await trained(api, worker, 1)
    worker.studies.write(claim, rows=[RunRows(0, "train", LAYOUT, 0, columns(LAYOUT, 5, 40))])
    worker.studies.write(claim, rows=[whole(0, 30, truncate=True)])
    found = worker.read_columns(run_id(claim.study.id, 0), "train")
    assert same(found, columns(LAYOUT, 0, 30))
    assert len(list(raw.scan_iter(f"{namespace}:rows:*"))) == 1


async def test_no_row_follows_a_whole_history(api: AsyncRedisStore, worker: RedisStore) -> None:
    claim = await trained(api, worker, 1)
    worker.studies.write(claim, rows=[whole(0, 30)])
    more = RunRows(0, "train", LAYOUT, 30, columns(LAYOUT, 0, 5, 30))
    with pytest.raises(ValueError, match="whole"):
        worker.studies.write(claim, rows=[more])


async def test_a_stale_attempt_writes_no_bundle(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str
) -> None:
    stale = await trained(api, worker, 1)
    raw.zadd(f"{namespace}:leases", {stale.task.id: 1}, xx=True)
    assert worker.reap() == [stale.task.id]
    take(worker, "other")
    with pytest.raises(StaleAttemptError):
        worker.studies.write(stale, rows=[whole(0, 30)])
    assert list(raw.scan_iter(f"{namespace}:rows:*")) == []
    assert worker.studies.num_rows(stale.study.id, [0])[0]["train"] == 0


def test_a_long_history_lies_in_chunks_of_its_own() -> None:
    assert fits(whole(0, 1000))
    assert not fits(RunRows(0, "train", LAYOUT, 0, columns(LAYOUT, 0, 1000)))
    assert not fits(whole(0, 0))
    wide = HistoryLayout(1, {"loss": 1, "x": 100}, 1000)
    assert not fits(RunRows(0, "train", wide, 0, columns(wide, 0, 1000), whole=True))


def test_a_bundle_is_a_little_smaller_than_a_size_class() -> None:
    found = list(bundles([whole(index, 1000) for index in range(25)]))
    assert [len(bundle.histories) for bundle in found] == [10, 10, 5]
    assert all(len(bundle.data) <= MAX_BYTES for bundle in found)
    assert MAX_BYTES - len(found[0].data) < MAX_HISTORY_BYTES


def test_rows_that_do_not_fit_their_layout_are_refused() -> None:
    for wrong in ({"loss": np.zeros(4)}, {"step": np.array([0.0, 2.0, 4.0])}):
        with pytest.raises(ValueError, match="train"):
            list(bundles([whole(0, 3, columns=wrong)]))
