"""Every mistake of a study is said at once: where it lies, in which configuration, the way out."""

import json
import math
import re
import time
from typing import Any

import pytest

from core.specs.validation.errors import MAX_ERRORS, shown
from tests.core.specs.studies.specs_of_studies import (
    DIABETES,
    IRIS,
    SPHERE,
    Json,
    found,
    job,
    mistakes,
    parsed,
    said,
    study,
    tpe,
)

LR: Json = {"optimizer.lr": {"log": [1e-4, 1.0], "count": 4}}
CLIMBING: Json = {"kind": "sgd", "lr": 0.1, "maximize": True}
HALVING: Json = {"kind": "successive_halving"}


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "base", "missing"),
        ({"base": 3}, "base", "object_type"),
        (study(strateyg={}), "strateyg", "unknown_field"),
        (study(sweep={"optimizer.lr": 3}), "sweep.optimizer.lr", "unknown_sweep"),
        (study(sweep={"optimizer.lr": {"kind": "log"}}), "sweep.optimizer.lr", "unknown_sweep"),
        (study(sweep={"optimizer": {"adam": 1}}), "sweep.optimizer", "unknown_sweep"),
        (study(sweep={"seed": {"values": []}}), "sweep.seed.values", "too_short"),
        (study(sweep={"seed": {"values": 3}}), "sweep.seed.values", "list_type"),
        (study(sweep={"seed": {"values": [1], "log": [1, 2]}}), "sweep.seed.log", "unknown_field"),
        (study(sweep={"seed": {"values": [1], "count": 2}}), "sweep.seed.count", "unknown_field"),
        (study(sweep={"optimizer.lr": {"log": [0, 1], "count": 3}}), "sweep.optimizer.lr.log.0",
         "greater_than"),
        (study(sweep={"optimizer.lr": {"log": [1], "count": 3}}), "sweep.optimizer.lr.log.1",
         "missing"),
        (study(sweep={"optimizer.lr": {"log": [1, "2"], "count": 3}}), "sweep.optimizer.lr.log.1",
         "float_type"),
        (study(sweep={"optimizer.lr": {"log": [0.1, 1], "count": 1}}), "sweep.optimizer.lr.count",
         "greater_than_equal"),
        (study(sweep={"optimizer.lr": {"log": [0.1, 1], "count": 10**12}}),
         "sweep.optimizer.lr.count", "less_than_equal"),
        (study(sweep={"optimizer.lr": {"log": [0.1, 1], "count": 2.5}}), "sweep.optimizer.lr.count",
         "int_type"),
        (study(sweep={"seed": {"integers": [0.5, 1]}}), "sweep.seed.integers.0", "int_type"),
        (study(sweep={"seed": {"integers": [0, 2**60]}}), "sweep.seed.integers.1",
         "less_than_equal"),
        (study(sweep={"": {"values": [1]}}), "sweep.", "string_too_short"),
        (study(sweep={"a..b": {"values": [1]}}), "sweep.a..b", "malformed"),
        (study(sweep={".seed": {"values": [1]}}), "sweep..seed", "malformed"),
        (study(sweep={"seed": {"integers": [3, 2]}}), "sweep.seed.integers", "not_ordered"),
        (study(sweep={"optimizer.lr": {"log": [1, 0.1], "count": 3}}), "sweep.optimizer.lr.log",
         "not_ordered"),
        (study(sweep={"optimizer.lr": {"linear": [2, 1], "count": 3}}),
         "sweep.optimizer.lr.linear", "not_ordered"),
        (study(sweep={"optimizer.lr": {"linear": [-1e308, 1e308], "count": 3}}),
         "sweep.optimizer.lr.linear", "not_finite"),
        (study(sweep={"optimizer.lr": {"log": [0.1, 1]}}), "sweep.optimizer.lr.count", "missing"),
        (study(strategy={"kind": "gird"}), "strategy.kind", "unknown_kind"),
        (study(strategy={}), "strategy.kind", "missing"),
        (study(strategy="grid"), "strategy", "object_type"),
        (study(strategy={"kind": "random"}), "strategy.num_runs", "missing"),
        (study(strategy={"kind": "grid", "num_runs": 3}), "strategy.num_runs", "unknown_field"),
        (study(strategy={"kind": "random", "num_runs": 0}), "strategy.num_runs", "greater_than"),
        (study(strategy={"kind": "tpe", "num_runs": 9, "multivariate": False, "group": True}),
         "strategy.group", "conflict"),
        (study(strategy={"kind": "grid", "stopper": {}}), "strategy.stopper.kind", "missing"),
        (study(strategy={"kind": "grid", "stopper": {"kind": "median"}}), "strategy.stopper.kind",
         "unknown_value"),
        (study(strategy={"kind": "grid", "stopper": {**HALVING, "factor": 1}}),
         "strategy.stopper.factor", "greater_than_equal"),
        (study(strategy={"kind": "grid", "stopper": {**HALVING, "eta": 3}}),
         "strategy.stopper.eta", "unknown_field"),
        (study(repeats=0), "repeats", "greater_than"),
        (study(metric={"nmae": "loss"}), "metric.nmae", "unknown_field"),
        (study(metric={"at": "last"}), "metric.at", "unknown_value"),
        (study(job(), {"optimizer": {"values": [CLIMBING, {"kind": "adam"}]}}), "metric.goal",
         "missing"),
        (study(job(SPHERE, optimizer=CLIMBING), {"optimizer.maximize": {"values": [True, False]}},
               strategy=tpe()), "metric.goal", "missing"),
        (study(metric={"name": "accuracy"}), "metric.name", "unknown_metric"),
        (study(metric={"name": "eval.mae"}), "metric.name", "unknown_metric"),
        (study(job(DIABETES), metric={"name": "eval.accuracy"}), "metric.name", "unknown_metric"),
        (study(job(SPHERE), metric={"name": "eval.loss"}), "metric.name", "unknown_metric"),
        (study(labels={"a b": "c"}), "labels.a b", "string_pattern_mismatch"),
        (study(webhook={"url": "https://a"}), "webhook.url", "shortened"),
        (study(job(labels={"a": "b"})), "base.labels", "not_in_studies"),
        (study(job(webhook={"url": "https://a"})), "base.webhook", "not_in_studies"),
        (study(job(start_from={"job": "job_" + "0" * 26, "step": 3})), "base.start_from",
         "not_in_studies"),
        (study(job(diagnose="full")), "base.diagnose", "not_in_studies"),
        (study(job(seed=2**63 - 2), repeats=3), "base.seed", "less_than"),
        (study(job(name="mine")), "base.name", "not_in_studies"),
        (study(job(note="mine")), "base.note", "not_in_studies"),
        (study(sweep={"labels": {"values": [{}]}}), "sweep.labels", "not_swept"),
        (study(sweep={"name": {"values": ["a", "b"]}}), "sweep.name", "not_swept"),
        (study(sweep={"note": {"values": ["a", "b"]}}), "sweep.note", "not_swept"),
        (study(sweep={"labels.team": {"values": ["a"]}}), "sweep.labels.team", "not_swept"),
        (study(sweep={"start_from": {"values": [None]}}), "sweep.start_from", "not_swept"),
        (study(sweep={"webhook": {"values": [None]}}), "sweep.webhook", "not_swept"),
        (study(sweep={"priority": {"values": [1]}}), "sweep.priority", "not_swept"),
        (study(sweep={"device": {"values": ["cpu"]}}), "sweep.device", "not_swept"),
        (study(sweep={"diagnose": {"values": ["off"]}}), "sweep.diagnose", "not_swept"),
        (study({"optimizer": {"kind": "adam"}}), "base.problem", "missing"),
        (study({"problem": IRIS}), "base.optimizer", "missing"),
        (study({"problem": IRIS}, {"optimizer.lr": {"values": [0.1]}}), "base.optimizer.kind",
         "missing"),
        (study(job(optimiser={})), "base.optimiser", "unknown_field"),
        (study(sweep={"optimizer.learning_rate": {"values": [1]}}), "sweep.optimizer.learning_rate",
         "unknown_field"),
        (study(sweep={"base.seed": {"values": [1]}}), "sweep.base.seed", "unknown_field"),
        (study(sweep={"optimizer.lr.x": {"values": [1]}}), "sweep.optimizer.lr.x", "float_type"),
        (study(job(optimizer={"kind": "adam", "lr": 0.1}), {"optimizer.lr.x": {"values": [1]}}),
         "sweep.optimizer.lr.x", "unknown_path"),
        (study(sweep={"optimizer.betas.0": {"values": [0.5]}}), "sweep.optimizer.betas.0",
         "unknown_path"),
        (study(sweep={"optimizer.lr": {"values": [0.1, -1]}}), "sweep.optimizer.lr",
         "greater_than"),
        (study(sweep={"optimizer": {"values": [{"kind": "adam", "lr": 0}]}}), "sweep.optimizer",
         "greater_than"),
        (study(sweep={"optimizer.lr": {"values": [0.1, "auto"]}}), "sweep.optimizer.lr",
         "not_in_studies"),
        (study(job(optimizer={"kind": "adam", "lr": "auto"})), "base.optimizer.lr",
         "not_in_studies"),
        (study(sweep={"batch_size": {"values": [64, 1000]}}), "sweep.batch_size",
         "less_than_equal"),
        (study(sweep={"budget": {"values": [{"max_seconds": 1}, {"max_seconds": 2}]}}),
         "base.budget.max_steps", "missing"),
        (study(metric={"name": ""}), "metric.name", "unknown_metric"),
        (study(sweep=LR, strategy=tpe(num_runs=2, stopper=HALVING)), "strategy.stopper",
         "too_few_configurations"),
        (study(sweep=LR, strategy=tpe(batch_size=2, stopper=HALVING)), "strategy.stopper",
         "too_few_configurations"),
        (study(sweep=LR, strategy={"kind": "grid", "stopper": {**HALVING, "min_steps": 2000}}),
         "strategy.stopper.min_steps", "no_rung"),
        (study(sweep=LR, strategy={"kind": "grid", "stopper": {**HALVING, "min_steps": 150}},
               metric={"at": "best"}), "strategy.stopper.min_steps", "not_a_multiple"),
        (study(job(record={"eval_every": None}), LR, metric={"at": "best"},
               strategy={"kind": "grid", "stopper": HALVING}), "base.record.eval_every",
         "conflict"),
    ],
)  # fmt: skip
def test_a_mistake_lies_where_it_is(body: Any, param: str, code: str) -> None:
    assert found(body) == [(param, code)]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            study(sweep={"optimizer.lr": {"values": [0.1, -0.5]}, "seed": {"integers": [0, 1]}}),
            (
                "optimizer.lr must be a number above 0; -0.5 was given (configuration 2:"
                " optimizer.lr = -0.5, seed = 0; so in 1 more)"
            ),
        ),
        (
            study(sweep={"batch_size": {"log": [16, 65], "count": 3}}),
            "batch_size must be a whole number",
        ),
        (
            study({"problem": IRIS}, {"optimizer": {"values": [{"kind": "sgd"}, {"kind": "adm"}]}}),
            'optimizer.kind: "adm" is no optimizer here (did you mean adam?); one of: sgd, adam,',
        ),
        (
            study({"problem": IRIS, "optimizer": {"kind": "adam", "eps": -1}}, LR),
            "base.optimizer.eps must be at least 0; -1 was given",
        ),
        (
            study(sweep={"optimizer.lr": {"linear": [0, 1], "cuont": 3}}),
            (
                "sweep.optimizer.lr.cuont is not a field of linear (did you mean count?); its"
                " fields: linear, count"
            ),
        ),
        (
            study(sweep={"optimizer.lr": [0.1, 0.2]}),
            (
                'sweep.optimizer.lr must be one of {"values": […]}, {"log": [low, high], "count":'
                ' n}, {"linear": [low, high], "count": n} and {"integers": [low, high]}; [0.1, 0.2]'
                " was given"
            ),
        ),
        (
            study(metric={"name": "eval.mae"}),
            (
                'metric.name: "eval.mae" cannot be evaluated: mae does not suit targets that are'
                " classes; these do: accuracy, top_k"
            ),
        ),
        (
            study(sweep={"optimizer": {"values": [CLIMBING, {"kind": "adam"}]}}),
            (
                "metric.goal is required: some configurations maximize their loss"
                " (optimizer.maximize) and others minimize it, so that eval.loss has no better side"
                ' of its own; give "min" or "max", compare them by eval.accuracy, or make a study'
                " of each"
            ),
        ),
        (study(repeat=3), "repeat is not a field of a study (did you mean repeats?)"),
        (
            study(job(diagnose="full")),
            (
                'base.diagnose "full": runs of a study are not diagnosed; leave it out, and post'
                " the run that you are interested in as a job"
            ),
        ),
        (
            study(sweep=LR, strategy={"kind": "grid", "stopper": {**HALVING, "factor": 5}}),
            (
                "strategy.stopper: with 4 configurations the best 1/5 is less than one; have at"
                " least 5, lower factor, or leave it out"
            ),
        ),
    ],
)
def test_a_message_names_the_field_the_value_and_the_way_out(body: Json, text: str) -> None:
    assert any(mistake.message.startswith(text) for mistake in mistakes(body)), mistakes(body)


