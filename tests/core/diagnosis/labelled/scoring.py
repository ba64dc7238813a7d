"""Scores of a set of verdicts: accuracy, false alarms, confusion, calibration."""

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple, get_args

from core.diagnosis.verdict import VerdictName, band
from tests.core.diagnosis.labelled.case import WELL, Case, Half

ORDER: Final = get_args(VerdictName)


LEAST_ACCURACY = 0.9
"""Of the held-out runs, judged rightly."""
MOST_FALSE_ALARMS = 0.02
"""Of the runs that are well, called sick."""


class Scored(NamedTuple):
    """A case with what was said of it; `raw` is the confidence before calibration."""

    case: Case
    half: Half
    verdict: str
    confidence: float
    raw: float

    @property
    def right(self) -> bool:
        return self.case.right(self.verdict)

    @property
    def strictly_right(self) -> bool:
        return self.verdict == self.case.label

    @property
    def false_alarm(self) -> bool:
        """A run that is well, called sick. `undetermined` calls nothing sick."""
        return self.case.well and self.verdict not in WELL | {"undetermined"}


def accuracy(scored: Sequence[Scored]) -> float:
    return sum(each.right for each in scored) / len(scored)


def false_alarms(scored: Sequence[Scored]) -> float:
    """Share of the runs that are well that were called sick."""
    well = [each for each in scored if each.case.well]
    return sum(each.false_alarm for each in well) / len(well)


def confusion(scored: Sequence[Scored]) -> str:
    """Labels down, verdicts across, as a Markdown table. A verdict that the case's argument allows
    beside its label counts in the label's own column."""
    seen: Counter[tuple[str, str]] = Counter()
    for each in scored:
        said = each.case.label if each.right else each.verdict
        seen[each.case.label, said] += 1
    columns = [name for name in ORDER if any(said == name for _, said in seen)]
    rows = [name for name in ORDER if any(label == name for label, _ in seen)]
    lines = ["| label \\ verdict | " + " | ".join(columns) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for label in rows:
        cells = [str(seen[label, said]) if seen[label, said] else "·" for said in columns]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def calibration(scored: Sequence[Scored]) -> str:
    """Stated confidence against the share that was right, in four bands, with the Brier score."""
    told = [each for each in scored if each.verdict != "undetermined"]
    lines = ["| confidence | runs | mean confidence | right |", "|---|---|---|---|"]
    for low, high in ((0.0, 0.8), (0.8, 0.9), (0.9, 0.95), (0.95, 1.01)):
        inside = [each for each in told if low <= each.confidence < high]
        if inside:
            mean = sum(each.confidence for each in inside) / len(inside)
            lines.append(
                f"| {low:.2f} to {min(high, 1.0):.2f} | {len(inside)} | {mean:.3f} |"
                f" {accuracy(inside):.3f} |"
            )
    brier = sum((each.confidence - each.right) ** 2 for each in told) / len(told)
    return "\n".join(lines) + f"\n\nBrier score {brier:.4f}."


def fit(tuning: Sequence[Scored]) -> dict[str, tuple[float, float]]:
    """The table of `core.diagnosis.verdict`: verdict -> (share right below, from its edge).

    Beyond the threshold it is Laplace's rule of succession, (right + 1)/(number + 2): thresholds
    were chosen on these very cases, and a verdict seen a few times is not proven. Near it, the same
    with a prior halfway between that and a coin.
    """
    told = [each for each in tuning if each.verdict != "undetermined"]
    found: dict[str, tuple[float, float]] = {}
    for verdict in ORDER[:-1]:
        near, far = (
            [x for x in told if x.verdict == verdict and band(x.raw) == which] for which in (0, 1)
        )
        high = (sum(x.right for x in far) + 1) / (len(far) + 2)
        low = (sum(x.right for x in near) + 0.5 + high) / (len(near) + 2)
        found[verdict] = (round(min(low, high), 3), round(high, 3))
    return found
