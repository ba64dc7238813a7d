"""Learning-rate schedules: those of torch.optim.lr_scheduler that need no code, with its names, and
others by the name that they have where they are in use.

One schedule step is one update. `constant` keeps the rate; torch's ConstantLR is `constant_factor`.
A length left out (`T_max`, `total_steps`, `total_iters` of a decay) resolves to the budget's steps.
"""

from typing import Annotated, Literal, assert_never

from pydantic import Field

from core.specs.base import NonNegative, NonNegativeInt, Positive, PositiveInt, Spec, UnitInterval

Shape = Literal["linear", "cosine", "1-sqrt"]


class Constant(Spec):
    kind: Literal["constant"] = "constant"


class ConstantFactor(Spec):
    kind: Literal["constant_factor"]
    factor: UnitInterval = 1.0 / 3
    total_iters: NonNegativeInt = 5


class Linear(Spec):
    kind: Literal["linear"]
    start_factor: Annotated[float, Field(gt=0, le=1)] = 1.0 / 3
    end_factor: UnitInterval = 1.0
    total_iters: PositiveInt = 5


class Step(Spec):
    kind: Literal["step"]
    step_size: PositiveInt
    gamma: NonNegative = 0.1


class MultiStep(Spec):
    kind: Literal["multistep"]
    milestones: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1, max_length=1000)]
    gamma: NonNegative = 0.1


class Exponential(Spec):
    kind: Literal["exponential"]
    gamma: NonNegative


class Polynomial(Spec):
    kind: Literal["polynomial"]
    total_iters: PositiveInt | None = None
    """Default: the steps that the schedule rules, by the budget."""
    power: NonNegative = 1.0


class Cosine(Spec):
    kind: Literal["cosine"]
    T_max: PositiveInt | None = None
    """Default: the steps that the schedule rules, by the budget."""
    eta_min: NonNegative = 0.0


class CosineWarmRestarts(Spec):
    kind: Literal["cosine_warm_restarts"]
    T_0: PositiveInt
    T_mult: PositiveInt = 1
    eta_min: NonNegative = 0.0


class OneCycle(Spec):
    """Sets the rate itself: `max_lr` left out resolves to the optimizer's `lr`."""

    kind: Literal["one_cycle"]
    max_lr: Positive | None = None
    """Default: the optimizer's `lr`."""
    total_steps: PositiveInt | None = None
    """Default: the steps that the schedule rules, by the budget."""
    pct_start: UnitInterval = 0.3
    anneal_strategy: Literal["cos", "linear"] = "cos"
    cycle_momentum: bool | None = None
    """Default: true where the optimizer has `momentum` or `betas` to cycle."""
    base_momentum: UnitInterval = 0.85
    max_momentum: UnitInterval = 0.95
    div_factor: Positive = 25.0
    final_div_factor: Positive = 1e4
    three_phase: bool = False


class Cyclic(Spec):
    kind: Literal["cyclic"]
    base_lr: Positive
    max_lr: Positive
    step_size_up: PositiveInt = 2000
    step_size_down: PositiveInt | None = None
    """Default: `step_size_up`."""
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular"
    gamma: NonNegative = 1.0
    scale_mode: Literal["cycle", "iterations"] = "cycle"
    cycle_momentum: bool | None = None
    """Default: true where the optimizer has `momentum` or `betas` to cycle."""
    base_momentum: UnitInterval = 0.8
    max_momentum: UnitInterval = 0.9


class ReduceOnPlateau(Spec):
    """torch's ReduceLROnPlateau on the training loss of each step (`patience` counts steps).

    Where the optimizer maximizes, the loss has to rise. A relative `threshold` is a share of the
    best loss's size, whatever its sign.
    """

    kind: Literal["reduce_on_plateau"]
    factor: Annotated[float, Field(ge=0, lt=1)] = 0.1
    patience: NonNegativeInt = 10
    threshold: NonNegative = 1e-4
    threshold_mode: Literal["rel", "abs"] = "rel"
    cooldown: NonNegativeInt = 0
    min_lr: NonNegative = 0.0
    eps: NonNegative = 1e-8


class WarmupStableDecay(Spec):
    """A rise, the base rate, and a decay to `min_lr_ratio`·lr at step `total_steps` (Hu et al.
    2024, arXiv 2404.06395), with the shapes and defaults of transformers' `get_wsd_schedule`.

    Over a part x of the way, the decay is 1 − x (`linear`), half a cosine, or 1 − √x (Hägele et al.
    2024, arXiv 2405.18392); the rise is the decay's mirror image, and begins at `min_lr_ratio`·lr.
    """

    kind: Literal["warmup_stable_decay"]
    warmup_steps: NonNegativeInt = 0
    decay_steps: PositiveInt | None = None
    """Length of the decay. Default: a tenth of `total_steps`, at least 1."""
    total_steps: PositiveInt | None = None
    """Default: the steps that the schedule rules, by the budget."""
    warmup_type: Shape = "linear"
    decay_type: Shape = "cosine"
    min_lr_ratio: UnitInterval = 0.0


