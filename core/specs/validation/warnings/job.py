"""Warnings of what a resolved spec asks for, and hardly means: accepted, but said in the reply."""

from collections.abc import Iterator

from core.errors import FieldError
from core.specs.job import DataProblem, JobSpec
from core.specs.optimizers.kinds import LBFGS, SGD, Rprop
from core.specs.optimizers.wrappers import Lookahead
from core.specs.schedules import sets_momentum
from core.specs.sizes.extent import Extent, extent_of, steps_of
from core.specs.sizes.uploads import NO_UPLOADS, Uploads
from core.specs.validation.uploads.doubts import doubts_of_problem
from core.specs.validation.warnings.decay import warnings_of_decay
from core.specs.validation.warnings.schedules import warnings_of_chains, warnings_of_unreached


def warnings_of_job(
    spec: JobSpec, size: Extent | None = None, uploads: Uploads = NO_UPLOADS
) -> list[FieldError]:
    """List what a resolved spec may ask for, and hardly means. `size`: its extent, where that is
    known; `uploads`: the data sets that it names, where they are."""
    problem = spec.problem
    return [
        *(doubts_of_problem(problem, uploads) if isinstance(problem, DataProblem) else ()),
        *_warnings_of_noise(spec, size),
        *_warnings_of_dampening(spec),
        *warnings_of_decay(spec),
        *_warnings_of_wrap(spec, size),
        *warnings_of_chains(spec.schedule),
        *warnings_of_unreached(spec, size),
    ]


def _warnings_of_noise(spec: JobSpec, size: Extent | None) -> Iterator[FieldError]:
    """Warn of a method that compares the gradients of one step with the next one's, on other rows
    at each step."""
    optimizer = spec.optimizer
    if not isinstance(optimizer, LBFGS | Rprop) or not isinstance(spec.problem, DataProblem):
        return
    if spec.batch_size == "full" or (size or extent_of(spec)).steps_per_epoch == 1:
        return
    explicit = spec.batch_size is None
    given = "an explicit order" if explicit else f"batch_size {spec.batch_size:,}"
    way_out = "leave the order out" if explicit else 'give "full"'
    message = (
        f"batch_size: {optimizer.kind} compares the gradients of one step with the next one's, and"
        f" with {given} these are of other rows: {way_out}, or choose another optimizer, such as"
        " adam"
    )
    yield FieldError("batch_size", "noisy_gradients", message)


def _warnings_of_dampening(spec: JobSpec) -> Iterator[FieldError]:
    """Warn of a dampening without the momentum that it dampens."""
    optimizer = spec.optimizer
    if sets_momentum(spec.schedule) or not isinstance(optimizer, SGD):
        return
    if optimizer.dampening and not optimizer.momentum:
        yield FieldError(
            "optimizer.dampening", "no_effect",
            f"optimizer.dampening {optimizer.dampening:g} has no effect without a momentum: leave"
            " it out, or give optimizer.momentum",
        )  # fmt: skip


def _warnings_of_wrap(spec: JobSpec, size: Extent | None = None) -> Iterator[FieldError]:
    """Yield what is put around the optimizer of a resolved spec, and does nothing. `size`: its
    extent, where that is known."""
    for place, each in enumerate(spec.optimizer.wrap):
        if not isinstance(each, Lookahead):
            continue
        if each.k > (steps := steps_of(spec.budget, size or extent_of(spec))):
            name = f"optimizer.wrap.{place}.k"
            yield FieldError(
                name, "no_effect",
                f"{name}: the slow weights follow after every {each.k:,} updates, and the budget"
                f" ends after {steps:,}: lookahead has no effect; give a smaller k, or a larger"
                " budget",
            )  # fmt: skip
