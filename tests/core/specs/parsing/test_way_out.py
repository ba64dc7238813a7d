"""A mistake is answered with what to write instead, and what is written so is taken."""

import copy
import json
from typing import Any

import pytest

from core.errors import FieldError, InvalidInputError
from core.specs.examples import minimal_example
from core.specs.job import JobSpec
from core.specs.parsing.job import parse_job
from core.specs.parsing.way_out import DATA_SETS, in_full
from core.specs.studies.parse import parse_study
from core.specs.unions import UNIONS, members, tag_of
from core.specs.validation.limits import Limits
from tests.core.specs.example_uploads import EXAMPLE_UPLOADS

Json = dict[str, Any]

BLOBS = {"kind": "synthetic", "generator": {"kind": "blobs"}}
PLACES: dict[str, tuple[str, str]] = {
    "problem": ("problem", "optimizers"),
    "data": ("problem.data", "optimizers"),
    "generator": ("problem.data.generator", "datasets"),
    "order": ("problem.data.order", "optimizers"),
    "split": ("problem.data.split", "optimizers"),
    "augment": ("problem.data.augment.0", "models"),
    "model": ("problem.model", "optimizers"),
    "norm": ("problem.model.norm", "optimizers"),
    "init": ("problem.model.init", "optimizers"),
    "loss": ("problem.loss", "losses"),
    "metrics": ("record.metrics.0", "metrics"),
    "function": ("problem.function", "functions"),
    "optimizer": ("optimizer", "optimizers"),
    "wrap": ("optimizer.wrap.0", "optimizers"),
    "schedule": ("schedule", "optimizers"),
    "then": ("schedule.then", "schedules"),
    "schedules": ("schedule.schedules.1", "schedules"),
    "gradient_clip": ("gradient_clip", "optimizers"),
    "on_divergence": ("on_divergence", "optimizers"),
    "layers": ("problem.model.layers.0", "layers"),
    "shortcut": ("problem.model.layers.1.shortcut.0", "layers"),
    "branches": ("problem.model.layers.1.branches.0.0", "layers"),
    "tokenizer": ("problem.tokenizer", "datasets"),
    "strategy": ("strategy", "studies"),
}
"""Where a union stands, and of which family an example is that it may stand in."""

BASES = {
    "generator": "moons",
    "augment": "cnn",
    "tokenizer": "text",
    "then": "warmup",
    "schedules": "sequential",
    "function": "sphere",
    "layers": "tanh",
    "shortcut": "residual",
    "branches": "branches",
}
KINDS = [(field, kind) for field in UNIONS for kind in members(field)]


def body_for(field: str, kind: str) -> Json:
    """A good job, or study, in which this kind may stand."""
    family = PLACES[field][1]
    if family == "studies":
        sweep = {"optimizer.lr": {"log": [0.001, 1], "count": 3}}
        return {"base": minimal_example("optimizers", "sgd"), "sweep": sweep}
    example = kind if field in ("loss", "metrics") else BASES.get(field, "sgd")
    body = copy.deepcopy(minimal_example(family, example))
    if kind == "column":
        body["problem"]["data"] = minimal_example("datasets", "dataset")["problem"]["data"]
    if field == "shortcut":
        body["problem"]["model"]["layers"][1]["shortcut"] = [{"kind": "tanh"}]
    if field == "augment":
        digits = {"kind": "builtin", "name": "digits", "augment": [{"kind": "noise"}]}
        body["problem"]["data"] = digits
    if field == "wrap":
        body["optimizer"]["wrap"] = [{"kind": "ema"}]
    return body


def put(body: Json, path: str, value: Any) -> Json:
    """The body with a value at the path."""
    changed = copy.deepcopy(body)
    *way, last = path.split(".")
    inner: Any = changed
    for name in way:
        inner = inner[int(name)] if isinstance(inner, list) else inner.setdefault(name, {})
    inner[int(last) if isinstance(inner, list) else last] = value
    return changed


