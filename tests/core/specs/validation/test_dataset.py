"""A spec that names an uploaded data set follows from the data set's record, or is refused."""

import json
from dataclasses import replace
from typing import Any

import pytest

from core.errors import FieldError, InvalidInputError
from core.specs.data import Upload
from core.specs.job import Budget, JobSpec, StartFrom, Supervised
from core.specs.parsing.continuation import Continuation, continued
from core.specs.parsing.job import parse_job
from core.specs.parsing.remedy import remedied
from core.specs.sizes.cost import estimate
from core.specs.sizes.extent import extent_of
from core.specs.sizes.uploads import UploadFacts, as_posted, spec_text
from core.specs.studies.parse import parse_study
from core.specs.studies.runs import resolved_configurations
from core.specs.validation.limits import Limits
from tests.core.specs.example_uploads import EXAMPLE_ID, column, table

Json = dict[str, Any]
IRIS = ("setosa", "versicolor", "virginica")
HOUSES = table(
    column("size"),
    column("rooms", "integer", values=(1, 2, 3, 4)),
    column("garden", "bool", missing=3, values=(0, 1)),
    column("district", "category", categories=7),
    column("built", "date", missing=10),
    column("price"),
    column("sold", "bool", values=(0, 1)),
    column("grade", "category", categories=3),
    column("notes", "text"),
    column("kind", "category", categories=1),
    column("gap", missing=100),
    column("code", "integer"),
    column("level", "integer", values=(0, 1, 2)),
    column("few", "integer", missing=1, values=(0, 1, 2)),
)


def body(data: Json, **changes: Any) -> Json:
    problem = {
        "kind": "supervised",
        "data": {"kind": "dataset", "id": EXAMPLE_ID, **data},
        "model": {"kind": "mlp", "hidden": [8]},
    }
    loss = changes.pop("loss", None)
    if loss is not None:
        problem["loss"] = {"kind": loss}
    return {"problem": problem, "optimizer": {"kind": "adam"}, **changes}


def parsed(spec: Json, facts: UploadFacts = HOUSES, limits: Limits | None = None) -> JobSpec:
    return parse_job(json.dumps(spec).encode(), limits or Limits(), {EXAMPLE_ID: facts})


def mistake(spec: Json, facts: UploadFacts = HOUSES) -> FieldError:
    with pytest.raises(InvalidInputError) as caught:
        parsed(spec, facts)
    (found,) = caught.value.errors
    return found


def data_in(spec: JobSpec) -> Upload:
    assert isinstance(spec.problem, Supervised)
    assert isinstance(spec.problem.data, Upload)
    return spec.problem.data


@pytest.mark.parametrize(
    ("data", "features", "classes", "rows"),
    [
        ({"target": "price", "features": ["size", "rooms"]}, 2, None, 100),
        ({"target": "price", "features": ["district"]}, 8, None, 100),
        ({"target": "price", "features": ["district"], "categorical": "ordinal"}, 1, None, 100),
        ({"target": "sold", "features": ["size"]}, 1, 2, 100),
        ({"target": "grade", "features": ["size"]}, 1, 3, 100),
        ({"target": "level", "features": ["size"]}, 1, 3, 100),
        ({"target": "rooms", "features": ["size"]}, 1, None, 100),
        ({"target": "price", "features": ["built", "size"], "missing": "mean"}, 2, None, 100),
        ({"target": "price", "features": ["built", "garden"], "missing": "drop"}, 2, None, 90),
        ({"target": "built", "features": ["size"], "missing": "drop"}, 1, None, 90),
        ({"target": "few", "features": ["size"], "missing": "drop"}, 1, 3, 99),
        ({"target": "price", "features": ["garden"], "missing": "most_frequent"}, 1, None, 100),
    ],
)
def test_widths_and_classes_follow_from_the_record(
    data: Json, features: int, classes: int | None, rows: int
) -> None:
    spec = parsed(body(data))
    size = extent_of(spec)
    assert size.shape is not None
    assert (size.shape.num_features, size.shape.num_classes) == (features, classes)
    assert size.shape.num_rows == size.train_rows + size.eval_rows == rows
    assert size.num_outputs == (classes or 1)
    assert estimate(spec).num_parameters == 8 * (features + 1) + 9 * size.num_outputs
    assert isinstance(spec.problem, Supervised)
    assert spec.problem.loss is not None
    assert spec.problem.loss.kind == ("mse" if classes is None else "cross_entropy")


def test_several_values_are_several_outputs() -> None:
    spec = parsed(body({"target": ["price", "size"], "features": ["rooms"]}))
    assert extent_of(spec).num_outputs == 2


def test_whole_numbers_are_classes_where_the_loss_wants_them() -> None:
    spec = parsed(body({"target": "rooms", "features": ["size"]}, loss="cross_entropy"))
    assert extent_of(spec).num_outputs == 4
    values = parsed(body({"target": "level", "features": ["size"]}, loss="mse"))
    assert extent_of(values).num_outputs == 1


