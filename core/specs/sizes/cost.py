"""Estimates of what a resolved spec will cost, made before it runs and without torch."""

from dataclasses import dataclass
from typing import Final, assert_never

from core.specs.data import Builtin, Data, ExplicitOrder, Inline, InlineText, Synthetic, Upload
from core.specs.functions import Quadratic
from core.specs.job import DataProblem, FunctionProblem, JobSpec
from core.specs.layers.expand import Expanded
from core.specs.losses import gathers
from core.specs.optimizers.state import matrix_numbers, state_vectors, wrapper_vectors
from core.specs.sizes.extent import Extent, extent_of, rows_of, start_of, steps_of

BYTES_A_NUMBER: Final = 8
"""Bytes of a number in a history: packed float64."""


MULTIPLY_ADDS_FOR_TWO_THREADS: Final = 2**28
"""Work of one forward pass from which a second thread pays: a step of some 50 ms. Below it, two
threads wait for each other longer than they work whenever the machine is busy."""


EVAL_ROWS: Final = 8192
"""Rows evaluated at once, at most. Fixed, so that memory is bounded and the sums never change."""
EVAL_NUMBERS: Final = 2**26
"""Numbers of a layer's that an evaluation of one run holds at once (perceptrons are narrow)."""


def eval_rows(layers: Expanded) -> int:
    """Return how many rows are evaluated at once by one run of a model with these layers."""
    if layers.perceptron is not None:
        return EVAL_ROWS
    widest = max(1, *(placed.kept for placed in layers.all_layers))
    return max(16, min(EVAL_ROWS, EVAL_NUMBERS // widest))


def num_threads(multiply_adds: int) -> int:
    """Return the number of threads for steps whose forward pass is so much work: 1 or 2.

    float32 sums differ in their last bits between thread counts, so this follows from the spec's
    sizes and never from the machine's cores or load.
    """
    return 2 if multiply_adds >= MULTIPLY_ADDS_FOR_TWO_THREADS else 1


def threads_of(
    problem: DataProblem | FunctionProblem, batch_size: int | str | None, size: Extent
) -> int:
    """Return the threads that follow from the sizes of a resolved problem and its batches."""
    if isinstance(problem, FunctionProblem):
        function, dim = problem.function, size.num_parameters
        dense = isinstance(function, Quadratic) and not function.is_diagonal
        return num_threads(dim * dim if dense else dim)
    assert size.layers is not None
    order = problem.data.order
    if isinstance(order, ExplicitOrder):
        rows = max(len(step) for step in order.steps)
    else:
        rows = batch_size if isinstance(batch_size, int) else size.train_rows
    return num_threads(size.layers.multiply_adds * rows)


@dataclass(frozen=True, slots=True)
class Estimate:
    """The contract's `estimate` object.

    Attributes:
        num_parameters: trainable numbers of the model, or coordinates of the function's point.
        num_steps: updates that the budget allows (an upper bound when `max_seconds` is set).
        memory_bytes: weights, gradients, optimizer state, data and activations on the device.
        history_bytes: rows of both histories at 8 bytes a number.
    """

    num_parameters: int
    num_steps: int
    memory_bytes: int
    history_bytes: int


def estimate(spec: JobSpec) -> Estimate:
    """Estimate a resolved spec (as `core.specs.parsing.job.parse_job` returns it)."""
    size = extent_of(spec)
    steps = steps_of(spec.budget, size)
    return Estimate(
        num_parameters=size.num_parameters,
        num_steps=steps,
        memory_bytes=sum(memory_parts(spec, size, steps).values()),
        history_bytes=history_bytes(spec, size, steps),
    )


def history_bytes(spec: JobSpec, size: Extent, steps: int) -> int:
    """Return the bytes of the rows of both histories (steps are not stored: they follow from the
    row)."""
    rows = rows_of(spec.record, size, steps, start_of(spec))
    return BYTES_A_NUMBER * sum(rows[kind] * sum(size.widths[kind].values()) for kind in rows)


def memory_parts(spec: JobSpec, size: Extent, steps: int) -> dict[str, int]:
    """Return the bytes by the field of the spec that asks for them; an estimate from above, within
    about 2 x.

    Weights are counted with their gradients and the copy of the best ones; data with the float64
    rows that they are read or drawn into.
    """
    item = 8 if spec.precision == "float64" else 4
    count = size.num_parameters
    around = wrapper_vectors(spec.optimizer.wrap)
    numbers = count * (state_vectors(spec.optimizer, steps) + around)
    shapes = [(count,)] if size.layers is None else [p.shape for p in size.layers.parameters]
    parts = {"optimizer": item * (numbers + matrix_numbers(spec.optimizer, shapes))}
    if spec.accumulate > 1:
        parts["optimizer"] += item * count  # the gradients so far
    if spec.record.gradient_cosine:
        parts["record.gradient_cosine"] = 3 * item * count
    if isinstance(spec.problem, FunctionProblem):
        return {"problem.function": _function_bytes(spec.problem, count, item), **parts}
    data, activations = _rows_bytes(spec, spec.problem, size, item)
    return {
        "problem.model": 3 * item * count,
        **parts,
        "problem.data": data,
        "batch_size": activations,
    }


def _function_bytes(problem: FunctionProblem, dim: int, item: int) -> int:
    function = problem.function
    vectors = 16 * item * dim
    if not isinstance(function, Quadratic):
        return vectors
    if function.matrix is not None:
        return vectors + 2 * item * dim**2
    # A rotation is drawn in float64 and multiplied out: Q, QΛ, A, and A in the job's precision.
    return vectors + ((3 * 8 + item) * dim**2 if function.rotation_seed is not None else 0)


def _rows_bytes(spec: JobSpec, problem: DataProblem, size: Extent, item: int) -> tuple[int, int]:
    """Return the bytes of the data, and of the activations of the largest of a batch, the
    evaluation rows and those of the test."""
    shape, layers = size.shape, size.layers
    assert shape is not None
    assert layers is not None
    width = shape.num_features + shape.target_width
    data = shape.num_rows * width * (_bytes_read(problem.data) + 2 * item)
    batch = spec.batch_size if isinstance(spec.batch_size, int) else size.train_rows
    micro = -(-batch // spec.accumulate)
    held_out = max(size.eval_rows, size.test_rows)
    gathered = (item + 8) * size.num_outputs if gathers(spec.record.metrics) else 0
    at_once = min(held_out, eval_rows(layers))
    return data, item * max(micro, at_once) * layers.kept + held_out * gathered


def _bytes_read(data: Data) -> int:
    """Bytes a number while the rows are read or drawn, in float64, before they are converted."""
    match data:
        case Synthetic():
            return 24
        case Builtin() | Inline() | InlineText() | Upload():
            return 16
        case _:
            assert_never(data)