def test_whole_numbers_want_integers_or_values() -> None:
    message = mistakes(study(sweep={"batch_size": {"log": [16, 65], "count": 3}}))[0].message
    assert "32.249030993194 was given; sweep whole numbers by integers or values" in message


def test_all_mistakes_come_at_once() -> None:
    body = {
        "base": {"problem": IRIS, "labels": {"a": "b"}, "seed": -1},
        "sweep": {
            "optimizer": {"values": [{"kind": "sgd"}, {"kind": "adam", "lr": 0}]},
            "batch_size": {"integers": [3, 2]},
            "record": {"foo": 1},
        },
        "strategy": {"kind": "grid", "num_runs": 3},
        "metric": {"goal": "least"},
        "repeats": "3",
        "foo": 1,
    }
    assert set(found(body)) == {
        ("sweep.record", "unknown_sweep"),
        ("strategy.num_runs", "unknown_field"),
        ("metric.goal", "unknown_value"),
        ("repeats", "int_type"),
        ("foo", "unknown_field"),
        ("base.labels", "not_in_studies"),
        ("sweep.batch_size.integers", "not_ordered"),
        ("base.seed", "greater_than_equal"),
        ("sweep.optimizer", "greater_than"),
    }


def test_what_a_wrong_sweep_would_have_given_is_not_called_missing() -> None:
    body = study({"problem": IRIS}, {"optimizer": {"valuse": [{"kind": "sgd"}]}})
    assert found(body) == [("sweep.optimizer", "unknown_sweep")]


