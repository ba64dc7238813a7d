"""Remedies that start a function's descent elsewhere: off a saddle, out of a local minimum."""

from collections.abc import Iterator

import numpy as np

from core.diagnosis.evidence.box import box_of
from core.diagnosis.evidence.curves import Floats
from core.diagnosis.evidence.evidence import Evidence
from core.diagnosis.evidence.formula import values_of
from core.diagnosis.evidence.landscape import MAX_DIM
from core.diagnosis.remedies.patches import Remedy, rounded
from core.specs.base import Json
from core.specs.formulas.parser import parse
from core.specs.formulas.tree import variables
from core.specs.formulas.values import domain
from core.specs.functions import Expression
from core.specs.job import FunctionProblem


def start_patch(problem: FunctionProblem, point: Floats) -> Json:
    """Return a patch that starts at `point`: a list, or a value for each variable of an
    expression."""
    values = [rounded(float(each), 6) for each in point]
    if isinstance(problem.function, Expression):
        names = variables(parse(problem.function.expression))
        return {"problem": {"start": dict(zip(names, values, strict=True))}}
    return {"problem": {"start": values}}


def _within(problem: FunctionProblem, points: Floats) -> Floats:
    box = box_of(problem)
    return points if box is None else box.clip(points)


def leave_a_saddle(e: Evidence) -> Iterator[Remedy]:
    """Propose a start a little off the saddle, along the direction of most negative curvature."""
    problem, land = e.spec.problem, e.land
    if not isinstance(problem, FunctionProblem) or land is None or e.x is None:
        return
    if land.form is not None and land.minimum is None and land.box is None:
        return  # A quadratic with a saddle has no minimum to go to.
    if e.at_end is not None and e.at_end.num_minima == 0.0:
        return  # Nor has a function without any: it falls for ever.
    point = e.x[e.rows - 1]
    scale = max(1.0, float(np.abs(point).max()))
    known_ways = land.vectors is not None and land.eigenvalues is not None
    found = None
    if known_ways and land.vectors is not None:
        found = _lowest_beside(e, problem, 0.05 * scale * land.vectors[:, :1].T)
    text = "along its direction of negative curvature."
    if found is None:  # no curvature leads down (a kink, or ground flat to second order)
        found = _lowest_beside(e, problem, 0.05 * scale * _directions(point.size))
        text = "where the function lies lower."
    if found is not None:
        numbers = {"first_loss": found[1]}
        if land.eigenvalues is not None:
            numbers["smallest_eigenvalue"] = float(land.eigenvalues[0])
        reason = f"Starts a little off the saddle point, {text}"
        yield Remedy(start_patch(problem, found[0]), reason, numbers)


def _directions(dim: int) -> Floats:
    """Return the axes and 64 drawn directions, as rows of length 1."""
    draws = np.random.Generator(np.random.PCG64(24)).standard_normal((64, dim))
    draws = np.concatenate([np.eye(dim), draws])
    return np.asarray(draws / np.sqrt(np.einsum("ij,ij->i", draws, draws))[:, None])


def beside(e: Evidence) -> Remedy | None:
    """Propose a start a little off the last point, where the function is lower; None where it is
    not."""
    problem = e.spec.problem
    if not isinstance(problem, FunctionProblem) or e.x is None or e.rows == 0:
        return None
    scale = max(1.0, float(np.abs(e.x[e.rows - 1]).max()))
    found = _lowest_beside(e, problem, 0.05 * scale * _directions(e.x.shape[1]))
    if found is None:
        return None
    return Remedy(
        start_patch(problem, found[0]),
        "Starts a little off the point without a gradient, where the function lies lower.",
        {"first_loss": found[1]},
    )


def _lowest_beside(
    e: Evidence, problem: FunctionProblem, ways: Floats
) -> tuple[Floats, float] | None:
    """Return the lowest of the points to either side along `ways`, with its value; if none is
    lower than the last one, of points closer by; None if none of those is."""
    assert e.x is not None
    point, function = e.x[e.rows - 1], values_of(problem.function, e.sign)
    for closer in (1.0, 1e-2, 1e-4, 1e-6):
        steps = closer * ways
        both = _within(problem, np.concatenate([point + steps, point - steps]))
        values = function(both)
        if not np.isfinite(values).any():
            continue
        lower = int(np.nanargmin(values))
        if values[lower] < e.loss[-1]:
            return both[lower], float(values[lower])
    return None


def _lowest_found(e: Evidence, problem: FunctionProblem) -> Iterator[Remedy]:
    """Propose a start at the lowest minimum that a multi-start came to."""
    found = e.at_end
    if found is None or found.other_minimum is None or found.other_point is None or e.x is None:
        return
    if found.other_minimum < e.loss[-1]:
        # A little back towards the run's end: a start on the spot has no descent to show.
        lowest = np.array([found.other_point])
        beside = _within(problem, lowest + 0.01 * (e.x[e.rows - 1] - lowest))
        lower = values_of(problem.function, e.sign)(beside)[0] < e.loss[-1]
        yield Remedy(
            start_patch(problem, (beside if lower else _within(problem, lowest))[0]),
            f"Of {found.num_minima or 0:.0f} minima that other starts found, this is the lowest.",
            {"final_loss": found.other_minimum},
        )


def escape_a_local_minimum(e: Evidence) -> Iterator[Remedy]:
    """Propose the lowest minimum known from other starts, the lowest of 1,024 points over the
    function's domain, then a start drawn from it."""
    problem = e.spec.problem
    if not isinstance(problem, FunctionProblem) or e.x is None:
        return
    yield from _lowest_found(e, problem)
    intervals = domain(problem.function)
    if intervals is None:
        return
    limits = np.array(intervals, dtype=np.float64)
    known = e.land.minimum if e.land is not None and e.land.minimum is not None else float("nan")
    if len(limits) <= MAX_DIM:
        draws = np.random.Generator(np.random.PCG64(22)).random((1024, len(limits)))
        points = _within(problem, limits[:, 0] + draws * (limits[:, 1] - limits[:, 0]))
        values = values_of(problem.function, e.sign)(points)
        lowest = int(np.nanargmin(values))
        if values[lowest] < e.loss[-1]:
            yield Remedy(
                start_patch(problem, points[lowest]),
                "The lowest of 1,024 points over the function's domain already lies below this"
                " minimum.",
                {"first_loss": float(values[lowest]), "known_minimum": known},
            )
    hopeless = e.at_end is not None and (e.at_end.other_minimum or -np.inf) >= e.loss[-1]
    if problem.bounds is None and not hopeless:  # one draw, where hundreds found nothing lower
        low, high = float(limits[:, 0].max()), float(limits[:, 1].min())
        if low < high:
            yield Remedy(
                {"problem": {"start": {"kind": "uniform", "low": low, "high": high}}},
                "Another start, drawn from the domain (vary `seed` for more), may reach a lower"
                " minimum.",
                {"known_minimum": known},
            )
