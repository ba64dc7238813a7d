"""Resolution of the rest of a study, once its configurations are known to be right: metric,
strategy, limits."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, assert_never

from core.errors import FieldError
from core.specs.base import Json
from core.specs.direction import Goal
from core.specs.losses import DEFAULT_METRICS, EVAL, METRICS
from core.specs.sizes.study import StudySummary
from core.specs.studies.halving import SHORT_RUNG, default_min_steps, most_updates
from core.specs.studies.sweep import applied
from core.specs.studies.validation import batch_size
from core.specs.study import (
    GridStrategy,
    Metric,
    RandomStrategy,
    Strategy,
    StudySpec,
    SuccessiveHalving,
    TpeStrategy,
)
from core.specs.validation.errors import FieldErrorList, shown, size_text
from core.specs.validation.limits import Limits

_LOSSES: Final = ("loss", "eval.loss")
"""Metrics whose goal is the runs' own direction, unless it is given."""
_RECORDED: Final = "base.record.metrics"


def with_metric(base: Json, name: str | None) -> Json:
    """Return the base with the study's metric among those that its runs evaluate."""
    metric = "" if name is None else name.removeprefix(EVAL)
    record = base.get("record", {})
    if metric == name or metric not in METRICS or not isinstance(record, dict):
        return base
    metrics = record.get("metrics", [each.kind for each in DEFAULT_METRICS])
    if not isinstance(metrics, list) or metric in map(_kind, metrics):
        return base
    return {**base, "record": {**record, "metrics": [*metrics, metric]}}


def _kind(metric: object) -> object:
    return metric.get("kind") if isinstance(metric, dict) else metric


def lay_to_metric(asked: Metric, base: Json, faults: FieldErrorList) -> None:
    """Lay mistakes that `with_metric` brought about to the metric, which the user wrote; `base`: as
    it is with it."""
    added = f"{_RECORDED}.{len(base['record']['metrics']) - 1}"
    for place, error in enumerate(faults.errors):
        if not error.param.startswith(_RECORDED):
            continue
        of_function = error.code == "conflict"
        if of_function or error.param == added or error.param.startswith(f"{added}."):
            message = error.message.removeprefix(f"{error.param}: ")
            message = message.split("; ", 1)[0] if of_function else message
            text = f"metric.name: {shown(asked.name)} cannot be evaluated: {message}"
            faults.errors[place] = FieldError("metric.name", "unknown_metric", text)


def check_lengths(
    base: Json, chosen: Sequence[Json], facts: StudySummary, faults: FieldErrorList
) -> None:
    """Refuse a study in which a run is limited by time alone and the budget is not the same for
    all: nobody could tell from the study how long each run may be. (A budget that is the same for
    all has its length written out: as long as the history is allowed to be.)"""
    in_budget = {path for params in chosen for path in params if path.split(".")[0] == "budget"}
    if "budget" not in facts.varying and not in_budget:
        return
    for number, params in enumerate(chosen):
        swept = {path: value for path, value in params.items() if path in in_budget}
        budget = applied(
            {"budget": base.get("budget")}, swept
        )["budget"] or {}  # fmt: skip
        if budget.get("max_seconds") is None or _sized(budget):
            continue
        faults.add(
            "base.budget.max_steps", "missing",
            f"base.budget.max_steps is required: configuration {number} is limited by max_seconds"
            f" {shown(budget['max_seconds'])} alone, and the configurations would differ in how"
            " long they may get; give the most updates of a run",
        )  # fmt: skip
        return


def _sized(budget: Json) -> bool:
    return any(budget.get(name) is not None for name in ("max_steps", "max_epochs"))


def settled_metric(
    metric: Metric, sweep: Iterable[str], facts: StudySummary, faults: FieldErrorList
) -> Metric:
    """Write the metric's name and goal out. `sweep`: the study's paths."""
    names = facts.metrics
    name = metric.name
    if name is None:
        name = "eval.loss" if "eval.loss" in names else "loss"
    if name not in names:
        faults.add(
            "metric.name", "unknown_metric",
            f"metric.name: {shown(name)} is not recorded by every run of this study; its runs have"
            f" {', '.join(names)}{_why_not(name, names, sweep)}",
        )  # fmt: skip
    facts_of = METRICS.get(name.removeprefix(EVAL))
    goal = metric.goal or (facts_of and facts_of.goal) or "min"
    if name in _LOSSES:
        goal = _direction(metric, name, facts, faults)
    return metric.model_copy(update={"name": name, "goal": goal})


