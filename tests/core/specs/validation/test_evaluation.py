"""What is evaluated: metrics that suit the targets, and the words for those that do not."""

import json
from typing import Any

import pytest

from core.errors import FieldError, InvalidInputError
from core.specs.catalog import entries
from core.specs.job import JobSpec
from core.specs.losses import METRICS
from core.specs.parsing.job import parse_job
from core.specs.sizes.cost import estimate
from core.specs.sizes.extent import history_widths
from core.specs.sizes.fusing import bytes_per_run
from core.specs.studies.parse import parse_study
from core.specs.studies.runs import configurations, run_spec
from core.specs.validation.limits import Limits

Json = dict[str, Any]

IRIS: Json = {"kind": "builtin", "name": "iris"}
DIABETES: Json = {"kind": "builtin", "name": "diabetes"}
TWO: Json = {"kind": "builtin", "name": "breast_cancer"}
BINARY: Json = {"kind": "binary_cross_entropy"}


def body(data: Json, metrics: Any = ..., loss: Json | None = None, **rest: Any) -> Json:
    problem = {"kind": "supervised", "data": data, "model": {"kind": "linear"}}
    record = {} if metrics is ... else {"record": {"metrics": metrics}}
    own = {} if loss is None else {"loss": loss}
    return {"problem": {**problem, **own}, "optimizer": {"kind": "sgd"}, **record, **rest}


def parsed(asked: Json) -> JobSpec:
    spec = parse_job(json.dumps(asked).encode(), Limits())
    assert parse_job(spec.model_dump_json().encode(), Limits()) == spec
    return spec


def metrics_of(asked: Json) -> Any:
    return parsed(asked).model_dump(mode="json")["record"]["metrics"]


def mistake(asked: Json) -> FieldError:
    with pytest.raises(InvalidInputError) as caught:
        parsed(asked)
    (found,) = caught.value.errors
    return found


def test_the_default_suits_the_targets() -> None:
    assert metrics_of(body(IRIS)) == ["accuracy"]
    assert metrics_of(body(TWO, loss=BINARY)) == ["accuracy"]
    assert metrics_of(body(DIABETES)) == ["rmse"]
    function = {"kind": "function", "function": {"kind": "sphere"}}
    assert metrics_of({"problem": function, "optimizer": {"kind": "sgd"}}) == []


def test_what_was_stored_before_there_was_a_choice_has_the_columns_of_then() -> None:
    assert metrics_of(body(DIABETES, None)) is None
    assert history_widths(parsed(body(DIABETES, None)))["eval"] == {"loss": 1, "mae": 1}
    assert history_widths(parsed(body(IRIS, None)))["eval"] == {"loss": 1, "accuracy": 1}


def test_options_are_written_out_and_names_stay_names() -> None:
    found = metrics_of(body(IRIS, [{"kind": "f1"}, "top_k"]))

    assert found == ["f1", {"kind": "top_k", "k": 2}]


def test_outputs_that_are_kept_take_memory() -> None:
    plain, ranked = (parsed(body(IRIS, [name])) for name in ("accuracy", "auroc"))

    kept = estimate(ranked).memory_bytes - estimate(plain).memory_bytes
    assert kept == 30 * 3 * (4 + 8)
    assert bytes_per_run(ranked) - bytes_per_run(plain) == 30 * 3 * 4


def test_a_confusion_matrix_is_no_series() -> None:
    spec = parsed(body(IRIS, ["confusion_matrix", "auroc"]))

    assert history_widths(spec)["eval"] == {"loss": 1, "auroc": 1}


@pytest.mark.parametrize("name", sorted(METRICS))
def test_each_metric_is_taken_for_the_losses_that_the_catalogue_names_and_no_other(
    name: str,
) -> None:
    listed = next(entry for entry in entries("metrics") if entry["kind"] == name)["losses"]
    data = {"cross_entropy": IRIS, "multi_margin": IRIS, "binary_cross_entropy": TWO}
    for entry in entries("losses"):
        loss = {**entry["schema"]["examples"][0]}
        asked = body(data.get(entry["kind"], DIABETES), [name], loss)
        if entry["kind"] in listed:
            assert name in json.dumps(metrics_of(asked))
        else:
            found = mistake(asked)
            assert (found.param, found.code) == ("record.metrics.0", "metric_does_not_fit")
            assert f"record.metrics.0: {name} " in found.message or "perplexity" in found.message
            assert "accuracy" in found.message or "rmse" in found.message


