"""Rules across fields: each mistake is refused with the field that can mend it."""

import json
import re
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from core.errors import FieldError, InvalidInputError
from core.specs.job import StartFrom
from core.specs.parsing.continuation import continued, parse_continuation
from core.specs.parsing.job import parse_job
from core.specs.parsing.remedy import remedied
from core.specs.sizes.cost import estimate
from core.specs.studies.runs import run_spec
from core.specs.unions import members
from core.specs.validation.limits import Limits
from core.specs.validation.warnings.job import warnings_of_job


def mistakes(body: dict[str, Any], **limits: Any) -> list[FieldError]:
    with pytest.raises(InvalidInputError) as caught:
        parse_job(json.dumps(body).encode(), Limits(**limits))
    return caught.value.errors


def found(body: dict[str, Any], **limits: Any) -> set[tuple[str, str]]:
    return {(mistake.param, mistake.code) for mistake in mistakes(body, **limits)}


def accepted(body: dict[str, Any], **limits: Any) -> None:
    parse_job(json.dumps(body).encode(), Limits(**limits))


def inline(features: Any, targets: Any, **parts: Any) -> dict[str, Any]:
    data = {"kind": "inline", "features": features, "targets": targets}
    problem = {"kind": "supervised", "data": data, "model": {"kind": "linear"}, **parts}
    return {"problem": problem, "optimizer": {"kind": "sgd"}}


def builtin(name: str, *, data: Any = None, model: Any = None, loss: Any = None,
            **parts: Any) -> dict[str, Any]:  # fmt: skip
    problem: dict[str, Any] = {
        "kind": "supervised",
        "data": {"kind": "builtin", "name": name, **(data or {})},
        "model": model or {"kind": "mlp"},
    }
    if loss is not None:
        problem["loss"] = {"kind": loss}
    return {"problem": problem, "optimizer": {"kind": "sgd"}, **parts}


def synthetic(**generator: Any) -> dict[str, Any]:
    data = {"kind": "synthetic", "generator": generator}
    problem = {"kind": "supervised", "data": data, "model": {"kind": "linear"}}
    return {"problem": problem, "optimizer": {"kind": "sgd"}}


def function(chosen: dict[str, Any], *, run: Any = None, **parts: Any) -> dict[str, Any]:
    problem = {"kind": "function", "function": chosen, **parts}
    return {"problem": problem, "optimizer": {"kind": "sgd"}, **(run or {})}


def expression(text: str, **start: Any) -> dict[str, Any]:
    return function({"kind": "expression", "expression": text}, start=start)


