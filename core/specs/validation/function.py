"""Rules of function problems: the function is well formed, start and bounds fit it."""

import math
from typing import Final

import numpy as np

from core.specs.formulas.classic import CLASSICS, Interval
from core.specs.formulas.parser import parse
from core.specs.formulas.precisions import FLOAT32_MAX
from core.specs.formulas.tokens import InvalidExpressionError
from core.specs.formulas.tree import variables
from core.specs.formulas.values import dimension, value_at, value_in_float32
from core.specs.functions import Bounds, Expression, Function, Quadratic, Start, UniformStart
from core.specs.job import FunctionProblem, JobSpec
from core.specs.optimizers.kinds import ScheduleFree
from core.specs.validation.errors import FieldErrorList, shown

_FUNCTION: Final = "problem.function"
_START: Final = "problem.start"
_BOUNDS: Final = "problem.bounds"


def resolve_function(
    problem: FunctionProblem, precision: str, faults: FieldErrorList
) -> FunctionProblem:
    """Check the function, its start and bounds; write the customary start out."""
    function = problem.function
    before = len(faults.errors)
    known = check_function(function, faults)
    if known is None:
        return problem
    names, dim = (None, known) if isinstance(known, int) else (known, len(known))
    start = problem.start
    if start is None:
        start = _default_start(function, dim, names, faults)
    else:
        _check_start(start, dim, names, faults)
    intervals = None if problem.bounds is None else _intervals(problem.bounds, dim, faults)
    if start is None or len(faults.errors) > before:
        return problem
    if intervals is not None:
        _check_inside(start, intervals, names, faults)
    if precision == "float32":
        _check_sizes(function, start, names, faults)
    if len(faults.errors) == before:
        _check_finite(function, start, precision, names, faults)
    return problem if problem.start is not None else problem.model_copy(update={"start": start})


def check_function(function: Function, faults: FieldErrorList) -> tuple[str, ...] | int | None:
    """Check a function by itself.

    Returns:
        The names of an expression's variables, else the number of coordinates; None with mistakes.
    """
    before = len(faults.errors)
    if isinstance(function, Expression):
        found: tuple[str, ...] | int = _names(function, faults)
    else:
        if isinstance(function, Quadratic):
            _check_quadratic(function, faults)
        found = 0 if len(faults.errors) > before else dimension(function)
    return None if len(faults.errors) > before else found


def _names(function: Expression, faults: FieldErrorList) -> tuple[str, ...]:
    param = f"{_FUNCTION}.expression"
    try:
        names = variables(parse(function.expression))
    except InvalidExpressionError as error:
        faults.add(param, "invalid_expression", f"{param}: {error}")
        return ()
    if not names:
        faults.add(
            param, "invalid_expression",
            f"{param} {shown(function.expression)} has no variable to minimize over; name one, as"
            " in x1**2",
        )  # fmt: skip
    return names


def _check_quadratic(function: Quadratic, faults: FieldErrorList) -> None:
    matrix, spectrum = function.matrix, function.eigenvalues
    if (matrix is None) == (spectrum is None):
        faults.add(
            _FUNCTION, "conflict",
            f"{_FUNCTION} quadratic needs exactly one of eigenvalues and matrix;"
            f" {'both were' if matrix else 'neither was'} given",
        )  # fmt: skip
        return
    if matrix is not None and function.rotation_seed is not None:
        faults.add(
            f"{_FUNCTION}.rotation_seed", "conflict",
            f"{_FUNCTION}.rotation_seed goes with eigenvalues; a matrix is taken as it is: leave it"
            " out",
        )  # fmt: skip
    dim = len(matrix or spectrum or ())
    if matrix is not None:
        _check_matrix(matrix, dim, faults)
    if function.linear is not None and len(function.linear) != dim:
        faults.add(
            f"{_FUNCTION}.linear", "length_mismatch",
            f"{_FUNCTION}.linear has {len(function.linear)} numbers for {dim} coordinates",
        )  # fmt: skip