def mistakes(body: Json) -> list[FieldError]:
    try:
        if "base" in body:
            parse_study(json.dumps(body).encode(), Limits(), EXAMPLE_UPLOADS)
        else:
            parse_job(json.dumps(body).encode(), Limits(), EXAMPLE_UPLOADS)
    except InvalidInputError as error:
        return error.errors
    return []


def the_mistake(body: Json) -> FieldError:
    (found,) = mistakes(body)
    return found


def advice(mistake: FieldError) -> Any:
    """What the message says to write."""
    _, said, rest = mistake.message.partition("write ")
    assert said, mistake.message
    return json.JSONDecoder().raw_decode(rest)[0]


def test_every_union_has_a_place_in_these_tests() -> None:
    assert PLACES.keys() == UNIONS.keys()


@pytest.mark.parametrize(("field", "kind"), KINDS)
def test_a_kind_by_its_name_alone_is_written_in_full(field: str, kind: str) -> None:
    path, body = PLACES[field][0], body_for(field, kind)
    if field in ("norm", "metrics"):  # the unions that take their kinds' names
        assert mistakes(put(body, path, kind)) == []
        return
    for given in (kind, kind.upper(), f"{kind[:3]}{kind[2:]}"):
        mistake = the_mistake(put(body, path, given))
        assert (mistake.param, mistake.code) == (path, "object_type")
        assert json.dumps(given) in mistake.message
        meant = advice(mistake)
        assert meant[tag_of(field)] == kind
        expression = kind == "expression"
        better = put(body, path, meant)
        if expression:
            better["problem"]["start"] = {"x1": 1, "x2": 1}
        assert_in_place(better)


def assert_in_place(body: Json) -> None:
    """Nothing is wrong with it but, of layers and data, that they may not fit the others."""
    codes = {mistake.code for mistake in mistakes(body)}
    assert codes <= {"shapes_do_not_meet", "unknown_layer", "no_tokens", "data_does_not_fit"}


@pytest.mark.parametrize("field", [field for field in UNIONS if field not in ("norm", "metrics")])
@pytest.mark.parametrize("given", [0.5, True, [], ["a"], "no such thing"])
def test_what_is_no_kind_at_all_is_answered_with_an_example(field: str, given: Any) -> None:
    path, body = PLACES[field][0], body_for(field, next(iter(members(field))))
    mistake = the_mistake(put(body, path, given))
    assert (mistake.param, mistake.code) == (path, "object_type")
    _, said, rest = mistake.message.partition("{")
    assert said, mistake.message
    example = json.JSONDecoder().raw_decode(said + rest)[0]
    assert_in_place(put(body, path, example))


@pytest.mark.parametrize("name", [*DATA_SETS, *members("generator")])
@pytest.mark.parametrize("path", ["problem.data", "problem"])
def test_a_data_set_is_led_to_its_place(name: str, path: str) -> None:
    body = minimal_example("optimizers", "sgd")
    for given in (name, {"kind": name}, {"type": name}, {"name": name}):
        mistake = the_mistake(put(body, path, given))
        better = put(body, path, advice(mistake))
        assert mistakes(better) == []
        data = better["problem"]["data"]
        assert name in (data.get("name"), data.get("generator", {}).get("kind"))


def test_fields_beside_a_wrong_kind_keep_their_meaning() -> None:
    body = minimal_example("optimizers", "sgd")
    given = {"kind": "moons", "noise": 0.3, "eval_fraction": 0.5}
    meant = advice(the_mistake(put(body, "problem.data", given)))
    generator = {"kind": "moons", "noise": 0.3}
    assert meant == {"kind": "synthetic", "generator": generator, "eval_fraction": 0.5}


