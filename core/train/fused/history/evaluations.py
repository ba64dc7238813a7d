"""Evaluations of many runs: when they are due, the last one, and rows on their way out."""

import numpy as np
from numpy.typing import NDArray

from core.specs.base import Json
from core.train.fused.history.buffer import Rows
from core.train.fused.problems.base import Metrics


class Evaluations:
    """The evaluation history of each slot.

    Args:
        every: `record.eval_every`; None: at the end only.

    Attributes:
        latest: the last evaluation that every slot had, and its step.
    """

    def __init__(self, every: int | None) -> None:
        self._every = every
        self._step = -1
        self._waiting: list[Metrics] = []
        """A row each; holds every slot's metrics and its step."""
        self._shares: list[float] = []
        self.latest: Metrics | None = None
        self._extra: dict[int, dict[str, float]] = {}
        self._first_row = 0

    def due(self, step: int) -> bool:
        return self._every is not None and step % self._every == 0 and step != self._step

    def enter(self, step: int, metrics: Metrics, share_s: float = 0.0) -> None:
        """Enter every slot's evaluation after `step` updates."""
        self._step = step
        slots = len(next(iter(metrics.values())))
        self.latest = {"step": np.full(slots, float(step)), **metrics}
        self._waiting.append(self.latest)
        self._shares.append(share_s)

    def enter_last(self, slots: NDArray[np.int64], step: int, metrics: Metrics) -> None:
        """Enter the evaluation of runs at their end: `metrics` of these slots."""
        for place, slot in enumerate(slots.tolist()):
            found = {name: float(column[place]) for name, column in metrics.items()}
            self._extra[slot] = {"step": float(step), **found}

    def known(self, step: int) -> bool:
        """Tell whether the weights after `step` updates were evaluated."""
        return self._step == step

    def last(self, slot: int) -> Json | None:
        """Return the slot's last evaluation with its step."""
        found = self._extra.get(slot)
        if found is None and self.latest is not None:
            found = {name: float(column[slot]) for name, column in self.latest.items()}
        return None if found is None else {**found, "step": int(found["step"])}

    def of(self, slots: NDArray[np.int64], *, share_s: float = 0.0) -> Rows | None:
        """Return the rows of these slots that have not left, their ends' included (of all of them
        or of none), which came at `share_s`; None without any."""
        rows = [{name: column[slots] for name, column in row.items()} for row in self._waiting]
        shares = list(self._shares)
        ends = [self._extra[slot] for slot in slots.tolist() if slot in self._extra]
        if ends:
            rows.append({name: np.array([end[name] for end in ends]) for name in ends[0]})
            shares.append(share_s)
        if not rows:
            return None
        columns = {name: np.stack([row[name] for row in rows], 1) for name in rows[0]}
        return Rows(self._first_row, columns, np.array(shares))

    def clear(self) -> None:
        """Forget all slots' rows, which have left."""
        self._first_row += len(self._waiting)
        self._waiting, self._shares = [], []

    def compact(self, kept: NDArray[np.int64]) -> None:
        self._waiting = [_of_slots(row, kept) for row in self._waiting]
        self.latest = None if self.latest is None else _of_slots(self.latest, kept)
        self._extra = {}

    def state(self) -> Json:
        return {"step": self._step, "latest": self.latest, "first_row": self._first_row}

    def load_state(self, state: Json) -> None:
        self._step, self.latest = state["step"], state["latest"]
        self._first_row = state["first_row"]
        self._waiting, self._shares, self._extra = [], [], {}

    def pause(self, slots: NDArray[np.int64]) -> Json:
        shared = {"evaluated": self._step, "first_row": self._first_row}
        columns: Json = {name: np.full(len(slots), value) for name, value in shared.items()}
        if self.latest is not None:
            latest = _of_slots(self.latest, slots)
            columns |= {f"latest.{name}": column for name, column in latest.items()}
        return columns

    def resume(self, columns: Json) -> None:
        latest = {
            name.removeprefix("latest."): column
            for name, column in columns.items()
            if name.startswith("latest.")
        }
        step, first_row = (int(columns[name][0]) for name in ("evaluated", "first_row"))
        self.load_state({"step": step, "latest": latest or None, "first_row": first_row})


def _of_slots(row: Metrics, slots: NDArray[np.int64]) -> Metrics:
    return {name: column[slots] for name, column in row.items()}
