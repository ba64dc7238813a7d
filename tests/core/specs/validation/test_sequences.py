"""What cannot be learned of texts, series and sequences is refused: the field, the value, the way
out."""

import json
from dataclasses import replace
from typing import Any, Final

import pytest

from core.errors import FieldError, InvalidInputError
from core.specs.data import Inline
from core.specs.job import Forecast, JobSpec
from core.specs.parsing.job import parse_job
from core.specs.sizes.extent import extent_of
from core.specs.sizes.uploads import UploadFacts
from core.specs.studies.parse import parse_study
from core.specs.studies.runs import resolved_configurations
from core.specs.unions import members
from core.specs.validation.limits import Limits
from tests.core.specs.example_uploads import EXAMPLE_UPLOADS, column, table

Json = dict[str, Any]
(ID,) = EXAMPLE_UPLOADS
TABLE: Final = EXAMPLE_UPLOADS[ID]
TEXT: Final = UploadFacts("ready", "text", "file_1", 3, (), 500, 20, 510)
ENOUGH: Final = "ab c" * 100


INLINE: Final[Json] = {"kind": "inline", "targets": [n / 2 for n in range(50)]}


def body(problem: Json, **rest: Any) -> Json:
    return {"problem": problem, "optimizer": {"kind": "adam"}, **rest}


def parsed(problem: Json, facts: UploadFacts = TABLE, **rest: Any) -> JobSpec:
    return parse_job(json.dumps(body(problem, **rest)).encode(), Limits(), {ID: facts})


def mistakes(problem: Json, facts: UploadFacts = TABLE, **rest: Any) -> list[FieldError]:
    with pytest.raises(InvalidInputError) as refused:
        parsed(problem, facts, **rest)
    return refused.value.errors


def language(text: str = ENOUGH, **rest: Any) -> Json:
    return {
        "kind": "language_model",
        "data": {"kind": "text", "text": text, **rest.pop("data", {})},
        "model": {"kind": "gru", **rest.pop("model", {})},
        **rest,
    }


def forecast(length: int = 100, **rest: Any) -> Json:
    return {
        "kind": "forecast",
        "data": {
            "kind": "inline",
            "features": [[float(n)] for n in range(length)],
            "targets": [n / 2 for n in range(length)],
            **rest.pop("data", {}),
        },
        "model": {"kind": "gru", **rest.pop("model", {})},
        **rest,
    }


def rows(**model: Any) -> Json:
    data = {"kind": "builtin", "name": "digits"}
    return {"kind": "supervised", "data": data, "model": {"kind": "transformer", **model}}


