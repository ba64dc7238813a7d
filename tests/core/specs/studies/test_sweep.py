"""What a sweep stands for: its points, the order of a grid, random draws, and paths."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.specs.studies.runs import configurations
from core.specs.studies.sweep import Axis, PathError, applied, axes_of, drawn, grid, uniform
from core.specs.study import StudySpec
from tests.core.specs.studies.specs_of_studies import Json, parsed, study

quick = settings(max_examples=100, deadline=None, derandomize=True, database=None)


def axis(sweep: Json, path: str = "optimizer.lr") -> Axis:
    body = json.dumps({"base": {}, "sweep": {path: sweep}})
    (found,) = axes_of(StudySpec.model_validate_json(body).sweep)
    return found


def points(sweep: Json) -> list[Any]:
    found = axis(sweep)
    assert found.size is not None
    return [found.point(index) for index in range(found.size)]


def test_points_by_hand() -> None:
    assert points({"log": [0.0001, 1.0], "count": 5}) == [0.0001, 0.001, 0.01, 0.1, 1.0]
    assert points({"linear": [0.0, 1.0], "count": 5}) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert points({"linear": [-3.0, 3.0], "count": 2}) == [-3.0, 3.0]
    assert points({"integers": [-1, 3]}) == [-1, 0, 1, 2, 3]
    assert points({"integers": [4, 4]}) == [4]
    assert points({"values": [1, "a", None, [1]]}) == [1, "a", None, [1]]


@quick
@given(st.floats(1e-300, 1e300), st.floats(1e-300, 1e300), st.integers(2, 40), st.booleans())
def test_points_are_those_of_numpy_and_begin_and_end_exactly(
    one: float, other: float, count: int, log: bool
) -> None:
    low, high = min(one, other), max(one, other)
    if low == high:
        return
    space = np.geomspace if log else np.linspace
    got = points({"log" if log else "linear": [low, high], "count": count})
    assert (got[0], got[-1]) == (low, high)
    assert got == sorted(got)
    np.testing.assert_allclose(got, space(low, high, count), rtol=1e-12)


def test_the_place_of_a_point_is_found_again() -> None:
    for sweep in (
        {"log": [1e-5, 3.0], "count": 1000},
        {"linear": [-1.0, 1.0], "count": 999},
        {"integers": [-500, 500]},
        {"values": [1, 1.0, True, "1", {"a": 1, "b": 2}, [1]]},
    ):
        found = axis(sweep)
        size = found.size or 0
        assert [found.index_of(found.point(i)) for i in range(size)] == list(range(size))
    assert axis({"integers": [-(2**53), 2**53]}).index_of(0) == 2**53


def test_the_last_path_of_a_grid_runs_fastest() -> None:
    sweep = {"seed": {"integers": [0, 1]}, "optimizer.lr": {"values": [0.1, 0.2, 0.3]}}
    resolved = parsed(study(sweep=sweep))
    assert configurations(resolved.spec) == [
        {"seed": 0, "optimizer.lr": 0.1},
        {"seed": 0, "optimizer.lr": 0.2},
        {"seed": 0, "optimizer.lr": 0.3},
        {"seed": 1, "optimizer.lr": 0.1},
        {"seed": 1, "optimizer.lr": 0.2},
        {"seed": 1, "optimizer.lr": 0.3},
    ]
    assert resolved.num_runs == 6


def test_a_grid_of_nothing_is_one_configuration() -> None:
    assert list(grid([])) == [{}]


def test_a_random_configuration_depends_on_seed_and_number_alone() -> None:
    sweep = {"optimizer.lr": {"log": [1e-4, 1.0]}, "seed": {"integers": [0, 9]}}
    few = {"kind": "random", "num_runs": 5, "seed": 3}
    many = {"kind": "random", "num_runs": 50, "seed": 3}
    first = configurations(parsed(study(sweep=sweep, strategy=few)).spec)
    more = configurations(parsed(study(sweep=sweep, strategy=many)).spec)
    assert more[:5] == first
    assert len({params["optimizer.lr"] for params in more}) == 50
    alone = {"optimizer.lr": sweep["optimizer.lr"]}
    without = configurations(parsed(study(sweep=alone, strategy=many)).spec)
    assert [params["optimizer.lr"] for params in without] == [
        params["optimizer.lr"] for params in more
    ]
    other = configurations(parsed(study(sweep=sweep, strategy={**many, "seed": 4})).spec)
    assert other != more


def test_draws_are_uniform_on_the_scale_of_the_sweep() -> None:
    # The chance of a difference this large is about 1e-6 (Kolmogorov: 2·exp(-2·D²·n)).
    n, most = 2000, math.sqrt(math.log(2e6) / 4000)
    lr = axis({"log": [1e-4, 1.0]})
    drawn_rates = [drawn([lr], 7, number)["optimizer.lr"] for number in range(n)]
    exponents = sorted((math.log10(rate) + 4) / 4 for rate in drawn_rates)
    assert max(abs(u - (i + 0.5) / n) for i, u in enumerate(exponents)) < most
    straight = axis({"linear": [10.0, 30.0]})
    numbers = sorted((straight.draw(uniform(1, i, "x")) - 10) / 20 for i in range(n))
    assert max(abs(u - (i + 0.5) / n) for i, u in enumerate(numbers)) < most
    chosen = [axis({"integers": [3, 6]}).draw(uniform(0, i, "y")) for i in range(n)]
    assert {
        value: abs(chosen.count(value) - n / 4) < 100 for value in (3, 4, 5, 6)
    } == dict.fromkeys((3, 4, 5, 6), True)


def test_with_a_count_a_draw_is_one_of_the_points() -> None:
    five = axis({"log": [1e-4, 1.0], "count": 5})
    assert {five.draw(uniform(0, i, "z")) for i in range(200)} == {1e-4, 1e-3, 1e-2, 1e-1, 1.0}
    assert (five.draw(0.0), five.draw(math.nextafter(1.0, 0.0))) == (1e-4, 1.0)


def test_draws_are_what_they_were() -> None:
    """Other numbers would repeat no study that was made before."""
    assert uniform(0, 0, "optimizer.lr") == 0.4771902885117618
    assert uniform(5, 17, "seed") == 0.2042009433277049


def test_shorter_paths_apply_before_those_that_they_are_a_prefix_of() -> None:
    base = {"optimizer": {"kind": "adam", "lr": 1.0}, "seed": 0}
    params = {"optimizer.betas.0": 0.5, "optimizer.lr": 0.1,
              "optimizer": {"kind": "sgd", "betas": [0.9, 0.99]}}  # fmt: skip
    assert applied(base, params) == {
        "optimizer": {"kind": "sgd", "lr": 0.1, "betas": [0.5, 0.99]},
        "seed": 0,
    }
    assert base == {"optimizer": {"kind": "adam", "lr": 1.0}, "seed": 0}
    assert params["optimizer"] == {"kind": "sgd", "betas": [0.9, 0.99]}


def test_objects_on_the_way_are_made_and_null_counts_as_none() -> None:
    base = {"gradient_clip": None}
    params = {"gradient_clip.kind": "norm", "schedule.then.kind": "constant"}
    assert applied(base, params) == {
        "gradient_clip": {"kind": "norm"},
        "schedule": {"then": {"kind": "constant"}},
    }


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("optimizer.betas.2", "optimizer.betas has no place 2; its places are 0 … 1"),
        ("optimizer.wrap.0.decay", "optimizer.wrap has no place 0; it is empty"),
        ("optimizer.betas.01", "name a place in it by its number"),
        ("optimizer.betas.-1", "name a place in it by its number"),
        ("optimizer.betas.²", "name a place in it by its number"),
        ("optimizer.betas.99999999999999999999", "name a place in it by its number"),
        ("optimizer.betas.first", "optimizer.betas is a list"),
        ("optimizer.lr.x", 'optimizer.lr is 0.1, which has no part "x"'),
        ("schedule.milestones.0", "there is no list schedule.milestones to find place 0 in"),
    ],
)
def test_a_path_that_leads_nowhere_says_where_it_ends(path: str, text: str) -> None:
    base = {"optimizer": {"lr": 0.1, "betas": [0.9, 0.999], "wrap": []}}
    with pytest.raises(PathError) as caught:
        applied(base, {path: 1})
    assert caught.value.path == path
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("form", "count", "points"),
    [
        ({"log": [1, 1024]}, 11, [2.0**k for k in range(11)]),
        ({"log": [1e-5, 1e5]}, 11, [float(f"1e{k}") for k in range(-5, 6)]),
        ({"log": [3, 3000]}, 4, [3.0, 30.0, 300.0, 3000.0]),
        ({"linear": [0.1, 0.5]}, 5, [0.1, 0.2, 0.3, 0.4, 0.5]),
        ({"linear": [-1, 1]}, 21, [round(-1 + k / 10, 1) for k in range(21)]),
        ({"linear": [0, 3e-7]}, 4, [0.0, 1e-7, 2e-7, 3e-7]),
        ({"linear": [0, 3e20]}, 4, [0.0, 1e20, 2e20, 3e20]),
    ],
)
def test_points_are_the_numbers_that_are_meant(form: Json, count: int, points: Any) -> None:
    body = json.dumps({"base": {}, "sweep": {"optimizer.lr": {**form, "count": count}}})
    (axis,) = axes_of(StudySpec.model_validate_json(body).sweep)
    found = [axis.point(index) for index in range(count)]
    assert found == points
    assert [axis.index_of(value * (1 + 1e-15)) for value in found] == list(range(count))


@pytest.mark.parametrize("form", ["log", "linear"])
@pytest.mark.parametrize("kind", ["grid", "random", "tpe"])
def test_a_range_of_one_value_is_that_value(form: str, kind: str) -> None:
    sweep: Any = {"optimizer.lr": {form: [0.25, 0.25], "count": 3}}
    strategy = {"kind": kind} if kind == "grid" else {"kind": kind, "num_runs": 3}
    spec = parsed(study(sweep=sweep, strategy=strategy)).spec
    assert configurations(spec) == ([] if kind == "tpe" else [{"optimizer.lr": 0.25}])
