"""Configurations that are equal when resolved are one: trained once, counted once."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from core.specs.base import Json, Spec
from core.specs.data import Inline
from core.specs.job import DataProblem, JobSpec
from core.specs.studies.sweep import Axis, drawn, grid
from core.specs.study import GridStrategy, RandomStrategy

MOST_REDRAWS: Final = 100
"""Draws anew of a configuration that is a copy, before a study has fewer."""


class Distinct:
    """Tells the first of equal configurations from its copies."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, ...]] = set()
        self._last: dict[str, tuple[Any, str]] = {}

    def is_new(self, spec: JobSpec) -> bool:
        """Tell whether no equal one came before; from now on one has."""
        texts = []
        for name, part in vars(spec).items():
            last = self._last.get(name)
            if last is None or last[0] is not part:  # most parts are the last one's: known texts
                last = self._last[name] = part, _text(part)
            texts.append(last[1])
        key = tuple(texts)
        new = key not in self._seen
        self._seen.add(key)
        return new


def _text(part: Any) -> str:
    """Return a text that is equal for equal parts of resolved specs."""
    if isinstance(part, DataProblem) and isinstance(part.data, Inline):
        without: Any = {"data": {"features", "targets"}}
        return part.model_dump_json(exclude=without) + part.data.digest
    return part.model_dump_json() if isinstance(part, Spec) else repr(part)


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