OTHER_SPLITS: Final[list[Json]] = [
    {"kind": "fraction", "eval": 0.2},
    {"kind": "folds", "num": 3},
    {"kind": "column", "name": "rooms", "eval": [0]},
]
REFUSED: Final[list[tuple[Json, str, str, str]]] = [
    # (problem, field, code, words of the way out)
    (language("abcd" * 10, context=40), "problem.context", "too_long", "give 31 or less"),
    (language("ab", context=5), "problem.context", "too_long", "give 1 or less"),
    (language(context=200, data={"split": {"kind": "tail", "eval": 0.1}}),
     "problem.data.split.eval", "no_eval_rows", "hold out more, or 0"),
    (language(tokenizer={"kind": "byte_pair", "vocabulary_size": 256}),
     "problem.tokenizer.vocabulary_size", "greater_than", "256"),
    (language(tokenizer={"kind": "byte_pair", "vocabulary_size": 10**6}),
     "problem.tokenizer.vocabulary_size", "less_than_equal", "65,536"),
    (language(loss={"kind": "mse"}), "problem.loss", "loss_does_not_fit", "use cross_entropy"),
    (language(loss={"kind": "cross_entropy", "class_weights": "balanced"}),
     "problem.loss.class_weights", "conflict", "leave it out"),
    (language(data={"standardize": True}), "problem.data.standardize", "no_values", "leave it out"),
    (language(data={"scale_targets": True}), "problem.data.scale_targets", "no_values",
     "leave it out"),
    (language(data={"split_seed": 3}), "problem.data.split_seed", "conflict", "leave it out"),
    (language(tokens=[1, 2, 3]), "problem.tokens", "unknown_field", "not a field"),
    (language(model={"bidirectional": True}), "problem.model.bidirectional", "looks_ahead",
     "leave it out"),
    (language(model={"pooling": "last"}), "problem.model.pooling", "conflict", "leave it out"),
    (language(model={"length": 4}), "problem.model.length", "conflict", "leave it out"),
    (language(model={"kind": "transformer", "causal": False}), "problem.model.causal",
     "looks_ahead", "leave it out"),
    (language(model={"kind": "mlp"}), "problem.model.kind", "model_does_not_fit", "transformer"),
    (language(model={"kind": "linear"}), "problem.model.kind", "model_does_not_fit", "gru"),
    (language(model={"kind": "transformer", "num_heads": 5}), "problem.model.num_heads",
     "shapes_do_not_meet", "such as 4"),
    (forecast(window=90, horizon=5), "problem.window", "too_long", "a window of 75 or less"),
    (forecast(window=10, horizon=90), "problem.horizon", "too_long", "a horizon of 70 or less"),
    (forecast(window=90, horizon=90), "problem.window", "too_long", "shorter ones"),
    (forecast(window=5, horizon=30, data={"eval_fraction": 0.2}),
     "problem.data.split.eval", "no_eval_rows", "shorter horizon"),
    (forecast(loss={"kind": "cross_entropy"}), "problem.loss", "loss_does_not_fit", "mse"),
    (forecast(window=8, model={"length": 4}), "problem.model.length", "conflict", "leave it out"),
    (language(model={"dropout": 0.1}), "problem.model.dropout", "no_effect", "more layers"),
    (rows(kind="lstm", dropout=0.1), "problem.model.dropout", "no_effect", "leave it out"),
    (forecast(data={"targets": None}), "problem.data.targets", "missing", "required"),
    (rows(num_heads=3), "problem.model.num_heads", "shapes_do_not_meet", "such as 2"),
    (rows(num_heads=100), "problem.model.num_heads", "shapes_do_not_meet", "such as 64"),
    (rows(dim=6, num_heads=2, positions="rotary"), "problem.model.num_heads",
     "shapes_do_not_meet", "learned positions"),
    (rows(length=7), "problem.model.length", "shapes_do_not_meet", "such as 4"),
    (rows(length=100), "problem.model.length", "shapes_do_not_meet", "such as 64"),
    *((language(data={"split": each}), "problem.data.split.kind", "split_does_not_fit", '"tail"')
      for each in OTHER_SPLITS),
    *((forecast(window=5, horizon=2, data={"split": each}), "problem.data.split.kind",
       "split_does_not_fit", '"tail"') for each in OTHER_SPLITS),
]  # fmt: skip


@pytest.mark.parametrize(("problem", "field", "code", "way_out"), REFUSED)
def test_a_mistake_has_its_field_and_a_way_out(
    problem: Json, field: str, code: str, way_out: str
) -> None:
    (found,) = mistakes(problem)
    assert (found.param, found.code) == (field, code), found.message
    assert field.rsplit(".", 1)[-1] in found.message
    assert way_out in found.message, found.message


@pytest.mark.parametrize("kind", ["builtin", "synthetic", "inline", "text"])
def test_a_problem_says_which_data_it_takes(kind: str) -> None:
    data: dict[str, Json] = {
        "builtin": {"name": "iris"},
        "synthetic": {"generator": {"kind": "moons"}},
        "inline": {"features": [[0.0]] * 100, "targets": [0.5] * 100},
        "text": {"text": ENOUGH},
    }
    takes = {"language_model": {"text"}, "forecast": {"inline"},
             "supervised": {"builtin", "synthetic", "inline"}}  # fmt: skip
    for problem, kinds in takes.items():
        given = {"kind": problem, "data": {"kind": kind, **data[kind]}, "model": {"kind": "gru"}}
        if kind in kinds:
            assert parsed(given).problem.kind == problem
        else:
            (found,) = mistakes(given)
            assert (found.param, found.code) == ("problem.data.kind", "data_does_not_fit")
            assert kind in found.message