def test_images_have_their_classes_for_a_target() -> None:
    images = table(
        column("image", "integer", shape=(3, 8, 8)),
        column("class", "category", categories=4),
        kind="images",
    )
    spec = parsed(body({}), images)
    data = data_in(spec)
    assert (data.target, data.sizes.sample_shape) == ("class", (3, 8, 8))
    assert (data.sizes.num_features, data.sizes.num_classes) == (192, 4)


def test_arrays_have_a_sample_shape_and_targets_of_several_values() -> None:
    arrays = table(column("x", shape=(1, 8, 8)), column("y", shape=(2,)), kind="arrays")
    spec = parsed(body({"target": "y"}), arrays)
    assert data_in(spec).sizes.sample_shape == (1, 8, 8)
    assert extent_of(spec).num_outputs == 2


@pytest.mark.parametrize(
    ("data", "loss", "param", "code", "said"),
    [
        ({}, None, "target", "missing", '"price"'),
        ({"target": 1, "features": ["size"]}, None, "target", "string_type", "1 was given"),
        ({"target": "pirce"}, None, "target", "unknown_column", 'did you mean "price"'),
        ({"target": "Price"}, None, "target", "unknown_column", 'did you mean "price"'),
        ({"target": "zzz"}, None, "target", "unknown_column", '"zzz"'),
        ({"target": "price", "features": ["siez"]}, None, "features", "unknown_column", '"size"'),
        ({"target": "price", "features": ["size", "size"]}, None, "features", "repeated", "twice"),
        (
            {"target": "price", "features": ["price"]},
            None, "features", "target_as_feature", "leave it out",
        ),
        ({"target": "price", "features": ["notes"]}, None, "features", "text_feature", '"notes"'),
        ({"target": "notes", "features": ["size"]}, None, "target", "text_target", "category"),
        ({"target": "built", "features": ["size"]}, None, "target", "missing_targets", "10 of"),
        ({"target": "built", "features": ["size"]}, None, "target", "missing_targets", '"drop"'),
        ({"target": "few", "features": ["size"]}, None, "target", "missing_targets", "1 of"),
        ({"target": "kind", "features": ["size"]}, None, "target", "one_class", "at least two"),
        (
            {"target": "price", "features": ["size"]},
            "cross_entropy", "target", "loss_does_not_fit", "mse",
        ),
        (
            {"target": "price", "features": ["size"]},
            "cross_entropy", "target", "loss_does_not_fit", '{"price": "integer"}',
        ),
        (
            {"target": "code", "features": ["size"]},
            "cross_entropy", "target", "loss_does_not_fit", "a thousand",
        ),
        (
            {"target": ["sold", "grade"], "features": ["size"]},
            "cross_entropy", "target", "loss_does_not_fit", "names 2 columns",
        ),
        (
            {"target": ["sold", "grade"], "features": ["size"]},
            "cross_entropy", "target", "loss_does_not_fit", "binary_cross_entropy (labels",
        ),
        (
            {"target": "price", "features": ["built", "garden"]},
            None, "missing", "missing_values", "drop",
        ),
        (
            {"target": "price", "features": ["gap"], "missing": "mean"},
            None, "features", "no_values", '"gap"',
        ),
        (
            {"target": "price", "features": ["size"], "stored": None},
            None, "stored", "unknown_field", "stored",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_with_the_way_out(
    data: Json, loss: str | None, param: str, code: str, said: str
) -> None:
    if data.get("stored", "") is None:
        other = data_in(parsed(body({"target": "price", "features": ["rooms", "size"]}))).sizes
        data = {**data, "stored": other.model_dump(mode="json")}
    found = mistake(body(data, loss=loss))
    assert (found.param, found.code) == (f"problem.data.{param}", code)
    assert said in found.message


@pytest.mark.parametrize(
    ("loss", "said"),
    [("binary_cross_entropy", "each of several labels as a column"), ("cross_entropy", "mse")],
)
def test_labels_in_an_array_are_refused_with_the_way_out(loss: str, said: str) -> None:
    arrays = table(column("x", shape=(4,)), column("y", shape=(2,)), kind="arrays")
    found = mistake(body({"target": "y", "features": ["x"]}, loss=loss), arrays)
    assert (found.param, found.code) == ("problem.data.target", "loss_does_not_fit")
    assert said in found.message


@pytest.mark.parametrize("ignored", [0, 1, 3])
def test_a_class_to_ignore_is_not_guessed_where_numbers_are_names(ignored: int) -> None:
    spec = body({"target": "rooms", "features": ["size"]}, loss="cross_entropy")
    spec["problem"]["loss"]["ignore_index"] = ignored
    found = mistake(spec)
    assert (found.param, found.code) == ("problem.loss.ignore_index", "ambiguous_class")
    assert "1, 2, 3, 4" in found.message
    spec["problem"]["data"]["target"] = "level"
    if ignored < 3:
        parsed(spec)


@pytest.mark.parametrize(("target", "loss"), [("grade", "mse"), ("grade", "binary_cross_entropy")])
def test_a_loss_that_does_not_fit_the_classes_is_refused(target: str, loss: str) -> None:
    found = mistake(body({"target": target, "features": ["size"]}, loss=loss))
    assert (found.param, found.code) == ("problem.loss", "loss_does_not_fit")
    assert "cross_entropy" in found.message


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        (replace(HOUSES, status="checking"), "not_ready"),
        (replace(HOUSES, status="refused"), "not_ready"),
        (replace(HOUSES, kind="text"), "wrong_kind"),
        (replace(HOUSES, kind="weights"), "wrong_kind"),
        (replace(HOUSES, num_rows=1), "too_few_rows"),
    ],
)
def test_a_data_set_without_rows_to_learn_from_is_refused(facts: UploadFacts, code: str) -> None:
    found = mistake(body({"target": "price", "features": ["size"]}), facts)
    assert (found.param, found.code) == ("problem.data.id", code)


def test_an_unknown_data_set_is_refused_everywhere() -> None:
    spec = json.dumps(body({"target": "price"})).encode()
    with pytest.raises(InvalidInputError) as caught:
        parse_job(spec, Limits())
    assert [error.code for error in caught.value.errors] == ["unknown_dataset"]
    study = {"base": json.loads(spec), "sweep": {"optimizer.lr": {"values": [0.1, 0.2]}}}
    with pytest.raises(InvalidInputError) as caught:
        parse_study(json.dumps(study).encode(), Limits())
    assert [(each.param, each.code) for each in caught.value.errors] == [
        ("base.problem.data.id", "unknown_dataset")
    ]


def test_a_resolved_spec_is_read_again_without_the_record() -> None:
    spec = parsed(body({"target": "price", "features": ["size"]}))
    again = JobSpec.model_validate_json(spec.model_dump_json())
    assert again == spec
    assert extent_of(again) == extent_of(spec)
    stored = spec.model_dump(mode="json")
    assert parse_job(json.dumps(stored).encode(), Limits(stored=True)) == spec
    longer = Continuation(budget=Budget(max_steps=5_000))
    start = StartFrom(job="job_01k2m3n4p5q6r7s8t9v0w1x2y3", step=2_000)
    assert data_in(continued(stored, longer, start, Limits())) == data_in(spec)
    assert data_in(remedied(stored, {"optimizer": {"lr": 0.1}}, Limits())) == data_in(spec)


def test_what_the_service_wrote_for_itself_is_not_shown() -> None:
    spec = parsed(body({"target": "price", "features": ["size"]}))
    shown = as_posted(spec.model_dump(mode="json"))
    assert "stored" not in json.dumps(shown)
    assert json.loads(spec_text(spec)) == shown
    assert parsed(shown) == spec
    assert "stored" not in json.dumps(Upload.model_json_schema())


@pytest.mark.parametrize(
    ("path", "values", "widths"),
    [
        ("problem.data.categorical", ["one_hot", "ordinal"], [9, 2]),
        ("problem.data.features", [["size"], ["size", "rooms"]], [1, 2]),
        ("problem.data.target", ["price", "sold"], [9, 9]),
        ("problem.model.hidden", [[4], [8]], [9, 9]),
        ("optimizer.lr", [0.1, 0.01], [9, 9]),
        ("problem.data", None, [1, 2]),
    ],
)
def test_studies_sweep_what_of_the_data_a_job_could_say(
    path: str, values: list[Any] | None, widths: list[int]
) -> None:
    base = body({"target": "price", "features": ["size", "district"]})
    if values is None:
        values = [
            {"kind": "dataset", "id": EXAMPLE_ID, "target": "price", "features": names}
            for names in (["size"], ["size", "rooms"])
        ]
    study = {"base": base, "sweep": {path: {"values": values}}}
    uploads = {EXAMPLE_ID: HOUSES}
    resolved = parse_study(json.dumps(study).encode(), Limits(), uploads)
    # As a worker reads it: from the stored spec alone.
    stored = json.loads(json.dumps(resolved.spec))
    specs = [spec for _, spec in resolved_configurations(stored)]
    assert [data_in(spec).sizes.num_features for spec in specs] == widths
    shown = as_posted(stored)
    assert "stored" not in json.dumps(shown)
    assert "datasets" not in shown["base"]
    assert parse_study(json.dumps(shown).encode(), Limits(), uploads).spec == resolved.spec


def test_facts_of_the_service_cannot_be_posted_in_a_study() -> None:
    study = {
        "base": {**body({"target": "price", "features": ["size"]}), "datasets": {}},
        "sweep": {"optimizer.lr": {"values": [0.1, 0.01]}},
    }
    with pytest.raises(InvalidInputError) as caught:
        parse_study(json.dumps(study).encode(), Limits(), {EXAMPLE_ID: HOUSES})
    assert [error.param for error in caught.value.errors] == ["base.datasets"]
