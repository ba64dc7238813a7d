"""Rules of what is put around an optimizer; lengths that follow from the budget are written out."""

from typing import Final

from core.specs.job import ClipOnDivergence, JobSpec
from core.specs.optimizers import (
    LBFGS,
    Average,
    Lookahead,
    Optimizer,
    Sam,
    ScheduleFree,
    Swa,
    Wrapper,
)
from core.specs.validation.errors import FieldErrorList

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
