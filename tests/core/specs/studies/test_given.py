"""Configurations that a study is given: within its sweep, each mistake at its place."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from core.specs.studies.given import settled
from core.specs.studies.sweep import Axis, axes_of, grid
from core.specs.study import Sweep
from tests.core.specs.studies.specs_of_studies import SPHERE, found, job, parsed, said, study

SWEEPS: dict[str, Any] = {
    "values": {"values": [0.1, 1, "a", True, None, [1, 2], {"kind": "sgd"}]},
    "log": {"log": [0.001, 10.0], "count": 7},
    "any_log": {"log": [0.001, 10.0]},
    "linear": {"linear": [-1.0, 2.0], "count": 4},
    "integers": {"integers": [-3, 12]},
}
ADAPTER: TypeAdapter[Any] = TypeAdapter(Sweep)


def axes(**sweeps: Any) -> list[Axis]:
    return axes_of(
        {path: ADAPTER.validate_json(json.dumps(sweep)) for path, sweep in sweeps.items()}
    )


@given(st.data())
def test_every_configuration_of_a_grid_is_within_its_sweep(data: st.DataObject) -> None:
    """And stays as it is: what a study chooses itself may be given to it."""
    chosen = data.draw(st.sets(st.sampled_from(sorted(set(SWEEPS) - {"any_log"})), min_size=1))
    of = axes(**{name: SWEEPS[name] for name in sorted(chosen)})
    params = data.draw(st.sampled_from(list(grid(of))))
    assert settled(params, of, "configurations.0") == (params, [])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(st.sampled_from(sorted(SWEEPS)), JSON)
def test_any_value_is_within_or_a_mistake_that_names_it(name: str, value: Any) -> None:
    params, mistakes = settled({name: value}, axes(**{name: SWEEPS[name]}), "configurations.3")
    if not mistakes:
        assert params[name] == value
        return
    (mistake,) = mistakes
    assert (mistake.param, mistake.code) == (f"configurations.3.{name}", "not_in_sweep")
    assert mistake.message.startswith(mistake.param)


@given(st.data())
def test_every_mistake_of_a_configuration_is_said_at_once(data: st.DataObject) -> None:
    of = axes(**{name: SWEEPS[name] for name in sorted(SWEEPS)})
    kind = st.sampled_from(["right", "not_in_sweep", "missing"])
    drawn = {axis.path: data.draw(kind) for axis in of}
    right = {"values": 0.1, "log": 0.01, "any_log": 0.02, "linear": 0.0, "integers": 3}
    params: dict[str, Any] = {
        path: right[path] if what == "right" else {} for path, what in drawn.items()
        if what != "missing"
    }  # fmt: skip
    unknown = data.draw(st.booleans())
    _, mistakes = settled({**params, **({"seed": 1} if unknown else {})}, of, "configurations.0")
    expected = {(path, what) for path, what in drawn.items() if what != "right"}
    expected |= {("seed", "unknown_path")} if unknown else set()
    said_of = [(each.param.removeprefix("configurations.0."), each.code) for each in mistakes]
    assert sorted(said_of) == sorted(expected)


LR = {"optimizer.lr": {"log": [0.001, 1.0]}}
WHEN = {
    "optimizer.kind": {"values": ["sgd", "adam"]},
    "optimizer.momentum": {"linear": [0.0, 0.9], "when": {"optimizer.kind": ["sgd"]}},
}


@pytest.mark.parametrize(
    ("sweep", "params", "mistakes"),
    [
        (WHEN, {"optimizer.kind": "sgd", "optimizer.momentum": 0.5}, []),
        (WHEN, {"optimizer.kind": "adam"}, []),
        (WHEN, {"optimizer.kind": "sgd"}, [("optimizer.momentum", "missing")]),
        (
            WHEN,
            {"optimizer.kind": "adam", "optimizer.momentum": 0.5},
            [("optimizer.momentum", "not_varied")],
        ),
        (LR, {"optimizer.lr": 1}, []),
        (LR, {"lr": 0.1}, [("lr", "unknown_path"), ("optimizer.lr", "missing")]),
        (WHEN, {"optimizer.momentum": 0.5}, [("optimizer.kind", "missing")]),
        ({"optimizer.lr": {"values": [1.0]}}, {"optimizer.lr": 1}, []),
        (
            {"optimizer.lr": {"values": [1.0]}},
            {"optimizer.lr": True},
            [("optimizer.lr", "not_in_sweep")],
        ),
        ({"seed": {"integers": [0, 4]}}, {"seed": 2.0}, []),
        ({"seed": {"integers": [0, 4]}}, {"seed": 2.5}, [("seed", "not_in_sweep")]),
    ],
)  # fmt: skip
def test_what_is_given_with_a_study_is_checked_where_it_stands(
    sweep: Any, params: Any, mistakes: list[tuple[str, str]]
) -> None:
    strategy = {"kind": "random", "num_runs": 2}
    body = study(job(SPHERE), sweep, strategy=strategy, configurations=[params])
    if not mistakes:
        resolved = parsed(body)
        assert len(resolved.spec["configurations"]) == 1
        assert parsed(resolved.spec).spec == resolved.spec
        return
    assert found(body) == [(f"configurations.0.{path}", code) for path, code in mistakes]


def test_a_configuration_that_makes_no_job_is_told_by_its_path() -> None:
    sweep = {"optimizer": {"values": [{"kind": "sgd"}, {"kind": "sgd", "nesterov": True}]}}
    strategy = {"kind": "tpe", "num_runs": 2}
    body = study(
        job(SPHERE), sweep, strategy=strategy,
        configurations=[{"optimizer": {"kind": "sgd", "nesterov": True}}],
    )  # fmt: skip
    assert ("configurations.0.optimizer", "conflict") in found(body)


def test_copies_are_counted_once_and_more_than_are_allowed_refused() -> None:
    given_ = [{"optimizer.lr": 0.1}, {"optimizer.lr": 0.1}, {"optimizer.lr": 0.5}]
    sweep = {"optimizer.lr": {"values": [0.1, 0.5, 1.0]}}
    resolved = parsed(study(job(SPHERE), sweep, configurations=given_, repeats=2))
    assert resolved.spec["configurations"] == given_[1:]
    assert (resolved.num_configurations, resolved.num_runs) == (3, 6)
    assert resolved.max_updates == parsed(study(job(SPHERE), sweep, repeats=2)).max_updates
    body = study(job(SPHERE), LR, strategy={"kind": "tpe", "num_runs": 4}, configurations=given_)
    assert "2" in said(body, max_study_runs=5)
