"""A long history is viewed without being read whole, and the view is the same."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from api.history import selection
from api.history.downsample import choose_rows
from api.history.selection import Answer, Question, answer
from core.store.history.layout import Columns, HistoryKind, HistoryLayout, HistoryMeta
from core.store.protocols.api import ApiStore

pytestmark = pytest.mark.anyio
ROWS = 1_000


class Stored:
    """As much of a store as a view asks, with the largest read that there was."""

    def __init__(self, columns: Columns, first_nonfinite: int | None) -> None:
        self.columns = columns
        self.first_nonfinite = first_nonfinite
        self.most_numbers = 0
        self.num_picked = 0

    async def history_meta(self, name: str, kind: HistoryKind) -> HistoryMeta:
        widths = {each: column[0].size for each, column in self.columns.items() if each != "step"}
        layout = HistoryLayout(1, widths, ROWS)
        return HistoryMeta("succeeded", layout, ROWS, ROWS - 1, self.first_nonfinite)

    async def history_rows(
        self,
        name: str,
        kind: HistoryKind,
        meta: HistoryMeta,
        series: Sequence[str],
        first_row: int,
        num_rows: int,
    ) -> Columns:
        found = {each: self.columns[each][first_row : first_row + num_rows] for each in series}
        self.most_numbers = max(self.most_numbers, sum(part.size for part in found.values()))
        return found

    async def history_pick(
        self,
        name: str,
        kind: HistoryKind,
        meta: HistoryMeta,
        series: Sequence[str],
        rows: NDArray[np.int64],
    ) -> Columns:
        self.num_picked = max(self.num_picked, len(rows))
        return {each: self.columns[each][rows] for each in series}


def stored(*, broken_loss: bool, broken_others: bool) -> Stored:
    generator = np.random.default_rng(3)
    columns: Columns = {
        "step": np.arange(ROWS, dtype=np.float64),
        "loss": generator.normal(size=ROWS).cumsum(),
        "lr": np.linspace(1, 0, ROWS),
        "grad_norm": generator.normal(size=ROWS) ** 2,
        "x": generator.normal(size=(ROWS, 2)),
    }
    if broken_loss:
        columns["loss"][[5, 99, 100, 998, 999]] = [np.nan, np.inf, -np.inf, np.nan, np.nan]
    if broken_others:
        columns["grad_norm"][100:300] = np.nan
    return Stored(columns, 5 if broken_loss else None)


async def view(
    it: Stored,
    series: tuple[str, ...] | None,
    points: int,
    after: float | None = None,
    until: float | None = None,
) -> Answer:
    question = Question("train", series, after, 10, points, until)
    return await answer(cast(ApiStore, it), "job_1", question)


@pytest.mark.parametrize("points", [1, 3, 4, 10, 333])
@pytest.mark.parametrize("series", [None, ("loss",), ("grad_norm", "lr"), ("x",), ("lr", "x")])
@pytest.mark.parametrize("broken_loss", [False, True])
@pytest.mark.parametrize("broken_others", [False, True])
@pytest.mark.parametrize("most_picked", [0, 10_000])
async def test_the_view_of_a_long_history_is_that_of_a_short_one(
    monkeypatch: pytest.MonkeyPatch,
    points: int,
    series: tuple[str, ...] | None,
    broken_loss: bool,
    broken_others: bool,
    most_picked: int,
) -> None:
    whole = stored(broken_loss=broken_loss, broken_others=broken_others)
    wanted = await view(whole, series, points)
    monkeypatch.setattr(selection, "BLOCK_ROWS", 64)
    monkeypatch.setattr(selection, "MOST_PICKED", most_picked)
    it = stored(broken_loss=broken_loss, broken_others=broken_others)
    found = await view(it, series, points)
    assert found.columns.keys() == wanted.columns.keys()
    for name, column in wanted.columns.items():
        assert column.tobytes() == found.columns[name].tobytes(), name
    assert whole.most_numbers >= ROWS
    assert it.most_numbers == 64


@pytest.mark.parametrize(("after", "until"), [(None, 700.0), (98.0, 700.0), (700.0, None)])
async def test_the_view_of_a_range_is_that_of_a_history_of_its_rows(
    monkeypatch: pytest.MonkeyPatch, after: float | None, until: float | None
) -> None:
    """Whole and by blocks, where the rows after or before are not looked at."""
    it = stored(broken_loss=True, broken_others=True)
    first, stop = int(after or -1) + 1, ROWS if until is None else int(until) + 1
    inside = [it.columns[name][first:stop] for name in ("loss", "lr", "grad_norm")]
    wanted = first + choose_rows(inside, 40)
    for block_rows in (ROWS, 64):
        monkeypatch.setattr(selection, "BLOCK_ROWS", block_rows)
        it.most_numbers = 0
        found = await view(it, None, 40, after, until)
        assert found.columns["step"].tolist() == wanted.tolist()
        for name in ("loss", "lr", "grad_norm", "x"):
            assert found.columns[name].tobytes() == it.columns[name][wanted].tobytes(), name
        assert found.total == ROWS
        assert it.most_numbers <= min(3 * (stop - first), 3 * block_rows)