def test_the_same_mistake_in_many_configurations_is_said_once() -> None:
    sweep = {"optimizer.eps": {"values": [-1]}, "seed": {"integers": [0, 99]}}
    assert said(study(sweep=sweep)) == (
        "optimizer.eps must be at least 0; -1 was given (configuration 0: optimizer.eps = -1,"
        " seed = 0; so in 99 more)"
    )


def test_many_mistakes_are_counted_and_come_soon() -> None:
    sweep = {"optimizer.lr": {"values": [-1 - i for i in range(5000)]}}
    before = time.process_time()
    errors = mistakes(study(sweep=sweep))
    assert time.process_time() - before < 5
    assert len(errors) == MAX_ERRORS + 1
    assert errors[-1].message == "and 1 more mistakes"
    assert {error.param for error in errors[:-1]} == {"sweep.optimizer.lr"}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e400", "-1e999"])
def test_no_number_that_is_not_finite_comes_in(number: str) -> None:
    text = json.dumps(study(sweep={"optimizer.lr": {"values": ["?"]}})).replace('"?"', number)
    assert found(text.encode()) == [("sweep.optimizer.lr", "finite_number")]
    text = json.dumps(study(job(stop={"target_loss": "?"}))).replace('"?"', number)
    assert found(text.encode()) == [("base.stop.target_loss", "finite_number")]
    text = json.dumps(study(sweep={"seed": {"linear": [0, "?"], "count": 2}}))
    assert found(text.replace('"?"', number).encode()) == [("sweep.seed.linear.1", "finite_number")]
    text = json.dumps(study(metric={"target": "?"})).replace('"?"', number)
    assert found(text.encode()) == [("metric.target", "finite_number")]


