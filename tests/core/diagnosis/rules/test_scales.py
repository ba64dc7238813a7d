"""Verdicts at known points do not depend on the units of the coordinates.

Every landscape is looked at in units from 10⁻⁶ to 10⁶ a coordinate: at its minimum, at its saddle
point, and where it is not at rest. Fits to data are of the shapes, data and certified values of
NIST's Statistical Reference Datasets, whose parameters differ by up to ten powers of ten.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import pytest

from core.diagnosis.diagnose import diagnose
from core.specs.formulas.derivatives import Derivatives
from core.specs.formulas.values import value_at
from core.specs.functions import Expression
from tests.core.diagnosis.runs import Floats, resolved

Point = tuple[float, ...]


class Known(NamedTuple):
    """A landscape: its formula with coordinates in braces, a start, a minimum, saddle points."""

    formula: str
    start: Point
    minimum: Point
    saddles: tuple[Point, ...] = ()


def fit(model: str, x: list[float], y: list[float], start: Point, minimum: Point) -> Known:
    terms = (
        f"({observed!r} - {model.replace('X', repr(at))})**2"
        for at, observed in zip(x, y, strict=True)
    )
    return Known(" + ".join(terms), start, minimum)


DENTAL_X: Final = [
    77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1, 689.1, 760.0,
]  # fmt: skip
DENTAL_Y: Final = [
    10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40, 75.47,
    81.78,
]  # fmt: skip
THERMISTOR: Final = [
    34780.0, 28610.0, 23650.0, 19630.0, 16370.0, 13720.0, 11540.0, 9744.0, 8261.0, 7030.0, 6005.0,
    5147.0, 4427.0, 3820.0, 3307.0, 2872.0,
]  # fmt: skip

LANDSCAPES: Final[dict[str, Known]] = {
    "misra1a": fit(
        "{0}*(1 - exp(-{1}*X))", DENTAL_X, DENTAL_Y, (250.0, 5e-4),
        (2.3894212918e2, 5.5015643181e-4),
    ),
    "misra1b": fit(
        "{0}*(1 - (1 + {1}*X/2)**-2)", DENTAL_X, DENTAL_Y, (300.0, 2e-4),
        (3.3799746163e2, 3.9039091287e-4),
    ),
    "misra1c": fit(
        "{0}*(1 - (1 + 2*{1}*X)**-0.5)", DENTAL_X, DENTAL_Y, (600.0, 2.2e-4),
        (6.3642725809e2, 2.0813627256e-4),
    ),
    "misra1d": fit(
        "{0}*{1}*X/(1 + {1}*X)", DENTAL_X, DENTAL_Y, (450.0, 3.3e-4),
        (4.3736970754e2, 3.0227324449e-4),
    ),
    "boxbod": fit(
        "{0}*(1 - exp(-{1}*X))", [1.0, 2.0, 3.0, 5.0, 7.0, 10.0],
        [109.0, 149.0, 149.0, 191.0, 213.0, 224.0], (100.0, 0.75),
        (2.1380940889e2, 5.4723748542e-1),
    ),
    "danwood": fit(
        "{0}*X**{1}", [1.309, 1.471, 1.490, 1.565, 1.611, 1.680],
        [2.138, 3.421, 3.597, 4.340, 4.882, 5.660], (0.7, 4.0),
        (7.6886226176e-1, 3.8604055871),
    ),
    "rat42": fit(
        "{0}/(1 + exp({1} - {2}*X))", [9.0, 14.0, 21.0, 28.0, 42.0, 57.0, 63.0, 70.0, 79.0],
        [8.93, 10.80, 18.59, 22.33, 39.35, 56.11, 61.73, 64.62, 67.08], (75.0, 2.5, 0.07),
        (7.2462237576e1, 2.6180768402, 6.7359200066e-2),
    ),
    "mgh09": fit(
        "{0}*(X**2 + X*{1})/(X**2 + X*{2} + {3})",
        [4.0, 2.0, 1.0, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625],
        [0.1957, 0.1947, 0.1735, 0.16, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246],
        (0.25, 0.39, 0.415, 0.39),
        (1.9280693458e-1, 1.9128232873e-1, 1.2305650693e-1, 1.3606233068e-1),
    ),
    "mgh10": fit(
        "{0}*exp({1}/(X + {2}))", [float(x) for x in range(50, 126, 5)], THERMISTOR,
        (0.02, 4000.0, 250.0), (5.6096364710e-3, 6.1813463463e3, 3.4522363462e2),
    ),
    "rosenbrock": Known("100*({1} - {0}**2)**2 + (1 - {0})**2", (-1.2, 1.0), (1.0, 1.0)),
    "himmelblau": Known(
        "({0}**2 + {1} - 11)**2 + ({0} + {1}**2 - 7)**2", (1.0, 0.5), (3.0, 2.0),
        ((0.0866775, 2.8842547), (3.3851542, 0.0738519), (-3.0730257, -0.0813530)),
    ),
    "beale": Known(
        "(1.5 - {0} + {0}*{1})**2 + (2.25 - {0} + {0}*{1}**2)**2 + (2.625 - {0} + {0}*{1}**3)**2",
        (1.0, 0.2), (3.0, 0.5), ((0.0, 1.0),),
    ),
    "three hump camel": Known(
        "2*{0}**2 - 1.05*{0}**4 + {0}**6/6 + {0}*{1} + {1}**2", (0.8, -1.0), (0.0, 0.0),
        ((1.0705421, -0.5352711),),
    ),
    "goldstein price": Known(
        "(1 + ({0} + {1} + 1)**2*(19 - 14*{0} + 3*{0}**2 - 14*{1} + 6*{0}*{1} + 3*{1}**2))"
        "*(30 + (2*{0} - 3*{1})**2*(18 - 32*{0} + 12*{0}**2 + 48*{1} - 36*{0}*{1} + 27*{1}**2))",
        (0.5, -0.5), (0.0, -1.0),
    ),
    "two wells": Known("{0}**2 + {1}**4 - {1}**2", (1.0, 0.4), (0.0, 0.5**0.5), ((0.0, 0.0),)),
    "unequal sides": Known(
        "1e5*{0}**2 + 1e-4*({1}**2 - 1)**2", (1e-3, 0.4), (0.0, 1.0), ((0.0, 0.0),)
    ),
}  # fmt: skip
UNITS: Final = (
    (1.0, 1.0, 1.0, 1.0),
    (1e-4, 1e4, 1.0, 1e2),
    (1e6, 1e-6, 1e3, 1e-3),
    (1e-6, 1e6, 1e-3, 1.0),
    (1e6, 1e6, 1e6, 1e6),
    (1e-6, 1e-6, 1e-6, 1e-6),
)


def in_units(known: Known, units: tuple[float, ...]) -> Expression:
    names = [f"(x{i + 1}*{unit!r})" for i, unit in enumerate(units[: len(known.start)])]
    return Expression(kind="expression", expression=known.formula.format(*names))


def at_rest(derivatives: Derivatives, near: Floats) -> Floats:
    """Return the point of rest near one that is known to some digits, by Newton's method."""
    for _ in range(6):
        slope, bend = derivatives.gradients(near[None])[0], derivatives.hessians(near[None])[0]
        near = near - np.linalg.solve(bend, slope)
    return near