@pytest.mark.parametrize(
    ("asked", "param", "code"),
    [
        (["f1", "auroc", "f1"], "record.metrics.2", "duplicate"),
        ([{"kind": "top_k", "k": 3}], "record.metrics.0.k", "less_than"),
        ([{"kind": "top_k", "k": 1.5}], "record.metrics.0.k", "int_type"),
        ([{"kind": "top_k", "k": -1}], "record.metrics.0.k", "greater_than"),
        ([{"kind": "f1", "average": "micro"}], "record.metrics.0.average", "unknown_field"),
        (["f2"], "record.metrics.0.kind", "unknown_kind"),
        ([7], "record.metrics.0", "object_type"),
        ("f1", "record.metrics", "list_type"),
    ],
)
def test_a_wrong_metric_is_named(asked: Any, param: str, code: str) -> None:
    found = mistake(body(IRIS, asked))

    assert (found.param, found.code) == (param, code)


def test_a_second_top_k_is_told_where_to_go() -> None:
    asked = [{"kind": "top_k", "k": 2}, {"kind": "top_k", "k": 1}]
    found = mistake(body(IRIS, asked))
    assert found.param == "record.metrics.1"
    assert "with k 2, and a job has one number eval.top_k" in found.message
    assert "evaluate k 1 in another job" in found.message
    assert "name each metric once" in mistake(body(IRIS, asked[:1] * 2)).message


def test_a_function_has_nothing_to_evaluate() -> None:
    function = {"kind": "function", "function": {"kind": "sphere"}}
    asked = {"problem": function, "optimizer": {"kind": "sgd"}, "record": {"metrics": ["mae"]}}

    assert mistake(asked).param == "record.metrics"


def study(base: Json, name: str, sweep: Json | None = None) -> Json:
    lr = {"optimizer.lr": {"values": [0.1, 0.2]}}
    return {"base": base, "sweep": sweep or lr, "metric": {"name": name}}


@pytest.mark.parametrize(
    "sweep",
    [None, {"record.eval_every": {"values": [10, 20]}}, {"seed": {"values": [1, 2]}}],
    ids=["rate", "record", "seed"],
)
@pytest.mark.parametrize(
    ("base", "name", "goal", "columns"),
    [
        (body(IRIS), "eval.f1", "max", ["loss", "accuracy", "f1"]),
        (body(DIABETES), "eval.mae", "min", ["loss", "rmse", "mae"]),
        (body(DIABETES, ["r2"]), "eval.r2", "max", ["loss", "r2"]),
        (body(IRIS, []), "eval.perplexity", "min", ["loss", "perplexity"]),
        (body(IRIS, [{"kind": "top_k", "k": 1}]), "eval.top_k", "max", ["loss", "top_k"]),
    ],
)
def test_a_study_has_its_metric_evaluated(
    sweep: Json | None, base: Json, name: str, goal: str, columns: list[str]
) -> None:
    found = parse_study(json.dumps(study(base, name, sweep)).encode(), Limits()).spec

    assert found["metric"]["goal"] == goal
    for params in configurations(found):
        assert list(history_widths(run_spec(found, params, 0))["eval"]) == columns