def test_a_name_that_stands_twice_is_refused() -> None:
    text = json.dumps(study(sweep={"seed": {"values": [1]}, "sead": {"values": [2]}}))
    assert found(text.replace("sead", "seed").encode()) == [("seed", "duplicate_field")]


@pytest.mark.parametrize("body", [b"", b"{", b'{"base": ' + b"[" * 100_000])
def test_a_body_that_is_no_json_is_one_mistake(body: bytes) -> None:
    assert found(body) == [("", "invalid_json")]


def test_too_many_runs_are_refused_with_numbers_before_any_is_made() -> None:
    sweep = {f"optimizer.{name}": {"linear": [0.1, 0.9], "count": 1_000_000}
             for name in ("lr", "eps", "weight_decay")}  # fmt: skip
    before = time.process_time()
    message = said(study(sweep=sweep, repeats=2))
    assert time.process_time() - before < 1
    assert message == (
        "sweep has 1,000,000,000,000,000,000 combinations (optimizer.lr 1,000,000 · optimizer.eps"
        " 1,000,000 · optimizer.weight_decay 1,000,000) with 2 repeats each,"
        " 2,000,000,000,000,000,000 runs; this service allows 10,000 runs a study: lower the"
        ' counts, or use the strategy {"kind": "random", "num_runs": 5000}'
    )
    assert said(study(sweep={"seed": {"integers": [0, 2**53]}})).startswith(
        "sweep has 9,007,199,254,740,993 combinations"
    )
    assert said(study(sweep=LR, strategy={"kind": "random", "num_runs": 2**53})) == (
        "strategy.num_runs is 9,007,199,254,740,992; this service allows 10,000 runs a study: lower"
        " it to 10,000"
    )
    assert said(study(repeats=10**12)) == (
        "repeats 1,000,000,000,000 of one configuration are 1,000,000,000,000 runs; this service"
        " allows 10,000 runs a study: lower repeats"
    )
    assert found(study(sweep=LR, repeats=3), max_study_runs=11) == [("sweep", "too_many_runs")]
    assert found(study(sweep=LR, repeats=12), max_study_runs=11) == [("repeats", "too_many_runs")]


