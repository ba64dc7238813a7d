"""Values of functions at points: of every kind, beside scipy and the published minima."""

import itertools
import json
import math
import time
from typing import Final

import numpy as np
import pytest
from scipy.optimize import rosen

from core.errors import InvalidInputError
from core.specs.catalog import kinds
from core.specs.examples import choice
from core.specs.formulas.classic import CLASSICS
from core.specs.formulas.values import dimension
from core.specs.functions import Expression
from core.specs.parsing.points import MOST_OPERATIONS, MOST_POINTS, parse_function_points
from core.specs.validation.errors import MAX_ERRORS
from tests.api.actors import Api, Json, problem_of, refused_params

CALL: Final = "/v1/functions/values"
POINTS: Final = np.random.default_rng(3).normal(size=(50, 2)).tolist()


def values(api: Api, function: Json, points: list[list[float]]) -> list[float]:
    reply = api.http.post(CALL, json={"function": function, "points": points})
    assert reply.status_code == 200, reply.text
    return list(reply.json()["values"])


def test_values_are_scipys(api: Api) -> None:
    found = values(api, {"kind": "rosenbrock"}, POINTS)
    assert found == pytest.approx([rosen(point) for point in POINTS], rel=1e-12)


@pytest.mark.parametrize("kind", CLASSICS)
def test_every_test_function_has_its_minimum_where_it_is_published(api: Api, kind: str) -> None:
    dim = CLASSICS[kind].fixed_dim or 2
    points = [list(each) for each in CLASSICS[kind].minimizers(dim)]
    least = CLASSICS[kind].minimum(dim)
    assert values(api, {"kind": kind}, points) == pytest.approx([least] * len(points), abs=1e-5)


@pytest.mark.parametrize("kind", kinds("functions"))
def test_every_kind_of_function_takes_its_points(api: Api, kind: str) -> None:
    function = choice("functions", kind)
    reply = api.http.post("/v1/jobs/validate", json=_job(function))
    assert reply.status_code == 200, reply.text
    start = reply.json()["spec"]["problem"]["start"]
    point = list(start.values()) if isinstance(start, dict) else start
    (value,) = values(api, function, [point])
    assert math.isfinite(value)


def _job(function: Json) -> Json:
    problem: Json = {"kind": "function", "function": function}
    if function["kind"] == "expression":
        names = [f"x{i + 1}" for i in range(dimension(Expression.model_validate(function)))]
        problem["start"] = dict.fromkeys(names, 1.0)
    return {"problem": problem, "optimizer": {"kind": "sgd", "lr": 0.1}}


def test_variables_are_in_the_order_of_their_names_and_words_stand_for_what_is_not_finite(
    api: Api,
) -> None:
    function = {"kind": "expression", "expression": "log(x10) - x2"}
    found = values(api, function, [[1.0, 1.0], [0.0, 0.0], [2.0, -1.0]])
    assert found == [-1.0, "-Infinity", "NaN"]


@pytest.mark.parametrize("kind", kinds("functions"))
def test_a_grid_has_the_values_of_its_points(api: Api, kind: str) -> None:
    """Every combination, the last coordinate that is named running fastest."""
    function = choice("functions", kind)
    start = api.http.post("/v1/jobs/validate", json=_job(function)).json()["spec"]["problem"]
    dim = len(start["start"])
    names = list(start["start"]) if isinstance(start["start"], dict) else _names(dim)
    sizes = [3, 2, *[1] * (dim - 2)][:dim]
    grid: Json = {}
    axes: dict[str, list[float]] = {}
    for low, (name, size) in enumerate(reversed(list(zip(names, sizes, strict=True)))):
        grid[name] = [low, low + size - 1, size]
        axes[name] = [float(low + place) for place in range(size)]
    reply = api.http.post(CALL, json={"function": function, "grid": grid})
    assert reply.status_code == 200, reply.text
    found = reply.json()
    assert found["grid"] == axes
    assert list(found["grid"]) == list(axes)
    points = [each[::-1] for each in itertools.product(*axes.values())]
    assert found["values"] == values(api, function, list(map(list, points)))


def _names(dim: int) -> list[str]:
    return [f"x{number}" for number in range(1, dim + 1)]


def test_a_grid_of_forty_thousand_points_and_one_of_many_coordinates(api: Api) -> None:
    grid = {"x1": [-2, 2, 200], "x2": [-2, 2, 200]}
    reply = api.http.post(CALL, json={"function": {"kind": "rosenbrock"}, "grid": grid})
    xs = np.linspace(-2, 2, 200)
    assert reply.json()["values"] == pytest.approx([rosen((x, y)) for x in xs for y in xs])
    grid = {name: [2, 2, 1] for name in _names(80)}
    body = {"function": {"kind": "sphere", "dim": 80}, "grid": grid}
    (value,) = api.http.post(CALL, json=body).json()["values"]
    assert value == pytest.approx(80 * 4)


