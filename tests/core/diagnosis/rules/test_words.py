"""What a finding says holds of the numbers that it says it with, however they were rounded."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from core.diagnosis.diagnose import diagnose
from core.diagnosis.remedies.effect import compare, facts
from core.diagnosis.words import apart, as_factor, gone, percent, taken_off
from core.jobs import Outcome
from core.specs.job import JobSpec
from tests.core.diagnosis.runs import (
    Columns,
    Floats,
    Json,
    curve,
    diagonal,
    digits_job,
    evaluations,
    function_job,
    gd,
    noise,
    outcome_of,
    sgd,
)

NUMBER = r"(-?\d+(?:\.\d+)?(?:e[-+]?\d+)?|inf)"


def says(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text).replace("N", NUMBER))


CLAIMS: dict[re.Pattern[str], Callable[..., bool]] = {
    says("smallest eigenvalue is N, not below 0"): lambda a: a >= 0 and math.copysign(1, a) > 0,
    says("smallest eigenvalue is N, which cannot be told from 0"): lambda a: a < 0,
    says("smallest eigenvalue found is N, but its bound of N does not"): lambda a, b: a < b,
    says("shrinks by N a step"): lambda a: a < 1,
    says("shrinks by only N a step, where a factor of N is possible"): lambda a, b: b < a < 1,
    says("grows by N a step"): lambda a: a > 1,
    says("is N, N times the method's threshold of N. Every step makes"): lambda a, r, b: (
        a > b and r > 1
    ),
    says("ended at N, far above its start of N."): lambda a, b: a > b,
    says("rests at N, above the N that the run began with"): lambda a, b: a > b,
    says("loss of N lies N above the known minimum of N,"): lambda a, by, b: a > b and by > 0,
    says("minimum found is lower than N; the loss is N."): lambda a, b: b < a,
    says("training loss fell from N to N."): lambda a, b: b < a,
    says("takes N% off the loss"): lambda a: math.copysign(1, a) > 0,
    says("adds N% to the loss"): lambda a: a > 0,
    says("N% of the loss is gone"): lambda a: math.copysign(1, a) > 0,
    says("N% of the first gap is gone"): lambda a: math.copysign(1, a) > 0,
    says("first gap has grown by N%"): lambda a: a > 0,
    says("what was left at half time has grown by N%"): lambda a: a > 0,
}
"""Sentences that compare numbers, with what is to hold of them as they are printed."""

LARGE = (1e3, 1e9)
SMALL = (1e-2, 1e-5, 1e-8)

Run = tuple[JobSpec, Outcome | None, Columns, Columns | None, Json | None]


def on_bowls() -> Iterator[Run]:
    """Gradient descent beside its threshold, and far below it, on bowls that are ill conditioned
    or have a flat direction."""
    for top in (1e2, 1e6, 1e12):
        eigenvalues = np.array([1.0, top])
        job: Json = {"kind": "quadratic", "eigenvalues": eigenvalues.tolist()}
        for off in (0.5, 1.0, *(1 + sign * each for each in SMALL for sign in (-1, 1))):
            lr = 2.0 / top * off
            run = sgd(diagonal(eigenvalues), np.array([1.0, 1.0]), 60, lr)
            yield (
                function_job(job, np.array([1.0, 1.0]), gd(lr)),
                outcome_of(run["loss"]),
                run,
                None,
                None,
            )
    for tilt in (0.3, 0.7, 1.1):
        way = np.array([math.cos(tilt), math.sin(tilt)])
        matrix = np.outer(way, way)

        def slope(x: Floats, matrix: Floats = matrix) -> tuple[float, Floats]:
            return 0.5 * float(x @ matrix @ x), matrix @ x

        start = np.array([1.0, 2.0])
        run = sgd(slope, start, 400, 0.5)
        spec = function_job({"kind": "quadratic", "matrix": matrix.tolist()}, start, gd(0.5))
        yield spec, "budget_exhausted", run, None, None


def at_rest() -> Iterator[Run]:
    """Points of rest whose curvature, or lower minimum, is next to nothing."""
    for base in (0.0, *LARGE):
        for above in (-1e-3, 1e-3, 1e-5):
            other = {
                "loss": base,
                "grad_norm": 0.0,
                "multi_start": {"best": base - above, "minima": 2},
            }
            text = f"{base!r} + x1**4/4 - x1**2/2 + 0.25"
            losses = base + np.concatenate([np.geomspace(1.0, 1e-12, 40), np.zeros(40)])
            run = curve(losses, 0.1, np.geomspace(1.0, 1e-14, 80))
            run["x"] = np.sqrt(1.0 + np.geomspace(1.0, 1e-14, 80))[:, None]
            run["x"][-20:], run["grad_norm"][-20:] = 1.0, 0.0
            spec = function_job(
                {"kind": "expression", "expression": text}, np.array([1.5]), gd(0.1)
            )
            yield spec, "budget_exhausted", run, None, other
    spec = digits_job(gd(0.1), batch_size="full")
    run = curve(np.geomspace(2.0, 1.0, 200), 0.1, np.geomspace(1.0, 1e-9, 200))
    for least in (0.0, -0.0, -1e-13, 1e-13, -1e-3):
        for bound in (0.0, 1.00004 * abs(least), 1e-3):
            ends: Json = {"largest": {"value": 1.0, "bound": 0.0}, "rounding": 1e-12}
            ends["smallest"] = {"value": least, "bound": bound}
            yield spec, "budget_exhausted", run, None, {"loss": 1.0, "grad_norm": 1e-9, **ends}
    for above in (2e-6, 1e-4, 0.5):
        run = curve(np.linspace(1.0, 1.0 + above, 200), 0.1, np.geomspace(1.0, 1e-9, 200))
        yield spec, "budget_exhausted", run, None, None


def of_models() -> Iterator[Run]:
    """Losses that hardly fall, hardly rise, or end at a limit."""
    n = 400
    for size in SMALL:
        for sign in (-1, 1):
            for base in (1.0, 0.0):
                loss = 2.0 + base * 1e3 + sign * size * np.linspace(0.0, 1.0, n)
                for batch in ("full", 64):
                    loss = loss + (0.0 if batch == "full" else size * 1e-2 * noise(n))
                    gradient = np.where(np.arange(n) < 5, 1.0, 0.05)
                    for clip in (None, {"kind": "norm", "max_norm": 1e-3}):
                        gradient = gradient if clip is None else np.ones(n)
                        spec = digits_job(gd(1e-3), batch_size=batch, gradient_clip=clip)
                        yield spec, "budget_exhausted", curve(loss, 1e-3, gradient), None, None
    falling = np.geomspace(2.0, 0.5, n)
    rising = evaluations(np.concatenate([[2.0, 0.5], np.linspace(0.5, 1.5, 38)]), 10)
    yield digits_job(gd(0.1)), "budget_exhausted", curve(falling), rising, None
    spec = digits_job(gd(0.1), stop={"max_loss": 1.0})
    for loss in (np.array([2.0]), np.array([2.0, 0.5, 1.5]), falling):
        yield spec, "diverged", curve(loss), None, None
    yield digits_job(gd(0.1)), "diverged", curve(np.geomspace(1.0, 1e9, 50)), None, None


FAMILIES = [on_bowls, at_rest, of_models]


def told(run: Run) -> list[Json]:
    spec, outcome, train, evaluation, measured = run
    findings: list[Json] = diagnose(spec, outcome, None, train, evaluation, measured)["findings"]
    return findings


def test_what_findings_say_holds_of_the_numbers_that_they_say() -> None:
    met: Counter[str] = Counter()
    for finding in (each for family in FAMILIES for run in family() for each in told(run)):
        text = finding["explanation"]
        assert not re.search(r"-0(\.0*)?(?![\d.])|\bnan\b", text), finding
        for pattern, holds in CLAIMS.items():
            for found in pattern.finditer(text):
                met[pattern.pattern] += 1
                numbers = list(map(float, found.groups()))
                assert holds(*numbers), (text, finding)
    assert not [each.pattern for each in CLAIMS if not met[each.pattern]]


def test_a_limit_that_the_first_loss_was_above_is_named() -> None:
    spec = digits_job(gd(0.1), stop={"max_loss": 1.0})
    run: Run = (spec, "diverged", curve(np.array([2.0])), None, None)
    (said,) = [each["explanation"] for each in told(run) if each["rule"] == "diverged"]
    assert said == "The loss reached stop.max_loss: its last value is 2."


@pytest.mark.parametrize("base", [0.0, *LARGE])
@pytest.mark.parametrize("change", [-0.5, -1e-4, 1e-4, 0.5])
def test_an_effect_names_losses_that_differ(base: float, change: float) -> None:
    text = f"x1**2 + {base!r}"
    spec = function_job({"kind": "expression", "expression": text}, np.array([1.0]), gd(0.1))

    def ended(at: float) -> Json:
        run = curve(base + np.linspace(1.0, at, 50)) | {"x": np.linspace(1.0, 0.5, 50)[:, None]}
        return facts(spec, "budget_exhausted", None, run, None)

    found: Any = compare(ended(2e-3), ended(2e-3 * (1.0 + change)))
    if "The loss at the end" in found["reason"] and found["verdict"] != "no_change":
        after, before = map(float, re.findall(NUMBER, found["reason"]))
        assert (after < before) is (found["verdict"] == "improved")
        assert after != before


@pytest.mark.parametrize("digits", [2, 4, 6])
@pytest.mark.parametrize("near", [1.0, -3.7, 1e6, 1e-300])
def test_numbers_that_differ_read_differently(near: float, digits: int) -> None:
    for off in (0.0, *SMALL, -1e-15):
        one, other = apart(near, near * (1.0 + off), digits=digits)
        assert (one == other) is (near == near * (1.0 + off))
        assert (float(one) < float(other)) is (near < near * (1.0 + off))
        assert as_factor(1.0 + off, digits) == "1" or off != 0.0
    assert apart(math.pi, 7.0, digits=digits) == [f"{math.pi:.{digits}g}", "7"]
    assert apart(math.nan, math.inf, 1.0, digits=digits) == ["nan", "inf", "1"]


def test_shares_of_next_to_nothing_have_no_sign() -> None:
    assert (percent(-1e-9), percent(-1e-9, 2), percent(-0.5), percent(0.1234, 1)) == (
        "0%", "0.00%", "-50%", "12.3%",
    )  # fmt: skip
    assert (taken_off(-1e-9, 2), taken_off(-0.03, 1)) == (
        "takes 0.00% off the loss", "adds 3.0% to the loss",
    )  # fmt: skip
    assert (gone(-1e-9, 0, "the loss"), gone(-0.1, 0, "the loss")) == (
        "0% of the loss is gone", "the loss has grown by 10%",
    )  # fmt: skip