def test_steps_and_histories_of_all_runs_are_held_against_the_limits() -> None:
    body = study(job(SPHERE, budget={"max_steps": 1000}), LR, repeats=5)
    assert said(body, max_study_steps=19_999) == (
        "base.budget: 20 runs would apply 20,000 updates in all; this service allows 19,999 a"
        " study: shorten the budget to 1/2 of it, lower the counts of sweep or repeats"
    )
    # 20 runs · 1,000 rows · (loss, lr, grad_norm, x1, x2) · 8 bytes
    assert said(body, max_history_bytes=799_999) == (
        "base.record.every: the histories of 20 runs would take about 781.2 KiB together; this"
        " service allows 781.2 KiB: record a row every 2 times as many steps (record.every,"
        " record.eval_every), lower the counts of sweep or repeats"
    )
    assert found(body, max_memory_bytes=100) == [("base.problem.function", "memory_too_large")]


def test_tpe_is_refused_what_it_might_choose() -> None:
    sweep = {
        "optimizer": {"values": [{"kind": "sgd"}, {"kind": "adam"}, {"kind": "lbfgs"}]},
        "optimizer.weight_decay": {"linear": [0.0, 1.0]},
        "optimizer.lr": {"log": [1e-4, 1.0]},
    }
    assert found(study(sweep=sweep, strategy=tpe())) == [
        ("sweep.optimizer.weight_decay", "unknown_field")
    ]
    many = {f"optimizer.{name}": {"values": [0.1 * i for i in range(1, 9)]}
            for name in ("lr", "eps", "weight_decay")}  # fmt: skip
    sweep = {**many, "seed": {"integers": [0, 9]}, "batch_size": {"values": [32, 64, 1000]},
             "problem.model.dropout": {"values": [0.1 * i for i in range(8)]}}  # fmt: skip
    assert found(study(sweep=sweep, strategy=tpe())) == [("sweep.batch_size", "less_than_equal")]
    categories = {"seed": {"values": list(range(1001))}}
    assert found(study(sweep=categories, strategy=tpe())) == [("sweep.seed.values", "too_long")]


