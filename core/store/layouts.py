"""How a job's or run's histories will lie in the store, from its resolved spec."""

from typing import Final

from core.specs.job import JobSpec
from core.specs.sizes.shapes import extent_of, first_steps, rows_of, start_of, steps_of
from core.store.layout import HistoryKind, HistoryLayout

_NEVER: Final = 2**53
"""A distance between evaluations that no run reaches: the last row alone."""


def layouts_of(spec: JobSpec) -> dict[HistoryKind, HistoryLayout]:
    """One layout a kind of history that the job will have."""
    size = extent_of(spec)
    rows = rows_of(spec.record, size, steps_of(spec.budget, size), start_of(spec))
    widths, first = size.widths, first_steps(spec)
    every: dict[HistoryKind, int] = {
        "train": spec.record.every,
        "eval": spec.record.eval_every or _NEVER,
    }
    return {
        kind: HistoryLayout(every[kind], dict(widths[kind]), rows[kind], first[kind])
        for kind in every
        if widths[kind]
    }
