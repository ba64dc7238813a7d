"""Optimizer choices: torch.optim's own names, options and defaults (torch 2.13 documentation).

`capturable` and `differentiable` are left out: they change how torch runs an update (CUDA graphs,
higher-order gradients), never what it computes, and the training loop uses neither.
`tables/torch_optim.json` holds torch's signatures; a test keeps both in step.

`lr` may be "auto" until the job's own range test and race have settled it
(`core.specs.validation.auto_lr`). LBFGS, Rprop and Prodigy take a number only: an
update of LBFGS is up to `max_iter` steps whose length it finds itself, Rprop's `lr` is the first of
the step sizes that it adapts weight by weight, and Prodigy's a factor on the one that it finds; a
test that raises the rate from step to step would measure none of them.
"""

import math
from collections.abc import Collection, Sequence
from typing import Annotated, Final, Literal

from pydantic import Discriminator, Field, Tag

from core.specs.base import (
    WHOLE,
    Betas,
    Fraction,
    NonNegative,
    NonNegativeInt,
    Positive,
    PositiveInt,
)
from core.specs.optimizers.wrappers import Average, Wrapped


def _rate_tag(value: object) -> str:
    return "~auto" if isinstance(value, str) else "~rate"


Rate = Annotated[
    Annotated[Positive, Tag("~rate")] | Annotated[Literal["auto"], Tag("~auto")],
    Discriminator(_rate_tag),
]
"""A learning rate, or "auto": found by the job itself before its first step."""


class TorchOptimizer(Wrapped):
    lr: Rate = 1e-3
    weight_decay: NonNegative = 0.0
    maximize: bool = False
    foreach: bool | None = None


class Momentum(TorchOptimizer):
    """Methods with a momentum, whose updates may be cautious (Liang et al. 2024, arXiv
    2411.16085)."""

    cautious: bool = False


class SGD(Momentum):
    kind: Literal["sgd"]
    momentum: NonNegative = 0.0
    dampening: float = 0.0
    nesterov: bool = False
    fused: bool | None = None
    decoupled_weight_decay: bool = False


class Adam(Momentum):
    kind: Literal["adam"]
    betas: Betas = (0.9, 0.999)
    eps: NonNegative = 1e-8
    amsgrad: bool = False
    decoupled_weight_decay: bool = False
    fused: bool | None = None


class AdamW(Momentum):
    """Adam with another default of `decoupled_weight_decay`; without it, it is Adam."""

    kind: Literal["adamw"]
    betas: Betas = (0.9, 0.999)
    eps: NonNegative = 1e-8
    weight_decay: NonNegative = 1e-2
    amsgrad: bool = False
    decoupled_weight_decay: bool = True
    fused: bool | None = None


class Adamax(Momentum):
    kind: Literal["adamax"]
    lr: Rate = 2e-3
    betas: Betas = (0.9, 0.999)
    eps: NonNegative = 1e-8
    decoupled_weight_decay: bool = False


class NAdam(Momentum):
    kind: Literal["nadam"]
    lr: Rate = 2e-3
    betas: Betas = (0.9, 0.999)
    eps: NonNegative = 1e-8
    momentum_decay: NonNegative = 4e-3
    decoupled_weight_decay: bool = False


class RAdam(Momentum):
    kind: Literal["radam"]
    betas: Betas = (0.9, 0.999)
    eps: NonNegative = 1e-8
    decoupled_weight_decay: bool = False


class Adagrad(TorchOptimizer):
    kind: Literal["adagrad"]
    lr: Rate = 1e-2
    lr_decay: NonNegative = 0.0
    initial_accumulator_value: NonNegative = 0.0
    eps: NonNegative = 1e-10
    fused: bool | None = None
    decoupled_weight_decay: bool = False


class Adadelta(TorchOptimizer):
    kind: Literal["adadelta"]
    lr: Rate = 1.0
    rho: Annotated[float, Field(ge=0, le=1)] = 0.9
    eps: NonNegative = 1e-6
    decoupled_weight_decay: bool = False


class RMSprop(Momentum):
    kind: Literal["rmsprop"]
    lr: Rate = 1e-2
    alpha: NonNegative = 0.99
    eps: NonNegative = 1e-8
    momentum: NonNegative = 0.0
    centered: bool = False
    decoupled_weight_decay: bool = False


class Rprop(Wrapped):
    kind: Literal["rprop"]
    lr: Positive = 1e-2
    etas: tuple[Annotated[float, Field(gt=0, lt=1)], Annotated[float, Field(gt=1)]] = (0.5, 1.2)
    step_sizes: tuple[Positive, Positive] = (1e-6, 50.0)
    maximize: bool = False
    foreach: bool | None = None


class ASGD(TorchOptimizer):
    kind: Literal["asgd"]
    lr: Rate = 1e-2
    lambd: NonNegative = 1e-4
    alpha: NonNegative = 0.75
    t0: NonNegative = 1e6


