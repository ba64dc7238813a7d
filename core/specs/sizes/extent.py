"""Extent of a job that follows from its spec: updates, rows and columns of its history.

Torch-free, as `core.specs.sizes.shapes`.
"""

from operator import is_not
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.specs.data import Data, ExplicitOrder
from core.specs.formulas.values import dimension
from core.specs.job import Budget, DataProblem, FunctionProblem, JobSpec, Record
from core.specs.layers.expand import Expanded, expand
from core.specs.losses import Loss, columns_of
from core.specs.sizes.shapes import (
    DataShape,
    inputs_of,
    loss_family,
    output_width,
    problem_rows,
    problem_shape,
    settled_loss,
)

HistoryWidths = dict[Literal["train", "eval"], dict[str, int]]


class Extent(NamedTuple):
    """The size of a problem, computed once (inline rows are counted here).

    Attributes:
        num_parameters: of the model, or coordinates of the point.
        layers: of the model; None for functions.
        shape: of the data; None for functions.
        num_outputs: of the model; 1 for functions.
        train_rows, eval_rows, test_rows: after the split; 0 for functions.
        steps_per_epoch: None for functions.
        widths: numbers a row of each series but `step`, in the order of the columns; `eval` has
            none where there are no evaluation rows.
    """

    num_parameters: int
    layers: Expanded | None
    shape: DataShape | None
    num_outputs: int
    train_rows: int
    eval_rows: int
    test_rows: int
    steps_per_epoch: int | None
    widths: HistoryWidths


def steps_per_epoch(data: Data, train_rows: int, batch_size: int | Literal["full"] | None) -> int:
    """Count the updates that one pass over the training rows takes; an explicit order passes in its
    list."""
    if isinstance(data.order, ExplicitOrder):
        return len(data.order.steps)
    if batch_size is None or batch_size == "full":
        return 1
    full, rest = divmod(train_rows, batch_size)
    return full + (1 if rest and not data.drop_last else 0)


def epochs_at(spec: JobSpec, steps: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """Return how often the training rows have been seen after so many updates: the examples in all
    batches by the training rows. None for functions. `spec`: resolved."""
    if isinstance(spec.problem, FunctionProblem):
        return None
    size, data = extent_of(spec), spec.problem.data
    if isinstance(data.order, ExplicitOrder):
        batches = np.array([len(rows) for rows in data.order.steps])
    elif isinstance(spec.batch_size, int):
        assert size.steps_per_epoch is not None
        ends = np.arange(1, size.steps_per_epoch + 1) * spec.batch_size
        batches = np.diff(np.minimum(ends, size.train_rows), prepend=0)
    else:
        batches = np.array([size.train_rows])
    seen = np.concatenate([[0], np.cumsum(batches)])
    passes, rest = np.divmod(steps, len(batches))
    examples: NDArray[np.float64] = (passes * seen[-1] + seen[rest]) / size.train_rows
    return examples


def extent(
    problem: DataProblem | FunctionProblem,
    batch_size: int | Literal["full"] | None,
    record: Record | None = None,
) -> Extent:
    """Return the extent of a resolved problem; without `record`, that of the default."""
    train = {"loss": 1, "lr": 1, "grad_norm": 1}
    if record is not None and record.gradient_cosine:
        train["grad_cosine"] = 1
    if isinstance(problem, FunctionProblem):
        dim = dimension(problem.function)
        return Extent(dim, None, None, 1, 0, 0, 0, None, {"train": {**train, "x": dim}, "eval": {}})
    data, loss, shape = problem.data, settled_loss(problem), problem_shape(problem)
    outputs = output_width(loss, shape)
    train_rows, eval_rows, test_rows = problem_rows(problem)
    layers = expand(problem.model, inputs_of(problem), outputs)
    return Extent(
        layers.num_parameters,
        layers,
        shape,
        outputs,
        train_rows,
        eval_rows,
        test_rows,
        steps_per_epoch(data, train_rows, batch_size),
        {"train": train, "eval": _evaluated(record, loss) if eval_rows else {}},
    )


def _evaluated(record: Record | None, loss: Loss) -> dict[str, int]:
    metrics = None if record is None else record.metrics
    columns = columns_of(metrics, values=loss_family(loss) == "values")
    return {"loss": 1} | dict.fromkeys(columns, 1)


def steps_of(budget: Budget, size: Extent) -> int:
    """Count the updates that a resolved budget allows (`max_seconds` may cut them short)."""
    limits = [] if budget.max_steps is None else [budget.max_steps]
    if budget.max_epochs is not None and size.steps_per_epoch is not None:
        limits.append(budget.max_epochs * size.steps_per_epoch)
    return min(limits)


def rows_of(
    record: Record, size: Extent, steps: int, start: int = 0
) -> dict[Literal["train", "eval"], int]:
    """Return the most rows that each history can have which begins at step `start` and ends with
    update `steps`: the multiples in between, and the last."""
    evaluations = 1 if record.eval_every is None else _rows(start, steps, record.eval_every)
    return {
        "train": _rows(start, steps - 1, record.every),
        "eval": evaluations if size.eval_rows else 0,
    }


def _rows(start: int, last: int, every: int) -> int:
    return last // every - (start - 1) // every + (1 if last % every else 0)


def start_of(spec: JobSpec) -> int:
    """Count the updates that the weights have behind them when the job begins."""
    return 0 if spec.start_from is None else spec.start_from.step


def first_steps(spec: JobSpec) -> dict[Literal["train", "eval"], int]:
    """Return the first step of each history on its grid: the multiples of `record.every` and
    `record.eval_every`, wherever the job starts (0 where evaluations come at the end alone)."""
    start, record = start_of(spec), spec.record

    def first(every: int | None) -> int:
        return 0 if every is None else -(-start // every) * every

    return {"train": first(record.every), "eval": first(record.eval_every)}


def extent_of(spec: JobSpec) -> Extent:
    """Return `extent` for a resolved spec."""
    return extent(spec.problem, spec.batch_size, spec.record)


class Extents:
    """Extents of resolved specs, one after the other. Those of a study have most parts in common,
    so that one which has the parts of the spec before it takes over its extent."""

    def __init__(self) -> None:
        self._parts: tuple[object, ...] = ()
        self._extent: Extent | None = None

    def of(self, spec: JobSpec) -> Extent:
        """Return `extent_of` the spec."""
        parts = spec.problem, spec.batch_size, spec.record
        if self._extent is None or any(map(is_not, parts, self._parts)):
            self._parts, self._extent = parts, extent_of(spec)
        return self._extent


def num_steps(spec: JobSpec) -> int:
    """Return `steps_of` for a resolved spec."""
    return steps_of(spec.budget, extent_of(spec))


def history_widths(spec: JobSpec) -> HistoryWidths:
    """Return `Extent.widths` for a resolved spec."""
    return extent_of(spec).widths


def expected_rows(spec: JobSpec) -> dict[Literal["train", "eval"], int]:
    """Return `rows_of` for a resolved spec."""
    size = extent_of(spec)
    return rows_of(spec.record, size, steps_of(spec.budget, size), start_of(spec))
