"""Choice of the rule of one of our own optimizers, from its spec."""

from typing import assert_never

from core.specs.optimizers.kinds import (
    AdEMAMix,
    Adopt,
    Cautious,
    Lion,
    Own,
    Prodigy,
    ScheduleFreeAdamW,
    ScheduleFreeSGD,
)
from core.train.optim.rules import ademamix, adopt, lion, prodigy, schedule_free
from core.train.optim.rules.base import Rule
from core.train.optim.rules.cautious import cautious


def own_rule(spec: Own) -> Rule:
    """Return the rule, for one run or many; what it takes from `spec` beside the kind is the same
    in all of them."""
    rule = _rule(spec)
    return cautious(rule) if isinstance(spec, Cautious) and spec.cautious else rule


def _rule(spec: Own) -> Rule:
    match spec:
        case Lion():
            return lion.RULE
        case Adopt():
            return adopt.RULE
        case AdEMAMix():
            return ademamix.RULE
        case ScheduleFreeSGD():
            return schedule_free.SGD
        case ScheduleFreeAdamW():
            return schedule_free.ADAMW
        case Prodigy():
            return prodigy.RULE
        case _:
            assert_never(spec)
