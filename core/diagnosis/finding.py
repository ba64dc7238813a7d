"""The answer of a rule: its status, the numbers it rests on, how far they pass the threshold."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from core.diagnosis.evidence.evidence import Evidence
from core.specs.base import Json

Status = Literal["triggered", "clear", "undetermined"]


class RuleAnswer(NamedTuple):
    """A rule's answer for one run.

    Attributes:
        status: `undetermined` when the evidence is missing or does not resolve it.
        evidence: name -> number; NaN and infinities become null in JSON.
        explanation: one or two sentences for the user, with the numbers.
        margin: how far beyond (or short of) the threshold, 0 at it, about 1 for an e-fold.
    """

    status: Status
    evidence: dict[str, float]
    explanation: str
    margin: float = 0.0


@dataclass(frozen=True)
class Rule:
    """A row of the table of rules.

    Attributes:
        id: stable, snake_case.
        threshold: when it triggers, in words and numbers.
        why: what a triggered rule means.
        source: where the criterion comes from.
        look: the test.
    """

    id: str
    threshold: str
    why: str
    source: str
    look: Callable[[Evidence], RuleAnswer]


@dataclass(frozen=True)
class Finding:
    """A rule with its reading."""

    rule: Rule
    reading: RuleAnswer

    @property
    def triggered(self) -> bool:
        return self.reading.status == "triggered"

    @property
    def clear(self) -> bool:
        return self.reading.status == "clear"

    def to_json(self) -> Json:
        """Return the contract's shape of a finding (`core.diagnosis.marks` knows its steps)."""
        return {
            "rule": self.rule.id,
            "status": self.reading.status,
            "evidence": {name: number(value) for name, value in self.reading.evidence.items()},
            "explanation": self.reading.explanation,
            "source": self.rule.source,
            "steps": None,
        }


Findings = dict[str, Finding]


def number(value: float) -> float | None:
    """Return a JSON number, or None for what JSON cannot say."""
    value = float(value)
    return value if math.isfinite(value) else None


def over(value: float, threshold: float) -> float:
    """Return the margin of a positive value over (or under) a positive threshold:
    |ln(value/threshold)|."""
    if not (math.isfinite(value) and value > 0 and threshold > 0):
        return 5.0
    return min(5.0, abs(math.log(value / threshold)))


def unknown(explanation: str, **evidence: float) -> RuleAnswer:
    """Return an undetermined answer."""
    return RuleAnswer("undetermined", evidence, explanation)


def clear(explanation: str, margin: float = 0.0, **evidence: float) -> RuleAnswer:
    """Return a clear answer."""
    return RuleAnswer("clear", evidence, explanation, margin)


def triggered(explanation: str, margin: float, **evidence: float) -> RuleAnswer:
    """Return a triggered answer."""
    return RuleAnswer("triggered", evidence, explanation, margin)