def _direction(metric: Metric, name: str, facts: StudySummary, faults: FieldErrorList) -> Goal:
    """Return the goal of a loss: what is asked for, else where all runs take it."""
    if metric.goal is not None:
        return metric.goal
    if len(facts.goals) > 1:
        others = [each for each in facts.metrics if each not in _LOSSES]
        other = f", compare them by {' or '.join(others)}" if others else ""
        faults.add(
            "metric.goal", "missing",
            f"metric.goal is required: some configurations maximize their loss"
            f" (optimizer.maximize) and others minimize it, so that {name} has no better side of"
            f' its own; give "min" or "max"{other}, or make a study of each',
        )  # fmt: skip
    return next(iter(sorted(facts.goals, reverse=True)), "min")


def _why_not(name: str, names: tuple[str, ...], sweep: Iterable[str]) -> str:
    """Say why the runs do not record a metric, and the way out."""
    if name.startswith("test."):
        return " (the test is made once, at the end, and nothing is chosen by it)"
    if not name.startswith(EVAL):
        return ""
    if len(names) == 1:
        return " (an eval metric needs evaluation rows in every run: see data.split)"
    metric = name.removeprefix(EVAL)
    setting = next((path for path in sweep if path in ("record", "record.metrics")), None)
    if metric in METRICS and setting is not None:
        return f" (sweep.{setting} sets record.metrics: have {metric} there in each of its values)"
    return ""


def settled_strategy(
    asked: StudySpec, metric: Metric, count: int, facts: StudySummary, faults: FieldErrorList
) -> Strategy:
    """Return the strategy with its batch size and its stopper's first rung written out."""
    strategy = asked.strategy
    bracket = count
    if isinstance(strategy, TpeStrategy):
        at_a_time = batch_size(strategy, asked.repeats)
        bracket = min(count, at_a_time)
        if strategy.batch_size is None:
            strategy = strategy.model_copy(update={"batch_size": bracket})
        if strategy.group and not strategy.multivariate:
            faults.add(
                "strategy.group", "conflict",
                "strategy.group is true, but strategy.multivariate is false: each parameter has a"
                " density of its own then, and none are grouped; leave one of the two out",
            )  # fmt: skip
    stopper = strategy.stopper
    if stopper is None:
        return strategy
    before = len(faults.errors)
    if bracket < stopper.factor:
        batch = " in a batch" if isinstance(strategy, TpeStrategy) else ""
        faults.add(
            "strategy.stopper", "too_few_configurations",
            f"strategy.stopper: with {bracket} configurations{batch} the best 1/{stopper.factor} is"
            f" less than one; have at least {stopper.factor}, lower factor, or leave it out",
        )  # fmt: skip
    multiple = _multiple(metric, facts, faults)
    if len(faults.errors) > before:
        return strategy
    longest = max(facts.steps)
    first = stopper.min_steps
    if first is None:
        first = default_min_steps(bracket, stopper.factor, longest, multiple)
    _check_first(stopper, first, multiple, longest, faults)
    return strategy.model_copy(update={"stopper": stopper.model_copy(update={"min_steps": first})})


def _multiple(metric: Metric, facts: StudySummary, faults: FieldErrorList) -> int:
    """Return what the first rung must be a multiple of, for the metric to be known there.

    A run that pauses is evaluated as it is; only the best of its evaluations needs some before.
    """
    if metric.name == "loss" or metric.at == "final":
        return 1
    if None in facts.eval_every:
        faults.add(
            "base.record.eval_every", "conflict",
            f"base.record.eval_every is null, so that the best {metric.name} is known at the end"
            " alone, but strategy.stopper ranks by it on the way; give eval_every, or the metric's"
            " at final",
        )  # fmt: skip
        return 1
    return math.lcm(*(every for every in facts.eval_every if every is not None))