class Adafactor(TorchOptimizer):
    kind: Literal["adafactor"]
    lr: Rate = 1e-2
    beta2_decay: Annotated[float, Field(le=0)] = -0.8
    eps: tuple[NonNegative | None, NonNegative] = (None, 1e-3)
    d: Annotated[float, Field(ge=1)] = 1.0


class Muon(Wrapped):
    """torch's options for the hidden layers' matrices; `adamw_…` for all other parameters, the
    output layer's matrix among them (see `core.train.optim.muon`)."""

    kind: Literal["muon"]
    lr: Rate = 1e-3
    weight_decay: NonNegative = 0.1
    momentum: Fraction = 0.95
    nesterov: bool = True
    ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315)
    eps: Positive = 1e-7
    ns_steps: Annotated[int, Field(ge=1, lt=100), WHOLE] = 5
    adjust_lr_fn: Literal["original", "match_rms_adamw"] | None = None
    """Default: "original"."""
    adamw_betas: Betas = (0.9, 0.999)
    adamw_eps: NonNegative = 1e-8
    adamw_lr_scale: Positive = 1.0
    """AdamW's rate over `lr`, at every step of a schedule."""


def hidden_matrices(
    shapes: Sequence[Sequence[int]], tables: Collection[int] = ()
) -> list[tuple[int, int] | None]:
    """Return the rows and columns of each parameter that Muon moves; None for those that are
    AdamW's.

    Args:
        shapes: of a model's parameters in their order: the last matrix is the output layer's.
        tables: places of those that are tables of vectors (`core.specs.sizes.shapes.tables_of`).
    """
    matrices = [
        (shape[0], shape[1]) if len(shape) == 2 and number not in tables else None
        for number, shape in enumerate(shapes)
    ]
    output = max((n for n, matrix in enumerate(matrices) if matrix is not None), default=None)
    return [None if number == output else matrix for number, matrix in enumerate(matrices)]


def rate_factor(rows: int, columns: int, adjust_lr_fn: str | None) -> float:
    """Return Muon's factor on its rate for a matrix of this shape; None stands for "original"."""
    if adjust_lr_fn == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1.0, rows / columns))


class LBFGS(Wrapped):
    kind: Literal["lbfgs"]
    lr: Positive = 1.0
    max_iter: PositiveInt = 20
    max_eval: PositiveInt | None = None
    """Default: max_iter · 5 / 4, rounded down."""
    tolerance_grad: NonNegative = 1e-7
    tolerance_change: NonNegative = 1e-9
    history_size: PositiveInt = 100
    line_search_fn: Literal["strong_wolfe"] | None = None


Exponent = Annotated[float, Field(ge=0, le=20)]
"""Power of a count or a rate that stays far from overflow."""


class OwnOptimizer(Wrapped):
    """Options of the methods that torch does not have (`core.train.optim.rules`)."""

    lr: Rate = 1e-3
    weight_decay: NonNegative = 0.0
    maximize: bool = False


class Cautious(OwnOptimizer):
    cautious: bool = False


class Lion(Cautious):
    """The options and defaults of the authors' `lion_pytorch.py`, where decay is decoupled."""

    kind: Literal["lion"]
    lr: Rate = 1e-4
    betas: Betas = (0.9, 0.99)
    decoupled_weight_decay: bool = True


class Adopt(Cautious):
    """The options of the authors' implementation; their `clip_lambda` is t ↦ t^`clip_exponent`, and
    None without `use_clipping`."""

    kind: Literal["adopt"]
    betas: Betas = (0.9, 0.9999)
    eps: NonNegative = 1e-6
    use_clipping: bool = True
    clip_exponent: NonNegative = 0.25
    decoupled_weight_decay: bool = False


class AdEMAMix(Cautious):
    """The options of the authors' implementation, with 0 for a warm-up that is None there."""

    kind: Literal["ademamix"]
    betas: tuple[Fraction, Fraction, Fraction] = (0.9, 0.999, 0.9999)
    alpha: NonNegative = 2.0
    beta3_warmup: NonNegativeInt = 0
    alpha_warmup: NonNegativeInt = 0
    eps: NonNegative = 1e-8
    decoupled_weight_decay: bool = True


class ScheduleFreeSGD(OwnOptimizer):
    """The options and defaults of the authors' `schedulefree.SGDScheduleFree`. Decay acts at the
    point where the gradient is taken, so that decoupled it would be the same."""

    kind: Literal["schedule_free_sgd"]
    lr: Rate = 1.0
    momentum: Fraction = 0.9
    warmup_steps: NonNegativeInt = 0
    r: Exponent = 0.0
    weight_lr_power: Exponent = 2.0


