"""Rules of schedules, and the lengths that follow from the budget, written out."""

from itertools import pairwise
from typing import Final, NamedTuple, assert_never

from core.specs.job import Budget
from core.specs.optimizers.kinds import Optimizer
from core.specs.schedules import (
    Chained,
    ConstantFactor,
    Cosine,
    CosineWithMinLr,
    Cyclic,
    InverseSqrt,
    OneCycle,
    Piecewise,
    Polynomial,
    PowerCooldown,
    ReduceOnPlateau,
    Schedule,
    Sequential,
    Warmup,
    WarmupStableDecay,
)
from core.specs.validation.errors import FieldErrorList

MAX_SCHEDULES: Final = 100
MAX_SCHEDULE_DEPTH: Final = 10
_DECAY: Final = 10
"""`total_steps` over the decay of `warmup_stable_decay`, unless it is given (Hu et al. 2024)."""
_COOLDOWN: Final = 5
"""`total_steps` over the decay of `power_cooldown`, unless it is given (Hägele et al. 2024)."""


class _Place(NamedTuple):
    """A schedule's place in the spec and in the budget.

    Attributes:
        path: of the spec.
        steps: updates that it rules.
        left: updates from its first to the budget's last; None where that is not known.
        open: whether it rules to the end of a budget that does not say how many updates it is.
        depth: of nesting.
        last: no schedule follows it.
        end: field of the spec that says where it ends; "": the budget does.
    """

    path: str
    steps: int
    left: int | None
    open: bool
    depth: int = 1
    last: bool = True
    end: str = ""