SPHERE = {"kind": "sphere"}


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        (inline([[1], [2, 3], [4]], [0, 1, 0]), "problem.data.features.1", "ragged"),
        (inline([[1], [2], [3]], [0, 1]), "problem.data.targets", "length_mismatch"),
        (inline([[1], [2]], [[1.0], [2.0, 3.0]]), "problem.data.targets", "ragged"),
        (inline([[1], [2], [3]], [0, 1, 3]), "problem.data.targets", "class_id_out_of_range"),
        (inline([[1], [2], [3]], [1, 2, 3]), "problem.data.targets", "class_id_out_of_range"),
        (inline([[1], [2]], [-1, 0]), "problem.data.targets", "class_id_out_of_range"),
        (inline([[1], [2]], [0, 0]), "problem.data.targets", "class_id_out_of_range"),
        (inline([[1], [2]], [0.5, 1], loss={"kind": "cross_entropy"}), "problem.data.targets",
         "loss_does_not_fit"),
        (inline([[1], [2]], [0.0, 2.0], loss={"kind": "cross_entropy"}), "problem.data.targets",
         "class_id_out_of_range"),
        (inline([[1], [2]], [0.0, 1e16], loss={"kind": "cross_entropy"}), "problem.data.targets",
         "loss_does_not_fit"),
        (inline([[1], [2]], [[0], [2]], loss={"kind": "binary_cross_entropy"}),
         "problem.data.targets.1", "loss_does_not_fit"),
        (inline([[1], [2], [3]], [0, 1, 2], loss={"kind": "binary_cross_entropy"}), "problem.loss",
         "loss_does_not_fit"),
        (inline([[1], [2]], [0.5, -1e39]), "problem.data.targets.1", "not_finite"),
        (builtin("digits", loss="mse"), "problem.loss", "loss_does_not_fit"),
        (builtin("iris", loss="binary_cross_entropy"), "problem.loss", "loss_does_not_fit"),
        (builtin("diabetes", loss="cross_entropy"), "problem.loss", "loss_does_not_fit"),
        (builtin("iris", data={"eval_fraction": 0.999}), "problem.data.eval_fraction",
         "no_training_rows"),
        (builtin("iris", batch_size=121), "batch_size", "less_than_equal"),
        (builtin("iris", model={"kind": "mlp", "norm": "batch"}, batch_size=1),
         "problem.model.norm", "batch_of_one_row"),
        (builtin("iris", model={"kind": "mlp", "norm": "batch"}, batch_size=17),
         "problem.model.norm", "batch_of_one_row"),
        (builtin("iris", model={"kind": "mlp", "hidden": [8, 1], "norm": "layer"}),
         "problem.model.norm", "norm_of_one_unit"),
        (builtin("iris", data={"order": {"kind": "explicit", "steps": [[0], [120]]}}),
         "problem.data.order.steps.1", "row_out_of_range"),
        (builtin("iris", data={"order": {"kind": "explicit", "steps": [[0]]}}, batch_size=1),
         "batch_size", "conflict"),
        (synthetic(kind="moons", num_samples=10**12), "problem.data.generator.num_samples",
         "less_than_equal"),
        (synthetic(kind="blobs", num_samples=5, num_classes=6),
         "problem.data.generator.num_classes", "less_than_equal"),
        (synthetic(kind="linear_regression", num_features=10**7), "problem.data",
         "memory_too_large"),
        (expression("x.real", x=1), "problem.function.expression", "invalid_expression"),
        (expression("exec(x)", x=1), "problem.function.expression", "invalid_expression"),
        (expression("(" * 100_000 + "x", x=1), "problem.function.expression",
         "invalid_expression"),
        (expression("9" * 10_000 + "*x", x=1), "problem.function.expression",
         "invalid_expression"),
        (expression("2 + 2", x=1), "problem.function.expression", "invalid_expression"),
        (expression("9**9**9 + x", x=1), "problem.start", "not_finite_at_start"),
        (expression("1/x", x=0), "problem.start", "not_finite_at_start"),
        (expression("log(x)", x=-1), "problem.start", "not_finite_at_start"),
        (expression("x*y", x=1), "problem.start.y", "missing"),
        (expression("x", x=1, y=1), "problem.start.y", "unknown_field"),
        (function({"kind": "expression", "expression": "x"}), "problem.start", "missing"),
        (function({"kind": "expression", "expression": "x"}, start=[1]), "problem.start",
         "object_type"),
        (function(SPHERE, start=[1]), "problem.start", "length_mismatch"),
        (function(SPHERE, start={"x1": 1, "x2": 2}), "problem.start", "list_type"),
        (function(SPHERE, start=[1e200, 0]), "problem.start", "not_finite_at_start"),
        (function(SPHERE, start=[1e30, 0], run={"precision": "float32"}), "problem.start",
         "not_finite_at_start"),
        (function(SPHERE, start={"kind": "uniform", "low": 1, "high": 1}), "problem.start.high",
         "greater_than"),
        (function(SPHERE, start={"kind": "uniform", "low": -1e308, "high": 1e308}),
         "problem.start.high", "greater_than"),
        (function(SPHERE, bounds=[1, 1]), "problem.bounds", "not_ordered"),
        (function(SPHERE, bounds=[[-5, 5], [2, 1]]), "problem.bounds.1", "not_ordered"),
        (function(SPHERE, bounds=[[-5, 5]]), "problem.bounds", "length_mismatch"),
        (function(SPHERE, start=[2, 0], bounds=[-1, 1]), "problem.start", "outside_bounds"),
        (function(SPHERE, start={"kind": "uniform", "low": -2, "high": 0}, bounds=[-1, 1]),
         "problem.start", "outside_bounds"),
        (function(SPHERE, run={"batch_size": 4}), "batch_size", "conflict"),
        (function(SPHERE, run={"budget": {"max_epochs": 4}}), "budget.max_epochs", "conflict"),
        (function({"kind": "quadratic"}), "problem.function", "conflict"),
        (function({"kind": "quadratic", "eigenvalues": [1], "matrix": [[1]]}), "problem.function",
         "conflict"),
        (function({"kind": "quadratic", "matrix": [[1, 2], [2]]}), "problem.function.matrix.1",
         "not_square"),
        (function({"kind": "quadratic", "matrix": [[1, 2], [3, 4]]}), "problem.function.matrix",
         "not_symmetric"),
        (function({"kind": "quadratic", "matrix": [[1]], "rotation_seed": 0}),
         "problem.function.rotation_seed", "conflict"),
        (function({"kind": "quadratic", "eigenvalues": [1, 2], "linear": [1]}),
         "problem.function.linear", "length_mismatch"),
    ],
)  # fmt: skip
def test_parts_of_a_problem_that_do_not_fit_are_refused(
    body: dict[str, Any], param: str, code: str
) -> None:
    assert found(body) == {(param, code)}