@pytest.mark.parametrize(
    ("grid", "params"),
    [
        ({"x1": [0, 1, 2]}, ["grid.x2"]),
        ({"x1": [0, 1, 2], "x2": [0, 1, 2], "y": [0, 1, 2]}, ["grid.y"]),
        ({"x1": [1, 0, 2], "x2": [0, 1, 2]}, ["grid.x1"]),
        ({"x1": [0, 0, 2], "x2": [0, 1, 1]}, ["grid.x1", "grid.x2"]),
        ({"x1": [-1.7e308, 1.7e308, 3], "x2": [0, 1, 2]}, ["grid.x1"]),
        ({"x1": [0, 1, 0], "x2": [0, 1, 2.5]}, ["grid.x1.2", "grid.x2.2"]),
        ({"x1": [0, 1], "x2": [0, "1", 2]}, ["grid.x1.2", "grid.x2.1"]),
        ({"x1": [0, 1, 201], "x2": [0, 1, 200]}, ["grid"]),
        ({"x1": [0, 1, 2], "x2": 3}, ["grid.x2"]),
        ({}, ["grid"]),
        ([[0, 1, 2]], ["grid"]),
        (None, ["points"]),
    ],
)
def test_mistakes_of_a_grid_are_named_by_their_fields(
    api: Api, grid: object, params: list[str]
) -> None:
    body = {"function": {"kind": "beale"}, "grid": grid}
    assert sorted(refused_params(api.http.post(CALL, json=body))) == params


def test_points_and_a_grid_exclude_each_other(api: Api) -> None:
    grid = {"x1": [0, 1, 2], "x2": [0, 1, 2]}
    body = {"function": {"kind": "beale"}, "points": [[3.0, 0.5]], "grid": grid}
    assert refused_params(api.http.post(CALL, json=body)) == ["grid"]


@pytest.mark.parametrize(
    ("change", "params"),
    [
        ({"points": []}, ["points"]),
        ({"points": None}, ["points"]),
        ({"points": [[1.0]]}, ["points.0"]),
        ({"points": [[1.0, 2.0], [1.0, 2.0, 3.0], []]}, ["points.2"]),
        ({"points": [[1.0, 2.0], [1.0, 2.0, 3.0], [1.0]]}, ["points.1", "points.2"]),
        ({"points": [[1.0, "2"]]}, ["points.0.1"]),
        ({"points": 3}, ["points"]),
        ({"points": [[0.0, 0.0]] * (MOST_POINTS + 1)}, ["points"]),
        ({"function": {"kind": "beal"}}, ["function.kind"]),
        ({"function": {"kind": "beale", "dim": 2}}, ["function.dim"]),
        ({"function": {"kind": "expression", "expression": "x +"}}, ["function.expression"]),
        ({"function": {"kind": "quadratic"}}, ["function"]),
        ({"function": {"kind": "quadratic", "matrix": [[1.0], [2.0]]}}, ["function.matrix.0"]),
        (
            {"function": {"kind": "quadratic", "eigenvalues": [1.0, 2.0], "rotation_seed": 1}},
            ["function.rotation_seed"],
        ),
        ({"function": None}, ["function"]),
        ({"start": [1.0, 2.0]}, ["start"]),
    ],
)
def test_mistakes_are_named_by_their_fields(api: Api, change: Json, params: list[str]) -> None:
    body = {"function": {"kind": "beale"}, "points": [[3.0, 0.5]], **change}
    reply = api.http.post(CALL, json=body)
    assert sorted(refused_params(reply)) == params
    assert "problem." not in reply.text
    assert all(each["param"].split(".")[0] in each["message"] for each in reply.json()["errors"])


def test_a_long_expression_is_computed_at_fewer_points(api: Api) -> None:
    """So that no call takes long: 1,001 operands of sums, and as many additions less one."""
    long = {"kind": "expression", "expression": "+".join(["x"] * 1_001)}
    most = MOST_OPERATIONS // 2_001
    assert values(api, long, [[1.0]] * most) == [1001.0] * most
    reply = api.http.post(CALL, json={"function": long, "points": [[1.0]] * (most + 1)})
    (mistake,) = problem_of(reply, 422, "invalid_request")["errors"]
    assert f"{most:,} points" in mistake["message"]
    grid = {"x": [0, 1, most + 1]}
    reply = api.http.post(CALL, json={"function": long, "grid": grid})
    (mistake,) = problem_of(reply, 422, "invalid_request")["errors"]
    assert mistake["param"] == "grid"
    grid = {name: [2, 2, 1] for name in _names(1_000)} | {"x1": [0, 1, 40], "x2": [0, 1, 26]}
    wide = {"function": {"kind": "sphere", "dim": 1_000}, "grid": grid}
    assert refused_params(api.http.post(CALL, json=wide)) == ["grid"]


def test_nothing_but_json_is_taken(api: Api) -> None:
    body = json.dumps({"function": {"kind": "beale"}, "points": [[3.0, 0.5]]})
    plain = api.http.post(CALL, content=body, headers={"Content-Type": "text/plain"})
    problem_of(plain, 415, "unsupported_media_type")
    problem_of(api.http.get(CALL), 405, "method_not_allowed")


def test_as_many_mistakes_as_points_are_found_in_no_time_and_the_first_are_told() -> None:
    points = [[0.0], [False], [0.0, 0.0], [None]] * (MOST_POINTS // 4)
    body = json.dumps({"function": {"kind": "beale"}, "points": points}).encode()
    begun = time.process_time()
    with pytest.raises(InvalidInputError) as caught:
        parse_function_points(body)
    assert time.process_time() - begun < 2.0
    assert 1 <= len(caught.value.errors) <= MAX_ERRORS + 1
    assert caught.value.errors[0].param == "points.1.0"
