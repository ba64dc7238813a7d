"""What is wrong with a body is said by field, with a code, the value and the way out."""

import json
import time
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import pytest

from core.errors import FieldError, InvalidInputError
from core.specs.base import Spec, fields_shown
from core.specs.job import JobSpec
from core.specs.parsing.clone import JobClone, parse_clone
from core.specs.parsing.job import parse_job
from core.specs.parsing.way_out import nearest_name
from core.specs.unions import PLAIN, UNIONS, kind_of, members, tag_of
from core.specs.validation.errors import MAX_ERRORS
from core.specs.validation.limits import Limits

GOOD: dict[str, Any] = {
    "problem": {
        "kind": "supervised",
        "data": {"kind": "builtin", "name": "iris"},
        "model": {"kind": "mlp", "hidden": [8]},
    },
    "optimizer": {"kind": "adam", "lr": 0.01},
}


def mistakes(body: bytes | dict[str, Any]) -> list[FieldError]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(InvalidInputError) as caught:
        parse_job(raw, Limits())
    return caught.value.errors


def found(body: bytes | dict[str, Any]) -> set[tuple[str, str]]:
    return {(mistake.param, mistake.code) for mistake in mistakes(body)}


def with_model(**fields: Any) -> dict[str, Any]:
    problem = {**GOOD["problem"], "model": {**GOOD["problem"]["model"], **fields}}
    return {**GOOD, "problem": problem}


def with_inline(features: Any, targets: Any) -> dict[str, Any]:
    data = {"kind": "inline", "features": features, "targets": targets}
    return {**GOOD, "problem": {**GOOD["problem"], "data": data}}


def with_function(problem: dict[str, Any]) -> dict[str, Any]:
    return {"problem": {"kind": "function", **problem}, "optimizer": {"kind": "sgd"}}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"{",
        b'{"seed": 0,}',
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b'{"labels": {"a": "\\ud800"}}',
        b'{"labels": {"a": "\xed\xa0\x80"}}',
        b'{"seed": ' + b"9" * 5_000 + b"}",
        b"[" * 100_000,
        b'{"schedule":' * 1_500 + b"0" + b"}" * 1_500,
    ],
)
def test_a_body_that_is_no_json_is_one_mistake(body: bytes) -> None:
    assert found(body) == {("", "invalid_json")}


@pytest.mark.parametrize("body", [b"[]", b"null", b"3", b'"job"', b"true"])
def test_a_body_that_is_no_object_is_one_mistake(body: bytes) -> None:
    assert found(body) == {("", "object_type")}


