"""How a job's or run's histories will lie in the store, from its resolved spec."""

from typing import Final

from core.spec.job import JobSpec
from core.spec.shapes import expected_rows, first_steps, history_widths
from core.store.base import HistoryKind, HistoryLayout

_NEVER: Final = 2**53
"""A distance between evaluations that no run reaches: the last row alone."""


def layouts_of(spec: JobSpec) -> dict[HistoryKind, HistoryLayout]:
    """One layout a kind of history that the job will have."""
    widths, rows, first = history_widths(spec), expected_rows(spec), first_steps(spec)
    every: dict[HistoryKind, int] = {
        "train": spec.record.every,
        "eval": spec.record.eval_every or _NEVER,
    }
    return {
        kind: HistoryLayout(every[kind], dict(widths[kind]), rows[kind], first[kind])
        for kind in every
        if widths[kind]
    }