@pytest.mark.parametrize("target", ["district", ["price", "district"]])
@pytest.mark.parametrize("loss", [None, {"kind": "huber"}])
def test_categories_are_not_forecast(target: Any, loss: Json | None) -> None:
    facts = table(column("price"), column("district", "category", categories=2))
    data = {"kind": "dataset", "id": ID, "target": target}
    problem: Json = {"kind": "forecast", "data": data, "model": {"kind": "gru"}}
    (found,) = mistakes(problem if loss is None else {**problem, "loss": loss}, facts)
    assert (found.param, found.code) == ("problem.data.target", "loss_does_not_fit")
    assert "name columns of numbers" in found.message


@pytest.mark.parametrize("kind", ["supervised", "reconstruction", "forecast"])
def test_no_features_are_enough_for_a_forecast_alone(kind: str) -> None:
    data: Json = {"kind": "dataset", "id": ID, "features": []}
    if kind != "reconstruction":
        data["target"] = "x"
    problem = {"kind": kind, "data": data, "model": {"kind": "linear"}}
    facts = replace(TABLE, columns=(column("x", "number"), column("y", "number")))
    if kind == "forecast":
        spec = parsed(problem, facts)
        again = json.loads(spec.model_dump_json())["problem"]["data"]["features"]
        assert again == []
        return
    (found,) = mistakes(problem, facts)
    assert (found.param, found.code) == ("problem.data.features", "too_short")
    assert "left out" in found.message


@pytest.mark.parametrize("kind", ["supervised", "reconstruction"])
@pytest.mark.parametrize(
    ("features", "code"), [(None, "missing"), ([], "too_short"), ([[1.0]], "too_short")]
)
def test_rows_in_the_request_need_features_but_of_a_forecast(
    kind: str, features: Any, code: str
) -> None:
    data: Json = {"kind": "inline"} if kind == "reconstruction" else {**INLINE}
    if features is not None:
        data["features"] = features
    (found,) = mistakes({"kind": kind, "data": data, "model": {"kind": "linear"}})
    assert (found.param, found.code) == ("problem.data.features", code)
    study = {"base": body({"kind": kind, "data": data, "model": {"kind": "linear"}}),
             "sweep": {"seed": {"values": [1, 2]}}}  # fmt: skip
    with pytest.raises(InvalidInputError) as refused:
        parse_study(json.dumps(study).encode(), Limits())
    assert {each.code for each in refused.value.errors} == {code}


def test_a_study_forecasts_from_targets_alone() -> None:
    problem = {"kind": "forecast", "data": INLINE, "model": {"kind": "gru"}}
    base = body({**problem, "window": 4, "horizon": 2})
    for sweep in ({"optimizer.lr": {"values": [0.1, 0.2]}}, {"problem.window": {"values": [2, 3]}}):
        study = parse_study(json.dumps({"base": base, "sweep": sweep}).encode(), Limits())
        found = [spec.problem for _, spec in resolved_configurations(study.spec)]
        assert len(found) == 2
        for each in found:
            assert isinstance(each, Forecast)
            assert isinstance(each.data, Inline)
            assert each.data.features == ()
            assert each.data.targets == tuple(INLINE["targets"])


def test_an_upload_must_be_what_the_problem_takes() -> None:
    data = {"kind": "dataset", "id": ID}
    gru = {"kind": "gru"}
    text = {"kind": "language_model", "data": data, "model": gru}
    assert extent_of(parsed(text, TEXT)).num_outputs == 21
    for problem, facts, wanted in (
        (text, TABLE, "text/plain"),
        ({"kind": "supervised", "data": {**data, "target": "x"}, "model": gru}, TEXT,
         "language_model"),
        ({"kind": "forecast", "data": {**data, "target": "x"}, "model": gru}, TEXT,
         "language_model"),
        ({"kind": "forecast", "data": {**data, "target": "x"}, "model": gru},
         replace(TABLE, kind="images"), "table or arrays"),
    ):  # fmt: skip
        (found,) = mistakes(problem, facts)
        assert (found.param, found.code) == ("problem.data.id", "wrong_kind")
        assert facts.kind in found.message
        assert wanted in found.message
    for name, value in (("target", "x"), ("features", ["x"])):
        (found,) = mistakes({**text, "data": {**data, name: value}}, TEXT)
        assert (found.param, found.code) == (f"problem.data.{name}", "no_columns")