@pytest.mark.parametrize(
    "body",
    [
        inline([[1], [2]], [3, 70], loss={"kind": "mse"}),
        inline([[1], [2]], [0.5, 1]),
        inline([[1], [2]], [[0.5, 2], [1, 1]]),
        inline([[1], [2]], [0, 1], loss={"kind": "binary_cross_entropy"}),
        builtin("breast_cancer", loss="binary_cross_entropy"),
        builtin("iris", model={"kind": "mlp", "norm": "batch"}, batch_size=17,
                data={"drop_last": True}),
        builtin("iris", model={"kind": "mlp", "norm": "batch", "hidden": []}, batch_size=1),
        builtin("iris", batch_size=120),
        expression("x**2", x=1e-30),
        function(SPHERE, start=[1, -1], bounds=[[-1, 1], [-2, 2]]),
        function({"kind": "quadratic", "matrix": [[1, 2], [2, 4]]}),
    ],
)  # fmt: skip
def test_parts_that_do_fit_are_accepted(body: dict[str, Any]) -> None:
    accepted(body)


def scheduled(schedule: dict[str, Any], optimizer: str = "sgd") -> dict[str, Any]:
    return function(SPHERE, run={"schedule": schedule, "optimizer": {"kind": optimizer}})


def chained(*schedules: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "chained", "schedules": list(schedules)}


def in_turn(*schedules: dict[str, Any]) -> dict[str, Any]:
    milestones = [10 * i for i in range(1, len(schedules))]
    return {"kind": "sequential", "schedules": list(schedules), "milestones": milestones}


PLATEAU = {"kind": "reduce_on_plateau"}
STEADY = {"kind": "constant"}
CYCLE = {"kind": "cyclic", "base_lr": 0.1, "max_lr": 1.0}


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        (function(SPHERE, run={"optimizer": {"kind": "sgd", "nesterov": True}}),
         "optimizer.nesterov", "conflict"),
        (function(SPHERE, run={"optimizer": {"kind": "sgd", "nesterov": True, "momentum": 0.9,
                                             "dampening": 0.1}}), "optimizer.nesterov", "conflict"),
        (function(SPHERE, run={"optimizer": {"kind": "adam", "foreach": True, "fused": True}}),
         "optimizer.fused", "conflict"),
        (function(SPHERE, run={"optimizer": {"kind": "rprop", "step_sizes": [1.0, 0.1]}}),
         "optimizer.step_sizes", "not_ordered"),
        (scheduled({**CYCLE, "base_lr": 2.0}), "schedule.base_lr", "less_than_equal"),
        (scheduled({**CYCLE, "cycle_momentum": True}, "adagrad"), "schedule.cycle_momentum",
         "conflict"),
        (scheduled({"kind": "one_cycle", "cycle_momentum": True}, "lbfgs"),
         "schedule.cycle_momentum", "conflict"),
        (scheduled({**in_turn(STEADY, STEADY), "milestones": [5, 6]}), "schedule.milestones",
         "length_mismatch"),
        (scheduled({**in_turn(STEADY, STEADY, STEADY), "milestones": [6, 6]}),
         "schedule.milestones", "not_ordered"),
        (scheduled(chained(PLATEAU)), "schedule.schedules.0", "conflict"),
        (scheduled(in_turn(PLATEAU, STEADY)), "schedule.schedules.0", "conflict"),
        (scheduled(chained(STEADY, CYCLE)), "schedule.schedules.1", "conflict"),
        (scheduled(chained(in_turn(STEADY, STEADY))), "schedule.schedules.0", "conflict"),
        (scheduled(chained(*[chained(*[STEADY] * 20)] * 6)), "schedule.schedules.4.schedules.14",
         "too_many_schedules"),
    ],
)  # fmt: skip
def test_ways_to_run_that_do_not_fit_are_refused(
    body: dict[str, Any], param: str, code: str
) -> None:
    assert (param, code) in found(body)


