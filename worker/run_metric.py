"""The study's metric of each run, as its rows and its ending give it.

`loss` is of the training history and `eval.<column>` of the evaluations. At `final` it is what the
result says; at `best` it is the best of all recorded rows (the lowest for goal `min`, the highest
for `max`), NaN left aside as long as there is a number.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from core.store.history.layout import Columns, HistoryKind

Json = dict[str, Any]
_EVAL: Final = "eval."


class MetricWatch:
    """Follows the rows of a task's runs as far as the metric needs them.

    Args:
        metric: of the resolved study: `name`, `at`, `goal`.
    """

    def __init__(self, metric: Mapping[str, Any]) -> None:
        name: str = metric["name"]
        self.kind: HistoryKind = "eval" if name.startswith(_EVAL) else "train"
        """The history that the metric is in."""
        self.needs_rows: bool = metric["at"] == "best"
        """Whether it cannot be told from a run's result alone."""
        self._series = name.removeprefix(_EVAL)
        self._better = np.fmin if metric["goal"] == "min" else np.fmax
        self._best: dict[int, float] = {}

    def go_on(self, run: int, so_far: float | None) -> None:
        """A run goes on; `so_far` is its metric until now."""
        if self.needs_rows and so_far is not None:
            self._offer(run, so_far)

    def look(
        self, kind: HistoryKind, runs: Sequence[int], lengths: Sequence[int], columns: Columns
    ) -> None:
        """Rows have come: `lengths[i]` of `runs[i]`, run after run. The same may come again."""
        if not self.needs_rows or kind != self.kind or self._series not in columns:
            return
        some = [(run, length) for run, length in zip(runs, lengths, strict=True) if length]
        if not some:
            return
        starts = np.cumsum([0, *(length for _, length in some[:-1])])
        found = self._better.reduceat(columns[self._series], starts)
        for (run, _), value in zip(some, found.tolist(), strict=True):
            self._offer(run, value)

    def of_rows(self, columns: Columns) -> float | None:
        """The best of these rows."""
        values = columns.get(self._series)
        return float(self._better.reduce(values)) if values is not None and len(values) else None

    def at_end(self, run: int, result: Json | None) -> float | None:
        """Of a run that ended with this result; None where it has none. May be non-finite."""
        if self.needs_rows:
            return self._best.get(run)
        result = result or {}
        return self._known(result.get("final_loss"), result.get("eval"))

    def at_rung(self, run: int, paused: Json) -> float | None:
        """Of a run that paused, so far: what was known there."""
        if self.needs_rows:
            return self._best.get(run)
        return self._known(paused.get("loss"), paused.get("eval"))

    def _known(self, loss: float | None, evaluation: Json | None) -> float | None:
        if self.kind == "train":
            return loss
        return (evaluation or {}).get(self._series)

    def _offer(self, run: int, value: float) -> None:
        self._best[run] = float(self._better(self._best.get(run, np.nan), value))
