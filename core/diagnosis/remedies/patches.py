"""Remedies as patches, and how a learning rate is changed wherever the spec has one."""

from dataclasses import dataclass
from typing import Any, Final

from core.diagnosis.finding import number
from core.specs.base import Json
from core.specs.job import JobSpec
from core.specs.optimizers.kinds import Rprop, settled_lr
from core.specs.schedules import Constant

_RATES: Final = frozenset({"max_lr", "base_lr", "eta_min", "min_lr"})
"""Fields of schedules that are learning rates themselves."""


@dataclass(frozen=True)
class Remedy:
    """A patch with its reason and what to expect of it.

    Attributes:
        patch: JSON merge patch on the spec (see `core.specs.parsing.remedy`).
        reason: why it should help, for the user.
        expected: numbers to hold the outcome against, such as `final_loss` or `speed_up`.
    """

    patch: Json
    reason: str
    expected: dict[str, float]

    def to_json(self) -> Json:
        """Return the contract's shape, but for `index`."""
        expected = {name: number(value) for name, value in self.expected.items()}
        return {"patch": self.patch, "reason": self.reason, "expected": expected}


def scaled_rate(spec: JobSpec, factor: float) -> Json:
    """Return a patch that multiplies every learning rate of the spec, the schedule's own too. Of
    `rprop`, whose rate is its first step alone, steps that are to be shorter have a lower bound
    above."""
    optimizer = spec.optimizer
    patch: Json = {"optimizer": {"lr": rounded(settled_lr(optimizer) * factor)}}
    if isinstance(optimizer, Rprop) and factor < 1.0:
        shortest, longest = optimizer.step_sizes
        patch["optimizer"]["step_sizes"] = [shortest, max(shortest, rounded(longest * factor))]
    schedule = spec.schedule.model_dump(mode="json")
    scaled = _scaled(schedule, factor)
    if scaled != schedule:
        patch["schedule"] = scaled
    return patch


def _scaled(value: Any, factor: float) -> Any:
    if isinstance(value, list):
        return [_scaled(each, factor) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: rounded(each * factor)
        if key in _RATES and isinstance(each, (int, float))
        else _scaled(each, factor)
        for key, each in value.items()
    }


def constant_rate(spec: JobSpec, lr: float, **fields: Any) -> Json:
    """Return a patch to the rate `lr` for good, with other fields of the same optimizer."""
    patch: Json = {"optimizer": {"lr": rounded(lr), **fields}}
    if not isinstance(spec.schedule, Constant):
        patch["schedule"] = {"kind": "constant"}
    return patch


def another_optimizer(spec: JobSpec, **fields: Any) -> Json:
    """Return a patch to another optimizer, under a constant rate where the schedule sets rates
    itself."""
    patch: Json = {"optimizer": fields}
    if _sets_rates(spec.schedule.model_dump(mode="json")):
        patch["schedule"] = {"kind": "constant"}
    return patch


def _sets_rates(value: Any) -> bool:
    if isinstance(value, list):
        return any(_sets_rates(each) for each in value)
    if not isinstance(value, dict):
        return False
    return any(value.get(key) for key in _RATES) or any(
        _sets_rates(each) for each in value.values()
    )


def rounded(value: float, digits: int = 4) -> float:
    """Round to a few significant digits, so that a patch can be read."""
    return float(f"{value:.{digits}g}")
