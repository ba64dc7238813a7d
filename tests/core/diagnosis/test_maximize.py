"""A run that maximizes f gets the diagnosis of the one that minimizes −f, of its own losses."""

import json
import math
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from core.diagnosis.marks import marks_of
from core.plots.run import draw_path, render
from core.specs.direction import sign_of_job
from tests.core.diagnosis.labelled.case import Json, adam, function, sgd
from tests.core.diagnosis.labelled.running import Run, child, improvement, perform, resolved

pytestmark = pytest.mark.filterwarnings("ignore")


def quadratic(sign: float, **fields: Any) -> Json:
    turned = {
        name: (sign * np.array(value)).tolist() if name != "rotation_seed" else value
        for name, value in fields.items()
    }
    return {"kind": "quadratic", **turned}


PAIRS: dict[str, tuple[Any, Any, Any, Json, int]] = {
    # down, up, start, optimizer, steps
    "at rest": ("-exp(-x1**2)", "exp(-x1**2)", {"x1": 1.8}, sgd(0.5), 300),
    "slow": ("-exp(-x1**2)", "exp(-x1**2)", {"x1": 1.8}, sgd(0.001), 300),
    "too slow": (
        quadratic(1.0, eigenvalues=[1.0, 3.0]), quadratic(-1.0, eigenvalues=[1.0, 3.0]),
        [1.0, 1.0], sgd(0.002), 200,
    ),
    "unstable": (
        quadratic(1.0, eigenvalues=[1.0, 3.0], constant=2.0),
        quadratic(-1.0, eigenvalues=[1.0, 3.0], constant=2.0), [1.0, 1.0], sgd(0.7), 40,
    ),
    "thrown out": ("x1**4 + x2**2", "-(x1**4 + x2**2)", {"x1": 3.0, "x2": 1.0}, sgd(0.3), 60),
    "alternating": ("x1**2 + 3*x2**2", "-(x1**2 + 3*x2**2)", {"x1": 1.0, "x2": 1.0},
                    sgd(0.33), 100),
    "ringing": (
        quadratic(1.0, matrix=[[2.0, 0.5], [0.5, 1.0]], linear=[0.3, -0.2]),
        quadratic(-1.0, matrix=[[2.0, 0.5], [0.5, 1.0]], linear=[0.3, -0.2]),
        [1.0, 1.0], sgd(0.05, momentum=0.998), 250,
    ),
    "a saddle": ("x1**2 + x2**4 - x2**2", "-(x1**2 + x2**4 - x2**2)",
                 {"x1": 1.0, "x2": 0.0}, sgd(0.1), 300),
    "a lower one elsewhere": (
        "0.05*x1**2 - cos(3*x1)", "-(0.05*x1**2 - cos(3*x1))", {"x1": 4.5}, adam(0.05), 400,
    ),
    "a bound": ("exp(x1) + x2**2", "-(exp(x1) + x2**2)", {"x1": 0.5, "x2": 0.5}, adam(0.05), 300),
    "no gradient": ("x1**3", "-(x1**3)", {"x1": 0.0}, sgd(0.1), 30),
    "no number": ("sqrt(x1**2 + x2**2)", "-sqrt(x1**2 + x2**2)", {"x1": 0.0, "x2": 0.0},
                  sgd(0.1), 20),
    "no number, above 0": (
        "1 + sqrt(x1**2 + x2**2)", "-(1 + sqrt(x1**2 + x2**2))", {"x1": 0.0, "x2": 0.0},
        sgd(0.1), 20,
    ),
    "decay": ("x1**2 + 3*x2**2", "-(x1**2 + 3*x2**2)", {"x1": 1.0, "x2": 1.0},
              adam(0.02, weight_decay=0.1), 200),
}  # fmt: skip


def both(name: str, *, full: bool) -> tuple[Run, Run]:
    down, up, start, optimizer, steps = PAIRS[name]
    jobs = [
        function(down, start, optimizer, steps),
        function(up, start, {**optimizer, "maximize": True}, steps),
    ]
    if name == "a bound":
        for job in jobs:
            job["problem"]["bounds"] = [0.0, 1.0]
    one, other = (perform(resolved(job), full=full) for job in jobs)
    return one, other