@pytest.mark.parametrize(
    ("base", "name"),
    [
        (body(IRIS), "eval.rmse"),
        (body(DIABETES), "eval.f1"),
        (body(IRIS), "eval.confusion_matrix"),
        (body(IRIS), "eval.nothing"),
        (body({**IRIS, "eval_fraction": 0.0}), "eval.f1"),
        (
            {
                "problem": {"kind": "function", "function": {"kind": "sphere"}},
                "optimizer": {"kind": "sgd", "lr": 0.1},
            },
            "eval.mae",
        ),
    ],
    ids=["values", "classes", "matrix", "unknown", "no-rows", "function"],
)
def test_a_study_by_a_metric_that_its_runs_cannot_have_is_refused(base: Json, name: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_study(json.dumps(study(base, name)).encode(), Limits())

    (found,) = caught.value.errors
    assert (found.param, found.code) == ("metric.name", "unknown_metric")
    assert name in found.message


STOPS: list[tuple[Json, Json, str, str]] = [
    (IRIS, {"target": 0.9}, "stop.target", "conflict"),
    (IRIS, {"metric": "eval.f1", "target_loss": 0.1}, "stop.target_loss", "conflict"),
    (IRIS, {"metric": "f1"}, "stop.metric", "unknown_metric"),
    (IRIS, {"metric": "loss"}, "stop.metric", "unknown_metric"),
    (IRIS, {"metric": "eval.confusion_matrix"}, "stop.metric", "unknown_metric"),
    (IRIS, {"metric": "eval.nothing"}, "stop.metric", "unknown_metric"),
    (IRIS, {"metric": "eval.rmse"}, "stop.metric", "metric_does_not_fit"),
    (DIABETES, {"metric": "eval.accuracy"}, "stop.metric", "metric_does_not_fit"),
    ({**IRIS, "eval_fraction": 0.0}, {"metric": "eval.f1"}, "stop.metric", "no_evaluation_rows"),
    (IRIS, {"metric": 3}, "stop.metric", "string_type"),
    (IRIS, {"metric": "eval.f1", "target": "high"}, "stop.target", "float_type"),
]


@pytest.mark.parametrize(
    ("data", "stop", "param", "code"),
    STOPS,
    ids=[f"{number}-{param}-{code}" for number, (_, _, param, code) in enumerate(STOPS)],
)
def test_a_stop_without_something_to_look_at_is_refused(
    data: Json, stop: Json, param: str, code: str
) -> None:
    found = mistake(body(data, stop=stop))

    assert (found.param, found.code) == (param, code)


def test_a_run_that_is_evaluated_at_its_end_alone_cannot_stop_by_it() -> None:
    asked = body(IRIS, stop={"metric": "eval.f1", "patience": 2}, record={"eval_every": None})

    assert mistake(asked).param == "record.eval_every"
    assert parsed({**asked, "stop": {"metric": "eval.f1"}}).stop.metric == "eval.f1"


def test_a_function_stops_by_its_value_alone() -> None:
    function = {"kind": "function", "function": {"kind": "sphere"}}
    stop = {"metric": "eval.loss", "target": 0.1}
    asked = {"problem": function, "optimizer": {"kind": "sgd"}, "stop": stop}

    assert (mistake(asked).param, mistake(asked).code) == ("stop.metric", "conflict")


@pytest.mark.parametrize(
    ("data", "name", "metrics"),
    [
        (IRIS, "eval.auroc", ["accuracy", "auroc"]),
        (IRIS, "eval.accuracy", ["accuracy"]),
        (IRIS, "eval.top_k", ["accuracy", {"kind": "top_k", "k": 2}]),
        (DIABETES, "eval.loss", ["rmse"]),
        (DIABETES, "eval.r2", ["rmse", "r2"]),
    ],
)
def test_what_a_run_stops_by_is_evaluated(data: Json, name: str, metrics: list[Any]) -> None:
    spec = parsed(body(data, stop={"metric": name, "patience": 2}))

    assert spec.model_dump(mode="json")["record"]["metrics"] == metrics


def test_runs_of_a_study_have_what_each_stops_by() -> None:
    names = ["eval.f1", "eval.auroc"]
    asked = study(body(IRIS), "eval.f1", {"stop.metric": {"values": names}})
    found = parse_study(json.dumps(asked).encode(), Limits()).spec

    columns = [
        list(history_widths(run_spec(found, params, 0))["eval"]) for params in configurations(found)
    ]
    assert columns == [["loss", "accuracy", "f1"], ["loss", "accuracy", "f1", "auroc"]]
