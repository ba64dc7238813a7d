"""Reading of a request's bytes into a resolved study."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from core.errors import FieldError, InvalidInputError
from core.specs.base import Json
from core.specs.job import JobSpec
from core.specs.parsing.body import read_as
from core.specs.sizes.study import StudySummary
from core.specs.sizes.uploads import NO_UPLOADS, Uploads
from core.specs.studies.conditions import check_conditions
from core.specs.studies.configurations import UPLOADS, ConfigurationFaults, Jobs
from core.specs.studies.distinct import Distinct, alternatives
from core.specs.studies.given import (
    Inherited,
    Source,
    check_source,
    given_configurations,
    inherited,
    left_out,
)
from core.specs.studies.resolution import (
    check_lengths,
    check_totals,
    history_of,
    lay_to_metric,
    most_updates_of,
    settled_metric,
    settled_strategy,
    warnings_of,
    with_metric,
)
from core.specs.studies.sweep import Axis
from core.specs.studies.validation import (
    check_base,
    check_num_runs,
    check_numbers,
    checked,
    draws,
    good_axes,
    num_configurations,
    probes,
)
from core.specs.study import (
    PostedStudy,
    RandomStrategy,
    Strategy,
    StudySpec,
    TpeStrategy,
)
from core.specs.validation.errors import FieldErrorList, shown
from core.specs.validation.limits import Limits
from core.specs.validation.warnings.job import warnings_of_job
from core.specs.webhooks.url import check_webhook

MAX_OBJECTS: Final = 20_000
MAX_FIELDS: Final = 200_000
"""The most fields of a body. A study names many values; few of them can be mistaken at once."""


@dataclass(frozen=True)
class ResolvedStudy:
    """An accepted study, and what it will take.

    Attributes:
        spec: resolved, as JSON: `parse_study` of it is the same study.
        num_runs: of all configurations and their repeats.
        max_updates: at most, over all runs; what a stopper saves is taken off.
        memory_bytes: of the largest run by itself.
        history_bytes: of all runs, at most.
        warnings: what is allowed and doubtful.
        longest: most updates of a run.
        inherited: configurations of the study that it begins from.
        name, note: that it was posted with.
    """

    spec: Json
    labels: dict[str, str]
    num_configurations: int
    num_runs: int
    max_updates: int
    priority: int
    max_attempts: int
    device: str
    memory_bytes: int
    history_bytes: int
    warnings: tuple[FieldError, ...]
    longest: int
    inherited: tuple[Inherited, ...] = ()
    name: str | None = None
    note: str | None = None


def parse_study(
    body: bytes,
    limits: Limits,
    uploads: Uploads = NO_UPLOADS,
    source: Source | None = None,
) -> ResolvedStudy:
    """Read, check and resolve a study, and every one of its configurations (of `tpe`, which
    chooses them later, those in which mistakes would show). `uploads`: as of `parse_job`; `source`:
    the study that `warm_start_from` names.

    Raises:
        InvalidInputError: with every mistake found (at most 100, then how many more).
    """
    asked, value, mistakes = read_as(
        PostedStudy, body, max_objects=MAX_OBJECTS, max_fields=MAX_FIELDS
    )
    faults = FieldErrorList()
    faults.errors.extend(mistakes)
    if asked is None:
        faults.errors.extend(_mistakes_elsewhere(value, mistakes, limits, uploads))
        faults.raise_any()
    assert asked is not None
    if asked.warm_start_from is not None and source is None:
        faults.add(
            "warm_start_from", "unknown_study",
            f"warm_start_from: there is no study {asked.warm_start_from} that has ended",
        )  # fmt: skip
    resolved = _resolve(asked, limits, faults, uploads, source)
    faults.raise_any()
    assert resolved is not None
    return replace(resolved, name=asked.name, note=asked.note)


def _resolve(
    asked: StudySpec,
    limits: Limits,
    faults: FieldErrorList,
    uploads: Uploads,
    source: Source | None = None,
    *,
    strategy_known: bool = True,
) -> ResolvedStudy | None:
    """Check and resolve a study. `strategy_known`: otherwise `asked` has a default in the place of
    one with a mistake, and nothing is said of what depends on it."""
    base = with_metric(check_base(asked.base, faults), asked.metric.name)
    if asked.webhook is not None:
        check_webhook(asked.webhook, limits, faults)
    if uploads:
        base = {**base, UPLOADS: {id_: facts.to_json() for id_, facts in uploads.items()}}
    axes = good_axes(asked, base, asked.strategy if strategy_known else None, faults)
    dropped = set(asked.sweep) - {axis.path for axis in axes}
    if not dropped and strategy_known:
        check_num_runs(asked, axes, limits, faults)
        if not limits.stored:
            check_conditions(axes, asked.configurations, faults)
    # With a mistake already, the others are looked for in a few configurations only.
    few = bool(faults.errors)
    strategy = asked.strategy if strategy_known else None
    chosen = _Chosen.of(strategy, axes, few=few, stored=limits.stored)
    jobs = Jobs(base, list(asked.sweep), limits)
    chosen.begin(asked, axes, source, jobs, faults)
    facts = _check_all(asked, base, chosen, dropped, jobs, faults)
    check_numbers(asked, faults)
    if facts is None:
        if base.get("record") != asked.base.get("record"):
            lay_to_metric(asked.metric, base, faults)
        return None
    if not strategy_known:
        settled_metric(asked.metric, asked.sweep, facts, faults)
        return None
    return _settled(asked, base, axes, chosen, facts, limits, source, faults)


def _settled(
    asked: StudySpec,
    base: Json,
    axes: Sequence[Axis],
    chosen: "_Chosen",
    facts: StudySummary,
    limits: Limits,
    source: Source | None,
    faults: FieldErrorList,
) -> ResolvedStudy | None:
    """Check and resolve what is asked of all configurations together, once each is right."""
    given = [params for params, _ in chosen.given]
    check_lengths(base, given + chosen.params, facts, faults)
    of_strategy = num_configurations(asked.strategy, axes, limits.max_study_runs + 1)
    count = len(chosen.params) if chosen.numbered else of_strategy
    metric = settled_metric(asked.metric, asked.sweep, facts, faults)
    if source is not None:
        check_source(source, metric, chosen.inherited, faults)
    strategy = settled_strategy(asked, metric, count, facts, faults)
    if faults.errors:
        return None
    num_runs = (count + len(given)) * asked.repeats
    if given and num_runs > limits.max_study_runs:
        faults.add(
            "configurations", "too_many_runs",
            f"configurations: with these {len(given):,} the study has {num_runs:,} runs; this"
            f" service allows {limits.max_study_runs:,} a study: give fewer",
        )  # fmt: skip
    updates = most_updates_of(strategy, facts, count, len(given), asked.repeats)
    history = history_of(strategy, facts, count + len(given), asked.repeats)
    check_totals(strategy, num_runs, updates, history, limits, faults)
    first = facts.first
    assert first is not None
    written = {
        "base": _shared(base, facts, asked.sweep), "metric": metric, "strategy": strategy,
        "configurations": tuple(given),
    }  # fmt: skip
    settled = asked.model_copy(update=written)
    return ResolvedStudy(
        spec=storable(settled.model_dump(mode="json", include=set(StudySpec.model_fields))),
        labels=dict(asked.labels),
        num_configurations=count + len(given),
        num_runs=num_runs,
        max_updates=updates,
        priority=first.priority,
        max_attempts=first.max_attempts,
        device=first.device,
        memory_bytes=facts.memory_bytes,
        history_bytes=history,
        warnings=(
            *facts.warnings,
            *warnings_of(strategy, max(facts.steps)),
            *left_out(source, chosen.inherited),
        ),
        longest=max(facts.steps),
        inherited=tuple(chosen.inherited),
    )


@dataclass
class _Chosen:
    """The configurations of a study that are looked at.

    Attributes:
        some: for each the parameters, then those to try where they make a copy.
        numbered: whether they are the study's own, in order; else those in which mistakes show.
        params: of those that are no copies, once they have been looked at.
        given, inherited: what the study has besides.
        known: tells copies of any of these.
    """

    some: Iterable[Iterator[Json]]
    numbered: bool
    params: list[Json] = field(default_factory=list)
    given: list[tuple[Json, JobSpec]] = field(default_factory=list)
    inherited: list[Inherited] = field(default_factory=list)
    known: Distinct = field(default_factory=Distinct)

    @classmethod
    def of(
        cls, strategy: Strategy | None, axes: Sequence[Axis], *, few: bool, stored: bool
    ) -> "_Chosen":
        """Choose them; `few`: there is a mistake already, and the others are looked for.
        `strategy`: None where it is not known; `stored`: the study was accepted before."""
        if few or strategy is None or isinstance(strategy, TpeStrategy):
            found = probes(axes, most=100) if few else probes(axes)
            if isinstance(strategy, TpeStrategy) and not few and not stored:
                found += draws(axes, strategy)
            return cls([iter((params,)) for params in found], numbered=False)
        return cls(alternatives(strategy, axes), numbered=True)

    def begin(
        self,
        asked: StudySpec,
        axes: Sequence[Axis],
        source: Source | None,
        jobs: Jobs,
        faults: FieldErrorList,
    ) -> None:
        """Look at what the study has from elsewhere, unless there is a mistake already."""
        if faults.errors:
            return
        if source is not None:
            self.inherited = inherited(source, axes, jobs, asked.repeats, self.known)
        self.given = given_configurations(
            asked.configurations, axes, jobs, asked.repeats, self.known, faults
        )


def _check_all(
    asked: StudySpec,
    base: Json,
    chosen: _Chosen,
    dropped: set[str],
    jobs: Jobs,
    faults: FieldErrorList,
) -> StudySummary | None:
    """Resolve each configuration; None with mistakes.

    Args:
        dropped: paths of the sweep that have a mistake themselves: nothing is said of what may
            come of it.
    """
    found = ConfigurationFaults(
        list(asked.sweep), base, numbered=chosen.numbered, most=jobs.affordable_failures
    )
    doubts = ConfigurationFaults(
        list(asked.sweep), base, numbered=chosen.numbered, most=0, by_message=False
    )
    facts, known, number = StudySummary(), chosen.known, 0

    def take(params: Json, spec: JobSpec) -> None:
        doubts.add(len(facts.steps), params, warnings_of_job(spec, facts.add(spec), jobs.uploads))

    for params, given in chosen.given:
        take(params, given)
    for number, some in enumerate(chosen.some):
        for params in some:
            spec, errors = checked(jobs, params, asked.repeats)
            if errors or spec is None or not chosen.numbered or known.is_new(spec):
                break
        else:
            if isinstance(asked.strategy, RandomStrategy):
                break
            continue
        chosen.params.append(params)
        found.add(number, params, errors)
        if not found and spec is not None:
            take(params, spec)
        if found.enough:
            break
    for mistake in found.listed(number + 1):
        if not any(_touches(mistake.param, path) for path in dropped):
            faults.errors.append(mistake)
    if not faults.errors and facts.first is None:
        faults.add(
            "warm_start_from", "nothing_new",
            f"warm_start_from {shown(asked.warm_start_from)}: it has trained all configurations of"
            " this study; widen the sweep, or leave it out",
        )  # fmt: skip
    facts.warnings = tuple(doubts.listed(len(facts.steps)))
    return None if faults.errors else facts


def _touches(param: str, path: str) -> bool:
    """Tell whether a mistake may come from leaving the path out."""
    place = param.removeprefix("base.").removeprefix("sweep.")
    return place == path or place.startswith(path + ".") or path.startswith(place + ".")


def _shared(base: Json, facts: StudySummary, sweep: Mapping[str, Any]) -> Json:
    """Return the base with every part written out that no path varies and that is the same in
    all."""
    assert facts.first is not None
    swept = {path.split(".")[0] for path in sweep}
    resolved = facts.first.model_dump(mode="json", exclude=swept | facts.varying)
    kept = {name: part for name, part in base.items() if name not in resolved}
    names = [*JobSpec.model_fields]
    if "problem" not in resolved:  # each run's rows follow from its own
        names.append(UPLOADS)
    return {name: {**resolved, **kept}[name] for name in names
            if name in resolved or name in kept}  # fmt: skip


def storable(value: Any) -> Any:
    """Convert whole numbers beyond 64 bits to floats: only fields that take floats accept them."""
    if isinstance(value, dict):
        return {name: storable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [storable(item) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return float(value)
    return value


def _mistakes_elsewhere(
    value: Any, mistakes: list[FieldError], limits: Limits, uploads: Uploads
) -> list[FieldError]:
    """List what the rules find in the parts of a body whose fields are right."""
    if not isinstance(value, dict) or not isinstance(value.get("base"), dict):
        return []
    wrong = {error.param.split(".")[0] for error in mistakes}
    kept = {name: part for name, part in value.items() if name in StudySpec.model_fields}
    dropped: set[str] = set()
    if isinstance(kept.get("sweep"), dict):
        params = [error.param for error in mistakes]
        dropped = {
            path for path in kept["sweep"]
            if any(param == f"sweep.{path}" or param.startswith(f"sweep.{path}.")
                   for param in params)
        }  # fmt: skip
        kept["sweep"] = {path: part for path, part in kept["sweep"].items() if path not in dropped}
    for name in wrong - {"sweep", "base"}:
        kept.pop(name, None)
    try:
        asked, _, more = read_as(StudySpec, json.dumps(kept).encode(), max_objects=MAX_OBJECTS,
                                 max_fields=MAX_FIELDS)  # fmt: skip
    except (ValueError, InvalidInputError):
        return []
    if asked is None or more:
        return []
    faults = FieldErrorList()
    _resolve(asked, limits, faults, uploads, strategy_known="strategy" not in wrong)
    return [
        error for error in faults.errors
        if error.param.split(".")[0] not in wrong - {"sweep"}
        and not any(_touches(error.param, path) for path in dropped)
    ]  # fmt: skip
