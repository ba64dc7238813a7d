"""Evaluations of many runs: when they are due, the last one, and rows on their way out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.population.problem import Metrics
from core.train.events import Columns

Json = dict[str, Any]


class Evaluations:
    """The evaluation history of each slot.

    Args:
        every: `record.eval_every`; None: at the end only.
    """

    def __init__(self, every: int | None) -> None:
        self._every = every
        self._step = -1
        self._waiting: list[list[Metrics]] = []
        """A list of rows; each holds every slot's metrics and its step."""
        self._latest: list[Metrics] = []
        self._extra: dict[int, Metrics] = {}
        self._first_row = 0

    def due(self, step: int) -> bool:
        return self._every is not None and step % self._every == 0 and step != self._step

    def enter(self, step: int, metrics: Sequence[Metrics]) -> NDArray[np.float64]:
        """Enter every slot's evaluation after `step` updates; returns the losses."""
        self._step = step
        self._latest = [{"step": float(step), **each} for each in metrics]
        self._waiting.append(self._latest)
        return np.array([each["loss"] for each in metrics])

    def enter_last(self, slot: int, step: int, metrics: Metrics) -> None:
        """Enter a run's evaluation at its end."""
        self._extra[slot] = {"step": float(step), **metrics}

    def known(self, slot: int, step: int) -> bool:
        """Whether the slot's weights after `step` updates were evaluated."""
        return self._step == step

    def last(self, slot: int) -> Json | None:
        """The slot's last evaluation with its step."""
        found = self._extra.get(slot) or (self._latest[slot] if self._latest else None)
        return None if found is None else {**found, "step": int(found["step"])}

    def of(self, slot: int) -> tuple[int, Columns] | None:
        """The index of the first and the slot's rows that have not left; None without any."""
        rows = [row[slot] for row in self._waiting]
        if slot in self._extra:
            rows.append(self._extra[slot])
        if not rows:
            return None
        return self._first_row, {name: np.array([r[name] for r in rows]) for name in rows[0]}

    def clear(self) -> None:
        """All slots' rows have left."""
        self._first_row += len(self._waiting)
        self._waiting = []

    def compact(self, kept: NDArray[np.int64]) -> None:
        slots = kept.tolist()
        self._waiting = [[row[slot] for slot in slots] for row in self._waiting]
        self._latest = [self._latest[slot] for slot in slots] if self._latest else []
        self._extra = {}

    def state(self) -> Json:
        return {"step": self._step, "latest": self._latest, "first_row": self._first_row}

    def load_state(self, state: Json) -> None:
        self._step, self._latest = state["step"], state["latest"]
        self._first_row = state["first_row"]
        self._waiting, self._extra = [], {}
