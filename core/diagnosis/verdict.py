"""Decision from findings to one verdict, by the contract's order of precedence, with a confidence.

The raw confidence is a bounded function of the margins by which the evidence passes its thresholds;
what is stated is calibrated on the labelled set (`TABLE`).
"""

import math
from typing import Final, Literal, NamedTuple

from core.diagnosis.evidence.evidence import Evidence
from core.diagnosis.finding import Finding, Findings
from core.specs.job import DataProblem
from core.specs.sizes.first_weights import equal_first_weights

# Confidence as a share of verdicts that were right, learned from the tuning half of the labelled
# set (`tests/core/diagnosis/labelled`).
#
# `python -m tests.core.diagnosis.labelled --fit` prints the table. A raw confidence says how far
# the evidence passed its threshold; each verdict has two cells, near its threshold and beyond. A
# cell holds the share of its tuning cases that were right by Laplace's rule of succession, (right +
# 1)/(number + 2): 1.0 cannot occur, and a verdict that was seen a few times is not trusted much.
EDGE: Final = 0.75
"""Raw confidences from here on are "beyond the threshold" (a margin of 0.7)."""

TABLE: Final[dict[str, tuple[float, float]]] = {
    "diverging": (0.726, 0.952),
    "oscillating": (0.717, 0.933),
    "saddle_point": (0.7, 0.9),
    "local_minimum": (0.7, 0.9),
    "converged": (0.739, 0.977),
    "plateau": (0.807, 0.958),
    "too_slow": (0.733, 0.966),
    "overfitting": (0.705, 0.909),
    "noise_limited": (0.625, 0.75),
    "healthy": (0.739, 0.978),
}


def band(raw: float) -> int:
    """Return 0 near the threshold, 1 beyond."""
    return int(raw >= EDGE)


def calibrated(verdict: str, raw: float) -> float:
    """Return the confidence to state; a verdict without a cell keeps its raw one."""
    cells = TABLE.get(verdict)
    return raw if cells is None else cells[band(raw)]


VerdictName = Literal[
    "diverging",
    "oscillating",
    "saddle_point",
    "local_minimum",
    "converged",
    "plateau",
    "too_slow",
    "overfitting",
    "noise_limited",
    "healthy",
    "undetermined",
]

Table = tuple[tuple[VerdictName, tuple[str, ...]], ...]

# One triggered rule of a row is enough. Between the two tables: what it is at rest at.
_UNSTABLE: Final[Table] = (
    (
        "diverging",
        (
            "diverged",
            "undefined_gradient",
            "undefined_update",
            "unstable_step",
            "no_minimum",
            "loss_growing",
        ),
    ),
    ("oscillating", ("gradients_oppose", "cycling", "ringing", "bouncing")),
)
_MOVING: Final[Table] = (
    ("plateau", ("plateau", "held_by_decay")),
    (
        "too_slow",
        (
            "rate_far_below_threshold",
            "steady_slow_descent",
            "straight_path",
            "ill_conditioned",
            "held_by_clipping",
        ),
    ),
    ("overfitting", ("overfitting",)),
    ("noise_limited", ("noise_limited",)),
    ("healthy", ("descent",)),
)


class Verdict(NamedTuple):
    """A verdict, its raw confidence in [0, 0.99], and the ids of the rules that it rests on."""

    name: VerdictName
    raw: float
    rules: tuple[str, ...]

    @property
    def confidence(self) -> float:
        """The share of such verdicts that were right, as far as is known."""
        return 0.0 if self.name == "undetermined" else calibrated(self.name, self.raw)


def decide(findings: Findings, e: Evidence) -> Verdict:
    """Return the first verdict of the contract's list that the findings support."""
    found = (
        _by_rules(findings, _UNSTABLE)
        or _at_rest(findings, e)
        or _by_rules(findings, _MOVING)
        or Verdict("undetermined", 0.0, ())
    )
    return _learned_nothing(found, findings, e)


