"""The picture of a comparison of jobs: what it names, and that it draws whatever it is given."""

import math
from typing import Any

import pytest

from core.plots.jobs import _in_order, render
from core.specs.base import Json

NAN, INF = math.nan, math.inf


def comparison(curves: list[list[float | None]], *groups: list[int], **more: Any) -> Json:
    """A comparison of jobs with these losses."""
    ids = [f"job_{at}" for at in range(len(curves))]
    jobs = [
        {
            "id": id_,
            "name": None,
            "differs": {"optimizer.lr": 0.1 * at, "optimizer.kind": "adam", "seed": at},
            "metrics": {"loss": {"goal": "min", "final": curve[-1] or 0.0}},
        }
        for at, (id_, curve) in enumerate(zip(ids, curves, strict=True))
    ]
    return {
        "jobs": jobs,
        "baseline": None,
        "axis": "step",
        "curves": {
            "x": [10.0 * at for at in range(len(curves[0]))],
            "loss": dict(zip(ids, curves, strict=True)),
        },
        "groups": [
            {
                "jobs": [ids[at] for at in group],
                "band": dict.fromkeys(("low", "mid", "high"), curves[group[0]]),
            }
            for group in groups
        ],
        **more,
    }


@pytest.mark.parametrize(
    "curves",
    [
        [[1.0, 2.0], [2.0, 1.0]],
        [[1.0, NAN], [INF, None]],
        [[NAN, NAN], [NAN, None]],
        [[0.0, 0.0], [0.0, 0.0]],
        [[-1.0, -2.0], [1e300, -1e300]],
        [[1e-9, 1e9], [1.0, None]],
        [[1.0 + at, 1.0] for at in range(40)],
        [[1.0], [None]],
    ],
)
@pytest.mark.parametrize("form", ["svg", "png"])
def test_it_draws_whatever_it_is_given(form: Any, curves: list[list[float | None]]) -> None:
    for groups in ([], [[0, 1]]):
        picture = render(form, comparison(curves, *groups), "loss")
        assert picture.startswith(b"<?xml" if form == "svg" else b"\x89PNG")
        assert picture == render(form, comparison(curves, *groups), "loss")


def test_a_metric_that_is_to_rise_is_drawn_too() -> None:
    body = comparison([[0.1, 0.9], [0.2, 0.8]])
    for job in body["jobs"]:
        job["metrics"]["loss"]["goal"] = "max"
    assert render("svg", body, "loss") == render("svg", body, "loss")


def test_of_many_jobs_the_baseline_and_the_best_get_colours() -> None:
    ends = [5.0, 3.0, NAN, 4.0, 1.0, 2.0, 8.0, 7.0, 6.0]
    body = comparison([[9.0, end] for end in ends], baseline="job_6")
    for job, end in zip(body["jobs"], ends, strict=True):
        job["metrics"]["loss"]["final"] = end
    order = [row["id"] for row in _in_order(body, "loss")]
    assert order == [f"job_{at}" for at in (6, 4, 5, 1, 3, 0, 8, 7, 2)]
    body["jobs"] = body["jobs"][:8]
    assert _in_order(body, "loss") == body["jobs"]