def test_schedules_nested_too_deeply_are_refused() -> None:
    schedule = STEADY
    for _ in range(15):
        schedule = chained(schedule)
    assert {code for _, code in found(scheduled(schedule))} == {"too_many_schedules"}


@pytest.mark.parametrize(
    "schedule",
    [
        PLATEAU,
        in_turn(STEADY, PLATEAU),
        {"kind": "warmup", "steps": 5, "then": PLATEAU},
        {"kind": "warmup", "steps": 5, "then": in_turn(STEADY, chained(STEADY, STEADY))},
        chained(chained(STEADY), STEADY),
    ],
)
def test_a_plateau_may_come_last_and_sequences_may_nest(schedule: dict[str, Any]) -> None:
    accepted(scheduled(schedule))


def test_torch_too_refuses_a_plateau_among_chained_schedules() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))])
    with pytest.raises(ValueError, match="ReduceLROnPlateau"):
        lr_scheduler.ChainedScheduler([lr_scheduler.ReduceLROnPlateau(optimizer)], optimizer)


def test_a_model_with_too_many_parameters_is_refused_with_the_number() -> None:
    body = builtin("digits", model={"kind": "mlp", "hidden": [20_000, 20_000]})
    (mistake,) = (m for m in mistakes(body) if m.code == "too_many_parameters")
    assert mistake.param == "problem.model"
    assert "401,520,010" in mistake.message


def test_the_field_that_asks_for_the_most_memory_is_named() -> None:
    lbfgs = builtin("digits", optimizer={"kind": "lbfgs", "history_size": 10**6, "max_iter": 1000})
    assert found(lbfgs) == {("optimizer", "memory_too_large")}
    rotated = function({"kind": "quadratic", "eigenvalues": [1.0] * 100_000, "rotation_seed": 0})
    assert ("problem.function", "memory_too_large") in found(rotated)
    large = synthetic(kind="friedman1", num_samples=10**6, num_features=1000)
    assert found(large) == {("problem.data", "memory_too_large")}


def test_a_hundred_thousand_eigenvalues_are_refused_for_their_history() -> None:
    body = function({"kind": "quadratic", "eigenvalues": [1.0] * 100_000})
    assert found(body) == {("record.every", "history_too_large")}
    accepted({**body, "record": {"every": 10}})


