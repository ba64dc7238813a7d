"""Choice of the rule of an optimizer, for many runs at once, from its spec."""

from typing import assert_never

from core.specs.optimizers.kinds import (
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Momentum,
    Muon,
    NAdam,
    NotFused,
    Optimizer,
    OwnOptimizer,
    RAdam,
    RMSprop,
    Rprop,
)
from core.train.optim.rules.base import Rule
from core.train.optim.rules.build import own_rule
from core.train.optim.rules.cautious import cautious
from core.train.optim.torch_rules import (
    adadelta,
    adagrad,
    adam,
    adamax,
    muon,
    nadam,
    radam,
    rmsprop,
    rprop,
    sgd,
)


def rule_of(spec: Optimizer) -> Rule | None:
    """Return the rule of the optimizer; None: it has none, its runs train one by one.

    What it takes from `spec` beside the kind is the same in all runs of a stack.
    """
    if isinstance(spec, NotFused):
        return None
    if isinstance(spec, OwnOptimizer):
        return own_rule(spec)
    rule = _rule(spec)
    return cautious(rule) if isinstance(spec, Momentum) and spec.cautious else rule


def _rule(
    spec: SGD | Adam | AdamW | Adamax | NAdam | RAdam | Adagrad | Adadelta | RMSprop | Rprop | Muon,
) -> Rule:
    match spec:
        case SGD():
            return sgd.RULE
        case Adam() | AdamW():
            return adam.RULE
        case Adamax():
            return adamax.RULE
        case NAdam():
            return nadam.RULE
        case RAdam():
            return radam.RULE
        case Adagrad():
            return adagrad.RULE
        case Adadelta():
            return adadelta.RULE
        case RMSprop():
            return rmsprop.RULE
        case Rprop():
            return rprop.RULE
        case Muon(nesterov=nesterov, ns_steps=ns_steps, adjust_lr_fn=adjust_lr_fn):
            return muon.rule(nesterov=nesterov, ns_steps=ns_steps, adjust_lr_fn=adjust_lr_fn)
        case _:
            assert_never(spec)
