"""Learning-rate schedules: torch's own schedulers behind one small protocol."""

import math
from typing import Any, Final, Protocol, assert_never

import torch
from torch.optim import lr_scheduler as torch_schedules
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau, SequentialLR

from core.specs.formulas.schedules import Leaf, chain_parts, segments
from core.specs.schedules import (
    ByFactor,
    Chained,
    Constant,
    ConstantFactor,
    Cosine,
    CosineWarmRestarts,
    CosineWithMinLr,
    Cyclic,
    Exponential,
    InverseSqrt,
    Linear,
    MultiStep,
    OneCycle,
    Piecewise,
    Polynomial,
    PowerCooldown,
    ReduceOnPlateau,
    Schedule,
    Sequential,
    Step,
    Warmup,
    WarmupStableDecay,
)
from core.train.optim.own_schedulers import (
    Chain,
    FactorSchedule,
    OneCycleSchedule,
    Plateau,
    ZeroRate,
    can_cycle_momentum,
)


class Scheduler(Protocol):
    """Sets the optimizer's rate (and momentum, where the schedule cycles it)."""

    def step(self, loss: float) -> None:
        """Call once after each update, with the loss of the row before it."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs, the optimizer's rate and momentum included: JSON
        values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken, on a schedule built from the same spec."""
        ...


def build_scheduler(
    spec: Schedule, optimizer: torch.optim.Optimizer, sign: float = 1.0
) -> Scheduler | None:
    """Return the schedule over `optimizer`, already at step 0; None when the rate is constant.

    Expects the optimizer fresh, with one parameter group that holds the base rate. `sign`: of the
    losses (`core.specs.direction`).

    Raises:
        ValueError: a length that the spec should have settled is None; a schedule stands where
            torch cannot have it (in `chained`; `reduce_on_plateau` before the end of a sequence).
    """
    if isinstance(spec, Constant):
        return None
    parts = segments(spec, 0)
    base = _Group(optimizer)
    plateau = parts.pop() if isinstance(parts[-1][1], ReduceOnPlateau) else None
    first = _sequence(parts, base) if parts else None
    # The loop calls the schedule after the update, so torch's check of that order, which relies
    # on a wrapped optimizer.step, has nothing to find.
    optimizer._opt_called = True  # type: ignore[attr-defined]
    if plateau is None:
        assert first is not None
        return _Rates(first, base)
    start, leaf = plateau
    assert isinstance(leaf, ReduceOnPlateau)
    return _RatesThenPlateau(first, start, _plateau(leaf, optimizer), base, sign)


class _Group:
    """The optimizer's only parameter group, and what it held before any schedule."""

    _KEYS: Final = ("lr", "momentum", "betas")

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        (self._group,) = optimizer.param_groups
        self._base = self.values()

    @property
    def lr(self) -> float:
        """The base rate of the group."""
        return float(self._base["lr"])

    def values(self) -> dict[str, Any]:
        return {name: self._group[name] for name in self._KEYS if name in self._group}

    def set(self, values: dict[str, Any]) -> None:
        # JSON has no tuples.
        pairs = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        self._group.update(pairs)

    def reset(self) -> None:
        """Go back to the base values, so that the schedule built next starts from them."""
        self._group.update(self._base, initial_lr=self._base["lr"])


_STATE: Final[tuple[str, ...]] = (
    "last_epoch", "_step_count", "_last_lr", "T_cur", "T_i", "best", "num_bad_epochs",
    "cooldown_counter", "bare_lr",
)  # fmt: skip
"""The attributes of torch's schedulers that steps change; all others follow from the spec."""


def _read(scheduler: LRScheduler) -> dict[str, Any]:
    held = vars(scheduler)
    state: dict[str, Any] = {name: held[name] for name in _STATE if name in held}
    if "best" in state and math.isinf(state["best"]):
        state["best"] = None
    if "_schedulers" in held:
        state["parts"] = [_read(part) for part in held["_schedulers"]]
    return state


def _write(scheduler: LRScheduler, state: dict[str, Any]) -> None:
    for name in _STATE:
        if name in state:
            setattr(scheduler, name, state[name])
    if "best" in state and state["best"] is None:
        scheduler.best = math.inf  # type: ignore[attr-defined]
    parts = state.get("parts", [])
    if isinstance(scheduler, Chain):
        parts = _flat(parts)
    for part, of_part in zip(vars(scheduler).get("_schedulers", ()), parts, strict=True):
        _write(part, of_part)