def verdict(known: Known, units: tuple[float, ...], last: Floats, precision: str) -> Any:
    """The diagnosis of a run from the start straight to a point (in the formula's own units)."""
    function, scale = in_units(known, units), np.array(units[: len(known.start)])
    shares = np.concatenate([1.0 - np.linspace(0.0, 1.0, 20) ** 0.5, np.zeros(20)])
    path = (last + shares[:, None] * (np.array(known.start) - last)) / scale
    slopes = Derivatives(function).gradients(path)
    columns = {
        "step": np.arange(40.0),
        "loss": np.asarray(value_at(function, path), dtype=np.float64),
        "lr": np.full(40, 1e-3),
        "grad_norm": np.sqrt((slopes**2).sum(axis=1)),
        "x": path,
    }
    start = {f"x{i + 1}": float(each) for i, each in enumerate(path[0])}
    spec = resolved({
        "problem": {
            "kind": "function",
            "function": {"kind": "expression", "expression": function.expression},
            "start": start,
        },
        "optimizer": {"kind": "adam", "lr": 1e-3},
        "precision": precision,
    })  # fmt: skip
    return diagnose(spec, "budget_exhausted", {"num_steps": 40}, columns, None)


CASES: Final = [
    pytest.param(known, units, id=f"{name} in {units[0]:g}, {units[1]:g}")
    for name, known in LANDSCAPES.items()
    for units in UNITS
]


@pytest.mark.parametrize(("known", "units"), CASES)
def test_a_minimum_is_one_in_any_units(known: Known, units: tuple[float, ...]) -> None:
    derivatives = Derivatives(in_units(known, (1.0,) * 4))
    last = at_rest(derivatives, np.array(known.minimum))
    for precision in ("float64", "float32"):
        found = verdict(known, units, last, precision)
        assert found["verdict"] == "converged", found["findings"]


@pytest.mark.parametrize(("known", "units"), CASES)
def test_a_saddle_point_is_one_in_any_units(known: Known, units: tuple[float, ...]) -> None:
    derivatives = Derivatives(in_units(known, (1.0,) * 4))
    for each in known.saddles:
        last = at_rest(derivatives, np.array(each))
        found = verdict(known, units, last, "float64")
        assert found["verdict"] == "saddle_point", found["findings"]


@pytest.mark.parametrize(("known", "units"), CASES)
def test_a_point_on_the_way_is_none_of_rest(known: Known, units: tuple[float, ...]) -> None:
    minimum, start = np.array(known.minimum), np.array(known.start)
    found = verdict(known, units, minimum + 0.3 * (start - minimum), "float64")
    assert found["verdict"] not in ("converged", "local_minimum"), found["findings"]
    stationary = next(each for each in found["findings"] if each["rule"] == "stationary")
    assert stationary["status"] != "triggered", stationary


@pytest.mark.parametrize(("known", "units"), CASES)
def test_a_run_that_begins_at_the_minimum_has_converged(
    known: Known, units: tuple[float, ...]
) -> None:
    derivatives = Derivatives(in_units(known, (1.0,) * 4))
    last = at_rest(derivatives, np.array(known.minimum))
    found = verdict(known._replace(start=tuple(last)), units, last, "float64")
    assert found["verdict"] == "converged", found["findings"]
