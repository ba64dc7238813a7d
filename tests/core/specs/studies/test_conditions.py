"""Sweeps with `when`: a path is varied only where others have certain values."""

import json
import math
from collections import Counter
from typing import Any

import pytest
from pydantic import TypeAdapter

from core.specs.studies.runs import configurations, resolved_configurations, sweep_of
from core.specs.studies.sweep import axes_of, drawn, grid
from core.specs.study import Sweep
from tests.core.specs.studies.specs_of_studies import (
    Json,
    assert_stands_in,
    found,
    job,
    mistakes,
    parsed,
    said,
    study,
)

SWEEP_OF: TypeAdapter[Sweep] = TypeAdapter(Sweep)
KINDS: Json = {"values": ["sgd", "adam", "rmsprop"]}
MOMENTUM: Json = {"values": [0.0, 0.9], "when": {"optimizer.kind": ["sgd", "rmsprop"]}}
NESTEROV: Json = {"values": [False, True], "when": {"optimizer.momentum": [0.9],
                                                    "optimizer.kind": ["sgd"]}}  # fmt: skip
SWEEP: Json = {
    "optimizer.nesterov": NESTEROV,
    "optimizer.momentum": MOMENTUM,
    "optimizer.kind": KINDS,
    "optimizer.lr": {"log": [0.01, 0.1], "count": 2},
}
BASE = job(optimizer={"kind": "adam"})


def expected() -> list[Json]:
    """The same by hand, in any order."""
    listed = []
    for kind in KINDS["values"]:
        for lr in (0.01, 0.1):
            own = {"optimizer.kind": kind, "optimizer.lr": lr}
            if kind == "adam":
                listed.append(own)
                continue
            listed.append({**own, "optimizer.momentum": 0.0})
            fast = {**own, "optimizer.momentum": 0.9}
            both = [{**fast, "optimizer.nesterov": each} for each in (False, True)]
            listed += both if kind == "sgd" else [fast]
    return listed


def test_a_grid_has_each_combination_that_there_is_once() -> None:
    resolved = parsed(study(BASE, SWEEP))
    listed = configurations(resolved.spec)
    assert_stands_in(listed, expected())
    assert resolved.num_configurations == len(listed) == len(expected()) == 12


def test_a_path_comes_after_those_that_it_depends_on_and_the_last_runs_fastest() -> None:
    spec = parsed(study(BASE, SWEEP)).spec
    assert [axis.path for axis in sweep_of(spec)] == [
        "optimizer.kind", "optimizer.momentum", "optimizer.nesterov", "optimizer.lr",
    ]  # fmt: skip
    listed = list(grid(sweep_of(spec)))
    assert [each["optimizer.lr"] for each in listed] == [0.01, 0.1] * 6
    assert [each["optimizer.kind"] for each in listed] == ["sgd"] * 6 + ["adam"] * 2 + [
        "rmsprop"
    ] * 4


def test_elsewhere_the_base_keeps_its_value() -> None:
    base = job(optimizer={"kind": "adam", "weight_decay": 0.5})
    sweep = {
        "schedule.kind": {"values": ["constant", "exponential"]},
        "schedule.gamma": {"values": [0.9, 0.99], "when": {"schedule.kind": ["exponential"]}},
        "optimizer.weight_decay": {"values": [0.1], "when": {"schedule.gamma": [0.99]}},
    }
    resolved = resolved_configurations(parsed(study(base, sweep)).spec)
    assert [(params, spec.optimizer.model_dump()["weight_decay"]) for params, spec in resolved] == [
        ({"schedule.kind": "constant"}, 0.5),
        ({"schedule.kind": "exponential", "schedule.gamma": 0.9}, 0.5),
        ({"schedule.kind": "exponential", "schedule.gamma": 0.99, "optimizer.weight_decay": 0.1},
         0.1),
    ]  # fmt: skip


def test_a_condition_looks_into_objects_and_lists() -> None:
    sweep = {
        "optimizer": {"values": [{"kind": "sgd", "momentum": 0.9}, {"kind": "adam"}]},
        "problem.model.hidden": {"values": [[4], [8, 4]]},
        "optimizer.nesterov": {"values": [False, True], "when": {"optimizer.momentum": [0.9]}},
        "problem.model.dropout": {
            "values": [0.0, 0.5], "when": {"problem.model.hidden.1": [4]},
        },
    }  # fmt: skip
    listed = configurations(parsed(study(BASE, sweep)).spec)
    assert len(listed) == (2 + 1) * (1 + 2)
    for each in listed:
        assert ("optimizer.nesterov" in each) == (each["optimizer"]["kind"] == "sgd")
        assert ("problem.model.dropout" in each) == (each["problem.model.hidden"] == [8, 4])


