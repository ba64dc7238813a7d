"""Rules of what is put around an optimizer, and of groups; what follows from the budget and the
model is written out."""

from fnmatch import fnmatchcase
from typing import Final

from core.specs.job import ClipOnDivergence, DataProblem, FunctionProblem, JobSpec
from core.specs.optimizers.kinds import LBFGS, Optimizer, Prodigy, Rprop, ScheduleFree
from core.specs.optimizers.wrappers import Average, Lookahead, ParameterGroup, Sam, Swa, Wrapper
from core.specs.sizes.shapes import layers_of
from core.specs.validation.errors import FieldErrorList, shown

SHARE: Final = 0.75
"""Share of the budget after which SWA begins, as in the paper's experiments."""


def resolve_wrap(
    optimizer: Optimizer, spec: JobSpec, steps: int, faults: FieldErrorList
) -> Optimizer:
    """Return the optimizer with its wrappers resolved, over a budget of `steps` updates.

    Args:
        spec: as it was posted: a budget of seconds alone has no three quarters.
    """
    if not optimizer.wrap:
        return optimizer
    found: list[Wrapper] = []
    for place, each in enumerate(optimizer.wrap):
        here = f"optimizer.wrap.{place}"
        if each.kind in {one.kind for one in found}:
            faults.add(
                f"{here}.kind", "duplicate",
                f"{here}: {each.kind} is there already; give one of a kind at most",
            )  # fmt: skip
        _check_with(optimizer, each, here, spec, faults)
        found.append(_swa(each, here, spec, steps, faults) if isinstance(each, Swa) else each)
    return optimizer.model_copy(update={"wrap": tuple(found)})


def _check_with(
    optimizer: Optimizer, each: Wrapper, here: str, spec: JobSpec, faults: FieldErrorList
) -> None:
    """Refuse what cannot work together."""
    kind = optimizer.kind
    if isinstance(optimizer, LBFGS) and isinstance(each, Sam | Lookahead):
        faults.add(
            here, "conflict",
            f"{here}: {each.kind} cannot be put around lbfgs, which compares the gradients of the"
            " points that it goes to itself: leave it out, or choose another optimizer, such as"
            " adam",
        )  # fmt: skip
    if isinstance(optimizer, ScheduleFree) and isinstance(each, Average | Lookahead):
        faults.add(
            here, "conflict",
            f"{here}: {each.kind} cannot be put around {kind}, which averages its points itself:"
            " leave it out, or choose sgd or adamw",
        )  # fmt: skip
    if isinstance(each, Sam) and isinstance(spec.on_divergence, ClipOnDivergence):
        faults.add(
            "on_divergence.action", "conflict",
            f'on_divergence.action "clip" clips the gradient of the row, and {here} (sam) steps by'
            ' another: choose "rollback" or "skip"',
        )  # fmt: skip


def _swa(each: Swa, here: str, spec: JobSpec, steps: int, faults: FieldErrorList) -> Swa:
    start = each.start
    if start is None:
        budget = spec.budget
        if budget.max_seconds is not None and budget.max_steps is budget.max_epochs is None:
            faults.add(
                f"{here}.start", "missing",
                f"{here}.start is three quarters of the budget's updates unless it is given, and"
                " budget.max_seconds alone does not say how many these are: give"
                f" {here}.start, or budget.max_steps",
            )  # fmt: skip
            return each
        return each.model_copy(update={"start": max(1, int(SHARE * steps))})
    if start > steps:
        faults.add(
            f"{here}.start", "less_than_equal",
            f"{here}.start must be at most the budget's {steps:,} updates, else nothing is"
            f" averaged; {start:,} was given",
        )  # fmt: skip
    return each


def resolve_groups(
    optimizer: Optimizer, problem: DataProblem | FunctionProblem, faults: FieldErrorList
) -> Optimizer:
    """Return the optimizer with the names that fell into each group, of a resolved problem."""
    if not optimizer.groups:
        return optimizer
    if isinstance(problem, FunctionProblem):
        faults.add(
            "optimizer.groups", "conflict",
            "optimizer.groups are of a model's parameters, and a function has one point: leave them"
            " out",
        )  # fmt: skip
        return optimizer
    if isinstance(optimizer, LBFGS | Prodigy):
        faults.add(
            "optimizer.groups", "conflict",
            f"optimizer.groups cannot be used with {optimizer.kind}, which finds one step for all"
            " parameters together: leave them out, or choose another optimizer, such as adamw",
        )  # fmt: skip
        return optimizer
    left = [parameter.name for parameter in layers_of(problem).parameters]
    found: list[ParameterGroup] = []
    for place, group in enumerate(optimizer.groups):
        here = f"optimizer.groups.{place}"
        mine = tuple(name for name in left if matches(group.match, name))
        if not mine:
            faults.add(
                f"{here}.match", "no_match",
                f"{here}.match: {shown(group.match)} is left with no parameter; {_way_out(left)}",
            )  # fmt: skip
        if group.weight_decay is not None and isinstance(optimizer, Rprop):
            faults.add(
                f"{here}.weight_decay", "conflict",
                f"{here}.weight_decay: {optimizer.kind} has no weight decay; leave it out",
            )  # fmt: skip
        left = [name for name in left if name not in set(mine)]
        found.append(group.model_copy(update={"parameters": mine}))
    if not left and all(group.frozen_steps for group in found):
        faults.add(
            "optimizer.groups", "conflict",
            "optimizer.groups freeze every parameter at first: nothing would be trained; set"
            " frozen_steps of one group to 0",
        )  # fmt: skip
    return optimizer.model_copy(update={"groups": tuple(found)})


def matches(pattern: str, name: str) -> bool:
    """Tell whether one of the pattern's alternatives is the name: `*` any characters, `?` one."""
    return any(fnmatchcase(name, part.replace("[", "[[]")) for part in pattern.split("|"))


def _way_out(left: list[str]) -> str:
    """Say what a group may match, by the names that no group before it took."""
    if not left:
        return (
            "the groups before it took all: put it before the one that takes those that it is"
            " meant for, or leave it out"
        )
    return (
        f"match some of those that no group before it took ({_listed(left)}), or leave the group"
        " out"
    )


def _listed(names: list[str]) -> str:
    """Return the first few names, for a message."""
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more
