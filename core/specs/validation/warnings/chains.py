"""Warnings of chained schedules whose factors do not multiply."""

from collections.abc import Iterator

from core.errors import FieldError
from core.specs.formulas.schedules import chain_parts
from core.specs.schedules import (
    ByFactor,
    Chained,
    Constant,
    CosineWarmRestarts,
    Schedule,
    Warmup,
    parts_of,
)


def warnings_of_chains(schedule: Schedule, path: str = "schedule") -> Iterator[FieldError]:
    """Yield what is chained with a schedule that sets the rate anew at each step, as torch's does,
    so that the factors do not multiply."""
    if isinstance(schedule, Chained):
        parts = chain_parts(schedule)
        places = [n for n, part in enumerate(parts) if isinstance(part, CosineWarmRestarts)]
        lost = [
            part.kind
            for place, part in enumerate(parts)
            if place not in places[-1:] and not isinstance(part, Constant | ByFactor)
        ]
        if places and lost:
            yield FieldError(
                path, "no_effect",
                f"{path}: cosine_warm_restarts sets the rate anew at each step, as in torch:"
                f" {', '.join(lost)} changes nothing before it in the chain, and single steps after"
                " it. For a product give a schedule that is a factor of the step (inverse_sqrt,"
                " piecewise, power_cooldown, …), or put them into a sequential",
            )  # fmt: skip
        return
    for number, part in enumerate(parts_of(schedule)):
        name = "then" if isinstance(schedule, Warmup) else f"schedules.{number}"
        yield from warnings_of_chains(part, f"{path}.{name}")