def turned(remedies: list[Json]) -> list[Json]:
    """What the mirror image's remedies promise."""
    found = []
    for remedy in remedies:
        expected = {}
        for key, value in remedy["expected"].items():
            name = {"known_minimum": "known_maximum"}.get(key, key)
            name = name.replace("_loss_below", "_loss_above")
            losses = ("_loss", "_loss_above", "_maximum")
            expected[name] = -value if value is not None and name.endswith(losses) else value
        patch = json.loads(json.dumps(remedy["patch"]))
        if "target_loss" in patch.get("stop", {}):
            patch["stop"]["target_loss"] *= -1.0
        found.append({"patch": patch, "expected": expected})
    return found


def close(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(close, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-12)
    return bool(one == other)


@pytest.mark.parametrize("full", [False, True], ids=["history", "full"])
@pytest.mark.parametrize("name", PAIRS)
def test_the_diagnosis_is_the_mirror_image(name: str, full: bool) -> None:
    down, up = both(name, full=full)
    assert up.ending.outcome == down.ending.outcome
    assert up.diagnosis["verdict"] == down.diagnosis["verdict"]
    assert up.diagnosis["confidence"] == pytest.approx(down.diagnosis["confidence"], abs=1e-6)
    for one, other in zip(down.diagnosis["findings"], up.diagnosis["findings"], strict=True):
        assert (one["rule"], one["status"]) == (other["rule"], other["status"])
        assert close(one["evidence"], other["evidence"]), one["rule"]
        assert other["explanation"].startswith(one["explanation"])
    got = [{key: each[key] for key in ("patch", "expected")} for each in up.diagnosis["remedies"]]
    assert close(turned(down.diagnosis["remedies"]), got)


def test_the_pairs_meet_many_verdicts_and_remedies() -> None:
    found = {name: both(name, full=False)[1].diagnosis for name in PAIRS}
    assert {each["verdict"] for each in found.values()} >= {
        "converged", "too_slow", "diverging", "oscillating", "saddle_point", "healthy",
    }  # fmt: skip
    assert found["at rest"]["verdict"] == "converged"
    assert found["at rest"]["remedies"] == []


@pytest.mark.parametrize("name", ["too slow", "unstable", "a saddle", "thrown out"])
def test_a_remedy_is_judged_in_the_runs_own_direction(name: str) -> None:
    down, up = both(name, full=False)
    pairs = [(down, child(down)), (up, child(up))]
    verdicts = []
    for parent, after in pairs:
        assert after is not None
        found = improvement(parent, after)
        verdicts.append(found["verdict"])
        assert found["after"]["final_loss"] == pytest.approx(after.train["loss"][-1])
        extreme = min if parent is down else max
        if parent.ending.outcome != "diverged":
            assert found["before"]["final_loss"] == pytest.approx(parent.train["loss"][-1])
            assert found["before"]["best_loss"] == pytest.approx(extreme(parent.train["loss"]))
    assert verdicts[0] == verdicts[1] == "improved"


def test_what_makes_it_worse_is_not_called_improved() -> None:
    job = function("exp(-x1**2)", {"x1": 1.8}, sgd(0.05, maximize=True), 100)
    parent = perform(resolved(job), full=False)
    worse = perform(resolved({**job, "optimizer": sgd(0.0005, maximize=True)}), full=False)
    assert worse.train["loss"][-1] < parent.train["loss"][-1]
    assert improvement(parent, worse)["verdict"] == "worse"
    assert improvement(worse, parent)["verdict"] == "improved"
    assert improvement(parent, parent)["verdict"] == "no_change"
    other = perform(resolved({**job, "optimizer": sgd(0.05)}), full=False)
    found = improvement(parent, other)
    assert found["verdict"] == "no_change"
    assert "maximizes" in found["reason"]


def test_the_contours_are_the_same_and_their_bar_counts_the_other_way() -> None:
    bars = []
    for each in both("a saddle", full=False):
        figure = Figure()
        draw_path(figure, figure.subplots(), each.spec, each.train)
        bars.append([label.get_text() for label in figure.axes[-1].get_yticklabels()])
    down, up = ([float(text.replace("\N{MINUS SIGN}", "-")) for text in bar] for bar in bars)
    assert len(down) > 3
    assert up == [-each for each in down]


def test_the_best_and_the_marks_are_drawn_where_they_are() -> None:
    down, up = both("unstable", full=False)
    placed = [marks_of(each.diagnosis, each.train, sign_of_job(each.spec)) for each in (down, up)]
    assert placed[0]
    assert [(each.first, each.last, each.label) for each in placed[0]] == [
        (each.first, each.last, each.label) for each in placed[1]
    ]
    for each in (down, up):
        best = None if each.ending.best is None else dict(each.ending.best)
        picture = render("loss", "svg", each.spec, each.train, best=best)
        assert picture.startswith(b"<?xml")