@pytest.mark.parametrize("value", [1, 1.0])
def test_a_whole_number_is_its_float_and_not_true(value: Any) -> None:
    sweep = {
        "optimizer.amsgrad": {"values": [True, False]},
        "optimizer.weight_decay": {"values": [0.1, 0.2], "when": {"optimizer.amsgrad": [value]}},
    }
    assert found(study(BASE, sweep)) == [("sweep.optimizer.weight_decay.when", "never_holds")]
    sweep = {
        "accumulate": {"values": [1, 2]},
        "optimizer.weight_decay": {"values": [0.1, 0.2], "when": {"accumulate": [value]}},
    }
    assert len(configurations(parsed(study(BASE, sweep)).spec)) == 3


def test_random_draws_have_the_same_values_with_and_without_a_condition() -> None:
    strategy = {"kind": "random", "num_runs": 30, "seed": 3}
    free = {path: {k: v for k, v in each.items() if k != "when"} for path, each in SWEEP.items()}
    free["optimizer.lr"] = {"log": [0.01, 0.1]}
    conditional = {**SWEEP, "optimizer.lr": free["optimizer.lr"]}
    del free["optimizer.nesterov"], free["optimizer.momentum"]
    some = configurations(parsed(study(BASE, conditional, strategy=strategy)).spec)
    others = configurations(parsed(study(BASE, free, strategy=strategy)).spec)
    for one, other in zip(some, others, strict=True):
        assert {path: one[path] for path in free} == other
        assert ("optimizer.momentum" in one) == (one["optimizer.kind"] != "adam")
    assert Counter("optimizer.nesterov" in one for one in some).keys() == {True, False}


def test_a_grid_of_many_conditions_is_counted_as_it_is() -> None:
    """The product of the counts is far beyond the limit; the combinations are 1 + 40."""
    sweep: Json = {"optimizer.kind": {"values": ["adam", "sgd"]}}
    for place, path in enumerate(("momentum", "dampening", "weight_decay", "lr")):
        before = ("kind", "momentum", "dampening", "weight_decay")[place]
        holds = "sgd" if place == 0 else 0.5
        sweep[f"optimizer.{path}"] = {
            "linear": [0.5, 0.9], "count": 41 if place == 3 else 11,
            "when": {f"optimizer.{before}": [holds]},
        }  # fmt: skip
    resolved = parsed(study(BASE, sweep), max_study_runs=100)
    assert resolved.num_configurations == 1 + 10 + 10 + 10 + 41
    assert math.prod([2, 11, 11, 11, 41]) > 100_000
    assert found(study(BASE, sweep), max_study_runs=71) == [("sweep", "too_many_runs")]


@pytest.mark.parametrize(
    ("sweep", "param", "code", "words"),
    [
        (
            {"optimizer.lr": {"values": [0.1], "when": {"optimizer.kind": ["adam"]}}},
            "sweep.optimizer.lr.when.optimizer.kind", "unknown_path", "no sweep sets",
        ),
        (
            {"optimizer.kind": KINDS,
             "optimizer.lr": {"values": [0.1], "when": {"optimizer.kind": ["adma"]}}},
            "sweep.optimizer.lr.when", "never_holds", "adma",
        ),
        (
            {"optimizer": {"values": [{"kind": "sgd"}], "when": {"optimizer.kind": ["sgd"]}}},
            "sweep.optimizer.when.optimizer.kind", "conflict", "circle",
        ),
        (
            {"optimizer.kind": KINDS,
             "optimizer.lr": {"values": [0.1], "when": {"optimizer.kind": []}}},
            "sweep.optimizer.lr.when.optimizer.kind", "too_short", "",
        ),
        (
            {"optimizer.lr": {"values": [0.1], "when": {}}},
            "sweep.optimizer.lr.when", "too_short", "",
        ),
        (
            {"optimizer.lr": {"values": [0.1], "when": "optimizer.kind"}},
            "sweep.optimizer.lr.when", "object_type", "",
        ),
    ],
    ids=["not swept", "misspelt", "itself", "no values", "nothing", "no object"],
)  # fmt: skip
def test_conditions_that_cannot_be_meant_are_refused(
    sweep: Json, param: str, code: str, words: str
) -> None:
    assert found(study(BASE, sweep)) == [(param, code)]
    assert words in said(study(BASE, sweep))


LR_RANGE: Json = {"log": [0.01, 1.0]}
RANDOM: Json = {"kind": "random", "num_runs": 4}
TPE: Json = {"kind": "tpe", "num_runs": 4}


