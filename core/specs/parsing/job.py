"""Reading of a request's bytes into a resolved spec: all defaults written out, all mistakes
found."""

import json
from typing import Any, Final, NamedTuple, assert_never

from core.errors import FieldError
from core.specs.job import (
    DataProblem,
    Forecast,
    FunctionProblem,
    JobSpec,
    LanguageModel,
    OfData,
    Precision,
    Reconstruction,
    Record,
    Supervised,
)
from core.specs.parsing.body import read
from core.specs.sizes.cost import (
    BYTES_A_NUMBER,
    Estimate,
    estimate,
    history_bytes,
    memory_parts,
    threads_of,
)
from core.specs.sizes.extent import Extent, extent, extent_of, start_of, steps_of
from core.specs.sizes.uploads import NO_UPLOADS, Uploads
from core.specs.validation.auto_lr import check_auto
from core.specs.validation.errors import FieldErrorList, size_text
from core.specs.validation.evaluation import check_stop, resolve_record
from core.specs.validation.function import check_function_run, resolve_function
from core.specs.validation.limits import Limits
from core.specs.validation.run import (
    STEPS_OF_DATA,
    STEPS_OF_FUNCTIONS,
    check_bfloat16,
    check_longer,
    check_numbers,
    check_numbers_of_problem,
    resolve_budget,
    resolve_by_precision,
    resolve_optimizer,
)
from core.specs.validation.schedules import Schedules
from core.specs.validation.sequences import resolve_forecast, resolve_language_model
from core.specs.validation.supervised.batches import BatchSize, check_accumulate, resolve_batch
from core.specs.validation.supervised.ranges import check_ranges
from core.specs.validation.supervised.resolve import resolve_supervised
from core.specs.validation.wrappers import resolve_groups, resolve_wrap
from core.specs.webhooks.url import check_webhook


class Sized(NamedTuple):
    """A resolved spec with the sizes that follow from it.

    Attributes:
        memory_bytes: the estimate of what it takes.
    """

    spec: JobSpec
    size: Extent
    memory_bytes: int
    name: str | None = None
    """The name and the note that it was posted with."""
    note: str | None = None


def sized_of(spec: JobSpec) -> Sized:
    """Return a resolved spec with its sizes."""
    size = extent_of(spec)
    return Sized(spec, size, sum(memory_parts(spec, size, steps_of(spec.budget, size)).values()))


def parse_job(body: bytes, limits: Limits, uploads: Uploads = NO_UPLOADS) -> JobSpec:
    """Read, check and resolve a job spec.

    The result has every default written out: parsing its `model_dump_json()` again gives an equal
    spec. `uploads`: the data sets that it may name (`core.specs.sizes.uploads`).

    Raises:
        InvalidInputError: with every mistake found (at most 100, then how many more).
    """
    return parse_sized(body, limits, uploads).spec


def parse_sized(body: bytes, limits: Limits, uploads: Uploads = NO_UPLOADS) -> Sized:
    """Call `parse_job`, for those who need the sizes too."""
    posted, value, mistakes = read(body)
    faults = FieldErrorList()
    faults.errors.extend(mistakes)
    if posted is None:
        faults.errors.extend(_mistakes_elsewhere(value, mistakes, limits, uploads))
        faults.raise_any()
    assert posted is not None
    sized = _resolved(posted.spec, limits, faults, uploads)
    return sized._replace(name=posted.name, note=posted.note)


OF_THE_PROBLEM: Final = frozenset(
    {"problem", "batch_size", "precision", "accumulate", "record", "stop", "budget"}
)
"""Fields that, with the optimizer's kind, decide what the problem, its batches and its evaluations
are resolved to."""


def resolve(
    spec: JobSpec, limits: Limits, uploads: Uploads = NO_UPLOADS, like: Sized | None = None
) -> Sized:
    """Check and resolve a spec whose fields have been read, as `parse_job` does.

    Args:
        like: what another spec was resolved to that has the same fields `OF_THE_PROBLEM` and the
            same kind of optimizer: what follows from these is taken from it, unchecked.
    """
    return _resolved(spec, limits, FieldErrorList(), uploads, like)


def _resolved(
    spec: JobSpec,
    limits: Limits,
    faults: FieldErrorList,
    uploads: Uploads,
    like: Sized | None = None,
) -> Sized:
    sized = _resolve(spec, limits, faults, uploads, like)
    faults.raise_any()
    assert sized is not None
    return sized


