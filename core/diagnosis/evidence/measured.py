"""Read what `core.train.measure.measure` found at the weights, as the rules need it. No torch."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from core.specs.base import Json

TOLERANCE = 1e-6
"""Curvatures below this share of the largest in size count as 0 (as for functions)."""


@dataclass(frozen=True)
class ThroughTime:
    """The gradient in the inputs of a recurrent layer, step by step.

    Attributes:
        share: the weakest step's of the strongest one's.
        weakest, strongest: these steps, from 1 on.
        steps: of the sequence.
    """

    share: float
    weakest: int
    strongest: int
    steps: int

    @property
    def a_step(self) -> float:
        """The factor that it loses from one step to the next."""
        return float(self.share ** (1.0 / abs(self.strongest - self.weakest)))


@dataclass(frozen=True)
class Measured:
    """Reading aid around the JSON of a measurement; None wherever something was not measured."""

    data: Json

    def _number(self, *path: str) -> float | None:
        value: Any = self.data
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return float(value) if isinstance(value, (int, float)) else None

    @property
    def loss(self) -> float | None:
        """Mean loss over all training rows."""
        return self._number("loss")

    @property
    def grad_norm(self) -> float | None:
        """Gradient norm over all training rows."""
        return self._number("grad_norm")

    @property
    def first_grad_norm(self) -> float | None:
        """The same at the run's first weights; supervised only."""
        return self._number("initial", "grad_norm")

    @property
    def first_loss(self) -> float | None:
        return self._number("initial", "loss")

    @property
    def largest(self) -> float | None:
        """The Hessian's largest eigenvalue."""
        return self._number("largest", "value")

    @property
    def smallest(self) -> float | None:
        return self._number("smallest", "value")

    @property
    def smallest_bound(self) -> float | None:
        return self._number("smallest", "bound")

    @cached_property
    def edge(self) -> float:
        """Eigenvalues smaller than this in size count as 0."""
        size = max(abs(self.largest or 0.0), abs(self.smallest or 0.0))
        return max(self._number("rounding") or 0.0, TOLERANCE * size)

    @cached_property
    def sign(self) -> Literal["negative", "not_negative"] | None:
        """The sign of the smallest eigenvalue; None when its bound does not separate it from 0.

        A Ritz value below 0 proves negative curvature; that none is there needs the bound too.
        """
        value, bound = self.smallest, self.smallest_bound
        if value is None or bound is None:
            return None
        if value < -self.edge:
            return "negative"
        return "not_negative" if value - bound > -2.0 * self.edge else None

    @property
    def drop(self) -> float:
        """The loss that a real step along negative curvature took off."""
        return self._number("negative_step", "drop") or 0.0

    @property
    def drop_both_sides(self) -> float:
        """The losses that steps along negative curvature take off to either side."""
        return self._number("negative_step", "both_sides") or 0.0

    @property
    def gain(self) -> float | None:
        """Gain of a real step along Newton's direction off the loss; models only."""
        return self._number("newton_step", "drop")

    @property
    def step(self) -> float | None:
        """Updates applied to the weights that were measured."""
        return self._number("step")

    @property
    def at_end(self) -> bool:
        """Tell whether the measurement is of the run's last weights."""
        return self.data.get("checkpoint") in (None, "final")

    @property
    def first_largest(self) -> float | None:
        """The largest curvature at the first weights, where the last ones are not finite."""
        return self._number("initial", "largest")

    @property
    def negative_step(self) -> tuple[float, list[float]] | None:
        """(length, direction) of that step; functions of few variables only."""
        step = self._number("negative_step", "step")
        direction = (self.data.get("negative_step") or {}).get("direction")
        return None if not step or direction is None else (step, direction)

    @property
    def preconditioned(self) -> tuple[float, float, str] | None:
        """(λ_max(P⁻¹H), the method's threshold for η·λ, where P is from)."""
        value = self._number("preconditioned", "value")
        limit = self._number("preconditioned", "threshold")
        if value is None or limit is None:
            return None
        return value, limit, str(self.data["preconditioned"]["source"])

    @property
    def noise_scale(self) -> float | None:
        """The gradient noise scale tr(Σ)/|G|², in rows."""
        return self._number("noise", "noise_scale")

    @property
    def sum_of_roots(self) -> float | None:
        """Σ √E[gᵢ²] over the weights, for the run's batches."""
        return self._number("noise", "sum_of_roots")

    @property
    def constant_loss(self) -> float | None:
        """The loss of the best constant output."""
        return self._number("constant_loss") or self._number("initial", "constant_loss")

    @property
    def examined(self) -> Json | None:
        """Facts of the data: `core.train.data.examine`."""
        return self.data.get("data")

    @property
    def dead(self) -> float | None:
        """Share of hidden units without a slope on any row."""
        return self._number("units", "dead")

    @property
    def saturated(self) -> float | None:
        return self._number("units", "saturated")

    @property
    def other_minimum(self) -> float | None:
        """The lowest value that a multi-start came to rest at."""
        return self._number("multi_start", "best")

    @property
    def other_point(self) -> list[float] | None:
        return (self.data.get("multi_start") or {}).get("at")

    @property
    def num_minima(self) -> float | None:
        return self._number("multi_start", "minima")

    def spread(self, when: Literal["now", "initial"]) -> float | None:
        """Return the gradient (per weight) of the first weight matrix over the last one's."""
        data = self.data if when == "now" else self.data.get("initial") or {}
        rows = data.get("layers") or []
        if len(rows) < 3:
            return None
        first, last = rows[0].get("grad_rms"), rows[-1].get("grad_rms")
        return first / last if first is not None and last else None

    def through_time(self, when: Literal["now", "initial"]) -> "ThroughTime | None":
        """Return how the gradient fares between the steps of a sequence; None where there is no
        recurrent layer, or no gradient."""
        data = self.data if when == "now" else self.data.get("initial") or {}
        found = data.get("through_time") or {}
        norms = [each for each in found.get("norms", ()) if each is not None]
        if len(norms) < 2 or len(norms) < len(found["norms"]) or max(norms) == 0.0:
            return None
        weakest, strongest = norms.index(min(norms)), norms.index(max(norms))
        return ThroughTime(
            share=norms[weakest] / norms[strongest],
            weakest=found["at"][weakest] + 1,
            strongest=found["at"][strongest] + 1,
            steps=found["steps"],
        )

    @property
    def updates(self) -> list[tuple[str, float]]:
        """(layer, next update over the weights' norm)."""
        rows = self.data.get("layers") or []
        return [
            (row["name"], row["update_to_weight"])
            for row in rows
            if row.get("update_to_weight") is not None
        ]
