"""The findings on the way to a learning rate, and the evidence that is told of them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from core.diagnosis.remedies.patches import rounded
from core.jobs import Outcome
from core.specs.base import Json
from core.train.auto_lr.bound import Bound
from core.train.auto_lr.range_test import RangeTest

POINTS: Final = 100
"""Most points of the range test in the evidence."""


class Finish(Protocol):
    """The end of a candidate (`core.train.auto_lr.race.Finish`)."""

    @property
    def loss(self) -> float: ...
    @property
    def final_loss(self) -> float: ...
    @property
    def eval_loss(self) -> float | None: ...
    @property
    def outcome(self) -> Outcome | None: ...
    @property
    def num_steps(self) -> int: ...


@dataclass(frozen=True)
class Entrant:
    """A candidate, how it ended, and what of it is to be low (infinite: it lost)."""

    lr: float
    finish: Finish
    score: float


@dataclass
class Findings:
    """The bound, the range test, and the race as far as it went.

    Attributes:
        top: no candidate is above it; infinite without a bound.
        centre: where the candidates begin: the suggestion, or the optimizer's default.
        race_steps: updates of each candidate.
        whole: whether they are the whole job at their rate.
        by_chance: whether weights and batches were drawn, so that a candidate may have been lucky.
        horizon: factor on the winner's rate, for a job that is longer than its race.
        entrants: by their rate.
    """

    bound: Bound
    test: RangeTest
    top: float
    centre: float
    race_steps: int
    whole: bool
    by_chance: bool
    horizon: float = 1.0
    entrants: list[Entrant] = field(default_factory=list)

    def unseen(self, rates: Iterable[float]) -> set[float]:
        """Return those of the rates that have not been raced."""
        return set(rates) - {each.lr for each in self.entrants}

    def enter(self, entrant: Entrant) -> None:
        self.entrants = sorted([*self.entrants, entrant], key=lambda each: each.lr)

    @property
    def best(self) -> Entrant:
        """The lowest standing; of equal ones the lowest score, and then the one next to the centre;
        the lowest rate if all lost."""
        if not any(math.isfinite(each.score) for each in self.entrants):
            return self.entrants[0]

        def order(place: int) -> tuple[float, float, float]:
            each = self.entrants[place]
            return self._standing(place), each.score, abs(math.log(each.lr / self.centre))

        return self.entrants[min(range(len(self.entrants)), key=order)]

    def _standing(self, place: int) -> float:
        """Return a candidate's score; where chance has a part, at least the median of it and its
        neighbours' (the higher of two at an end). Where scores fall and then rise, the lowest wins
        as before; one that is low between two that are not does not, and neither does one that is
        not low itself."""
        own = self.entrants[place].score
        if not self.by_chance:
            return own
        near = sorted(each.score for each in self.entrants[max(0, place - 1) : place + 2])
        return max(own, near[len(near) // 2])

    def winner(self, digits: int) -> float:
        """Return the settled rate."""
        return rounded(self.horizon * self.best.lr if self.entrants else self.centre, digits)


def evidence(found: Findings, seconds: float) -> Json:
    """Describe the findings in few numbers, for the user. Losses may be non-finite floats."""
    test, bound = found.test, found.bound
    kept = np.unique(np.linspace(0, test.rates.size - 1, POINTS).round().astype(int))
    kept = kept[: test.rates.size]
    race_cost = sum(each.finish.num_steps for each in found.entrants)
    highest = found.entrants[-1].lr if found.entrants else found.winner(3)
    return {
        "range_test": {
            "rates": [rounded(rate) for rate in test.rates[kept].tolist()],
            "losses": [rounded(loss, 6) for loss in test.smoothed[kept].tolist()],
            "num_steps": int(test.rates.size),
            "diverged": test.diverged,
            "minimum": None if test.minimum is None else rounded(test.minimum),
            "suggestion": None if test.suggestion is None else rounded(test.suggestion),
            "reason": test.reason,
        },
        "curvature": {
            "largest_stable_lr": bound.limit,
            "lambda_max": bound.curvature,
            "accuracy": bound.accuracy,
            "threshold": bound.threshold,
            "capped": highest >= rounded(found.top, 3),
            "reason": bound.reason,
        },
        "race": {
            "num_steps": found.race_steps,
            "horizon_factor": rounded(found.horizon),
            "candidates": [
                {
                    "lr": each.lr,
                    "loss": each.finish.loss,
                    "final_loss": each.finish.final_loss,
                    "eval_loss": each.finish.eval_loss,
                    "outcome": each.finish.outcome,
                }
                for each in found.entrants
            ],
        },
        "cost": {
            "num_steps": int(test.rates.size) + race_cost,
            "hessian_products": bound.products,
            "seconds": seconds,
        },
    }
