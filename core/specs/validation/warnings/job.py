"""Warnings of what a resolved spec asks for, and hardly means: accepted, but said in the reply."""

from core.errors import FieldError
from core.specs.job import DataProblem, JobSpec
from core.specs.sizes.extent import Extent
from core.specs.sizes.uploads import NO_UPLOADS, Uploads
from core.specs.validation.uploads.doubts import doubts_of_problem
from core.specs.validation.warnings.chains import warnings_of_chains
from core.specs.validation.warnings.decay import warnings_of_decay
from core.specs.validation.warnings.optimizer import (
    warnings_of_dampening,
    warnings_of_noise,
    warnings_of_wrap,
)
from core.specs.validation.warnings.unreached import warnings_of_unreached


def warnings_of_job(
    spec: JobSpec, size: Extent | None = None, uploads: Uploads = NO_UPLOADS
) -> list[FieldError]:
    """List what a resolved spec may ask for, and hardly means. `size`: its extent, where that is
    known; `uploads`: the data sets that it names, where they are."""
    problem = spec.problem
    return [
        *(doubts_of_problem(problem, uploads) if isinstance(problem, DataProblem) else ()),
        *warnings_of_noise(spec, size),
        *warnings_of_dampening(spec),
        *warnings_of_decay(spec),
        *warnings_of_wrap(spec, size),
        *warnings_of_chains(spec.schedule),
        *warnings_of_unreached(spec, size),
    ]