@pytest.mark.parametrize("strategy", [{"kind": "grid"}, RANDOM, TPE], ids=lambda each: each["kind"])
@pytest.mark.parametrize(
    "path",
    ["optimizer.betas.0", "optimizer.lr.x", "schedule.milestones.7", "schedule.milestones.²",
     "schedule.milestones.٣", "schedule.milestones.00", "schedule.kind.0", "seed.0.1"],
)  # fmt: skip
def test_a_condition_on_a_path_that_leads_nowhere_is_the_paths_mistake(
    path: str, strategy: Json
) -> None:
    schedule = {"kind": "multistep", "milestones": [2, 4]}
    base = job(optimizer={"kind": "adam", "lr": 0.1}, schedule=schedule, seed=1)
    sweep = {
        path: {"values": [1, 2]},
        "optimizer.eps": {"values": [0.1, 0.2], "when": {path: [1]}},
    }
    listed = found(study(base, sweep, strategy=strategy))
    assert listed == [(f"sweep.{path}", "unknown_path")]
    given = [{path: 1, "optimizer.eps": 0.1}]
    assert found(study(base, sweep, strategy=strategy, configurations=given))


@pytest.mark.parametrize("place", ["²", "٣", "①", "00", "-1", "1 ", "x", "9" * 170])
def test_a_condition_names_a_place_in_a_list_by_its_number(place: str) -> None:
    sweep = {
        "optimizer.betas": {"values": [[0.9, 0.99], [0.8, 0.99]]},
        "optimizer.eps": {"values": [0.1, 0.2], "when": {f"optimizer.betas.{place}": [0.9]}},
    }
    assert found(study(BASE, sweep)) == [("sweep.optimizer.eps.when", "never_holds")]


@pytest.mark.parametrize("strategy", [{"kind": "grid"}, RANDOM, TPE], ids=lambda each: each["kind"])
@pytest.mark.parametrize(
    ("of", "named", "words"),
    [
        ({"log": [0.01, 1.0], "count": 3}, [0.5, "0.1"], "comes to other numbers from 0.01 to 1"),
        ({"linear": [0.1, 1.0], "count": 4}, [0.3], "other numbers from 0.1 to 1"),
        ({"integers": [1, 80]}, [81, -1, 0.5, True], "other numbers"),
        ({"values": [1, 2]}, [3], "optimizer.lr comes to 1, 2"),
        (LR_RANGE, [0.5, 0.01], "hit none in particular"),
        ({"linear": [0.1, 1.0]}, [0.1], "hit none in particular"),
    ],
)
def test_a_condition_that_no_number_of_a_sweep_meets_is_refused(
    of: Json, named: list[Any], words: str, strategy: Json
) -> None:
    when = {"optimizer.lr": named, "optimizer.amsgrad": [True]}
    sweep = {
        "optimizer.lr": of,
        "optimizer.amsgrad": {"values": [True, False]},
        "optimizer.eps": {"values": [0.1, 0.2], "when": when},
    }
    if strategy["kind"] == "grid" and "hit none" in words:
        return  # a grid has points
    (mistake,) = mistakes(study(BASE, sweep, strategy=strategy))
    assert (mistake.param, mistake.code) == ("sweep.optimizer.eps.when", "never_holds")
    assert words in mistake.message


@pytest.mark.parametrize(
    ("path", "of", "named"),
    [
        ("seed", {"integers": [0, 80]}, [40, 99]),
        ("optimizer.lr", {"log": [0.01, 1.0], "count": 5}, [0.1]),
        ("optimizer.lr", {"linear": [0.1, 0.9], "count": 9}, [0.3]),
        ("optimizer.lr", {"linear": [1.0, 9.0], "count": 9}, [3]),
    ],
)
def test_a_condition_may_name_any_point_of_a_sweep(path: str, of: Json, named: list[Any]) -> None:
    sweep = {path: of, "optimizer.eps": {"values": [0.1, 0.2], "when": {path: named}}}
    listed = configurations(parsed(study(BASE, sweep)).spec)
    assert sum("optimizer.eps" in each for each in listed) == 2


def test_a_given_configuration_may_meet_a_condition_that_no_draw_does() -> None:
    sweep = {
        "optimizer.lr": LR_RANGE,
        "optimizer.eps": {"values": [0.1, 0.2], "when": {"optimizer.lr": [0.5]}},
    }
    given = [{"optimizer.lr": 0.5, "optimizer.eps": 0.2}]
    spec = parsed(study(BASE, sweep, strategy=RANDOM, configurations=given)).spec
    assert spec["configurations"] == given
    never = [("sweep.optimizer.eps.when", "never_holds")]
    assert found(study(BASE, sweep, strategy=RANDOM)) == never


