"""Rows that wait keep their order, in memory and in the file."""

from pathlib import Path

import numpy as np
import pytest

from core.store.history.layout import HistoryKind
from worker.reporting.spool import Rows, Spool


def batch(first: int, count: int = 10, kind: HistoryKind = "train", run: int = 0) -> Rows:
    steps = np.arange(first, first + count, dtype=np.float64)
    return Rows(kind, first, {"step": steps, "loss": steps / 7}, run=run)


def steps(taken: list[Rows]) -> list[float]:
    return [step for rows in taken for step in rows.columns["step"].tolist()]


@pytest.mark.parametrize("max_bytes", [1, 400, 10**6])
def test_rows_come_out_in_the_order_they_went_in(tmp_path: Path, max_bytes: int) -> None:
    backlog = Spool(tmp_path, max_bytes)
    for first in range(0, 100, 10):
        backlog.put(batch(first))
    got = steps(backlog.take(1))
    for first in range(100, 150, 10):
        backlog.put(batch(first))
    while backlog:
        got += steps(backlog.take(300))
    assert got == [float(step) for step in range(150)]


def test_neighbours_of_a_kind_leave_as_one(tmp_path: Path) -> None:
    backlog = Spool(tmp_path, 10**6)
    for first in (0, 10, 20):
        backlog.put(batch(first))
        backlog.put(batch(first // 10, 1, "eval"))
    taken = backlog.take(10**6)
    assert [(rows.kind, rows.first_row, rows.num_rows) for rows in taken] == [
        ("train", 0, 30),
        ("eval", 0, 3),
    ]


@pytest.mark.parametrize("max_bytes", [1, 10**6])
def test_the_rows_of_several_runs_are_kept_apart(tmp_path: Path, max_bytes: int) -> None:
    backlog = Spool(tmp_path, max_bytes)
    for first in (0, 10):
        for run in (3, 5):
            backlog.put(batch(first, run=run))
    taken: list[Rows] = []
    while backlog:
        taken += backlog.take(10**6)
    assert [(rows.run, rows.first_row, rows.num_rows) for rows in taken] == [(3, 0, 20), (5, 0, 20)]


def test_rows_put_back_come_first_again(tmp_path: Path) -> None:
    backlog = Spool(tmp_path, 1)
    backlog.put(batch(0))
    backlog.put(batch(10))
    backlog.put_back(backlog.take(1))
    assert steps(backlog.take(10**6)) == [float(step) for step in range(20)]


def test_beyond_the_bound_memory_holds_no_more(tmp_path: Path) -> None:
    backlog = Spool(tmp_path, 1000)
    for first in range(0, 10_000, 10):
        backlog.put(batch(first))
    assert backlog.num_bytes <= 1000
    assert len(backlog) == 1000
    backlog.close()
    assert list(tmp_path.iterdir()) == []
