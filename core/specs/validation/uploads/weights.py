"""Rules of initial weights from an upload: its tensors are the model's, by name and shape."""

from typing import Final, TypeVar

from core.specs.job import DataProblem
from core.specs.layers.expand import Expanded
from core.specs.layers.kinds import BatchNormLayer
from core.specs.models import Model, StoredWeights
from core.specs.sizes.shapes import layers_of
from core.specs.sizes.uploads import UploadFacts, Uploads
from core.specs.validation.errors import FieldErrorList, shown
from core.specs.validation.limits import Limits

_PATH: Final = "problem.model.initial_weights"
_COUNTED: Final = "num_batches_tracked"
_MOST_NAMED: Final = 5


_Problem = TypeVar("_Problem", bound=DataProblem)


def resolve_weights(
    problem: _Problem, uploads: Uploads, limits: Limits, faults: FieldErrorList
) -> _Problem:
    """Check the data set of weights that a problem's model names, and write out where they lie.

    The model's layers fit together. A spec that was accepted before keeps what was written then.
    """
    model = problem.model
    if model.initial_weights is None:
        if model.stored_weights is not None:
            path = "problem.model.stored_weights"
            faults.add(path, "unknown_field", f"{path} is not a field of {model.kind}")
        return problem
    facts = uploads.get(model.initial_weights)
    if facts is None and model.stored_weights is not None and limits.stored:
        return problem
    if facts is None:
        faults.add(
            _PATH, "unknown_dataset",
            f"{_PATH}: there is no data set {model.initial_weights} (any more); GET /v1/datasets"
            " lists those that there are",
        )  # fmt: skip
        return problem
    if not _is_ready(model, facts, faults):
        return problem
    _check_tensors(layers_of(problem), facts, faults)
    found = StoredWeights(file=facts.file)
    if model.stored_weights not in (None, found) and not limits.stored:
        path = "problem.model.stored_weights"
        faults.add(path, "unknown_field", f"{path} is not a field of {model.kind}")
    changed = model.model_copy(update={"stored_weights": found})
    return problem.model_copy(update={"model": changed})


def _is_ready(model: Model, facts: UploadFacts, faults: FieldErrorList) -> bool:
    named = f"{_PATH}: data set {model.initial_weights}"
    if facts.status != "ready":
        state = "is still being checked" if facts.status == "checking" else "was refused"
        faults.add(_PATH, "not_ready", f"{named} {state}; name one whose status is ready")
        return False
    if facts.kind != "weights":
        faults.add(
            _PATH, "wrong_kind",
            f"{named} is of the kind {facts.kind}; upload weights as a safetensors file"
            " (application/x-safetensors), such as GET /v1/jobs/{id}/model gives",
        )  # fmt: skip
        return False
    return True


def _check_tensors(layers: Expanded, facts: UploadFacts, faults: FieldErrorList) -> None:
    """Compare the file's tensors with the model's; a mistake names the tensor and both shapes."""
    wanted = {each.name: each.shape for each in layers.parameters}
    statistics = _statistics(layers)
    given = {each.name: each for each in facts.columns}
    missing = [name for name in wanted if name not in given]
    some = [name for name in statistics if name in given]
    if some:  # all or none of them
        missing += [
            name for name in statistics if name not in given and not name.endswith(_COUNTED)
        ]
    unknown = [name for name in given if name not in wanted and name not in statistics]
    if missing:
        faults.add(
            _PATH, "missing_tensors",
            f"{_PATH}: the file lacks {_listed(missing)}, which the model has; its tensors must be"
            f" {_listed(list(wanted))}",
        )  # fmt: skip
    if unknown:
        faults.add(
            _PATH, "unknown_tensors",
            f"{_PATH}: the model has no {_listed(unknown)}, which the file holds; leave these"
            f" tensors out, or name the model that they are of. Its own: {_listed(list(wanted))}",
        )  # fmt: skip
    for name, shape in (wanted | statistics).items():
        found = given.get(name)
        if found is None:
            continue
        if found.shape != shape:
            faults.add(
                _PATH, "shapes_do_not_match",
                f"{_PATH}: {shown(name)} has the shape {list(found.shape)} in the file and"
                f" {list(shape)} in the model",
            )  # fmt: skip
        elif not found.dtype.startswith(("float", "bfloat")) and not name.endswith(_COUNTED):
            faults.add(
                _PATH, "not_numbers",
                f"{_PATH}: {shown(name)} is of the type {found.dtype} in the file; weights are"
                " floating-point numbers",
            )  # fmt: skip


def _statistics(layers: Expanded) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the running statistics of norms, by name."""
    found: dict[str, tuple[int, ...]] = {}
    for placed in layers.all_layers:
        if isinstance(placed.layer, BatchNormLayer):
            width = (placed.input[0],)
            found[f"{placed.name}.running_mean"] = found[f"{placed.name}.running_var"] = width
            found[f"{placed.name}.{_COUNTED}"] = ()
    return found


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    text = ", ".join(map(shown, names[:_MOST_NAMED]))
    return f"{text} and {more:,} more" if more > 0 else text
