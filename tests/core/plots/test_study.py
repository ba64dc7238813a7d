"""Pictures of studies: of the promised size and form, the same each time, for any study at all."""

import math
import struct
import subprocess
import sys
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from numpy.typing import NDArray

from core.compare.comparison import compare
from core.compare.curve_bands import curve_plan
from core.errors import InvalidInputError
from core.plots.run import PLOT_FORMATS, PlotFormat
from core.plots.study import STUDY_PLOT_KINDS, StudyPlotKind, render
from core.studies import RunRecord
from tests.core.compare.studies import run, runs, study

Floats = NDArray[np.float64]
Json = dict[str, Any]
NAN = math.nan


def races() -> list[RunRecord]:
    made = []
    for configuration, kind in enumerate(("sgd", "adam", "rmsprop")):
        for repeat in range(3):
            step = 10 * (configuration + 1) + repeat
            made.append(
                run(
                    configuration, repeat, repeats=3, metric=0.1 * (configuration + 1),
                    params={"optimizer": {"kind": kind}},
                    target={"step": step, "seconds": step / 100.0},
                )
            )  # fmt: skip
    return made


COMPARISON = compare(study(repeats=3, target=0.5), races(), complete=True)


def falling(comparison: Json) -> dict[int, tuple[Floats, Floats]]:
    step = np.arange(0.0, 400.0, 20.0)
    return {
        number: (step, (1.0 + 0.1 * number) * np.exp(-step / 100.0))
        for number in curve_plan(comparison).runs
    }


def drawn(kind: StudyPlotKind, form: PlotFormat) -> bytes:
    return render(kind, form, COMPARISON, falling(COMPARISON))


@pytest.mark.parametrize("kind", STUDY_PLOT_KINDS)
def test_a_png_has_the_promised_size(kind: StudyPlotKind) -> None:
    picture = drawn(kind, "png")
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", picture[16:24]) == (900, 540)


@pytest.mark.parametrize("kind", STUDY_PLOT_KINDS)
def test_an_svg_is_well_formed_and_carries_no_date(kind: StudyPlotKind) -> None:
    picture = drawn(kind, "svg")
    assert ET.fromstring(picture).tag.endswith("svg")
    assert b"<dc:date>" not in picture


@pytest.mark.parametrize("kind", STUDY_PLOT_KINDS)
@pytest.mark.parametrize("form", PLOT_FORMATS)
def test_the_same_input_gives_the_same_bytes(kind: StudyPlotKind, form: PlotFormat) -> None:
    assert drawn(kind, form) == drawn(kind, form)


def test_a_study_without_a_profile_says_why() -> None:
    comparison = compare(study(), runs([[1.0], [2.0]]), complete=True)
    with pytest.raises(InvalidInputError, match="has no target"):
        render("profile", "svg", comparison)


ODD: dict[str, list[list[float | None]]] = {
    "one configuration": [[1.0, 2.0, 3.0]],
    "one run": [[1.0]],
    "all diverged": [[NAN, NAN], [NAN, NAN]],
    "all failed": [[None], [None]],
    "many": [[float(value)] for value in range(150)],
    "negative": [[-1.0, -2.0], [3.0, 4.0]],
}


@pytest.mark.parametrize("name", sorted(ODD))
def test_odd_studies_draw_without_a_warning(name: str) -> None:
    values = ODD[name]
    comparison = compare(study(repeats=len(values[0])), runs(values), complete=True)
    step = np.arange(200.0)
    curves = {}
    for number in curve_plan(comparison).runs:
        value = np.exp(step / (3.0 + number)) - (2.0 if name == "negative" else 0.0)
        curves[number] = step, np.where(value > 1e30, NAN, value)
    render("curves", "png", comparison, curves)


@pytest.mark.parametrize(
    "values",
    [[], [NAN], [math.inf, NAN], [0.0, 0.0], [1e308, 2.0, -1e308], [5.0]],
    ids=["none", "nan", "infinite", "flat", "huge", "one"],
)
def test_odd_curves_draw_without_a_warning(values: list[float]) -> None:
    curve = np.arange(float(len(values))), np.array(values)
    curves = dict.fromkeys(curve_plan(COMPARISON).runs, curve)
    render("curves", "svg", COMPARISON, curves)


def test_a_study_without_runs_or_rows_draws_too() -> None:
    render("curves", "png", COMPARISON)
    render("curves", "png", compare(study(), [], complete=False), {})


def test_pictures_of_studies_need_no_torch() -> None:
    heavy = "{'torch', 'matplotlib', 'scipy'}"
    code = f"import core.plots.study, sys; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