@pytest.mark.parametrize(
    "body",
    [
        function({"kind": "sphere", "dim": 7}, run={"budget": {"max_steps": 100_000_000}}),
        builtin("digits", budget={"max_steps": 100_000_000}),
        builtin("digits", budget={"max_steps": 100_000_000},
                record={"every": 3, "eval_every": 1}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("limit", [2**20, 2**24, 2**29])
def test_each_way_out_of_a_history_too_large_works(body: dict[str, Any], limit: int) -> None:
    (mistake,) = mistakes(body, max_history_bytes=limit)
    numbers = [int(n.replace(",", "")) for n in re.findall(r"to ([\d,]+)", mistake.message)]
    every, steps = numbers[0], numbers[-1]
    eval_every = numbers[1] if len(numbers) == 3 else None
    record = {"every": every, **({"eval_every": eval_every} if eval_every else {})}
    accepted({**body, "record": record}, max_history_bytes=limit)
    accepted({**body, "budget": {"max_steps": steps}}, max_history_bytes=limit)
    fewer = parse_job(json.dumps({**body, "budget": {"max_steps": steps}}).encode(),
                      Limits(max_history_bytes=limit))  # fmt: skip
    assert estimate(fewer).history_bytes > 0.9 * limit


@pytest.mark.parametrize("fraction", [1e-9, 0.003])
def test_an_eval_fraction_that_comes_to_no_row_is_refused(fraction: float) -> None:
    body = builtin("iris", data={"eval_fraction": fraction})
    (mistake,) = mistakes(body)
    assert (mistake.param, mistake.code) == ("problem.data.eval_fraction", "no_evaluation_rows")
    assert "150 rows" in mistake.message
    accepted(builtin("iris", data={"eval_fraction": 1 / 150}))


def test_two_rows_have_no_evaluation_and_their_resolved_spec_says_so() -> None:
    spec = parse_job(json.dumps(inline([[0.0], [1.0]], [0.5, 1.5])).encode(), Limits())
    problem = spec.model_dump(mode="json")["problem"]
    assert problem["data"]["eval_fraction"] == 0.0
    assert parse_job(spec.model_dump_json().encode(), Limits()) == spec


def test_a_spec_that_was_stored_with_no_evaluation_rows_stays_what_it_is() -> None:
    """The versions before wrote the default out as it was."""
    body = inline([[0.0], [1.0]], [0.5, 1.5])
    body["problem"]["data"]["eval_fraction"] = 0.2
    stored = parse_job(json.dumps(body).encode(), Limits(stored=True)).model_dump(mode="json")
    assert stored["problem"]["data"]["eval_fraction"] == 0.2
    start = StartFrom(job="job_01k2b3c4d5e6f7g8h9jkmnpqrs", step=50)
    longer = continued(
        stored, parse_continuation(b'{"budget":{"max_steps":9000}}'), start, Limits()
    )
    other = remedied(stored, {"seed": 3}, Limits())
    run = run_spec({"base": stored, "sweep": {}}, {}, 0)
    for spec in (longer, other, run):
        assert spec.model_dump(mode="json")["problem"] == stored["problem"]


@pytest.mark.parametrize("kind", ["lbfgs", "rprop"])
@pytest.mark.parametrize(
    ("parts", "doubtful"),
    [
        ({"batch_size": 16}, True),
        ({"batch_size": "full"}, False),
        ({}, False),
        ({"batch_size": 120}, False),  # all training rows of iris
    ],
    ids=["mini-batches", "full", "left out", "all rows"],
)
def test_a_method_of_full_batches_is_warned_of(
    kind: str, parts: dict[str, Any], doubtful: bool
) -> None:
    body = builtin("iris", **parts)
    body["optimizer"] = {"kind": kind}
    found = warnings_of_job(parse_job(json.dumps(body).encode(), Limits()))
    assert [(each.param, each.code) for each in found] == (
        [("batch_size", "noisy_gradients")] if doubtful else []
    )
    if doubtful:
        assert all(word in found[0].message for word in (kind, "16", '"full"', "adam"))


def test_an_explicit_order_of_parts_is_warned_of_too() -> None:
    order = {"kind": "explicit", "steps": [[0, 1], [2, 3]]}
    body = builtin("iris", data={"order": order})
    body["optimizer"] = {"kind": "lbfgs"}
    (found,) = warnings_of_job(parse_job(json.dumps(body).encode(), Limits()))
    assert "an explicit order" in found.message


@pytest.mark.parametrize("kind", sorted({*members("optimizer")} - {"lbfgs", "rprop"}))
def test_no_other_method_is(kind: str) -> None:
    body = builtin("iris", batch_size=16)
    body["optimizer"] = {"kind": kind}
    assert warnings_of_job(parse_job(json.dumps(body).encode(), Limits())) == []
