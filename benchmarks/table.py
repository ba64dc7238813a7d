"""One row a figure: what was measured, ours, the reference, their ratio, and the goal."""

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """A measured figure.

    Attributes:
        name: what was measured.
        ours: the service's value, with its unit.
        reference: what it stands beside, with its unit ("" where the goal is absolute).
        value: the number that the goal speaks of (a ratio, or a value in `unit`).
        goal: the number to reach.
        at_least: whether more is better.
        unit: of `value` and `goal`; "×" for a ratio.
    """

    name: str
    ours: str
    reference: str
    value: float
    goal: float
    at_least: bool = False
    unit: str = "×"

    @property
    def reached(self) -> bool:
        return self.value >= self.goal if self.at_least else self.value <= self.goal


def show(figures: list[Figure]) -> None:
    """Print the table; a goal that was missed is said so, never hidden."""
    table = Table(title="Thalweg: measured side by side in this run", title_justify="left")
    for heading in ("figure", "ours", "reference", "measured", "goal", ""):
        table.add_column(heading, overflow="fold")
    for figure in figures:
        sign = "≥" if figure.at_least else "≤"
        table.add_row(
            figure.name,
            figure.ours,
            figure.reference,
            f"{figure.value:.3g} {figure.unit}",
            f"{sign} {figure.goal:g} {figure.unit}",
            "reached" if figure.reached else "MISSED",
        )
    Console(width=150).print(table)
