"""Choice of the rule that updates many runs at once, from an optimizer's spec."""

from typing import assert_never

from core.specs.optimizers import (
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Muon,
    NAdam,
    NotFused,
    Optimizer,
    OwnOptimizer,
    RAdam,
    RMSprop,
    Rprop,
)
from core.train.fused.optim import (
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
from core.train.optim.rules.base import Rule
from core.train.optim.rules.build import own_rule


def rule_of(spec: Optimizer) -> Rule | None:  # noqa: C901, PLR0912 (one case a kind)
    """Return the rule of the optimizer; None: it has none, its runs train one by one.

    What it takes from `spec` beside the kind is the same in all runs of a stack.
    """
    if isinstance(spec, NotFused):
        return None
    if isinstance(spec, OwnOptimizer):
        return own_rule(spec)
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
