"""Warnings of a weight decay that leaves nothing of the weights."""

from collections.abc import Iterator

from core.errors import FieldError
from core.specs.formulas.schedules import largest_rate
from core.specs.job import DataProblem, JobSpec
from core.specs.optimizers.decay import decay_is_share
from core.specs.optimizers.kinds import ASGD, Muon
from core.specs.sizes.shapes import layers_of


def warnings_of_decay(spec: JobSpec) -> Iterator[FieldError]:
    """Yield each decay of a resolved spec that takes a weight off whole, or more, in one update."""
    optimizer = spec.optimizer
    decay = getattr(optimizer, "weight_decay", 0.0)
    decays = bool(decay or getattr(optimizer, "lambd", 0.0))
    if optimizer.lr == "auto" or not (decays or optimizer.groups):
        return
    rate = largest_rate(spec.schedule, optimizer.lr)
    if isinstance(optimizer, Muon):
        scale = optimizer.adamw_lr_scale
        rate *= max(1.0, scale) if isinstance(spec.problem, DataProblem) else scale
    if isinstance(optimizer, ASGD):
        yield from _wiped("optimizer.lambd", optimizer.lambd, rate)
    if not decay_is_share(optimizer):
        return
    if _some_are_in_no_group(spec):
        yield from _wiped("optimizer.weight_decay", decay, rate)
    for place, group in enumerate(optimizer.groups):
        own = group.weight_decay is not None
        field = f"optimizer.groups.{place}.{'weight_decay' if own else 'lr_scale'}"
        given = decay if group.weight_decay is None else group.weight_decay
        if own or group.lr_scale > 1.0 or not _some_are_in_no_group(spec):
            yield from _wiped(field, given, rate * group.lr_scale)


def _some_are_in_no_group(spec: JobSpec) -> bool:
    groups = spec.optimizer.groups
    if not groups or not isinstance(spec.problem, DataProblem):
        return True
    grouped = sum(len(group.parameters) for group in groups)
    return grouped < len(layers_of(spec.problem).parameters)


def _wiped(field: str, decay: float, rate: float) -> Iterator[FieldError]:
    share = rate * decay
    if not share >= 1.0:
        return
    grows = ", and the weights grow from update to update" if share > 2.0 else ""
    yield FieldError(
        field, "wipes_weights",
        f"{field}: at the rate {rate:g} a decay of {decay:g} takes {share:.3g} times each weight"
        f" off it at an update, so that nothing of what was learned before stays{grows}: give a"
        f" decay far below {1.0 / rate:.4g}, or a lower rate",
    )  # fmt: skip