def _resolve(
    spec: JobSpec,
    limits: Limits,
    faults: FieldErrorList,
    uploads: Uploads,
    like: Sized | None = None,
    *,
    budget_known: bool = True,
) -> Sized | None:
    """Resolve each part in turn; a problem that is wrong leaves the rest unresolved: None.

    Args:
        like: as `resolve` takes it.
        budget_known: otherwise a default stands in for what the number of updates follows from, and
            nothing is said of schedules that do not go with it.
    """
    optimizer = resolve_optimizer(spec.optimizer, faults)
    unchecked = limits.stored or not budget_known
    schedules = Schedules(optimizer, spec.budget, faults, stored=unchecked)
    if spec.webhook is not None:
        check_webhook(spec.webhook, limits, faults)
    check_auto(optimizer, spec.schedule, faults)
    settled = _resolve_problem(spec, limits, faults, uploads, like)
    if settled is None:
        # Without the problem's size the schedule can still be checked.
        schedules.resolve(spec.schedule, spec.budget.max_steps)
        return None
    problem, batch_size, precision = settled
    if spec.start_from is None or not limits.stored:  # else a checkpoint was made by it as it is
        optimizer = resolve_by_precision(optimizer, precision)
    check_numbers(spec, precision, faults)
    check_bfloat16(spec, precision, faults)
    if like is None:
        check_numbers_of_problem(spec.problem, precision, faults)
        record = resolve_record(spec.record, spec.stop, problem, faults)
        size = extent(problem, batch_size, record)
        check_stop(spec.stop, record, problem, size, faults)
    else:
        record, size = like.spec.record, like.size
    default = _default_steps(problem)
    affordable = _affordable_steps(record, size, limits)
    budget = resolve_budget(spec.budget, default, affordable, start_of(spec))
    steps = steps_of(budget, size)
    check_longer(budget, steps, spec.start_from, faults)
    resolved = spec.model_copy(
        update={
            "problem": problem,
            "optimizer": resolve_groups(
                resolve_wrap(optimizer, spec, steps, faults), problem, faults
            ),
            "schedule": schedules.resolve(spec.schedule, steps),
            "batch_size": batch_size,
            "budget": budget,
            "record": record,
            "precision": precision,
            "threads": spec.threads or threads_of(problem, batch_size, size),
        }
    )
    memory = _check_limits(resolved, size, steps, limits, faults)
    return Sized(resolved, size, memory)


def _default_steps(problem: DataProblem | FunctionProblem) -> int:
    match problem:
        case DataProblem():
            return STEPS_OF_DATA
        case FunctionProblem():
            return STEPS_OF_FUNCTIONS
        case _:
            assert_never(problem)


_Settled = tuple[DataProblem | FunctionProblem, BatchSize, Precision]


def _resolve_problem(
    spec: JobSpec, limits: Limits, faults: FieldErrorList, uploads: Uploads, like: Sized | None
) -> _Settled | None:
    if like is not None:
        assert like.spec.precision is not None, "the spec is resolved"
        return like.spec.problem, like.spec.batch_size, like.spec.precision
    if isinstance(spec.problem, FunctionProblem):
        return _resolve_function(spec, spec.problem, faults)
    return _resolve_data(spec, spec.problem, limits, faults, uploads)


def _resolve_function(
    spec: JobSpec, problem: FunctionProblem, faults: FieldErrorList
) -> _Settled | None:
    before = len(faults.errors)
    precision = spec.precision or "float64"
    resolved = resolve_function(problem, precision, faults)
    check_function_run(spec, faults)
    return (resolved, "full", precision) if len(faults.errors) == before else None


def _resolve_data(
    spec: JobSpec,
    problem: OfData,
    limits: Limits,
    faults: FieldErrorList,
    uploads: Uploads,
) -> _Settled | None:
    precision = spec.precision or "float32"
    resolved: DataProblem | None
    match problem:
        case LanguageModel():
            resolved = resolve_language_model(problem, limits, faults, uploads)
        case Forecast():
            resolved = resolve_forecast(problem, limits, faults, uploads)
        case Supervised() | Reconstruction():
            resolved = resolve_supervised(problem, limits, faults, uploads)
        case _:
            assert_never(problem)
    if resolved is None:
        return None
    before = len(faults.errors)
    check_ranges(resolved, precision, uploads, faults)
    batch_size = resolve_batch(spec, resolved, faults)
    check_accumulate(spec, resolved, batch_size, faults)
    return (resolved, batch_size, precision) if len(faults.errors) == before else None


def _affordable_steps(record: Record, size: Extent, limits: Limits) -> int:
    """Return about as many steps as the history limit allows, evaluations included."""
    train, evaluation = (sum(size.widths[kind].values()) for kind in ("train", "eval"))
    a_step = train / record.every + evaluation / (record.eval_every or limits.max_history_bytes)
    at_the_ends = 4 * (train + evaluation)
    return int((limits.max_history_bytes / BYTES_A_NUMBER - at_the_ends) / a_step)