@pytest.mark.parametrize("name", members("generator"))
def test_a_generator_is_no_builtin_data_set(name: str) -> None:
    body = minimal_example("optimizers", "sgd")
    mistake = the_mistake(put(body, "problem.data.name", name))
    assert mistake.param == "problem.data.name"
    assert mistakes(put(body, "problem.data", advice(mistake))) == []


@pytest.mark.parametrize("name", members("function"))
def test_a_function_is_led_to_its_place(name: str) -> None:
    body = minimal_example("functions", "sphere")
    for given in (name, {"kind": name}):
        better = put(body, "problem", advice(the_mistake(put(body, "problem", given))))
        if name == "expression":
            better["problem"]["start"] = {"x1": 1, "x2": 1}
        assert mistakes(better) == []


def test_a_formula_is_an_expression() -> None:
    body = put(minimal_example("functions", "sphere"), "problem.start", {"x": 2})
    mistake = the_mistake(put(body, "problem.function", "(x - 1)**2"))
    assert mistakes(put(body, "problem.function", advice(mistake))) == []


@pytest.mark.parametrize(
    ("path", "given", "meant"),
    [
        ("gradient_clip", 1, {"kind": "norm", "max_norm": 1}),
        ("gradient_clip", 0.5, {"kind": "norm", "max_norm": 0.5}),
        ("budget", 100, {"max_steps": 100}),
        ("budget", 100.0, {"max_steps": 100}),
        ("record", 10, {"every": 10}),
        ("checkpoint", 50, {"every_steps": 50}),
        ("problem.model.activation", {"kind": "relu"}, "relu"),
    ],
)
def test_a_bare_number_or_word_is_written_in_full(path: str, given: Any, meant: Any) -> None:
    body = minimal_example("optimizers", "sgd")
    mistake = the_mistake(put(body, path, given))
    assert mistake.param == path
    assert advice(mistake) == meant
    assert mistakes(put(body, path, meant)) == []


@pytest.mark.parametrize(
    ("path", "given", "says"),
    [
        ("labels", ["a"], 'such as {"team": "vision"}'),
        ("labels", "vision", 'such as {"team": "vision"}'),
        ("budget", -1, "with the fields max_steps, max_epochs, max_seconds"),
        ("budget", 0.5, "with the fields max_steps"),
        ("stop", 0.1, "with the fields target_loss"),
        ("optimizer.kind", "cosine", "it has its place in schedule"),
        ("optimizer.kind", "relu", "it has its place in problem.model.activation"),
        ("schedule", {"kind": "adam"}, "it has its place in optimizer"),
        ("problem.model.activation", "Relu", "did you mean relu?"),
        ("lr", 0.1, "it is written as optimizer.lr"),
        ("learning_rate", 0.1, "it is written as optimizer.lr"),
        ("epochs", 3, "it is written as budget.max_epochs"),
        ("max_steps", 3, "it is written as budget.max_steps"),
        ("model", {}, "it is written as problem.model"),
        ("loss", "mse", "it is written as problem.loss"),
        ("hidden", [8], "it is written as problem.model.hidden"),
        ("grad_clip", 1, "it is written as gradient_clip"),
        ("patience", 3, "it is written as stop.patience"),
        ("standardize", True, "it is written as problem.data.standardize"),
    ],
)
def test_what_stands_elsewhere_is_led_there(path: str, given: Any, says: str) -> None:
    mistake = the_mistake(put(minimal_example("optimizers", "sgd"), path, given))
    assert says in mistake.message


def test_every_place_that_is_named_is_one() -> None:
    """Of fields: written there, it is a field, if not one with this value."""
    body = minimal_example("optimizers", "sgd")
    for name in ("lr", "momentum", "max_steps", "every", "dropout", "order", "start", "bounds"):
        message = the_mistake({**body, name: None}).message
        path = message.partition("it is written as ")[2].partition(";")[0]
        found = mistakes(put(body, path, None))
        fits_others = {"start", "bounds"}  # of a function: this is a supervised problem
        assert name in fits_others or "unknown_field" not in {each.code for each in found}