def test_wrong_data_is_named_without_reading_it_for_each_configuration() -> None:
    data = {"kind": "inline", "features": [[0.5, 1.5]] * 20_000, "targets": [0, 1] * 9_999}
    sweep = {"optimizer.lr": {"log": [1e-4, 1.0], "count": 1000}}
    before = time.process_time()
    errors = mistakes(study(job({**IRIS, "data": data}), sweep))
    assert time.process_time() - before < 10
    assert [(error.param, error.code) for error in errors] == [
        ("base.problem.data.targets", "length_mismatch")
    ]


def test_a_name_that_no_kind_has_is_one_mistake() -> None:
    kinds: Any = {"values": ["adam", "sgd", "adamw"]}
    body = study(sweep={"optimizer.kind": kinds, "optimizer.lrr": {"values": [1, 2, 3]}})
    (mistake,) = mistakes(body)
    assert (mistake.param, mistake.code) == ("sweep.optimizer.lrr", "unknown_field")
    assert "so in 8 more" in mistake.message


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 10**400, -(10**400)])
def test_a_number_that_is_not_finite_is_refused_also_where_another_takes_its_place(
    number: float,
) -> None:
    kinds: Json = {"values": [{"kind": "sgd"}, {"kind": "adam"}]}
    momentum: Json = {"values": [0.0, 0.9]}
    condition: Json = {"optimizer.kind": ["sgd", number]}
    wrong: Json = {"kind": "sgd", "lr": number}
    for body, param in (
        (study(job(optimizer=number), {"optimizer": kinds}), "base.optimizer"),
        (study(job(optimizer=wrong), LR), "base.optimizer.lr"),
        (study(job(optimizer={"kind": "adam", "betas": [0.9, number]}), {"optimizer": kinds}),
         "base.optimizer.betas.1"),
        (study(sweep={"optimizer": {"values": [{"kind": "adam"}, wrong]}, **LR}),
         "sweep.optimizer.values.1.lr"),
        (study(sweep={"optimizer": kinds, "optimizer.momentum": {**momentum, "when": condition}}),
         "sweep.optimizer.momentum.when.optimizer.kind.1"),
        (study(job(seed=number)), "base.seed"),
        (study(sweep={"optimizer.lr": {"values": [0.1, number]}}), "sweep.optimizer.lr"),
    ):  # fmt: skip
        (mistake,) = mistakes(body)
        assert mistake.param == param
        assert f"{shown(number)} was given" in mistake.message


@pytest.mark.parametrize("eval_every", [7, 100, 450, 500, 501, 2000])
@pytest.mark.parametrize("first", [1, 99, 101, 449, 499])
def test_the_first_rung_that_a_refusal_names_is_accepted(eval_every: int, first: int) -> None:
    def halved(min_steps: int) -> Json:
        base = job(budget={"max_steps": 500}, record={"eval_every": eval_every})
        stopper = {**HALVING, "min_steps": min_steps}
        return study(base, LR, metric={"at": "best"}, strategy={"kind": "grid", "stopper": stopper})

    message = said(halved(first))
    given = re.search(r"; give ([0-9,]+)$", message)
    if eval_every >= 500:
        assert message.endswith("; lower record.eval_every or raise the budget")
    else:
        assert given is not None
        parsed(halved(int(given[1].replace(",", ""))))
