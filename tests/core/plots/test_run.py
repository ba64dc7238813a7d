"""Pictures: of the promised size and form, the same each time, for any history at all."""

import json
import struct
import subprocess
import sys
import threading
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from numpy.typing import NDArray

from core.diagnosis.marks import _PLACES
from core.errors import InvalidInputError
from core.plots.run import PLOT_FORMATS, PLOT_KINDS, PlotFormat, PlotKind, path_is_possible, render
from core.specs.job import JobSpec
from core.specs.parsing.job import parse_job
from core.specs.validation.limits import Limits

Columns = dict[str, NDArray[np.float64]]


def job(problem: dict[str, Any]) -> JobSpec:
    body = {"problem": problem, "optimizer": {"kind": "sgd", "lr": 0.1}}
    return parse_job(json.dumps(body).encode(), Limits())


def function(**fields: Any) -> JobSpec:
    return job({"kind": "function", "function": fields})


ROSENBROCK = function(kind="rosenbrock", dim=2)
DIGITS = job(
    {
        "kind": "supervised",
        "data": {"kind": "builtin", "name": "digits"},
        "model": {"kind": "linear"},
    }
)


def columns(loss: NDArray[np.float64]) -> Columns:
    n = loss.size
    turn = np.linspace(0.0, 3.0, n)
    return {
        "step": np.arange(float(n)),
        "loss": loss,
        "lr": np.full(n, 0.1),
        "x": np.stack([np.cos(turn), np.sin(turn)], axis=1),
    }


FALLING = columns(np.geomspace(10.0, 1e-4, 50))


@pytest.mark.parametrize("kind", PLOT_KINDS)
def test_a_png_has_the_promised_size(kind: PlotKind) -> None:
    picture = render(kind, "png", ROSENBROCK, FALLING)
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", picture[16:24]) == (900, 540)


@pytest.mark.parametrize("kind", PLOT_KINDS)
def test_an_svg_is_well_formed_and_carries_no_date(kind: PlotKind) -> None:
    picture = render(kind, "svg", ROSENBROCK, FALLING)
    assert ET.fromstring(picture).tag.endswith("svg")
    assert b"<dc:date>" not in picture


@pytest.mark.parametrize("kind", PLOT_KINDS)
@pytest.mark.parametrize("form", PLOT_FORMATS)
def test_the_same_input_gives_the_same_bytes(kind: PlotKind, form: PlotFormat) -> None:
    assert render(kind, form, ROSENBROCK, FALLING) == render(kind, form, ROSENBROCK, FALLING)


def test_a_spec_may_come_as_json() -> None:
    body = json.loads(ROSENBROCK.model_dump_json())
    assert render("path", "svg", body, FALLING) == render("path", "svg", ROSENBROCK, FALLING)


def test_evaluation_outcome_and_best_each_change_the_picture() -> None:
    evaluation = {"step": np.array([0.0, 25.0, 50.0]), "loss": np.array([10.0, 1.0, 2.0])}
    pictures = {
        render("loss", "svg", DIGITS, FALLING),
        render("loss", "svg", DIGITS, FALLING, evaluation),
        render("loss", "svg", DIGITS, FALLING, outcome="diverged"),
        render("loss", "svg", DIGITS, FALLING, best={"step": 49, "loss": 1e-4}),
    }
    assert len(pictures) == 4


ODD = [
    np.empty(0),
    np.array([1.0]),
    np.array([np.nan]),
    np.full(30, 2.0),
    np.zeros(30),
    -np.geomspace(1.0, 1e9, 30),
    np.array([1.0, 2.0, np.inf, 3.0, np.nan]),
    np.geomspace(1.0, 1e308, 30),
    np.array([1e-320, 1e-300, 1.0]),
]


@pytest.mark.parametrize("case", range(len(ODD)))
@pytest.mark.parametrize("kind", PLOT_KINDS)
def test_any_history_has_a_picture(kind: PlotKind, case: int) -> None:
    rows = columns(ODD[case])
    evaluation = {"step": rows["step"], "loss": rows["loss"]}
    assert render(kind, "png", ROSENBROCK, rows, evaluation)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "himmelblau"},
        {"kind": "quadratic", "eigenvalues": [1.0, 100.0]},
        {"kind": "quadratic", "eigenvalues": [1.0, 100.0], "rotation_seed": 3},
        {"kind": "expression", "expression": "log(x1) + sqrt(x2)"},
        {"kind": "expression", "expression": "where(x1 < 0, 0, 0*x2)"},
        {"kind": "expression", "expression": "exp(exp(x1**2 + x2**2))"},
    ],
)
@pytest.mark.parametrize("size", [0.0, 1.0, 1e-12, 1e150])
def test_any_path_has_a_picture(fields: dict[str, Any], size: float) -> None:
    rows = dict(FALLING)
    rows["x"] = FALLING["x"] * size
    problem: dict[str, Any] = {"kind": "function", "function": fields}
    if fields["kind"] == "expression":
        problem["start"] = {"x1": 1.0, "x2": 1.0}
    assert render("path", "png", job(problem), rows)


def diagnosed(verdict: str, *findings: tuple[str, dict[str, float]], **more: Any) -> dict[str, Any]:
    found = [
        {"rule": rule, "status": "triggered", "evidence": numbers} for rule, numbers in findings
    ]
    return {"verdict": verdict, "confidence": 0.93, "findings": found, **more}


def test_the_verdict_and_each_mark_change_the_picture_of_the_loss_alone() -> None:
    found = [
        None,
        diagnosed("healthy"),
        diagnosed("plateau"),
        diagnosed("healthy", ("plateau", {})),
        diagnosed("undetermined"),
    ]
    for form in PLOT_FORMATS:
        assert len({render("loss", form, DIGITS, FALLING, diagnosis=each) for each in found}) == 5
        assert len({render("lr", form, DIGITS, FALLING, diagnosis=each) for each in found}) == 1


@pytest.mark.parametrize("case", range(len(ODD)))
def test_any_history_has_a_picture_with_every_finding(case: int) -> None:
    numbers = {"best_step": 1.0, "best_eval_loss": 1.0, "known_minimum": -3.0}
    found = diagnosed("diverging", *((rule, numbers) for rule in _PLACES))
    rows = columns(ODD[case]) | {"grad_norm": ODD[case]}
    picture = render("loss", "png", ROSENBROCK, rows, diagnosis=found)
    assert struct.unpack(">II", picture[16:24]) == (900, 540)


def test_a_path_is_for_functions_of_two_variables() -> None:
    for spec in (DIGITS, function(kind="sphere", dim=3)):
        assert not path_is_possible(spec)
        with pytest.raises(InvalidInputError, match="two variables"):
            render("path", "png", spec, FALLING)


def test_threads_draw_the_same_pictures_as_one() -> None:
    expected = render("loss", "svg", DIGITS, FALLING)
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(render("loss", "svg", DIGITS, FALLING)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


def test_importing_it_loads_no_matplotlib() -> None:
    code = (
        "import sys, core.plots.run;sys.exit('matplotlib' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