def _check_first(
    stopper: SuccessiveHalving, first: int, multiple: int, longest: int, faults: FieldErrorList
) -> None:
    if first >= longest:
        way_out = "lower it" if stopper.min_steps else "lower record.eval_every or raise the budget"
        faults.add(
            "strategy.stopper.min_steps", "no_rung",
            f"strategy.stopper.min_steps {first:,} is not below the {longest:,} updates of a run,"
            f" so that nothing would be stopped; {way_out}, or leave the stopper out",
        )  # fmt: skip
    elif first % multiple:
        nearest = -(-first // multiple) * multiple
        nearest = nearest if nearest < longest else nearest - multiple
        way_out = f"give {nearest:,}" if nearest else "lower record.eval_every or raise the budget"
        faults.add(
            "strategy.stopper.min_steps", "not_a_multiple",
            f"strategy.stopper.min_steps {first:,} is no multiple of record.eval_every ="
            f" {multiple:,}: the best evaluation is not known at that step; {way_out}",
        )  # fmt: skip


def warnings_of(strategy: Strategy, longest: int) -> Iterator[FieldError]:
    """Yield what is allowed and doubtful in a resolved strategy; `longest`: updates of a run."""
    if strategy.stopper is None or strategy.stopper.min_steps is None:
        return
    first = strategy.stopper.min_steps
    if first * SHORT_RUNG < longest:
        yield FieldError(
            "strategy.stopper.min_steps", "short_rung",
            f"strategy.stopper.min_steps is {first:,}, less than an eighth of the {longest:,}"
            " updates of a run: what learns slowly at first is stopped there, often that which"
            f" would have been best at the end; give {-(-longest // SHORT_RUNG):,} or more to be"
            " surer",
        )  # fmt: skip


def most_updates_of(
    strategy: Strategy, facts: StudySummary, count: int, num_given: int, repeats: int
) -> int:
    """Return the most updates of all runs.

    Args:
        count: configurations that the strategy chooses; of `tpe` each may be the longest.
        num_given: the first in `facts`, which the study was given.
    """
    given, steps = sum(facts.steps[:num_given]), facts.steps[num_given:]
    match strategy:
        case GridStrategy() | RandomStrategy():
            stopper = strategy.stopper
            if stopper is None or not steps:
                return sum(facts.steps) * repeats
            found = most_updates(steps, stopper.min_steps or 1, stopper.factor)
            return (given + found) * repeats
        case TpeStrategy():
            found = _most_updates_in_batches(strategy, max(facts.steps), count)
            return (given + found) * repeats
        case _:
            assert_never(strategy)


def _most_updates_in_batches(strategy: TpeStrategy, longest: int, count: int) -> int:
    stopper = strategy.stopper
    if stopper is None:
        return longest * count
    size = min(strategy.batch_size or 1, max(count, 1))
    full, rest = divmod(count, size)
    first = stopper.min_steps or 1
    total = full * most_updates([longest] * size, first, stopper.factor)
    if rest:
        total += most_updates([longest] * rest, first, stopper.factor)
    return total


def history_of(strategy: Strategy, facts: StudySummary, count: int, repeats: int) -> int:
    """Return the most bytes of all runs' histories."""
    match strategy:
        case TpeStrategy():
            return facts.largest_history * count * repeats
        case GridStrategy() | RandomStrategy():
            return facts.history_bytes * repeats
        case _:
            assert_never(strategy)


def _way_to_fewer(strategy: Strategy) -> str:
    match strategy:
        case GridStrategy():
            return "lower the counts of sweep"
        case RandomStrategy() | TpeStrategy():
            return "lower num_runs"
        case _:
            assert_never(strategy)


def check_totals(
    strategy: Strategy,
    num_runs: int,
    updates: int,
    history: int,
    limits: Limits,
    faults: FieldErrorList,
) -> None:
    """Check the steps and histories of all runs against the limits."""
    fewer = _way_to_fewer(strategy)
    if updates > limits.max_study_steps:
        faults.add(
            "base.budget", "too_many_steps",
            f"base.budget: {num_runs:,} runs would apply {updates:,} updates in all; this service"
            f" allows {limits.max_study_steps:,} a study: shorten the budget to"
            f" 1/{-(-updates // limits.max_study_steps):,} of it, {fewer} or repeats",
        )  # fmt: skip
    if history > limits.max_history_bytes:
        factor = -(-history // limits.max_history_bytes)
        faults.add(
            "base.record.every", "history_too_large",
            f"base.record.every: the histories of {num_runs:,} runs would take about"
            f" {size_text(history)} together; this service allows"
            f" {size_text(limits.max_history_bytes)}: record a row every {factor:,} times as many"
            f" steps (record.every, record.eval_every), {fewer} or repeats",
        )  # fmt: skip