def _check_matrix(matrix: tuple[tuple[float, ...], ...], dim: int, faults: FieldErrorList) -> None:
    param = f"{_FUNCTION}.matrix"
    odd = next((i for i, row in enumerate(matrix) if len(row) != dim), None)
    if odd is not None:
        faults.add(
            f"{param}.{odd}", "not_square",
            f"{param} has {dim} rows, but row {odd} has {len(matrix[odd])} numbers; it must be"
            " square",
        )  # fmt: skip
        return
    a = np.asarray(matrix, dtype=np.float64)
    gap = np.abs(a - a.T)
    if gap.max() > 1e-9 * np.abs(a).max():
        i, j = np.unravel_index(int(gap.argmax()), gap.shape)
        faults.add(
            param, "not_symmetric",
            f"{param} must be symmetric; entry {i}, {j} is {a[i, j]:g} and entry {j}, {i} is"
            f" {a[j, i]:g} (use (A + Aᵀ)/2: it gives the same function)",
        )  # fmt: skip


def _default_start(
    function: Function, dim: int, names: tuple[str, ...] | None, faults: FieldErrorList
) -> Start | None:
    if names is not None:
        example = ", ".join(f'"{name}": 1.0' for name in names[:3])
        faults.add(
            _START, "missing",
            f"{_START} is required for an expression: a value for each variable, as in"
            f" {{{example}{', …' if dim > 3 else ''}}}",
        )  # fmt: skip
        return None
    if isinstance(function, Quadratic):
        return (1.0,) * dim
    return CLASSICS[function.kind].start_of(dim)


def _check_start(
    start: Start, dim: int, names: tuple[str, ...] | None, faults: FieldErrorList
) -> None:
    if isinstance(start, UniformStart):
        if not (start.low < start.high and math.isfinite(start.high - start.low)):
            faults.add(
                f"{_START}.high", "greater_than",
                f"{_START}.high must be greater than {_START}.low, and their distance finite;"
                f" {start.high:g} and {start.low:g} were given",
            )  # fmt: skip
    elif isinstance(start, dict):
        _check_named_start(start, names, faults)
    elif names is not None:
        faults.add(
            _START, "object_type",
            f"{_START} of an expression names its variables ({', '.join(names[:10])}), as in"
            f' {{"{names[0]}": 1.0}}; a list was given',
        )  # fmt: skip
    elif len(start) != dim:
        faults.add(
            _START, "length_mismatch",
            f"{_START} has {len(start)} numbers; the function has {dim} coordinates",
        )  # fmt: skip


def _check_named_start(
    start: dict[str, float], names: tuple[str, ...] | None, faults: FieldErrorList
) -> None:
    if names is None:
        faults.add(
            _START, "list_type", f"{_START} must be a list of numbers; only expressions have names"
        )
        return
    known = set(names)
    for name in names:
        if name not in start:
            message = f"{_START}.{name} is required: the expression has this variable"
            faults.add(f"{_START}.{name}", "missing", message)
    for name in start:
        if name not in known:
            faults.add(
                f"{_START}.{name[:80]}", "unknown_field",
                f"{_START}.{name[:80]} is no variable of the expression; it has"
                f" {', '.join(names[:10])}",
            )  # fmt: skip


def _intervals(bounds: Bounds, dim: int, faults: FieldErrorList) -> list[Interval] | None:
    """Return one interval a coordinate, or None with a fault."""
    pairs = [pair for pair in bounds if isinstance(pair, tuple)]
    if not pairs:
        low, high = (float(end) for end in bounds if not isinstance(end, tuple))
        intervals = [(low, high)]
    else:
        intervals = list(pairs)
        if len(pairs) != dim:
            faults.add(
                _BOUNDS, "length_mismatch",
                f"{_BOUNDS} has {len(pairs)} pairs; the function has {dim} coordinates (or give one"
                " pair [low, high] for all)",
            )  # fmt: skip
            return None
    for index, (low, high) in enumerate(intervals):
        if not low < high:
            param = f"{_BOUNDS}.{index}" if pairs else _BOUNDS
            faults.add(
                param, "not_ordered",
                f"{param} must be [low, high] with low < high; [{low:g}, {high:g}] was given",
            )  # fmt: skip
            return None
    return intervals if pairs else intervals * dim


