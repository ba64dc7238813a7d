"""When runs first reach what a study asks for."""

from typing import Any, Literal

import numpy as np

from core.population.events import RowBatch

Json = dict[str, Any]


class Target:
    """Looks for the first recorded row, or evaluation, at which a metric is as good as wanted.

    Args:
        wanted: `name` (`loss` or `eval.<metric>`), `goal` (`min` or `max`), `target`; None, or
            without a target: nothing is looked for.

    Attributes:
        reached: `{"step", "seconds"}` by run; the seconds are its share of the time until then.
    """

    def __init__(self, wanted: Json | None) -> None:
        name = "" if wanted is None or wanted.get("target") is None else str(wanted["name"])
        kind, _, metric = name.rpartition(".")
        self._kind: Literal["train", "eval"] = "eval" if kind else "train"
        self._metric = metric
        self._sign = -1.0 if wanted is not None and wanted.get("goal") == "max" else 1.0
        self._limit = self._sign * float(wanted["target"]) if name and wanted else -np.inf
        self.reached: dict[int, Json] = {}

    def look(self, batch: RowBatch) -> None:
        """Look at rows in their order."""
        if not self._metric or batch.kind != self._kind or self._metric not in batch.columns:
            return
        hits = self._sign * batch.columns[self._metric] <= self._limit
        for place in np.flatnonzero(hits.any(1)).tolist():
            run = batch.runs[place]
            if run not in self.reached:
                row = int(hits[place].argmax())
                step = int(batch.columns["step"][place, row])
                seconds = float(batch.share_s[place, row])
                self.reached[run] = {"step": step, "seconds": seconds}