@pytest.mark.parametrize("given", [[1], "optimizer.lr", 5])
@pytest.mark.parametrize("name", ["sweep", "base"])
def test_what_a_study_is_made_of_is_shown(name: str, given: Any) -> None:
    found = mistakes({**body_for("strategy", "grid"), name: given})
    (mistake,) = [each for each in found if each.param == name]
    assert 'such as {"' in mistake.message


def test_fields_of_a_study_are_led_to_their_places() -> None:
    study = body_for("strategy", "grid")
    for name, path in (("stopper", "strategy.stopper"), ("num_runs", "strategy.num_runs"),
                       ("n_trials", "strategy.num_runs"), ("goal", "metric.goal"),
                       ("optimizer", "base.optimizer"), ("seed", "strategy.seed"),
                       ("device", "base.device"),
                       ("max_steps", "base.budget.max_steps")):  # fmt: skip
        assert f"it is written as {path};" in the_mistake({**study, name: 3}).message


def test_a_wrong_object_that_is_huge_or_deep_is_answered_shortly() -> None:
    body = minimal_example("optimizers", "sgd")
    deep: Any = []
    for _ in range(150):
        deep = [deep]
    for rest in ({"features": [[0.5] * 10] * 10_000}, {"noise": deep}, {"x" * 50_000: 1}):
        mistake = the_mistake(put(body, "problem.data", {"kind": "moons", **rest}))
        assert len(mistake.message) < 600
    assert len(the_mistake(put(body, "problem", "x+" * 10_000)).message) < 600


@pytest.mark.parametrize(
    "strategy",
    [
        "random",
        None,
        3,
        {},
        {"num_runs": 4},
        {"kind": "bayes", "num_runs": 4},
        {"kind": "randm", "num_runs": 4},
        {"kind": "random"},
        {"kind": "random", "num_runs": 0},
        {"kind": "tpe", "num_runs": 4, "seed": -1},
        {"kind": "grid", "stopper": "halving"},
    ],
)
@pytest.mark.parametrize(
    "sweep",
    [
        {"optimizer.lr": {"log": [0.001, 1]}},
        {"optimizer.lr": {"log": [0.001, 1], "count": 200_000}},
        {"optimizer.lr": {"values": [k / 2000 for k in range(1, 2000)]}},
    ],
)
def test_nothing_is_said_of_a_strategy_that_nobody_chose(strategy: Any, sweep: Json) -> None:
    study = {"base": minimal_example("optimizers", "sgd"), "sweep": sweep, "strategy": strategy}
    assert the_mistake(study).param.startswith("strategy")
    wrong = {**study, "sweep": {**sweep, "batch_size": {"values": [8, -1]}}, "repeats": 0}
    params = {mistake.param for mistake in mistakes(wrong)}
    assert {each.partition(".")[0] for each in params} == {"strategy", "sweep", "repeats"}
    assert "sweep.batch_size" in params
    assert not any(each.startswith("sweep.optimizer.lr") or each == "sweep" for each in params)


@pytest.mark.parametrize("optimizer", ["adam", {"kind": "adamm"}, {"kind": "adam", "lr": -1}, None])
@pytest.mark.parametrize("schedule", ["one_cycle", "cyclic"])
def test_nothing_is_said_of_an_optimizer_that_nobody_chose(optimizer: Any, schedule: str) -> None:
    body = minimal_example("schedules", schedule)
    body["schedule"] |= {"max_momentum": 1.0, "cycle_momentum": True}
    assert the_mistake({**body, "optimizer": optimizer}).param.startswith("optimizer")


def test_the_forms_in_full_are_complete() -> None:
    for field, kind in KINDS:
        own = members(field)[kind].model_fields
        assert in_full(field, kind).keys() >= {n for n, f in own.items() if f.is_required()}
    assert JobSpec.model_fields  # the places above are of this model