def _check_inside(
    start: Start, intervals: list[Interval], names: tuple[str, ...] | None, faults: FieldErrorList
) -> None:
    if isinstance(start, UniformStart):
        points = [[start.low] * len(intervals), [start.high] * len(intervals)]
    else:
        points = [_coordinates(start, names)]
    for point in points:
        for index, (x, (low, high)) in enumerate(zip(point, intervals, strict=True)):
            if not low <= x <= high:
                faults.add(
                    _START, "outside_bounds",
                    f"{_START}: {x:g} (coordinate {index}) lies outside the bounds"
                    f" [{low:g}, {high:g}]; give a start inside them",
                )  # fmt: skip
                return


def _coordinates(
    start: tuple[float, ...] | dict[str, float], names: tuple[str, ...] | None
) -> list[float]:
    if isinstance(start, dict):
        return [start[name] for name in names or ()]
    return list(start)


def _check_finite(
    function: Function,
    start: Start,
    precision: str,
    names: tuple[str, ...] | None,
    faults: FieldErrorList,
) -> None:
    """Check that the value at the start is finite in the precision; of a drawn start only that it
    is: its value is seen when the job runs."""
    if isinstance(start, UniformStart):
        return
    point = np.asarray(_coordinates(start, names))
    value = float(value_at(function, point))
    if precision == "float32" and math.isfinite(value):
        value = value_in_float32(function, point)
        if not math.isfinite(value):
            faults.add(
                _START, "not_finite_at_start",
                f"{_START}: the function is not finite there in float32 ({value}), which"
                " cannot hold a constant or an intermediate value of its formula: use the precision"
                ' "float64", scale the function, or give another start',
            )  # fmt: skip
            return
    if not math.isfinite(value):
        faults.add(
            _START, "not_finite_at_start",
            f"{_START}: the function is not finite there ({value}: a division by zero, a domain"
            " error or an overflow); give another start",
        )  # fmt: skip


def _check_sizes(
    function: Function,
    start: Start | None,
    names: tuple[str, ...] | None,
    faults: FieldErrorList,
) -> None:
    """Check that float32 holds the coordinates of the start and the numbers of a quadratic."""
    found: dict[str, float] = {}
    if isinstance(start, UniformStart):
        found = {f"{_START}.low": start.low, f"{_START}.high": start.high}
    elif isinstance(start, dict):
        found = {f"{_START}.{name}": start[name] for name in names or ()}
    elif start is not None:
        found = {f"{_START}.{place}": x for place, x in enumerate(start)}
    if isinstance(function, Quadratic):
        for field in ("eigenvalues", "linear"):
            numbers = getattr(function, field) or ()
            found |= {f"{_FUNCTION}.{field}.{place}": x for place, x in enumerate(numbers)}
        for row, numbers in enumerate(function.matrix or ()):
            cells = enumerate(numbers)
            found |= {f"{_FUNCTION}.matrix.{row}.{place}": x for place, x in cells}
        found[f"{_FUNCTION}.constant"] = function.constant
    for param, value in found.items():
        if abs(value) > FLOAT32_MAX:
            faults.add(
                param, "not_finite",
                f"{param}: {value:g} does not fit the precision float32: use the precision"
                ' "float64", or give a smaller number',
            )  # fmt: skip


def check_function_run(spec: JobSpec, faults: FieldErrorList) -> None:
    """Refuse what needs rows (batches, epochs): a function has none."""
    if spec.batch_size not in (None, "full"):
        faults.add(
            "batch_size", "conflict",
            f'batch_size must be "full" for a function, which has no rows; {spec.batch_size} was'
            " given: leave it out",
        )  # fmt: skip
    if spec.accumulate != 1:
        faults.add(
            "accumulate", "conflict",
            f"accumulate {spec.accumulate:,} cuts batches of rows, which a function does not have:"
            " leave it out",
        )  # fmt: skip
    if spec.budget.max_epochs is not None:
        faults.add(
            "budget.max_epochs", "conflict",
            "budget.max_epochs counts passes over data, which a function does not have; use"
            " budget.max_steps",
        )  # fmt: skip
    bounded = isinstance(spec.problem, FunctionProblem) and spec.problem.bounds is not None
    if bounded and isinstance(spec.optimizer, ScheduleFree):
        faults.add(
            _BOUNDS, "conflict",
            f"{_BOUNDS} cannot be used with {spec.optimizer.kind}, whose result is a mean of points"
            " that bounds do not hold: leave problem.bounds out, or choose another optimizer, such"
            " as adam",
        )  # fmt: skip