def test_a_condition_is_looked_at_however_many_others_there_are() -> None:
    """Ten paths of eight values each: only the one that decides is looked at."""
    groups = [{"match": name} for name in ("hidden*weight", "hidden*bias", "out*weight", "*")]
    fields = [f"optimizer.groups.{k}.{f}" for k in range(4) for f in ("lr_scale", "weight_decay")]
    sweep: Json = {path: {"values": [x / 8 for x in range(1, 9)]} for path in fields}
    sweep["optimizer.eps"] = {"values": [0.1, 0.2], "when": {fields[0]: [2.0]}}
    base = job(optimizer={"kind": "adam", "groups": groups})
    assert found(study(base, sweep, strategy=RANDOM)) == [
        ("sweep.optimizer.eps.when", "never_holds")
    ]
    sweep["optimizer.eps"]["when"] = {fields[0]: [0.25]}
    parsed(study(base, sweep, strategy=RANDOM))


def test_a_condition_on_a_default_says_that_it_is_to_be_written_out() -> None:
    fast = {"kind": "sgd", "momentum": 0.9}
    sweep: Json = {
        "optimizer": {"values": [fast, {**fast, "nesterov": True}]},
        "optimizer.lr": {"values": [0.1, 0.2], "when": {"optimizer.nesterov": [False]}},
    }
    text = said(study(BASE, sweep))
    assert "optimizer.nesterov comes to null, true" in text
    assert "written out" in text
    sweep["optimizer"]["values"][0] = {**fast, "nesterov": False}
    assert len(configurations(parsed(study(BASE, sweep)).spec)) == 3


def test_conditions_that_hold_one_by_one_but_never_together_are_refused() -> None:
    sweep = {
        "optimizer.kind": KINDS,
        "optimizer.momentum": MOMENTUM,
        "optimizer.amsgrad": {
            "values": [True, False],
            "when": {"optimizer.kind": ["adam"], "optimizer.momentum": [0.9]},
        },
    }
    assert found(study(BASE, sweep)) == [("sweep.optimizer.amsgrad.when", "never_holds")]
    assert "never all together" in said(study(BASE, sweep))


def test_a_circle_of_two_is_refused() -> None:
    sweep = {
        "optimizer.lr": {"values": [0.1, 0.2], "when": {"seed": [1]}},
        "seed": {"values": [1, 2], "when": {"optimizer.lr": [0.1]}},
    }
    listed = found(study(BASE, sweep))
    assert {code for _, code in listed} == {"conflict"}
    assert ("sweep.optimizer.lr.when.seed", "conflict") in listed


def test_a_resolved_study_says_a_condition_where_there_is_one() -> None:
    resolved = parsed(study(BASE, SWEEP))
    again = parsed(resolved.spec)
    assert again == resolved
    assert resolved.spec["sweep"]["optimizer.nesterov"] == NESTEROV
    assert "when" not in resolved.spec["sweep"]["optimizer.lr"]


ENDLESS: Json = {"kind": "random", "num_runs": 20}


@pytest.mark.parametrize(
    ("sweep", "strategy"),
    [
        ({"optimizer.lr": {"values": [0.1, 0.2]}}, None),
        ({"optimizer.lr": {"linear": [0.1, 0.2], "count": 3}}, None),
        ({"optimizer.lr": {"linear": [0.1, 0.1]}}, ENDLESS),
        ({"optimizer.lr": {"log": [0.1, 0.1]}}, ENDLESS),
        ({"optimizer": {"values": [{"kind": "adam"}]}, "optimizer.lr": {"values": [0.1]}}, None),
        (
            {
                "optimizer": {"values": [{"kind": "sgd"}]},
                "optimizer.lr": {"values": [0.1]},
                "optimizer.kind": {"values": ["adam", "sgd"]},
            },
            None,
        ),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("held", [0.1, 0.15, 0.3])
@pytest.mark.parametrize("path", ["optimizer", "optimizer.lr"])
def test_a_condition_is_refused_where_no_configuration_varies_the_path(
    sweep: Json, strategy: Json | None, order: int, held: float, path: str
) -> None:
    """Also one on a whole object, of which other sweeps set parts, if these come before it."""
    wanted: Any = held if path == "optimizer.lr" else {"kind": "adam", "lr": held}
    seed = {"values": [1, 2], "when": {path: [wanted]}}
    swept = dict([*sweep.items(), ("seed", seed)][::order])
    given = study(BASE, swept) if strategy is None else study(BASE, swept, strategy=strategy)
    if path == "optimizer" and "optimizer" not in sweep:
        assert ("sweep.seed.when.optimizer", "unknown_path") in found(given)
        return
    axes = axes_of(
        {name: SWEEP_OF.validate_json(json.dumps(each)) for name, each in swept.items()}, BASE
    )
    tried = grid(axes) if strategy is None else [drawn(axes, 0, number) for number in range(20)]
    varied = any("seed" in params for params in tried)
    if varied:
        assert any("seed" in params for params in configurations(parsed(given).spec))
    else:
        assert found(given) == [("sweep.seed.when", "never_holds")]
