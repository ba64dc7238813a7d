"""Configurations that a study has yet to train, from its spec and what it has trained."""

from collections.abc import Iterable
from dataclasses import dataclass

from core.specs.base import Json
from core.specs.job import JobSpec
from core.specs.studies.distinct import Distinct
from core.specs.studies.runs import RunSpecs, drawn_configurations, strategy_of
from core.specs.study import TpeStrategy


@dataclass(frozen=True)
class Further:
    """Configurations that a study has yet to train.

    Attributes:
        given: that it was given, with the resolved specs of their first runs.
        drawn: of a grid or of random draws.
    """

    given: list[tuple[Json, JobSpec]]
    drawn: list[tuple[Json, JobSpec]]


def further_configurations(
    spec: Json, written: int, known: Iterable[Json], num_drawn: int
) -> Further:
    """Return what a study has yet to train; of `tpe`, whose plans choose, what it was given.

    Args:
        spec: of the resolved study.
        written: the format in which it was stored.
        known: parameters of all that it has trained or inherited.
        num_drawn: number of those that its strategy chose.
    """
    strategy, specs, distinct = strategy_of(spec), RunSpecs(spec, written), Distinct()
    for params in known:
        distinct.is_new(specs.of(params, 0))
    of_given = ((params, specs.of(params, 0)) for params in spec.get("configurations", ()))
    given = [(params, job) for params, job in of_given if distinct.is_new(job)]
    if isinstance(strategy, TpeStrategy):
        return Further(given, [])
    return Further(given, drawn_configurations(strategy, spec, specs, distinct, num_drawn))