@pytest.mark.parametrize("metric", [*members("metrics")])
def test_a_text_has_metrics_of_tokens(metric: str) -> None:
    record = {"metrics": [metric]}
    if metric in ("perplexity", "accuracy"):
        metrics = parsed(language(), record=record).record.metrics
        assert metrics is not None
        assert [each.kind for each in metrics] == [metric]
        return
    found = mistakes(language(), record=record)[0]
    assert found.param == "record.metrics.0"
    assert metric in found.message


@pytest.mark.parametrize(
    "sweep",
    [
        {"optimizer.lr": {"log": [0.001, 0.1], "count": 3}},
        {"problem.context": {"values": [4, 8]}},
        {"problem.tokenizer": {"values": [{"kind": "bytes"}, {"kind": "characters"}]}},
        {"problem.model": {"values": [{"kind": "gru"}, {"kind": "transformer", "dim": 8}]}},
    ],
    ids=lambda sweep: next(iter(sweep)),
)
def test_a_study_of_texts_is_judged_by_perplexity(sweep: Json) -> None:
    study = {"base": body(language()), "sweep": sweep, "metric": {"name": "eval.perplexity"}}
    found = resolved_configurations(parse_study(json.dumps(study).encode(), Limits()).spec)
    assert len(found) > 1
    for _, spec in found:
        metrics = spec.record.metrics
        assert metrics is not None
        assert [each.kind for each in metrics] == ["perplexity", "accuracy"]


LAYERS: Final[dict[str, tuple[list[Json], str]]] = {
    "numbers first": ([{"kind": "linear", "out_features": 4}], "layers.0"),
    "both ways": ([{"kind": "lstm", "hidden_size": 4, "bidirectional": True}],
                  "layers.1.bidirectional"),
    "attention to all": (
        [{"kind": "residual", "layers": [{"kind": "multihead_attention", "num_heads": 2}]}],
        "layers.1.layers.0.causal",
    ),
    "mixed times": ([{"kind": "transpose"}], "layers.1"),
    "a convolution": ([{"kind": "conv1d", "out_channels": 2, "kernel_size": 1}], "layers.1"),
    "a norm of the batch": ([{"kind": "batch_norm"}], "layers.1"),
    "times behind times": ([{"kind": "branches", "branches": [[], []]}], "layers.1.dim"),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers_that_would_look_ahead_are_refused(name: str) -> None:
    inner, field = LAYERS[name]
    first = [] if name == "numbers first" else [{"kind": "embedding", "embedding_dim": 4}]
    model = {"kind": "layers", "layers": [*first, *inner, {"kind": "linear"}]}
    (found,) = mistakes(language(model=model))
    assert found.param == f"problem.model.{field}"


def test_an_embedding_of_numbers_is_refused() -> None:
    model = {"kind": "layers", "layers": [
        {"kind": "embedding", "embedding_dim": 4}, {"kind": "flatten"}, {"kind": "linear"},
    ]}  # fmt: skip
    (found,) = mistakes({**rows(), "model": model})
    assert (found.param, found.code) == ("problem.model.layers.0", "no_tokens")


@pytest.mark.parametrize("problem", [language(), forecast(window=5, horizon=2)])
def test_the_end_is_held_out_and_a_resolved_spec_is_a_fixed_point(problem: Json) -> None:
    spec = parsed({**problem, "data": {**problem["data"], "eval_fraction": 0.25}})
    shown = spec.model_dump(mode="json")["problem"]["data"]
    assert shown["split"] == {"kind": "tail", "eval": 0.25, "test": 0.0}
    assert shown["eval_fraction"] is shown["split_seed"] is None
    again = parse_job(spec.model_dump_json().encode(), Limits())
    assert again == spec


def test_too_short_an_end_is_left_out_unless_it_was_asked_for() -> None:
    spec = parsed(language("abcdefgh" * 3, context=10))
    assert extent_of(spec).eval_rows == 0
    assert spec.problem.data.split.eval == 0.0  # type: ignore[union-attr]
