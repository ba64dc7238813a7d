"""Configurations that are equal when resolved are one."""

from typing import Any

import pytest

from core.specs.studies.runs import configurations, resolved_configurations
from tests.core.specs.studies.specs_of_studies import parsed, study

RATES = {"values": [0.03, 0.03, 0.1]}
EPS = {"values": [{"kind": "adam"}, {"kind": "adam", "eps": 1e-8}, {"kind": "adam", "eps": 1e-6}]}
DECAY = {"values": [0, 0.0, 0.5]}
SGD_OR_SAME = {"values": [{"kind": "sgd"}, {"kind": "sgd", "momentum": 0}, {"kind": "adam"}]}


@pytest.mark.parametrize(
    ("sweep", "count"),
    [
        ({"optimizer.lr": RATES}, 2),
        ({"optimizer": EPS}, 2),
        ({"optimizer.weight_decay": DECAY}, 2),
        ({"optimizer": SGD_OR_SAME}, 2),
        ({"optimizer.lr": RATES, "optimizer.weight_decay": DECAY}, 4),
        ({"optimizer.lr": {"linear": [1.0, 1.0 + 2**-52], "count": 5}}, 2),
    ],
)
@pytest.mark.parametrize("strategy", [{"kind": "grid"}, {"kind": "random", "num_runs": 40}])
def test_copies_are_left_out(sweep: Any, count: int, strategy: Any) -> None:
    resolved = parsed(study(sweep=sweep, strategy=strategy, repeats=2))
    specs = [spec.model_dump_json() for _, spec in resolved_configurations(resolved.spec)]
    assert len(specs) == len(set(specs)) == resolved.num_configurations == count
    assert resolved.num_runs == 2 * count


def test_a_copy_is_drawn_anew_and_the_others_stay_what_they_were() -> None:
    sweep: Any = {"optimizer.lr": {"linear": [1.0, 2.0], "count": 30}}
    few = configurations(
        parsed(study(sweep=sweep, strategy={"kind": "random", "num_runs": 5})).spec
    )
    all_ = configurations(
        parsed(study(sweep=sweep, strategy={"kind": "random", "num_runs": 20})).spec
    )
    assert all_[:5] == few
    assert len({params["optimizer.lr"] for params in all_}) == 20