def _check_limits(
    spec: JobSpec, size: Extent, steps: int, limits: Limits, faults: FieldErrorList
) -> int:
    """Check the sizes against the limits; return the estimate of the memory."""
    if isinstance(spec.problem, DataProblem) and size.num_parameters > limits.max_parameters:
        faults.add(
            "problem.model", "too_many_parameters",
            f"problem.model has {size.num_parameters:,} parameters; this service allows"
            f" {limits.max_parameters:,}: use fewer or narrower hidden layers",
        )  # fmt: skip
    parts = memory_parts(spec, size, steps)
    memory = sum(parts.values())
    if memory > limits.max_memory_bytes:
        param = max(parts, key=lambda name: parts[name])
        faults.add(
            param, "memory_too_large",
            f"the job would need about {size_text(memory)} of memory, {size_text(parts[param])} of"
            f" it for {param}; this service allows {size_text(limits.max_memory_bytes)}:"
            f" {_REMEDIES[param]}",
        )  # fmt: skip
    history = history_bytes(spec, size, steps)
    if history > limits.max_history_bytes:
        faults.add("record.every", "history_too_large", _too_long(spec, size, steps, limits))
    return memory


def _thinning(spec: JobSpec, size: Extent, steps: int, limits: Limits) -> int:
    """Return by which factor rows must be further apart for the history to fit."""
    factor = -(-history_bytes(spec, size, steps) // limits.max_history_bytes)
    while True:
        every, eval_every = spec.record.every * factor, spec.record.eval_every
        wider = {"every": every, "eval_every": eval_every and eval_every * factor}
        thinner = spec.record.model_copy(update=wider)
        trial = spec.model_copy(update={"record": thinner})
        if factor > steps or history_bytes(trial, size, steps) <= limits.max_history_bytes:
            return factor
        factor += -(-factor // 100)


def _too_long(spec: JobSpec, size: Extent, steps: int, limits: Limits) -> str:
    history, record = history_bytes(spec, size, steps), spec.record
    factor = _thinning(spec, size, steps, limits)
    affordable = start_of(spec) + _affordable_steps(record, size, limits)
    fewer = max(1, min(steps - 1, affordable))
    if spec.budget.max_steps is None and size.steps_per_epoch:
        shorter = f"budget.max_epochs to {max(1, fewer // size.steps_per_epoch):,}"
    else:
        shorter = f"budget.max_steps to {fewer:,}"
    way_out = f"raise record.every to {record.every * factor:,} or more"
    if record.eval_every is not None and size.eval_rows:
        way_out += f" (and record.eval_every to {record.eval_every * factor:,})"
    return (
        f"the history of {steps:,} steps would take about {size_text(history)}; this service allows"
        f" {size_text(limits.max_history_bytes)}: {way_out}, or lower {shorter}"
    )


_REMEDIES: Final = {
    "problem.function": "use fewer coordinates, or a quadratic without rotation_seed",
    "problem.model": "use fewer or narrower hidden layers",
    "problem.data": "use fewer samples or features",
    "record.gradient_cosine": "leave it out",
    "optimizer": "use an optimizer that keeps less (for lbfgs, lower optimizer.history_size)",
    "batch_size": "use a smaller batch_size, hold out fewer rows, or use narrower layers",
}


_APART: Final = ("optimizer", "schedule", "webhook")
"""Parts that are looked at although the problem is wrong."""
_STAND_INS: Final[dict[str, Any]] = {
    "problem": {"kind": "function", "function": {"kind": "sphere"}},
    "optimizer": {"kind": "sgd"},  # takes part in no rule that a schedule or a batch could break
}


def _mistakes_elsewhere(
    value: Any, mistakes: list[FieldError], limits: Limits, uploads: Uploads
) -> list[FieldError]:
    """List what the rules find in the parts of a body whose fields are right.

    A wrong part is replaced by its default, and then nothing is said of that part, nor (for a
    wrong problem or budget) of what depends on it.
    """
    if not isinstance(value, dict):
        return []
    wrong = {error.param.split(".")[0] for error in mistakes}
    known = set(JobSpec.model_fields)
    kept = {name: part for name, part in value.items() if name in known - wrong}
    if "problem" in wrong:
        kept = {name: kept[name] for name in _APART if name in kept}
    try:
        text = json.dumps({**_STAND_INS, **kept}).encode()
        spec, _, _ = read(text)
    except ValueError:
        return []
    if spec is None:
        return []
    faults = FieldErrorList()
    budget_known = not wrong & {"problem", "budget", "batch_size"}
    _resolve(spec, limits, faults, uploads, budget_known=budget_known)
    hidden = {*wrong, "record"} if wrong & {"problem", "budget", "record"} else wrong
    return [error for error in faults.errors if error.param.split(".")[0] not in hidden]


__all__ = ["Estimate", "Limits", "estimate", "parse_job", "parse_sized", "sized_of"]