class Schedules:
    """Checker of a tree of schedules, which writes out the lengths that follow from the budget.

    While the optimizer's rate is "auto", a `max_lr` that follows from it stays open.

    Args:
        budget: as it was posted: one of seconds alone gives no length.
        stored: the spec was accepted before: how its lengths and its budget go together is left as
            it is.
    """

    def __init__(
        self, optimizer: Optimizer, budget: Budget, faults: FieldErrorList, *, stored: bool
    ) -> None:
        self._lr = None if optimizer.lr == "auto" else optimizer.lr
        self._optimizer = optimizer
        self._faults = faults
        self._stored = stored
        self._open = not stored and budget.max_seconds is not None and _length(budget) is None
        self._length = _length(budget) or "max_steps"
        self._count = 0

    def resolve(self, schedule: Schedule, steps: int | None) -> Schedule:
        """Return the schedule over `steps` updates; None: how many they are is not known, since the
        problem has a mistake."""
        left = None if self._stored or self._open else steps
        options = vars(self._optimizer)
        for name in ("warmup_steps", "alpha_warmup", "beta3_warmup"):
            if name in options:
                self._check_warmup("optimizer", options[name], left, name)
        return self._resolve(schedule, _Place("schedule", steps or 1, left, self._open))

    def _resolve(self, schedule: Schedule, at: _Place) -> Schedule:
        self._count += 1
        if self._count > MAX_SCHEDULES or at.depth > MAX_SCHEDULE_DEPTH:
            if self._count == MAX_SCHEDULES + 1 or self._count <= MAX_SCHEDULES:
                self._faults.add(
                    at.path, "too_many_schedules",
                    f"{at.path}: at most {MAX_SCHEDULES} schedules in all, nested at most"
                    f" {MAX_SCHEDULE_DEPTH} deep",
                )  # fmt: skip
            return schedule
        if at.steps < 1:
            at = at._replace(steps=1)
        match schedule:
            case Warmup():
                return self._warmup(schedule, at)
            case Sequential():
                return self._sequential(schedule, at)
            case Chained():
                return self._chained(schedule, at)
            case _:
                return self._single(schedule, at)

    def _single(self, schedule: Schedule, at: _Place) -> Schedule:
        """Check a schedule that is not made of others."""
        match schedule:
            case ReduceOnPlateau() if not at.last:
                self._faults.add(
                    at.path, "conflict",
                    f"{at.path}: reduce_on_plateau follows the loss and must come last; nothing can"
                    " follow it in a sequence or be chained with it",
                )  # fmt: skip
            case OneCycle() | Cyclic():
                return self._cycle(schedule, at)
            case Cosine(T_max=None):
                return _with(schedule, T_max=self._end(at, "T_max"))
            case Polynomial(total_iters=None):
                return _with(schedule, total_iters=self._end(at, "total_iters"))
            case InverseSqrt(warmup_steps=warmup):
                self._check_warmup(at.path, warmup, at.left)
                return _with(schedule, timescale=schedule.timescale or warmup or 10_000)
            case WarmupStableDecay() | CosineWithMinLr() | PowerCooldown():
                return self._falling(schedule, at)
            case Piecewise():
                self._check_pieces(schedule, at.path)
            case _:
                pass
        return schedule

    def _end(self, at: _Place, name: str) -> int:
        """Return the length that a schedule without one has, where the budget says it."""
        if at.open:
            self._faults.add(
                f"{at.path}.{name}", "missing",
                f"{at.path}.{name} follows from the budget unless it is given, and"
                " budget.max_seconds alone does not say how many updates that is: give"
                f" {at.path}.{name}, budget.max_steps or budget.max_epochs",
            )  # fmt: skip
        return at.steps

    def _check_warmup(
        self, path: str, steps: int, left: int | None, name: str = "warmup_steps"
    ) -> None:
        if left is None or not 0 < left < steps:
            return
        self._faults.add(
            f"{path}.{name}", "less_than_equal",
            f"{path}.{name} must be at most {left:,}, the updates that the budget has for it;"
            f" {steps:,} was given: shorten the warm-up, or raise budget.{self._length}",
        )  # fmt: skip

    def _warmup(self, schedule: Warmup, at: _Place) -> Schedule:
        self._check_warmup(at.path, schedule.steps, at.left, "steps")
        then = at._replace(
            path=f"{at.path}.then",
            steps=at.steps - schedule.steps,
            left=None if at.left is None else at.left - schedule.steps,
            depth=at.depth + 1,
        )
        return _with(schedule, then=self._resolve(schedule.then, then))

    def _falling(
        self, schedule: WarmupStableDecay | CosineWithMinLr | PowerCooldown, at: _Place
    ) -> Schedule:
        """Write out the end, and the length of the part before it in which the rate falls."""
        total = schedule.total_steps
        if total is None:
            total = self._end(at, "total_steps")
        match schedule:
            case WarmupStableDecay(warmup_steps=rise):
                name, given, share = "decay_steps", schedule.decay_steps, total // _DECAY
            case PowerCooldown():
                rise, name = 0, "cooldown_steps"
                given, share = schedule.cooldown_steps, total // _COOLDOWN
            case CosineWithMinLr(warmup_steps=rise):
                name, given, share = "total_steps", None, total - rise
            case _:
                assert_never(schedule)
        before = len(self._faults.errors)
        self._check_warmup(at.path, rise, at.left)
        length = given or max(1, min(share, total - rise))
        if rise + length > total and not self._stored and before == len(self._faults.errors):
            field = f"{at.path}.{name if given or not rise else 'warmup_steps'}"
            risen = f", after {rise:,} of warm-up," if rise else ""
            self._faults.add(
                field, "less_than_equal",
                f"{field}: {length:,} updates of decay{risen} do not fit into total_steps ="
                f" {total:,}: give fewer, or raise {at.path}.total_steps (which follows from"
                f" {at.end or f'budget.{self._length}'} unless it is given)",
            )  # fmt: skip
        if isinstance(schedule, CosineWithMinLr):
            return _with(schedule, total_steps=total)
        return _with(schedule, total_steps=total, **{name: length})

    def _check_pieces(self, schedule: Piecewise, path: str) -> None:
        boundaries, factors = schedule.boundaries, schedule.factors
        if len(factors) != len(boundaries) + 1:
            self._faults.add(
                f"{path}.factors", "length_mismatch",
                f"{path}.factors needs one more than there are boundaries ({len(boundaries) + 1});"
                f" {len(factors)} were given",
            )  # fmt: skip
        if any(b <= a for a, b in pairwise(boundaries)):
            self._faults.add(
                f"{path}.boundaries", "not_ordered",
                f"{path}.boundaries must increase; {list(boundaries)} was given",
            )  # fmt: skip

    def _sequential(self, schedule: Sequential, at: _Place) -> Schedule:
        count, milestones = len(schedule.schedules), schedule.milestones
        if len(milestones) != count - 1:
            self._faults.add(
                f"{at.path}.milestones", "length_mismatch",
                f"{at.path}.milestones needs one step for each schedule after the first"
                f" ({count - 1}); {len(milestones)} were given",
            )  # fmt: skip
            return schedule
        if any(b <= a for a, b in pairwise(milestones)):
            self._faults.add(
                f"{at.path}.milestones", "not_ordered",
                f"{at.path}.milestones must increase; {list(milestones)} was given",
            )  # fmt: skip
        spans = pairwise((0, *milestones, at.steps))
        inner = []
        for i, (part, (start, end)) in enumerate(zip(schedule.schedules, spans, strict=True)):
            final = i == count - 1
            here = _Place(
                f"{at.path}.schedules.{i}", end - start,
                None if at.left is None else at.left - start,
                at.open and final, at.depth + 1, at.last and final,
                at.end if final else f"{at.path}.milestones.{i}",
            )  # fmt: skip
            inner.append(self._resolve(part, here))
        return _with(schedule, schedules=tuple(inner))

    def _chained(self, schedule: Chained, at: _Place) -> Schedule:
        inner = []
        for i, part in enumerate(schedule.schedules):
            here = f"{at.path}.schedules.{i}"
            if isinstance(part, (Warmup, Sequential, OneCycle, Cyclic)):
                self._faults.add(
                    here, "conflict",
                    f"{here}: {part.kind} sets the rate itself and cannot be chained; chained takes"
                    " schedules whose factors multiply (for a warm-up chain linear, or put chained"
                    " into a sequential)",
                )  # fmt: skip
            if isinstance(part, ConstantFactor) and part.factor == 0.0 < part.total_iters:
                self._faults.add(
                    f"{here}.factor", "conflict",
                    f"{here}.factor 0 cannot be chained: nothing multiplied by 0 gives the rate"
                    " back at its end; put constant_factor and what follows into a sequential",
                )  # fmt: skip
            inner.append(
                self._resolve(part, at._replace(path=here, depth=at.depth + 1, last=False))
            )
        return _with(schedule, schedules=tuple(inner))

    def _cycle(self, schedule: OneCycle | Cyclic, at: _Place) -> Schedule:
        path = at.path
        kind, fields = self._optimizer.kind, type(self._optimizer).model_fields
        cycles = "momentum" in fields or "betas" in fields
        cycle_momentum = schedule.cycle_momentum
        if cycle_momentum is None:
            cycle_momentum = cycles
        elif cycle_momentum and not cycles:
            self._faults.add(
                f"{path}.cycle_momentum", "conflict",
                f"{path}.cycle_momentum needs an optimizer with momentum or betas;"
                f" {kind} has neither: set it to false",
            )  # fmt: skip
        for name in ("base_momentum", "max_momentum"):
            if cycle_momentum and "betas" in fields and getattr(schedule, name) == 1.0:
                self._faults.add(
                    f"{path}.{name}", "less_than",
                    f"{path}.{name} must be less than 1 for {kind}, whose first beta it sets;"
                    " 1 was given: give less, or set cycle_momentum to false",
                )  # fmt: skip
        if isinstance(schedule, OneCycle):
            return _with(
                schedule,
                max_lr=self._lr if schedule.max_lr is None else schedule.max_lr,
                total_steps=schedule.total_steps or self._end(at, "total_steps"),
                cycle_momentum=cycle_momentum,
            )
        if schedule.base_lr > schedule.max_lr:
            self._faults.add(
                f"{path}.base_lr", "less_than_equal",
                f"{path}.base_lr must be at most max_lr = {schedule.max_lr:g};"
                f" {schedule.base_lr:g} was given",
            )  # fmt: skip
        down = schedule.step_size_down
        return _with(
            schedule,
            step_size_down=schedule.step_size_up if down is None else down,
            cycle_momentum=cycle_momentum,
        )


def _with(schedule: Schedule, **fields: object) -> Schedule:
    if all(getattr(schedule, name) == value for name, value in fields.items()):
        return schedule
    return schedule.model_copy(update=fields)


def _length(budget: Budget) -> str | None:
    """Return the field of the budget that says how many updates it is."""
    if budget.max_steps is not None:
        return "max_steps"
    return "max_epochs" if budget.max_epochs is not None else None
