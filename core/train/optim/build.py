"""Construction of torch's optimizer, or ours, from its spec, set up as a hand-written one would
be."""

import inspect
from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import Any, Final, assert_never

import torch
from torch import nn

from core.specs.optimizers.kinds import (
    ASGD,
    LBFGS,
    SGD,
    SOAP,
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Muon,
    NAdam,
    Optimizer,
    OwnOptimizer,
    RAdam,
    RMSprop,
    Rprop,
    Shampoo,
    TorchKind,
    follows_torch,
    settled_lr,
)
from core.train.optim.by_axes import Shampoo as OwnShampoo
from core.train.optim.by_axes import Soap
from core.train.optim.by_rule import ByRule
from core.train.optim.muon import Muon as OwnMuon
from core.train.optim.rules.base import IMPLEMENTATION
from core.train.optim.rules.build import own_rule
from core.train.optim.torch_rules.build import rule_of

OURS: Final = frozenset({"cautious", "decoupled_weight_decay"})
"""Options of torch's kinds that torch's optimizers do not all have."""


def build_optimizer(
    spec: Optimizer, params: Sequence[nn.Parameter], tables: Collection[int] = ()
) -> torch.optim.Optimizer:
    """Return the optimizer that `spec` names, over `params` as one group; `tables`: places of those
    that are tables of vectors (`core.specs.sizes.shapes.tables_of`), which Muon leaves to AdamW.

    The spec's fields have torch's names and defaults, `foreach` and `fused` included: left out
    they are None, and torch chooses the implementation as it does for anybody.

    Raises:
        ValueError: the rate is still "auto".
    """
    options: dict[str, Any] = spec.model_dump(exclude={"kind", "wrap", "groups"}) | {
        "lr": settled_lr(spec)
    }
    match spec:
        case Shampoo():
            return _eager(OwnShampoo)(params, **options)
        case SOAP():
            return _eager(Soap)(params, **options)
        case OwnOptimizer():
            return _eager(ByRule)(params, rule=own_rule(spec), **options)
        case _ if not follows_torch(spec):
            rule = rule_of(spec)
            assert rule is not None, "a kind with options of ours has a rule"
            ours = {name: each for name, each in options.items() if name not in IMPLEMENTATION}
            return _eager(ByRule)(params, rule=rule, **ours)
        case _:
            pass
    own = {name: each for name, each in options.items() if name not in OURS}
    if isinstance(spec, Muon):
        own["tables"] = tables
    return _of_torch(spec, params, own)


def _of_torch(  # noqa: C901, PLR0912 (one case a kind)
    spec: TorchKind, params: Sequence[nn.Parameter], options: dict[str, Any]
) -> torch.optim.Optimizer:
    match spec:
        case SGD():
            return _eager(torch.optim.SGD)(params, **options)
        case Adam(decoupled_weight_decay=decoupled):
            return _eager(torch.optim.Adam)(params, **options, decoupled_weight_decay=decoupled)
        case AdamW(decoupled_weight_decay=False):
            return _eager(torch.optim.Adam)(params, **options)
        case AdamW():
            return _eager(torch.optim.AdamW)(params, **options)
        case Adamax():
            return _eager(torch.optim.Adamax)(params, **options)
        case NAdam(decoupled_weight_decay=decoupled):
            return _eager(torch.optim.NAdam)(params, **options, decoupled_weight_decay=decoupled)
        case RAdam(decoupled_weight_decay=decoupled):
            return _eager(torch.optim.RAdam)(params, **options, decoupled_weight_decay=decoupled)
        case Adagrad():
            return _eager(torch.optim.Adagrad)(params, **options)
        case Adadelta():
            return _eager(torch.optim.Adadelta)(params, **options)
        case RMSprop():
            return _eager(torch.optim.RMSprop)(params, **options)
        case Rprop():
            return _eager(torch.optim.Rprop)(params, **options)
        case ASGD():
            return _eager(torch.optim.ASGD)(params, **options)
        case Adafactor():
            return _eager(torch.optim.Adafactor)(params, **options)
        case Muon():
            return _eager(OwnMuon)(params, **options)
        case LBFGS():
            return _eager(torch.optim.LBFGS)(params, **options)
        case _:
            assert_never(spec)


@cache
def _eager(kind: type[torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
    """Return `kind` with its bookkeeping freed of the wrapper that hides it from `torch.compile`.

    At its first call the wrapper imports the whole compiler, which nothing here uses: about a
    third of a trainer's start. What the methods do stays torch's.
    """
    wrapped = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    bare = {name: inspect.unwrap(getattr(kind, name)) for name in wrapped}
    return type(kind.__name__, (kind,), bare)


def plain_step(optimizer: torch.optim.Optimizer) -> Callable[[], object]:
    """Return `optimizer.step` without the wrappers that torch puts around it, for one call a step.

    They time it for the profiler, run hooks and track gradients of the update, which nobody here
    uses, and cost a tenth of a small model's step. The update is the same to the last bit. Not for
    optimizers that call the loss again (LBFGS).
    """
    step = type(optimizer).step
    bare: Callable[[torch.optim.Optimizer], object] = inspect.unwrap(step)

    def update() -> object:
        with torch.no_grad():
            return bare(optimizer)

    return update
