"""Rules of `"lr": "auto"`, and the spec once a number has taken its place."""

from core.specs.job import JobSpec
from core.specs.optimizers.kinds import Optimizer, Rate
from core.specs.schedules import Chained, Cyclic, OneCycle, Schedule, Sequential, Warmup, parts_of
from core.specs.validation.errors import FieldErrorList


def is_settled(spec: JobSpec) -> bool:
    """Tell whether the learning rate is a number."""
    return spec.optimizer.lr != "auto"


def settled(spec: JobSpec, lr: float) -> JobSpec:
    """Return the resolved spec with `lr` in the place of "auto", and of a `max_lr` that follows
    from it: the spec to which the same body resolves when it is posted with this number."""
    optimizer = with_rate(spec.optimizer, lr)
    return spec.model_copy(
        update={"optimizer": optimizer, "schedule": _with_max_lr(spec.schedule, lr)}
    )


def with_rate(optimizer: Optimizer, lr: Rate) -> Optimizer:
    """Return the optimizer at another rate."""
    return optimizer.model_copy(update={"lr": lr})


def _with_max_lr(schedule: Schedule, lr: float) -> Schedule:
    match schedule:
        case OneCycle(max_lr=None):
            return schedule.model_copy(update={"max_lr": lr})
        case Warmup(then=then):
            return schedule.model_copy(update={"then": _with_max_lr(then, lr)})
        case Sequential(schedules=parts) | Chained(schedules=parts):
            whole = tuple(_with_max_lr(part, lr) for part in parts)
            return schedule.model_copy(update={"schedules": whole})
        case _:
            assert not parts_of(schedule), "parts are visited above"
            return schedule


def check_auto(optimizer: Optimizer, schedule: Schedule, faults: FieldErrorList) -> None:
    """Check that an automatic rate is one that the run will use."""
    if optimizer.lr != "auto" or not _never_uses_lr(schedule):
        return
    faults.add(
        "optimizer.lr", "conflict",
        'optimizer.lr: "auto" finds a rate that this schedule would never use, because it sets its'
        " own (base_lr and max_lr of cyclic, max_lr of one_cycle): give optimizer.lr a number, or"
        " leave max_lr of one_cycle out, or take another schedule",
    )  # fmt: skip


def _never_uses_lr(schedule: Schedule) -> bool:
    match schedule:
        case Cyclic():
            return True
        case OneCycle(max_lr=max_lr):
            return max_lr is not None
        case Sequential(schedules=parts):
            return all(_never_uses_lr(part) for part in parts)
        case _:
            return False
