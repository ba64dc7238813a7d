"""Rows come back as they were written, to the bit, wherever a chunk ends and however often
they were written."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import redis

from core.errors import LostRowsError, NotFoundError
from core.store.history.chunks import pack, row_after
from core.store.history.layout import CHUNK_NUMBERS, Columns, HistoryLayout
from core.store.protocols.types import Claim, NewJob
from core.store.redis import AsyncRedisStore, RedisStore

pytestmark = pytest.mark.anyio
NewJobs = Callable[..., NewJob]
SMALL = HistoryLayout(1, {"loss": 1, "x": 3}, None, chunk_numbers=12)
"""Chunks of 12 losses, and of 4 points."""


def columns(first: int, count: int, every: int = 1, width: int = 3) -> Columns:
    rows = np.arange(first, first + count, dtype=np.float64)
    return {
        "step": rows * every,
        "loss": np.sin(rows),
        "x": rows[:, None] + np.arange(width) / 10,
    }


def same(found: Columns, expected: Columns) -> bool:
    return found.keys() == expected.keys() and all(
        found[name].tobytes() == expected[name].tobytes()
        and found[name].shape == expected[name].shape
        for name in found
    )


async def started(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs, layout: HistoryLayout = SMALL
) -> Claim:
    await api.create(new_job(layouts={"train": layout}), None)
    claim = worker.claim_next("w", ["cpu"], 60)
    assert isinstance(claim, Claim)
    assert claim.layouts == {"train": layout}
    return claim


@pytest.mark.parametrize("batch", [1, 4, 5, 12, 13, 50])
async def test_rows_survive_any_cut_into_batches(
    batch: int, api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    claim = await started(api, worker, new_job)
    for first in range(0, 50, batch):
        worker.append_rows(claim, "train", first, columns(first, min(batch, 50 - first)))

    assert same(worker.read_columns(claim.job.id, "train"), columns(0, 50))


@pytest.mark.parametrize(
    ("first", "count"), [(0, 1), (3, 2), (11, 1), (11, 2), (12, 12), (12, 13), (0, 50), (49, 1)]
)
async def test_any_page_can_be_read(
    first: int, count: int, api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    claim = await started(api, worker, new_job)
    worker.append_rows(claim, "train", 0, columns(0, 50))
    meta = await api.history_meta(claim.job.id, "train")
    series = ["step", "loss", "x"]

    page = await api.history_rows(claim.job.id, "train", meta, series, first, count)

    assert same(page, columns(first, count))
    again = worker.history_rows(claim.job.id, "train", meta, series, first, count)
    assert same(again, page)


async def test_a_page_ends_where_the_rows_end(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    claim = await started(api, worker, new_job)
    worker.append_rows(claim, "train", 0, columns(0, 20))
    meta = await api.history_meta(claim.job.id, "train")

    async def read(first: int, count: int) -> list[float]:
        page = await api.history_rows(claim.job.id, "train", meta, ["step"], first, count)
        return page["step"].tolist()  # type: ignore[no-any-return]

    assert await read(18, 10) == [18, 19]
    assert await read(20, 10) == []
    assert await read(500, 10) == []


async def test_rows_are_picked_in_the_order_asked_for(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    claim = await started(api, worker, new_job)
    worker.append_rows(claim, "train", 0, columns(0, 50))
    meta = await api.history_meta(claim.job.id, "train")
    rows = np.array([0, 49, 11, 12, 3, 4, 3])

    picked = await api.history_pick(claim.job.id, "train", meta, ["x", "step", "loss"], rows)

    whole = columns(0, 50)
    assert same(picked, {name: whole[name][rows] for name in ("x", "step", "loss")})
    nothing = await api.history_pick(claim.job.id, "train", meta, ["x", "step"], rows[:0])
    assert (nothing["x"].shape, nothing["step"].shape) == ((0, 3), (0,))
    steps = await api.history_pick(claim.job.id, "train", meta, ["step"], rows)
    assert steps["step"].tolist() == rows.tolist()


async def test_more_rows_than_one_call_takes_are_picked(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    layout = HistoryLayout(1, {"loss": 1, "x": 3}, 20_000)
    claim = await started(api, worker, new_job, layout)
    worker.append_rows(claim, "train", 0, columns(0, 12_000))
    meta = await api.history_meta(claim.job.id, "train")
    rows = np.arange(12_000)

    picked = await api.history_pick(claim.job.id, "train", meta, ["step", "loss", "x"], rows)

    assert same(picked, columns(0, 12_000))


async def test_writing_rows_again_changes_and_duplicates_nothing(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str, new_job: NewJobs
) -> None:
    claim = await started(api, worker, new_job)
    worker.append_rows(claim, "train", 0, columns(0, 30))

    def everything() -> dict[bytes, Any]:
        keys = sorted(raw.scan_iter(f"{namespace}:*"))
        return {k: raw.dump(k) for k in keys}

    before = everything()
    for first, count in ((0, 30), (0, 1), (10, 15), (29, 1)):
        worker.append_rows(claim, "train", first, columns(first, count))
    assert everything() == before


async def test_rows_written_again_with_other_numbers_hold_the_new_ones(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    claim = await started(api, worker, new_job)
    worker.append_rows(claim, "train", 0, columns(0, 30))
    other = {**columns(10, 15), "loss": np.full(15, 7.0)}
    worker.append_rows(claim, "train", 10, other)

    found = worker.read_columns(claim.job.id, "train")["loss"]
    assert found.tolist() == [*np.sin(range(10)), *([7.0] * 15), *np.sin(range(25, 30))]


async def test_a_gap_is_refused(api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs) -> None:
    claim = await started(api, worker, new_job)
    worker.append_rows(claim, "train", 0, columns(0, 3))
    with pytest.raises(LostRowsError, match="has 3 rows"):
        worker.append_rows(claim, "train", 4, columns(4, 1))
    assert (await api.history_meta(claim.job.id, "train")).num_rows == 3


async def test_numbers_that_are_not_finite_keep_every_bit(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    claim = await started(api, worker, new_job, HistoryLayout(10, {"loss": 1}, 8))
    bits = [0x7FF8_0000_0000_0000, 0xFFF8_0000_0000_1234, 0x7FF0_0000_0000_0000,
            0xFFF0_0000_0000_0000, 0x8000_0000_0000_0000, 0x0000_0000_0000_0001]  # fmt: skip
    odd = np.array(bits, dtype=np.uint64).view(np.float64)
    loss = np.append(np.ones(1), odd)

    worker.append_rows(claim, "train", 0, {"step": np.arange(0.0, 70.0, 10.0), "loss": loss})

    found = worker.read_columns(claim.job.id, "train")["loss"]
    assert found.view(np.uint64).tolist() == loss.view(np.uint64).tolist()
    meta = await api.history_meta(claim.job.id, "train")
    assert meta.first_nonfinite_step == 10
    worker.truncate_rows(claim, "train", 2)
    assert (await api.history_meta(claim.job.id, "train")).first_nonfinite_step == 10
    worker.truncate_rows(claim, "train", 1)
    assert (await api.history_meta(claim.job.id, "train")).first_nonfinite_step is None


async def test_the_last_row_may_have_a_step_off_the_grid_and_no_other(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    claim = await started(api, worker, new_job, HistoryLayout(10, {"loss": 1}, 100, first_step=5))

    def rows(*steps: float) -> Columns:
        return {"step": np.array(steps), "loss": np.array(steps)}

    worker.append_rows(claim, "train", 0, rows(5, 15, 25))
    worker.append_rows(claim, "train", 3, rows(35, 42))
    worker.append_rows(claim, "train", 3, rows(35, 42))  # once more is harmless

    meta = await api.history_meta(claim.job.id, "train")
    assert (meta.num_rows, meta.last_step) == (5, 42)
    assert worker.read_columns(claim.job.id, "train")["step"].tolist() == [5, 15, 25, 35, 42]
    with pytest.raises(ValueError, match=r"row 4 .* off the grid"):
        worker.append_rows(claim, "train", 5, rows(55))
    with pytest.raises(ValueError, match=r"row 2 .* off the grid"):
        worker.append_rows(claim, "train", 2, rows(26))
    with pytest.raises(ValueError, match="steps that the layout does not"):
        worker.append_rows(claim, "train", 3, rows(36, 42))

    worker.truncate_rows(claim, "train", 4)  # a continued run goes on below it
    meta = await api.history_meta(claim.job.id, "train")
    assert (meta.num_rows, meta.last_step) == (4, 35)
    worker.append_rows(claim, "train", 4, rows(45, 55))
    assert worker.read_columns(claim.job.id, "train")["step"].tolist() == [5, 15, 25, 35, 45, 55]


async def test_a_history_of_one_row_may_have_any_step(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    claim = await started(api, worker, new_job, HistoryLayout(100, {"loss": 1}, 1))
    worker.append_rows(claim, "train", 0, {"step": np.array([777.0]), "loss": np.array([0.5])})
    assert worker.read_columns(claim.job.id, "train")["step"].tolist() == [777]


async def test_forgotten_rows_free_their_chunks(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str, new_job: NewJobs
) -> None:
    claim = await started(api, worker, new_job)

    def chunks() -> int:
        return len(list(raw.scan_iter(f"{namespace}:rows:*")))

    worker.append_rows(claim, "train", 0, columns(0, 50))
    assert chunks() == 5 + 13
    worker.truncate_rows(claim, "train", 12)
    assert chunks() == 1 + 3
    worker.truncate_rows(claim, "train", 40)  # there are no more to forget
    assert (await api.history_meta(claim.job.id, "train")).num_rows == 12
    worker.truncate_rows(claim, "train", 0)
    assert chunks() == 0
    meta = await api.history_meta(claim.job.id, "train")
    assert (meta.num_rows, meta.last_step) == (0, None)
    worker.append_rows(claim, "train", 0, columns(0, 2))
    assert same(worker.read_columns(claim.job.id, "train"), columns(0, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": np.zeros(3)}, "rows have"),
        ({"loss": np.zeros(2)}, "unequal length"),
        ({"x": np.zeros((3, 2))}, "2 numbers a row, not 3"),
        ({"step": np.array([0.0, 2.0, 3.0])}, "steps"),
        ({"step": np.zeros(0), "loss": np.zeros(0), "x": np.zeros((0, 3))}, "0 rows"),
    ],
)
def test_columns_that_do_not_fit_the_layout_are_refused(change: Columns, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pack(SMALL, "train", 0, {**columns(0, 3), **change})


def test_a_point_wider_than_a_chunk_lies_whole_in_one_of_its_own() -> None:
    layout = HistoryLayout(1, {"loss": 1, "x": 30}, None, chunk_numbers=12)
    batch = pack(layout, "train", 0, columns(0, 2, width=30))
    points = [(p.name, p.offset, len(p.data), p.full) for p in batch.pieces if ":x:" in p.name]
    assert points == [("train:x:0", 0, 240, 240), ("train:x:1", 0, 240, 240)]


async def test_a_point_with_one_coordinate_is_read_as_a_list_a_row(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    claim = await started(api, worker, new_job, HistoryLayout(1, {"loss": 1, "x": 1}, 10))
    worker.append_rows(claim, "train", 0, columns(0, 3, width=1))
    assert worker.read_columns(claim.job.id, "train")["x"].shape == (3, 1)


async def test_a_kind_without_layout_has_neither_series_nor_rows(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    claim = await started(api, worker, new_job)
    meta = await api.history_meta(claim.job.id, "eval")
    assert (meta.num_rows, meta.last_step, meta.layout.widths) == (0, None, {})
    assert worker.read_columns(claim.job.id, "eval")["step"].tolist() == []


async def test_a_history_that_was_deleted_meanwhile_is_not_found(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    claim = await started(api, worker, new_job)
    rows: Any = [("train", 0, columns(0, 50))]
    worker.close(claim, "failed", "failed", outcome=None, fields={}, rows=rows)
    meta = await api.history_meta(claim.job.id, "train")
    await api.delete(claim.job.id)

    with pytest.raises(NotFoundError):
        await api.history_meta(claim.job.id, "train")
    await api.free(claim.job.id)
    with pytest.raises(NotFoundError):
        await api.history_rows(claim.job.id, "train", meta, ["loss"], 0, 50)
    with pytest.raises(NotFoundError):
        await api.history_pick(claim.job.id, "train", meta, ["loss"], np.array([3]))


@pytest.mark.parametrize(
    ("step", "row"), [(-7, 0), (4, 0), (5, 1), (14, 1), (15, 2), (35, 4), (41, 4), (42, 5), (99, 5)]
)
async def test_the_row_after_a_step_is_the_first_with_a_larger_one(
    step: int, row: int, api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    claim = await started(api, worker, new_job, HistoryLayout(10, {"loss": 1}, 5, first_step=5))
    steps = np.array([5.0, 15, 25, 35, 42])
    worker.append_rows(claim, "train", 0, {"step": steps, "loss": steps})
    meta = await api.history_meta(claim.job.id, "train")

    assert row_after(meta, step) == row == int(np.searchsorted(steps, step, side="right"))


def stored_bytes(raw: redis.Redis, namespace: str) -> int:
    sizes = [raw.memory_usage(key) for key in raw.scan_iter(f"{namespace}:rows:*")]
    return sum(int(size) for size in sizes if size is not None)


async def test_a_million_rows_take_less_than_nine_bytes_a_number(
    api: AsyncRedisStore, worker: RedisStore, raw: redis.Redis, namespace: str, new_job: NewJobs
) -> None:
    count = 1_000_000
    widths = {"loss": 1, "lr": 1, "grad_norm": 1}
    claim = await started(api, worker, new_job, HistoryLayout(1, widths, count))
    values = np.random.default_rng(0).normal(size=count)
    for first in range(0, count, 50_000):
        part = values[first : first + 50_000]
        steps = np.arange(first, first + len(part), dtype=np.float64)
        rows = {"step": steps, "loss": part, "lr": part, "grad_norm": part}
        worker.append_rows(claim, "train", first, rows)

    assert stored_bytes(raw, namespace) / (3 * count) < 8.1
    found = worker.read_columns(claim.job.id, "train")
    assert all(found[name].tobytes() == values.tobytes() for name in widths)


@pytest.mark.parametrize("expected_rows", [50, 1_000_000, None])
async def test_a_short_history_takes_little_whatever_was_expected(
    expected_rows: int | None,
    api: AsyncRedisStore,
    worker: RedisStore,
    raw: redis.Redis,
    namespace: str,
    new_job: NewJobs,
) -> None:
    layout = HistoryLayout(1, {"loss": 1, "x": 1}, expected_rows)
    claim = await started(api, worker, new_job, layout)
    for row in range(50):
        worker.append_rows(claim, "train", row, columns(row, 1, width=1))

    assert stored_bytes(raw, namespace) <= 2 * 1200
    assert same(worker.read_columns(claim.job.id, "train"), columns(0, 50, width=1))


async def test_more_rows_than_expected_are_kept_all_the_same(
    api: AsyncRedisStore, worker: RedisStore, new_job: NewJobs
) -> None:
    claim = await started(api, worker, new_job, HistoryLayout(1, {"loss": 1, "x": 3}, 10))
    count = 2 * CHUNK_NUMBERS
    for first, last in ((0, 5), (5, 12), (12, CHUNK_NUMBERS), (CHUNK_NUMBERS, count)):
        worker.append_rows(claim, "train", first, columns(first, last - first))
    assert same(worker.read_columns(claim.job.id, "train"), columns(0, count))