def _flat(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the states of a chain's parts; older checkpoints hold a chain within the chain as one
    part."""
    return [own for part in parts for own in (_flat(part["parts"]) if "parts" in part else [part])]


def _step(scheduler: LRScheduler, group: _Group) -> None:
    """Go on to the next rate; one that overflows (a power of `gamma`) is infinite."""
    try:
        scheduler.step()
    except OverflowError:
        group.set({"lr": math.inf})


class _Rates:
    """A schedule that follows from the number of steps alone."""

    def __init__(self, inner: LRScheduler, group: _Group) -> None:
        self._inner = inner
        self._group = group

    def step(self, loss: float) -> None:
        _step(self._inner, self._group)

    def state_dict(self) -> dict[str, Any]:
        return {"scheduler": _read(self._inner), "group": self._group.values()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        _write(self._inner, state["scheduler"])
        self._group.set(state["group"])


class _RatesThenPlateau:
    """`first` for `start` steps, then torch's ReduceLROnPlateau from the base rate."""

    def __init__(
        self,
        first: LRScheduler | None,
        start: int,
        plateau: ReduceLROnPlateau,
        group: _Group,
        sign: float,
    ) -> None:
        self._first = first
        self._sign = sign
        self._start = start
        self._plateau = plateau
        self._group = group
        self._steps = 0

    def step(self, loss: float) -> None:
        self._steps += 1
        if self._first is None or self._steps > self._start:
            self._plateau.step(self._sign * loss)
        elif self._steps == self._start:
            self._group.reset()
        else:
            _step(self._first, self._group)

    def state_dict(self) -> dict[str, Any]:
        return {
            "steps": self._steps,
            "first": None if self._first is None else _read(self._first),
            "plateau": _read(self._plateau),
            "group": self._group.values(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._steps = state["steps"]
        if self._first is not None:
            _write(self._first, state["first"])
        _write(self._plateau, state["plateau"])
        self._group.set(state["group"])


def _sequence(segments: list[tuple[int, Leaf]], group: _Group) -> LRScheduler:
    if any(isinstance(leaf, ReduceOnPlateau) for _, leaf in segments):
        raise ValueError("reduce_on_plateau must be the last schedule of a sequence")
    if len(segments) == 1:
        return _leaf(segments[0][1], group)
    parts: list[LRScheduler] = []
    for _, leaf in segments:
        group.reset()
        parts.append(_leaf(leaf, group))
    group.reset()
    return SequentialLR(group.optimizer, parts, [start for start, _ in segments[1:]])


def _chain(spec: Chained, group: _Group) -> LRScheduler:
    parts: list[LRScheduler] = []
    factors: list[ByFactor] = []
    for inner in chain_parts(spec):
        match inner:
            case Warmup() | Sequential() | ReduceOnPlateau() | OneCycle() | Cyclic():
                raise ValueError(f"{inner.kind} cannot be a part of chained")
            case (
                WarmupStableDecay() | InverseSqrt() | PowerCooldown() | CosineWithMinLr()
                | Piecewise()
            ):  # fmt: skip
                factors.append(inner)
            case _:
                parts.append(_leaf(inner, group))
    return Chain(parts or [_leaf(Constant(), group)], factors)


def _leaf(spec: Leaf, group: _Group) -> LRScheduler:  # noqa: C901, PLR0912 (one case a kind)
    optimizer = group.optimizer
    options: dict[str, Any] = spec.model_dump(exclude={"kind"})
    match spec:
        case Constant():
            return torch_schedules.ConstantLR(optimizer, factor=1.0, total_iters=0)
        case ConstantFactor():
            if spec.total_iters == 0:
                return torch_schedules.ConstantLR(optimizer, factor=1.0, total_iters=0)
            if spec.factor == 0.0:
                return ZeroRate(optimizer, spec.total_iters)
            return torch_schedules.ConstantLR(optimizer, **options)
        case Linear():
            return torch_schedules.LinearLR(optimizer, **options)
        case Step():
            return torch_schedules.StepLR(optimizer, **options)
        case MultiStep():
            return torch_schedules.MultiStepLR(optimizer, **options)
        case Exponential():
            return torch_schedules.ExponentialLR(optimizer, **options)
        case Polynomial():
            _settled(spec.total_iters, "total_iters")
            return torch_schedules.PolynomialLR(optimizer, **options)
        case Cosine():
            _settled(spec.T_max, "T_max")
            return torch_schedules.CosineAnnealingLR(optimizer, **options)
        case CosineWarmRestarts():
            return torch_schedules.CosineAnnealingWarmRestarts(optimizer, **options)
        case OneCycle():
            max_lr = group.lr if spec.max_lr is None else spec.max_lr
            return OneCycleSchedule(
                optimizer, spec, max_lr, _settled(spec.total_steps, "total_steps")
            )
        case Cyclic():
            if spec.cycle_momentum is None:
                options["cycle_momentum"] = can_cycle_momentum(optimizer)
            return torch_schedules.CyclicLR(optimizer, **options)
        case Chained():
            return _chain(spec, group)
        case (
            WarmupStableDecay() | InverseSqrt() | PowerCooldown() | CosineWithMinLr() | Piecewise()
        ):  # fmt: skip
            return FactorSchedule(optimizer, spec)
        case ReduceOnPlateau():
            raise ValueError("reduce_on_plateau must be the last schedule of a sequence")
        case _:
            assert_never(spec)


def _plateau(spec: ReduceOnPlateau, optimizer: torch.optim.Optimizer) -> ReduceLROnPlateau:
    options: dict[str, Any] = spec.model_dump(exclude={"kind"})
    return Plateau(optimizer, **options)


def _settled(value: int | None, name: str) -> int:
    if value is None:
        raise ValueError(f"{name} must be settled before a schedule is built")
    return value