def test_what_is_required_is_named() -> None:
    assert found({}) == {("problem", "missing"), ("optimizer", "missing")}


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({**GOOD, "seeed": 1}, "seeed", "unknown_field"),
        ({**GOOD, "budget": {"steps": 1}}, "budget.steps", "unknown_field"),
        ({**GOOD, "optimizer": {"kind": "adam", "momentum": 1}}, "optimizer.momentum",
         "unknown_field"),
        (with_model(layers=[8]), "problem.model.layers", "unknown_field"),
        (with_model(norm={"kind": "layer", "momentum": 1}), "problem.model.norm.momentum",
         "unknown_field"),
        (with_function({"function": {"kind": "sphere", "dims": 3}}), "problem.function.dims",
         "unknown_field"),
        (with_function({"function": {"kind": "sphere"}, "x0": [1]}), "problem.x0",
         "unknown_field"),
        ({**GOOD, "schedule": {"kind": "warmup", "steps": 3, "then": {"kind": "cosine", "T": 1}}},
         "schedule.then.T", "unknown_field"),
        ({**GOOD, "schedule": {"kind": "chained", "schedules": [{"kind": "constant", "size": 1}]}},
         "schedule.schedules.0.size", "unknown_field"),
        ({**GOOD, "optimizer": {"kind": "adamm"}}, "optimizer.kind", "unknown_kind"),
        ({**GOOD, "optimizer": {"kind": 3}}, "optimizer.kind", "unknown_kind"),
        ({**GOOD, "optimizer": {"lr": 3}}, "optimizer.kind", "missing"),
        ({**GOOD, "optimizer": "adam"}, "optimizer", "object_type"),
        ({**GOOD, "problem": {"kind": "robot"}}, "problem.kind", "unknown_kind"),
        (with_model(activation="rely"), "problem.model.activation", "unknown_value"),
        (with_model(norm="bach"), "problem.model.norm.kind", "unknown_kind"),
        (with_model(hidden=[8, "8"]), "problem.model.hidden.1", "int_type"),
        (with_model(hidden=[8, 0]), "problem.model.hidden.1", "greater_than"),
        (with_model(dropout=1.0), "problem.model.dropout", "less_than"),
        ({**GOOD, "optimizer": {"kind": "adam", "lr": "0.1"}}, "optimizer.lr", "float_type"),
        ({**GOOD, "optimizer": {"kind": "adam", "lr": True}}, "optimizer.lr", "float_type"),
        ({**GOOD, "optimizer": {"kind": "adam", "lr": None}}, "optimizer.lr", "float_type"),
        ({**GOOD, "optimizer": {"kind": "adam", "lr": 0}}, "optimizer.lr", "greater_than"),
        ({**GOOD, "optimizer": {"kind": "adam", "lr": -0.1}}, "optimizer.lr", "greater_than"),
        ({**GOOD, "optimizer": {"kind": "adam", "betas": [0.9, 1.0]}}, "optimizer.betas.1",
         "less_than"),
        ({**GOOD, "optimizer": {"kind": "adam", "betas": [0.9]}}, "optimizer.betas.1", "missing"),
        ({**GOOD, "optimizer": {"kind": "adam", "amsgrad": 1}}, "optimizer.amsgrad", "bool_type"),
        ({**GOOD, "seed": 1.5}, "seed", "int_type"),
        ({**GOOD, "seed": 1e16}, "seed", "int_type"),
        ({**GOOD, "seed": True}, "seed", "int_type"),
        ({**GOOD, "seed": "1"}, "seed", "int_type"),
        ({**GOOD, "seed": -1}, "seed", "greater_than_equal"),
        ({**GOOD, "seed": 2**63}, "seed", "less_than"),
        ({**GOOD, "budget": {"max_steps": 0}}, "budget.max_steps", "greater_than"),
        ({**GOOD, "budget": {"max_steps": 10**12}}, "budget.max_steps", "less_than_equal"),
        ({**GOOD, "budget": {"max_seconds": 0}}, "budget.max_seconds", "greater_than"),
        ({**GOOD, "batch_size": "64"}, "batch_size", "int_type"),
        ({**GOOD, "batch_size": 0}, "batch_size", "greater_than"),
        ({**GOOD, "batch_size": 2.5}, "batch_size", "int_type"),
        ({**GOOD, "device": "tpu"}, "device", "string_pattern_mismatch"),
        ({**GOOD, "precision": "float16"}, "precision", "unknown_value"),
        ({**GOOD, "priority": 10}, "priority", "less_than_equal"),
        ({**GOOD, "labels": {"a b": "c"}}, "labels.a b", "string_pattern_mismatch"),
        ({**GOOD, "labels": {"a": 1}}, "labels.a", "string_type"),
        ({**GOOD, "webhook": {"url": "https://example.org"}}, "webhook.url", "shortened"),
        (with_inline([[1.0], [2.0]], []), "problem.data.targets", "too_short"),
        (with_inline([], [0, 1]), "problem.data.features", "too_short"),
        (with_inline([[]] * 2, [0, 1]), "problem.data.features.0", "too_short"),
        (with_inline([[1], [2], [3, "x"]], [0, 1, 0]), "problem.data.features.2.1", "float_type"),
        (with_inline([[1], [2]], ["a", 1]), "problem.data.targets.0", "float_type"),
        (with_inline([[1], [2]], 3), "problem.data.targets", "list_type"),
        (with_function({"function": {"kind": "sphere"}, "start": [1, "a"]}), "problem.start.1",
         "float_type"),
        (with_function({"function": {"kind": "sphere"}, "start": {"kind": "uniform", "low": 0}}),
         "problem.start.high", "missing"),
        (with_function({"function": {"kind": "sphere"}, "bounds": [[0, 1], [0]]}),
         "problem.bounds.1.1", "missing"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_by_its_path_and_code(
    body: dict[str, Any], param: str, code: str
) -> None:
    assert found(body) == {(param, code)}


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e400", "-1e999", "9" * 400])
@pytest.mark.parametrize(
    ("template", "param"),
    [
        ('{"problem": %s, "optimizer": {"kind": "sgd", "lr": @}}', "optimizer.lr"),
        ('{"problem": %s, "optimizer": {"kind": "sgd"}, "stop": {"target_loss": @}}',
         "stop.target_loss"),
    ],
)  # fmt: skip
def test_numbers_beyond_the_finite_are_refused(template: str, param: str, literal: str) -> None:
    body = (template % json.dumps(GOOD["problem"])).replace("@", literal)
    assert found(body.encode()) == {(param, "finite_number")}


def test_a_non_finite_number_deep_in_inline_data_is_found() -> None:
    body = json.dumps(with_inline([[1.0, 2.0], [3.0, 4.0]], [0, 1])).replace("4.0", "1e400")
    assert found(body.encode()) == {("problem.data.features.1.1", "finite_number")}


def test_all_mistakes_come_at_once_also_those_across_fields() -> None:
    body = {
        **with_model(hidden=[0], activation="rely"),
        "optimizer": {"kind": "sgd", "nesterov": True},
        "schedule": {"kind": "cyclic", "base_lr": 1.0, "max_lr": 0.1},
        "seed": -1,
        "colour": "red",
    }
    assert found(body) == {
        ("problem.model.hidden.0", "greater_than"),
        ("problem.model.activation", "unknown_value"),
        ("optimizer.nesterov", "conflict"),
        ("schedule.base_lr", "less_than_equal"),
        ("seed", "greater_than_equal"),
        ("colour", "unknown_field"),
    }


def test_a_message_names_the_field_the_value_and_the_way_out() -> None:
    (lr,) = mistakes({**GOOD, "optimizer": {"kind": "adam", "lr": -0.5}})
    assert lr.message == 'optimizer.lr must be a number above 0, or "auto"; -0.5 was given'
    (kind,) = mistakes({**GOOD, "optimizer": {"kind": "rmspro"}})
    assert 'optimizer.kind: "rmspro" is no optimizer here (did you mean rmsprop?)' in kind.message
    assert "lbfgs" in kind.message
    (field,) = mistakes({**GOOD, "optimizer": {"kind": "adam", "weight_deacy": 0.1}})
    assert "did you mean weight_decay?" in field.message


JOB = [*JobSpec.model_fields]
BUDGET = [*PLAIN["budget"].model_fields]
INLINE = [*members("data")["inline"].model_fields]
SGD = [*members("optimizer")["sgd"].model_fields]
ADAM = [*members("optimizer")["adam"].model_fields]
OPTIMIZERS = [*members("optimizer")]
SCHEDULES = [*members("schedule")]


@pytest.mark.parametrize(
    ("word", "names", "meant"),
    [
        # One slip: a letter too few, too many, wrong, or swapped with the next.
        ("optimzer", JOB, "optimizer"),
        ("optimizers", JOB, "optimizer"),
        ("momentun", SGD, "momentum"),
        ("wieght_decay", SGD, "weight_decay"),
        ("leraning_rate", ["learning_rate", "momentum"], "learning_rate"),
        ("max_step", BUDGET, "max_steps"),
        ("batchsize", JOB, "batch_size"),
        ("adm", OPTIMIZERS, "adam"),
        ("rmspro", OPTIMIZERS, "rmsprop"),
        # Two in a long word, one in each of two.
        ("optmizr", JOB, "optimizer"),
        ("shcedul", JOB, "schedule"),
        ("weigth_decai", SGD, "weight_decay"),
        # Another case.
        ("LR", SGD, "lr"),
        ("Adam", OPTIMIZERS, "adam"),
        ("t_max", ["T_max", "eta_min"], "T_max"),
        # The beginning of a name.
        ("optim", JOB, "optimizer"),
        ("eval_frac", INLINE, "eval_fraction"),
        ("expo", SCHEDULES, "exponential"),
        # Other words, however many letters they share.
        ("texts", INLINE, None),
        ("labels_", INLINE, None),
        ("warm_restarts", JOB, None),
        ("layers", JOB, None),
        ("epochs", JOB, None),
        ("learning_rate", ADAM, None),
        ("min_epochs", BUDGET, None),
        ("lamb", OPTIMIZERS, None),
        ("adam_mini", OPTIMIZERS, None),
        ("lt", ["lr"], None),
        # In a short word another letter makes another word; a swapped one does not.
        ("mae", ["mse", "l1"], None),
        ("adan", OPTIMIZERS, None),
        ("sdg", OPTIMIZERS, "sgd"),
        ("gradient_accumulation", JOB, None),
        ("gradient_accumulation_steps", JOB, None),
        ("", JOB, None),
    ],
)
def test_a_name_is_guessed_only_when_it_is_near(
    word: str, names: list[str], meant: str | None
) -> None:
    assert nearest_name(word, names) == meant


def test_a_jobs_id_in_the_place_of_weights_is_told_how_they_become_a_data_set() -> None:
    job = "job_" + "0" * 26
    model = {"kind": "linear", "initial_weights": job}
    (found,) = mistakes({**GOOD, "problem": {**GOOD["problem"], "model": model}})
    assert found.param == "problem.model.initial_weights"
    for words in (job, "GET /v1/jobs/{id}/model", "application/x-safetensors"):
        assert words in found.message


def test_another_word_is_refused_without_a_guess() -> None:
    inline = {"kind": "inline", "texts": ["a", "b"], "features": [[1.0]], "targets": [1.0]}
    found = mistakes({**GOOD, "problem": {**GOOD["problem"], "data": inline}})
    (texts,) = [each for each in found if each.param == "problem.data.texts"]
    assert texts.code == "unknown_field"
    assert texts.message.startswith("problem.data.texts is not a field of inline; its fields: ")


def test_fields_are_listed_by_the_names_that_a_body_has() -> None:
    body = json.dumps({"from": "job_00000000000000000000000000", "seed": 3}).encode()
    with pytest.raises(InvalidInputError) as refused:
        parse_clone(JobClone, body)
    (seed,) = refused.value.errors
    assert seed.message == "seed is not a field of this call; its fields: patch, name, note, from"


def _parts(annotation: Any) -> Iterator[tuple[type[Spec], int]]:
    """Find the models that a field takes, each with the number of lists around it."""
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        yield annotation, 0
    for inner in get_args(annotation):
        deeper = int(get_origin(annotation) is tuple)
        yield from ((model, depth + deeper) for model, depth in _parts(inner))


Step = tuple[str, int, dict[str, str]]
"""A field on the way into a spec: its name, the number of lists around the object that it takes,
and the object's kind."""


def _bodies() -> Iterator[tuple[str, str, type[Spec], dict[str, Any]]]:
    """Find every place where a job's spec has an object of its own: the field, the path of a name
    that the object does not have, the object's model, and a body with that name (and little
    else)."""
    waiting: list[tuple[type[Spec], list[Step]]] = [(JobSpec, [])]
    seen: set[tuple[str, type[Spec]]] = set()
    while waiting:
        owner, way = waiting.pop(0)
        for name in fields_shown(owner):
            for model, depth in _parts(owner.model_fields[name].annotation):
                if (name, model) in seen:
                    continue
                seen.add((name, model))
                tag = tag_of(name)
                kind = {tag: kind_of(model, tag)} if tag in model.model_fields else {}
                steps = [*way, (name, depth, kind)]
                waiting.append((model, steps))
                places = [".".join([part, *["0"] * lists]) for part, lists, _ in steps]
                yield name, ".".join([*places, "colour"]), model, _body(steps)


def _body(steps: list[Step]) -> dict[str, Any]:
    body: dict[str, Any] = {"colour": 1}
    for name, depth, kind in reversed(steps):
        value: Any = {**kind, **body}
        for _ in range(depth):
            value = [value]
        body = {name: value}
    return body


BODIES = list(_bodies())


@pytest.mark.parametrize(("field", "param", "model", "body"), BODIES)
def test_an_unknown_field_is_answered_with_those_that_its_object_has(
    field: str, param: str, model: type[Spec], body: dict[str, Any]
) -> None:
    (mistake,) = [each for each in mistakes(body) if each.code == "unknown_field"]
    assert mistake.param == param
    fields = [name for name in fields_shown(model) if name != tag_of(field)]
    assert mistake.message.endswith(f"its fields: {', '.join(fields) or 'none'}")


def test_every_kind_of_object_is_among_them() -> None:
    models = {model for _, _, model, _ in BODIES}
    of_studies = {"strategy", "metric", "stopper"}
    for field in UNIONS.keys() - of_studies:
        assert set(members(field).values()) <= models, field
    assert {model for field, model in PLAIN.items() if field not in of_studies} <= models


def test_long_names_are_cut_too() -> None:
    (mistake,) = mistakes({**GOOD, "x" * 100_000: 1})
    assert len(mistake.param) == 80
    assert len(mistake.message) < 500


def test_long_values_are_cut_in_messages() -> None:
    (mistake,) = mistakes({**GOOD, "device": "x" * 10_000})
    assert len(mistake.message) < 300


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"seed": 1, "seed": 2}', "seed"),
        (b'{"optimizer": {"kind": "sgd", "lr": 1, "lr": 2}}', "lr"),
    ],
)
def test_a_name_that_stands_twice_is_refused(body: bytes, param: str) -> None:
    assert (param, "duplicate_field") in found(body)


