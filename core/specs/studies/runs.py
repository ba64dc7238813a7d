"""A resolved study's configurations and the resolved specs of its runs."""

import json

from core.formats import STORE
from core.specs.base import Json
from core.specs.job import JobSpec
from core.specs.studies.configurations import Jobs
from core.specs.studies.distinct import Distinct, alternatives
from core.specs.studies.sweep import Axis, axes_of
from core.specs.study import GridStrategy, RandomStrategy, Strategy, StudySpec, TpeStrategy
from core.specs.validation.limits import NO_LIMITS


def configurations(spec: Json) -> list[Json]:
    """Return the parameters (dotted path: value) of every configuration of a resolved study; none
    for `tpe`, whose plans choose them."""
    return [params for params, _ in resolved_configurations(spec)]


def resolved_configurations(
    spec: Json, written: int = STORE, count: int | None = None
) -> list[tuple[Json, JobSpec]]:
    """Return the same, each with the resolved spec of its first run; no two specs are equal.

    Args:
        written: the format in which the study was stored.
        count: of the configurations that the study was accepted with. The versions that counted
            copies as configurations of their own accepted it with more: it keeps them, under their
            numbers.
    """
    strategy = strategy_of(spec)
    if isinstance(strategy, TpeStrategy):
        return []
    specs = RunSpecs(spec, written)
    found = drawn_configurations(strategy, spec, specs, Distinct(), 0)
    if count in (None, len(found)):
        return found
    listed = (next(some) for some in alternatives(strategy, sweep_of(spec)))
    return [(params, specs.of(params, 0)) for params in listed]


def drawn_configurations(
    strategy: GridStrategy | RandomStrategy,
    spec: Json,
    specs: "RunSpecs",
    known: Distinct,
    num_before: int,
) -> list[tuple[Json, JobSpec]]:
    """Return the strategy's configurations that are not known; of `random` those after the first
    `num_before` draws, up to one that finds only copies."""
    found = []
    is_random = isinstance(strategy, RandomStrategy)
    for number, some in enumerate(alternatives(strategy, sweep_of(spec))):
        if is_random and number < num_before:
            continue
        one = next(((p, s) for p in some if known.is_new(s := specs.of(p, 0))), None)
        if one is not None:
            found.append(one)
        elif is_random:
            break
    return found


def strategy_of(spec: Json) -> Strategy:
    """Return the strategy of a resolved study."""
    return _but_for_base(spec).strategy


def sweep_of(spec: Json) -> list[Axis]:
    """Return the sweep of a resolved study."""
    return axes_of(_but_for_base(spec).sweep, spec["base"])


def _but_for_base(spec: Json) -> StudySpec:
    """Validate the study without its base, which may hold data and is not needed here."""
    return StudySpec.model_validate_json(json.dumps({**spec, "base": {}}))


class RunSpecs:
    """Resolver of the job specs of a resolved study's runs; inline data is read once for all.

    `written`: the format in which the study was stored.
    """

    def __init__(self, spec: Json, written: int = STORE) -> None:
        self._jobs = Jobs(spec["base"], list(spec["sweep"]), NO_LIMITS, written)

    def of(self, params: Json, repeat: int) -> JobSpec:
        """Resolve the job spec of one run: posted as a job, it is the same run."""
        resolved = self._jobs.resolved(params)
        return resolved.model_copy(update={"seed": resolved.seed + repeat}) if repeat else resolved


def run_spec(spec: Json, params: Json, repeat: int, written: int = STORE) -> JobSpec:
    """Return the resolved job spec of one run of a resolved study (for many: `RunSpecs`)."""
    return RunSpecs(spec, written).of(params, repeat)
