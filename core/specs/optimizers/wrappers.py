"""Options that every optimizer has: what is put around it, and groups of parameters."""

from typing import Annotated, Literal

from pydantic import Field

from core.specs.base import Fraction, NonNegative, NonNegativeInt, Positive, PositiveInt, Spec


class Ema(Spec):
    """Exponential moving average of the weights, as `torch.optim.swa_utils.get_ema_avg_fn`: it
    begins with the weights after the first update."""

    kind: Literal["ema"]
    decay: Fraction = 0.999
    """Share of the average that stays at each update."""


class Swa(Spec):
    """Stochastic weight averaging (Izmailov et al. 2018, arXiv 1803.05407): the mean of the weights
    after updates `start`, `start + every`, and so on."""

    kind: Literal["swa"]
    start: NonNegativeInt | None = None
    """First update whose weights count. Default: three quarters of the budget's updates."""
    every: PositiveInt = 1
    """Updates from one that counts to the next."""


class Lookahead(Spec):
    """Slow weights that go a part of the way of k updates (Zhang et al. 2019, arXiv 1907.08610)."""

    kind: Literal["lookahead"]
    k: PositiveInt = 5
    """Updates until the slow weights follow, and the fast ones begin there."""
    alpha: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the way that the slow weights go."""


class Sam(Spec):
    """Sharpness-aware minimization (Foret et al. 2021, arXiv 2010.01412): the update is made by the
    gradient at the point `rho` up the gradient, and costs two gradients."""

    kind: Literal["sam"]
    rho: Positive = 0.05
    """Length of the step up."""


Average = Ema | Swa
"""Wrappers by which evaluations and results are of other weights than those that are trained."""
Wrapper = Annotated[Ema | Swa | Lookahead | Sam, Field(discriminator="kind")]
MOST_WRAPPERS = 4


class ParameterGroup(Spec):
    """Parameters of a model by name, and what is theirs."""

    match: Annotated[str, Field(min_length=1, max_length=500)]
    """Pattern of the names: `*` stands for any characters, `?` for one; alternatives stand with `|`
    between. The first group that matches takes a parameter."""
    weight_decay: NonNegative | None = None
    """Weight decay; null: the optimizer's."""
    lr_scale: Positive = 1.0
    """Factor on the rate, at every step of a schedule."""
    frozen_steps: NonNegativeInt = 0
    """First updates in which they stay as they are."""
    parameters: Annotated[tuple[str, ...], Field(max_length=100_000)] = ()
    """Names that fell here: found anew for each spec, whatever is given."""


class Wrapped(Spec):
    """Options that every optimizer has: what is put around it, and groups."""

    wrap: Annotated[tuple[Wrapper, ...], Field(max_length=MOST_WRAPPERS)] = ()
    """The first is innermost; at most one of a kind."""
    groups: Annotated[tuple[ParameterGroup, ...], Field(max_length=100)] = ()
