"""Rules of batches: their size, their micro batches, and norms that want more than a row."""

from math import prod
from typing import Final, Literal

from core.specs.data import ExplicitOrder
from core.specs.job import DataProblem, JobSpec
from core.specs.layers.expand import dropout_of
from core.specs.layers.kinds import BatchNormLayer
from core.specs.layers.trace import Placed
from core.specs.optimizers.kinds import LBFGS, Rprop
from core.specs.sizes.shapes import layers_of, problem_rows
from core.specs.validation.errors import FieldErrorList, shown

DEFAULT_BATCH: Final = 64

BatchSize = int | Literal["full"] | None


def resolve_batch(spec: JobSpec, problem: DataProblem, faults: FieldErrorList) -> BatchSize:
    """Return the batch size written out: null with an explicit order, which replaces it."""
    given, data = spec.batch_size, problem.data
    train_rows, eval_rows, test_rows = rows = problem_rows(problem)
    num_rows = sum(rows)
    held_out = f"{eval_rows:,} for evaluation"
    if test_rows:
        held_out += f" and {test_rows:,} for the test"
    if isinstance(data.order, ExplicitOrder):
        if given is not None:
            faults.add(
                "batch_size", "conflict",
                f"batch_size {shown(given)} and problem.data.order explicit exclude each other; the"
                " order names each step's rows: leave batch_size out",
            )  # fmt: skip
        _check_batch_norm(problem, [len(rows) for rows in data.order.steps], faults)
        return None
    if given is None:
        whole = isinstance(spec.optimizer, (LBFGS, Rprop))
        given = "full" if whole else min(DEFAULT_BATCH, train_rows)
    if given != "full" and given > train_rows:
        faults.add(
            "batch_size", "less_than_equal",
            f"batch_size {given:,} is more than the {train_rows:,} training rows ({num_rows:,} rows"
            f' less {held_out}); lower it, or use "full"',
        )  # fmt: skip
        return given
    size = train_rows if given == "full" else given
    rest = 0 if data.drop_last else train_rows % size
    _check_batch_norm(problem, [size, rest] if rest else [size], faults)
    return given


def check_accumulate(
    spec: JobSpec, problem: DataProblem, batch_size: BatchSize, faults: FieldErrorList
) -> None:
    """Check that a batch can be cut into micro batches which compute what it does."""
    count = spec.accumulate
    if count == 1:
        return
    if isinstance(spec.optimizer, LBFGS):
        faults.add(
            "accumulate", "conflict",
            f"accumulate {count:,} cannot be used with lbfgs, which computes the loss many times in"
            " a step: leave it out, or choose another optimizer, such as adam",
        )  # fmt: skip
    layers = layers_of(problem)
    if layers.batch_norms:
        faults.add(
            "accumulate", "conflict",
            f"accumulate {count:,} cannot be used with a norm of the batch, whose statistics are of"
            " all its rows: leave it out, or use a norm of layers or groups",
        )  # fmt: skip
    inside = [p for p in layers.all_layers if dropout_of(p.layer) and p.layer.kind != "dropout"]
    if inside:
        faults.add(
            "accumulate", "conflict",
            f"accumulate {count:,} cannot be used with dropout within {inside[0].layer.kind}"
            f" (problem.model.{inside[0].field}), which is drawn for all rows at once: use layers"
            " of dropout",
        )  # fmt: skip
    train_rows = problem_rows(problem).train
    rows = train_rows if batch_size == "full" else batch_size
    if rows is not None and rows % count:
        faults.add(
            "accumulate", "not_divisible",
            f"accumulate must divide the batch of {rows:,} rows; {count:,} was given",
        )  # fmt: skip


def _check_batch_norm(problem: DataProblem, sizes: list[int], faults: FieldErrorList) -> None:
    if min(sizes) > 1:
        return
    norm = next((placed for placed in layers_of(problem).all_layers if _by_rows(placed)), None)
    if norm is not None:
        faults.add(
            f"problem.model.{norm.field}", "batch_of_one_row",
            f"problem.model.{norm.field}: a norm of the batch cannot train on a batch of one row,"
            " which has no variance; choose another batch_size, set problem.data.drop_last, or use"
            " a norm of layers",
        )  # fmt: skip


def _by_rows(placed: Placed) -> bool:
    """Tell whether the layer is a norm that takes one number a row."""
    return isinstance(placed.layer, BatchNormLayer) and prod(placed.input[1:]) == 1
