"""What a job is warned of, a study with such configurations is warned of, once."""

import json
from typing import Any

import pytest

from core.errors import FieldError
from core.specs.studies.parse import parse_study
from core.specs.validation.limits import Limits

Json = dict[str, Any]
DIGITS: Json = {
    "kind": "supervised",
    "data": {"kind": "builtin", "name": "digits"},
    "model": {"kind": "mlp", "hidden": [8]},
}
NOISY: Json = {"problem": DIGITS, "optimizer": {"kind": "lbfgs"}, "batch_size": 32}
IDLE: Json = {
    "problem": {"kind": "function", "function": {"kind": "sphere"}},
    "optimizer": {"kind": "sgd", "lr": 0.1, "wrap": [{"kind": "lookahead", "k": 50}]},
    "budget": {"max_steps": 20},
}
SEEDS: Json = {"seed": {"integers": [0, 3]}}


def warned(base: Json, sweep: Json, **rest: Any) -> list[FieldError]:
    body = {"base": base, "sweep": sweep, **rest}
    return list(parse_study(json.dumps(body).encode(), Limits()).warnings)


@pytest.mark.parametrize(
    ("base", "param", "code"),
    [
        (NOISY, "base.batch_size", "noisy_gradients"),
        (IDLE, "base.optimizer.wrap.0.k", "no_effect"),
    ],
)
@pytest.mark.parametrize(
    "rest",
    [
        {"strategy": {"kind": "grid"}},
        {"strategy": {"kind": "random", "num_runs": 3}},
        {"strategy": {"kind": "tpe", "num_runs": 4}},
        {"repeats": 2},
        {"configurations": [{"seed": 2}]},
    ],
    ids=str,
)
def test_a_doubt_about_the_base_is_said_once(base: Json, param: str, code: str, rest: Json) -> None:
    (warning,) = warned(base, SEEDS, **rest)
    assert (warning.param, warning.code) == (param, code)
    assert warning.message.startswith(f"{param}: ")
    assert "configuration" not in warning.message


def test_a_doubt_about_some_says_which_is_the_first_and_how_many_more() -> None:
    kinds = {"values": [{"kind": "adam"}, {"kind": "lbfgs"}, {"kind": "rprop"}]}
    base = {"problem": DIGITS, "optimizer": {"kind": "adam"}, "batch_size": 32}
    (warning,) = warned(base, {"optimizer": kinds})
    assert (warning.param, warning.code) == ("base.batch_size", "noisy_gradients")
    assert "lbfgs" in warning.message
    assert "(configuration 1: optimizer = " in warning.message
    assert warning.message.endswith("; so in 1 more)")


def test_a_doubt_about_what_is_swept_is_laid_to_its_path_whatever_its_numbers() -> None:
    path = "optimizer.wrap.0.k"
    (warning,) = warned(IDLE, {path: {"values": [5, 30, 40, 50]}})
    assert (warning.param, warning.code) == (f"sweep.{path}", "no_effect")
    assert f"(configuration 1: {path} = 30; so in 2 more)" in warning.message
    budgets = {"budget.max_steps": {"values": [20, 40, 60]}}
    (warning,) = warned(IDLE, budgets)
    assert warning.message.endswith("(configuration 0: budget.max_steps = 20; so in 1 more)")


def test_nothing_is_said_where_nothing_is_doubtful() -> None:
    whole = {**NOISY, "batch_size": "full"}
    assert warned(whole, SEEDS) == []
    assert warned({**IDLE, "budget": {"max_steps": 50}}, SEEDS) == []