def _learned_nothing(found: Verdict, findings: Findings, e: Evidence) -> Verdict:
    """Withhold a verdict: a model no better than a constant output, with all its units dead, or
    with equal ones, is neither healthy nor converged: it stands on flat ground, or it is on its
    way and too slow. A convex loss at rest has no better weights, so that nothing can be said
    against the run."""
    guess, dead, equal = map(findings.__getitem__, _CAUSES)
    if equal.triggered and found.name in _SAME_WITH_EQUAL_UNITS and not _too_early(found, e):
        on_its_way = e.falling and e.level.late_fall >= 0.1
        return _verdict("too_slow" if on_its_way else "plateau", equal)
    lifeless = dead.triggered and dead.reading.evidence["dead"] >= 1.0
    unsettled = found.rules == ("stationary", "above_known_minimum")
    if not (found.name in ("healthy", "converged") or unsettled) or not (
        guess.triggered or lifeless
    ):
        return found
    cause = guess if guess.triggered else dead
    if found.name == "converged" and e.convex:
        return Verdict("undetermined", 0.0, (cause.rule.id,))
    on_its_way = e.falling and e.level.late_fall >= 0.1 and not lifeless
    return _verdict("too_slow" if on_its_way else "plateau", cause)


_CAUSES: Final = ("constant_guess", "dead_units", "equal_units")
_SAME_WITH_EQUAL_UNITS: Final = frozenset({"healthy", "converged", "noise_limited", "undetermined"})
"""Verdicts that say nothing of what equal units keep a model from."""


def _too_early(found: Verdict, e: Evidence) -> bool:
    """Tell whether equal units are no fault yet: the run has hardly begun, or its loss was as low
    as the spec asks for."""
    arrived = e.outcome == "converged" and e.spec.stop.target_loss is not None
    return arrived or (found.name == "undetermined" and e.rows < _FEW_ROWS)


_FEW_ROWS: Final = 12


def _by_rules(findings: Findings, table: Table) -> Verdict | None:
    for name, rules in table:
        found = _first(findings, rules)
        if found is not None:
            return _verdict(name, found)
    return None


def _at_rest(findings: Findings, e: Evidence) -> Verdict | None:
    """Decide between saddle point, local minimum and converged, where the gradient is ≈ 0."""
    stationary = findings["stationary"]
    curvature, above = findings["negative_curvature"], findings["above_known_minimum"]
    if not e.near_stationary:
        return None
    if curvature.triggered:
        return _verdict("saddle_point", curvature)
    if above.triggered:
        # Above the known minimum with a curvature that is not known: saddle or local minimum.
        if not curvature.clear:
            return Verdict("undetermined", 0.0, ("stationary", "above_known_minimum"))
        return _verdict("local_minimum", above)
    if not stationary.triggered:
        return None
    if curvature.clear or above.clear:
        return _verdict("converged", stationary)
    # A model's curvature is not in its history. From a random start, gradient methods almost surely
    # avoid strict saddles (Lee et al. 2016, arXiv 1602.04915); from a constant one they need not.
    problem = e.spec.problem
    equal = isinstance(problem, DataProblem) and (
        equal_first_weights(problem.model, e.spec.precision) is not None
    )
    if equal or not isinstance(problem, DataProblem):
        return Verdict("undetermined", 0.0, ("stationary",))
    return Verdict("converged", 0.6, ("stationary",))


def _first(findings: Findings, rules: tuple[str, ...]) -> Finding | None:
    """Return the triggered rule with the widest margin."""
    found = [findings[rule] for rule in rules if findings[rule].triggered]
    return max(found, key=lambda each: each.reading.margin) if found else None


def _verdict(name: VerdictName, finding: Finding) -> Verdict:
    return Verdict(name, confidence(finding.reading.margin), (finding.rule.id,))


def confidence(margin: float) -> float:
    """Return the raw confidence: 0.5 at the threshold, 0.82 one unit beyond, at most 0.99."""
    return round(0.5 + 0.49 * (1.0 - math.exp(-max(0.0, margin))), 3)