def test_a_name_that_stands_twice_is_found_in_a_large_body_too() -> None:
    rows = [[float(i), 0.5] for i in range(20_000)]
    text = json.dumps(with_inline(rows, [i % 2 for i in range(20_000)]))
    body = text.replace('"lr": 0.01', '"lr": 0.01, "lr": 0.02').encode()
    assert found(body) == {("lr", "duplicate_field")}


def test_beyond_a_hundred_mistakes_only_their_number_is_told() -> None:
    errors = mistakes({**GOOD, **{f"field{i}": i for i in range(150)}})
    assert len(errors) == MAX_ERRORS + 1
    assert errors[-1].code == "more_errors"
    assert "50 more" in errors[-1].message


def test_a_million_bad_numbers_cost_no_more_than_reading_them() -> None:
    features = "[" + ",".join(["[true]"] * 300_000) + "]"
    body = json.dumps(with_inline([[0]], [0, 1])).replace("[[0]]", features).encode()
    began = time.process_time()
    errors = mistakes(body)
    assert time.process_time() - began < 5
    assert errors[0].param == "problem.data.features.0.0"
    assert errors[1].param == "problem.data.features.1.0"
    assert len(errors) == MAX_ERRORS + 1


def test_a_body_of_absurdly_many_objects_is_refused_before_it_is_read() -> None:
    body = b'{"a": [' + b",".join([b"{}"] * 100_000) + b"]}"
    assert found(body) == {("", "too_many_fields")}


@pytest.mark.parametrize("field", ["problem", "optimizer", "schedule", "gradient_clip"])
@pytest.mark.parametrize("given", [None, True, 3, 0.5, [], [1], {}, {"a": None}, "", "None"])
def test_a_kind_that_is_no_name_is_shown_as_it_was_given(field: str, given: Any) -> None:
    (mistake,) = mistakes({**GOOD, field: {"kind": given}})
    assert (mistake.param, mistake.code) == (f"{field}.kind", "unknown_kind")
    assert mistake.message.startswith(f"{field}.kind: {json.dumps(given)} is no ")