class ScheduleFreeAdamW(OwnOptimizer):
    """The options and defaults of the authors' `schedulefree.AdamWScheduleFree`."""

    kind: Literal["schedule_free_adamw"]
    lr: Rate = 2.5e-3
    betas: Betas = (0.9, 0.999)
    eps: NonNegative = 1e-8
    warmup_steps: NonNegativeInt = 0
    r: Exponent = 0.0
    weight_lr_power: Exponent = 2.0
    decoupled_weight_decay: bool = True


class Prodigy(OwnOptimizer):
    """The options and defaults of the authors' `prodigyopt`, without those for several devices."""

    kind: Literal["prodigy"]
    lr: Positive = 1.0
    betas: Betas = (0.9, 0.999)
    beta3: Fraction | None = None
    """Decay rate of the sums that d is found by. Default: the root of the second beta."""
    eps: NonNegative = 1e-8
    use_bias_correction: bool = False
    safeguard_warmup: bool = False
    d0: Positive = 1e-6
    d_coef: Positive = 1.0
    growth_rate: Annotated[float, Field(ge=1)] | None = None
    """Largest factor by which d grows in an update; null: any."""
    decoupled_weight_decay: bool = True


MOST_LENGTH: Final = 4096
"""Longest axis that has a matrix: larger ones take many seconds to decompose."""
Length = Annotated[int, Field(ge=1, le=MOST_LENGTH), WHOLE]


class Shampoo(Cautious):
    """The method of Gupta et al. 2018 (`core.train.optim.by_axes`), with the rate and `eps` (their
    ε) of the authors' TensorFlow implementation; `momentum` averages the gradients that are
    preconditioned."""

    kind: Literal["shampoo"]
    lr: Rate = 1.0
    momentum: Fraction = 0.9
    eps: Positive = 1e-4
    precondition_frequency: PositiveInt = 1
    max_preconditioner_dim: Length = 1200
    decoupled_weight_decay: bool = False


class SOAP(Cautious):
    """The options and defaults of the authors' `soap.py`, where the longest axis with a matrix is
    10,000 long, `shampoo_beta` −1 stands for the second beta, and no axes are merged."""

    kind: Literal["soap"]
    lr: Rate = 3e-3
    betas: Betas = (0.95, 0.95)
    shampoo_beta: Fraction | None = None
    """Decay rate of the statistics. Default: the second beta."""
    eps: NonNegative = 1e-8
    weight_decay: NonNegative = 1e-2
    precondition_frequency: PositiveInt = 10
    max_preconditioner_dim: Length = 1200
    precondition_1d: bool = False
    normalize_grads: bool = False
    correct_bias: bool = True
    decoupled_weight_decay: bool = True


TorchKind = (
    SGD
    | Adam
    | AdamW
    | Adamax
    | NAdam
    | RAdam
    | Adagrad
    | Adadelta
    | RMSprop
    | Rprop
    | ASGD
    | Adafactor
    | Muon
    | LBFGS
)
"""Kinds that torch.optim has."""
ScheduleFree = ScheduleFreeSGD | ScheduleFreeAdamW
"""Methods whose evaluations and results are of another point than their gradients."""
Own = Lion | Adopt | AdEMAMix | ScheduleFree | Prodigy
Optimizer = Annotated[
    TorchKind
    | Lion
    | Adopt
    | AdEMAMix
    | ScheduleFreeSGD
    | ScheduleFreeAdamW
    | Prodigy
    | Shampoo
    | SOAP,
    Field(discriminator="kind"),
]
ByAxes = Shampoo | SOAP
"""Methods that keep a matrix for each axis of each parameter."""
NotFused = ASGD | Adafactor | LBFGS | ByAxes
"""Optimizers without a rule for many runs at once: their runs train one by one. Said here alone:
the catalogue reads it, and `core.train.optim.torch_rules.build` has a rule for each other kind."""


def settled_lr(optimizer: Optimizer) -> float:
    """Return the base rate as a number. All code that trains or diagnoses takes it from here.

    Raises:
        ValueError: it is still "auto".
    """
    if optimizer.lr == "auto":
        raise ValueError('optimizer.lr must be settled first; it is still "auto"')
    return optimizer.lr


def averages(optimizer: Optimizer) -> bool:
    """Tell whether a wrapper averages the weights, so that results are of the average."""
    return any(isinstance(each, Average) for each in optimizer.wrap)


def follows_torch(optimizer: Optimizer) -> bool:
    """Tell whether torch's own optimizer makes the updates of one of its kinds; else a rule of ours
    does (`core.train.optim.torch_rules`)."""
    if isinstance(optimizer, Momentum) and optimizer.cautious:
        return False
    if isinstance(optimizer, Adam | AdamW | NAdam | RAdam):
        return True  # which have the flag
    return not getattr(optimizer, "decoupled_weight_decay", False)