class InverseSqrt(Spec):
    """A linear rise from 0, then the base rate over the root of the steps: lr·√(`timescale`/(k −
    `warmup_steps` + `timescale`)) (Vaswani et al. 2017, arXiv 1706.03762, section 5.3, in the form
    of transformers' `get_inverse_sqrt_schedule`). It has no end, and so needs no budget."""

    kind: Literal["inverse_sqrt"]
    warmup_steps: NonNegativeInt = 0
    timescale: PositiveInt | None = None
    """Steps after the rise in which the rate falls to lr/√2. Default: `warmup_steps`, or 10,000
    where there are none."""


class PowerCooldown(Spec):
    """The base rate, then a decay by a power to `min_lr_ratio`·lr at step `total_steps`: (1 −
    x)^`power` over a part x of the way."""

    kind: Literal["power_cooldown"]
    cooldown_steps: PositiveInt | None = None
    """Length of the decay. Default: a fifth of `total_steps`, at least 1 (Hägele et al. 2024, arXiv
    2405.18392)."""
    total_steps: PositiveInt | None = None
    """Default: the steps that the schedule rules, by the budget."""
    power: NonNegative = 1.0
    min_lr_ratio: UnitInterval = 0.0


class CosineWithMinLr(Spec):
    """A linear rise from 0, then half a cosine from lr to the floor `min_lr_ratio`·lr at step
    `total_steps`, where the rate stays (transformers' `cosine_with_min_lr`; a tenth is the floor of
    Hoffmann et al. 2022, arXiv 2203.15556). torch's `cosine` rises again after its end."""

    kind: Literal["cosine_with_min_lr"]
    warmup_steps: NonNegativeInt = 0
    total_steps: PositiveInt | None = None
    """Default: the steps that the schedule rules, by the budget."""
    min_lr_ratio: UnitInterval = 0.1


class Piecewise(Spec):
    """lr·`factors[i]` from step `boundaries[i − 1]` on (optax's `piecewise_constant_schedule`, with
    factors on lr in place of factors on the rate before), or lines or half cosines between these
    points (`piecewise_interpolate_schedule`)."""

    kind: Literal["piecewise"]
    boundaries: Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=1000)]
    """Steps, in order, at which the factors after the first are reached."""
    factors: Annotated[tuple[NonNegative, ...], Field(min_length=2, max_length=1001)]
    """Factors on lr: the first from step 0 on, the others from their boundaries on."""
    interpolation: Literal["constant", "linear", "cosine"] = "constant"


class Warmup(Spec):
    """Linear from `start_factor`·lr to lr over `steps` updates, then the schedule `then`."""

    kind: Literal["warmup"]
    steps: PositiveInt
    start_factor: Annotated[float, Field(gt=0, le=1)] = 1.0 / 3
    then: "Schedule" = Constant()


class Sequential(Spec):
    """`schedules[i]` rules from `milestones[i-1]` on (torch's SequentialLR)."""

    kind: Literal["sequential"]
    schedules: Annotated[tuple["Schedule", ...], Field(min_length=2, max_length=20)]
    milestones: Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=19)]


class Chained(Spec):
    """All at once: the factors multiply (torch's ChainedScheduler)."""

    kind: Literal["chained"]
    schedules: Annotated[tuple["Schedule", ...], Field(min_length=1, max_length=20)]


Schedule = Annotated[
    Constant
    | ConstantFactor
    | Linear
    | Step
    | MultiStep
    | Exponential
    | Polynomial
    | Cosine
    | CosineWarmRestarts
    | OneCycle
    | Cyclic
    | ReduceOnPlateau
    | WarmupStableDecay
    | InverseSqrt
    | PowerCooldown
    | CosineWithMinLr
    | Piecewise
    | Warmup
    | Sequential
    | Chained,
    Field(discriminator="kind"),
]


ByFactor = WarmupStableDecay | InverseSqrt | PowerCooldown | CosineWithMinLr | Piecewise
"""Schedules whose rate is the base rate times a factor that follows from the step alone
(`core.specs.formulas.factors`)."""


def parts_of(schedule: Schedule) -> tuple[Schedule, ...]:
    """Return the schedules that this one is made of; none for one that stands by itself."""
    match schedule:
        case Warmup(then=then):
            return (then,)
        case Sequential(schedules=parts) | Chained(schedules=parts):
            return parts
        case (
            Constant() | ConstantFactor() | Linear() | Step() | MultiStep() | Exponential()
            | Polynomial() | Cosine() | CosineWarmRestarts() | OneCycle() | Cyclic()
            | ReduceOnPlateau() | WarmupStableDecay() | InverseSqrt() | PowerCooldown()
            | CosineWithMinLr() | Piecewise()
        ):  # fmt: skip
            return ()
        case _:
            assert_never(schedule)


def sets_momentum(schedule: Schedule) -> bool:
    """Tell whether the schedule, or one that it is made of, moves the optimizer's momentum."""
    if isinstance(schedule, OneCycle | Cyclic):
        return schedule.cycle_momentum is not False
    return any(map(sets_momentum, parts_of(schedule)))
