"""Confidence as a share of verdicts that were right, learned from the tuning half of the labelled
set (`tests/diagnose`).

`python -m tests.diagnose --fit` prints the table. A raw confidence says how far the evidence passed
its threshold; each verdict has two cells, near its threshold and beyond. A cell holds the share of
its tuning cases that were right by Laplace's rule of succession, (right + 1)/(number + 2): 1.0
cannot occur, and a verdict that was seen a few times is not trusted much.
"""

from typing import Final

EDGE: Final = 0.75
"""Raw confidences from here on are "beyond the threshold" (a margin of 0.7)."""

TABLE: Final[dict[str, tuple[float, float]]] = {
    "diverging": (0.719, 0.938),
    "oscillating": (0.679, 0.857),
    "saddle_point": (0.7, 0.9),
    "local_minimum": (0.7, 0.9),
    "converged": (0.736, 0.971),
    "plateau": (0.714, 0.929),
    "too_slow": (0.719, 0.938),
    "overfitting": (0.705, 0.909),
    "noise_limited": (0.679, 0.857),
    "healthy": (0.736, 0.972),
}


def band(raw: float) -> int:
    """0 near the threshold, 1 beyond."""
    return int(raw >= EDGE)


def calibrated(verdict: str, raw: float) -> float:
    """The confidence to state; a verdict without a cell keeps its raw one."""
    cells = TABLE.get(verdict)
    return raw if cells is None else cells[band(raw)]
