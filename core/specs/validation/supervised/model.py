"""Rules of the model: its layers must fit together, and each must be able to learn."""

from math import prod
from typing import TypeVar

from core.specs.job import DataProblem
from core.specs.layers.expand import settled
from core.specs.layers.kinds import GroupNorm, LayerNormLayer
from core.specs.layers.trace import LayerError, Placed
from core.specs.sizes.shapes import inputs_of, layers_of, output_width, problem_shape
from core.specs.validation.errors import FieldErrorList
from core.specs.validation.limits import Limits

_Problem = TypeVar("_Problem", bound=DataProblem)


def settle_model(problem: _Problem, limits: Limits, faults: FieldErrorList) -> _Problem:
    """Return the problem with its model written out, whose layers are checked. Its data and its
    loss are resolved."""
    assert problem.loss is not None
    outputs = output_width(problem.loss, problem_shape(problem))
    model = settled(problem.model, inputs_of(problem), outputs)
    if model is not problem.model:
        problem = problem.model_copy(update={"model": model})
    _check_layers(problem, limits, faults)
    return problem


def _check_layers(problem: DataProblem, limits: Limits, faults: FieldErrorList) -> None:
    """Check that the model's layers fit together, and that each can learn."""
    try:
        layers = layers_of(problem)
    except LayerError as error:
        param = f"problem.model.{error.field}"
        faults.add(param, error.code, f"{param}: {error}")
        return
    if limits.stored:
        return
    for placed in layers.all_layers:
        if _of_one_unit(placed):
            faults.add(
                f"problem.model.{placed.field}", "norm_of_one_unit",
                f"problem.model.{placed.field}: a norm over one unit ({placed.name}) gives the same"
                " number for every row, so that nothing before it learns; give the layer before it"
                " more units, or use a norm of the batch or none",
            )  # fmt: skip
            return


def _of_one_unit(placed: Placed) -> bool:
    match placed.layer:
        case LayerNormLayer():
            return placed.input[-1] == 1
        case GroupNorm(num_groups=groups):
            return prod(placed.input) == groups
        case _:
            return False
