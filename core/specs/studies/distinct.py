"""Configurations that are equal when resolved are one: trained once, counted once."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from core.specs.base import Json
from core.specs.data import Inline
from core.specs.job import JobSpec, Supervised
from core.specs.studies.sweep import Axis, drawn, grid
from core.specs.study import GridStrategy, RandomStrategy

MOST_REDRAWS: Final = 100
"""Draws anew of a configuration that is a copy, before a study has fewer."""


class Distinct:
    """Tells the first of equal configurations from its copies."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def is_new(self, spec: JobSpec) -> bool:
        """Tell whether no equal one came before; from now on one has."""
        key = _key(spec)
        new = key not in self._seen
        self._seen.add(key)
        return new


def _key(spec: JobSpec) -> str:
    """Return a text that is equal for equal resolved specs."""
    problem = spec.problem
    if isinstance(problem, Supervised) and isinstance(problem.data, Inline):
        without: Any = {"problem": {"data": {"features", "targets"}}}
        return spec.model_dump_json(exclude=without) + problem.data.digest
    return spec.model_dump_json()


def alternatives(
    strategy: GridStrategy | RandomStrategy, axes: Sequence[Axis]
) -> Iterator[Iterator[Json]]:
    """Yield for each configuration of the strategy its parameters, then what is to be tried in turn
    where these make a copy of an earlier one."""
    if isinstance(strategy, GridStrategy):
        yield from (iter((params,)) for params in grid(axes))
        return
    for number in range(strategy.num_runs):
        yield (drawn(axes, strategy.seed, number, again) for again in range(MOST_REDRAWS + 1))
