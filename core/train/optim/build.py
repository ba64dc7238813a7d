"""From an optimizer's spec to torch's optimizer, set up as a hand-written one would be, or ours."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, assert_never

import torch
from torch import nn

from core.specs.optimizers import (
    ASGD,
    LBFGS,
    SGD,
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Muon,
    NAdam,
    Optimizer,
    RAdam,
    RMSprop,
    Rprop,
    settled_lr,
)
from core.train.optim.muon import Muon as OwnMuon


def build_optimizer(  # noqa: C901, PLR0912 (one case a kind)
    spec: Optimizer, params: Sequence[nn.Parameter]
) -> torch.optim.Optimizer:
    """The optimizer that `spec` names, over `params` as one group.

    The spec's fields have torch's names and defaults, `foreach` and `fused` included: left out
    they are None, and torch chooses the implementation as it does for anybody.

    Raises:
        ValueError: the rate is still "auto".
    """
    options: dict[str, Any] = spec.model_dump(exclude={"kind"}) | {"lr": settled_lr(spec)}
    match spec:
        case SGD():
            return torch.optim.SGD(params, **options)
        case Adam():
            return torch.optim.Adam(params, **options)
        case AdamW():
            return torch.optim.AdamW(params, **options)
        case Adamax():
            return torch.optim.Adamax(params, **options)
        case NAdam():
            return torch.optim.NAdam(params, **options)
        case RAdam():
            return torch.optim.RAdam(params, **options)
        case Adagrad():
            return torch.optim.Adagrad(params, **options)
        case Adadelta():
            return torch.optim.Adadelta(params, **options)
        case RMSprop():
            return torch.optim.RMSprop(params, **options)
        case Rprop():
            return torch.optim.Rprop(params, **options)
        case ASGD():
            return torch.optim.ASGD(params, **options)
        case Adafactor():
            return torch.optim.Adafactor(params, **options)
        case Muon():
            return OwnMuon(params, **options)
        case LBFGS():
            return torch.optim.LBFGS(params, **options)
        case _:
            assert_never(spec)


def plain_step(optimizer: torch.optim.Optimizer) -> Callable[[], object]:
    """`optimizer.step` without the wrappers that torch puts around it, for one call a step.

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
