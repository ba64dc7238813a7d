"""Whole numbers: `100.0` is 100, in every field of every spec that takes one."""

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any, get_args

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from core.specs.base import Spec, stored
from core.specs.catalog import FAMILIES, kinds
from core.specs.examples import minimal_example
from core.specs.job import JobSpec
from core.specs.parsing.continuation import Continuation
from core.specs.parsing.diagnosis import DiagnosisRequest
from core.specs.parsing.job import parse_job
from core.specs.splits.kinds import ColumnSplit
from core.specs.study import StudySpec
from core.specs.unions import PLAIN, SWEEPS, UNIONS, members
from core.specs.validation.limits import Limits
from tests.core.specs.example_uploads import EXAMPLE_UPLOADS

MODELS: list[type[Spec]] = [
    *(model for field in UNIONS for model in members(field).values()),
    *PLAIN.values(),
    *SWEEPS.values(),
    *(JobSpec, StudySpec, Continuation, DiagnosisRequest),
]
CANDIDATES = ["1", "2", "5", "8", "300", "[1]", "[1,2]", "[1,2,5]", "[[1],[2,1]]", "[[2,1]]"]


def holds_whole_numbers(annotation: Any) -> bool:
    if annotation is int or any(type(each) is int for each in get_args(annotation)):
        return True
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return False
    return any(holds_whole_numbers(each) for each in get_args(annotation))


def fields() -> Iterator[tuple[str, TypeAdapter[Any]]]:
    """Every field of a spec that takes whole numbers; targets are class ids or values."""
    for model in dict.fromkeys(MODELS):
        for name, field in model.model_fields.items():
            of_any_kind = name == "targets" or model is ColumnSplit
            if holds_whole_numbers(field.annotation) and not of_any_kind:
                yield f"{model.__name__}.{name}", adapter(model, field)


def adapter(model: type[Spec], field: FieldInfo) -> TypeAdapter[Any]:
    annotation: Any = field.annotation
    for each in field.metadata:
        annotation = Annotated[annotation, each]
    own_config = isinstance(annotation, type) and issubclass(annotation, Spec)
    return TypeAdapter(annotation, config=None if own_config else model.model_config)


FIELDS = dict(fields())


def accepted(of: TypeAdapter[Any], text: str) -> bool:
    try:
        of.validate_json(text)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("model", dict.fromkeys(MODELS), ids=lambda model: model.__name__)
def test_a_default_is_what_its_validation_makes_of_it(model: type[Spec]) -> None:
    # Requests do not validate defaults: it took more than half of the time of reading a spec.
    for name, field in model.model_fields.items():
        if not field.is_required():
            default = field.get_default(call_default_factory=True, validated_data={})
            validated = adapter(model, field).validate_python(default)
            assert repr(validated) == repr(default), name  # 1.0, not 1


def test_the_fields_are_found() -> None:
    assert len(FIELDS) > 40
    for name in ("Budget.max_steps", "JobSpec.seed", "JobSpec.batch_size", "MLP.hidden",
                 "ExplicitOrder.steps", "MultiStep.milestones", "MultiMargin.p",
                 "SweepIntegers.integers", "SweepLog.count", "StudySpec.repeats",
                 "DiagnosisRequest.checkpoint"):  # fmt: skip
        assert name in FIELDS


def in_form(text: str, form: str) -> str:
    return re.sub(r"\d+", lambda found: form.format(found[0]), text)


@pytest.mark.parametrize("name", FIELDS)
def test_a_whole_number_may_have_a_decimal_point(name: str) -> None:
    of = FIELDS[name]
    good = [text for text in CANDIDATES if accepted(of, text)]
    assert good
    for text in good:
        plain = of.validate_json(text)
        for form in ("{}.0", "{}.00e0", "{}0e-1"):
            written = in_form(text, form)
            found = of.validate_json(written)
            assert repr(found) == repr(plain)  # 100, not 100.0
        for wrong in ("{}.5", "1e400", "-1e400", '"{}"', "true", "1e17", "NaN"):
            written = in_form(text, wrong)
            assert not accepted(of, written), written


def with_points(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: with_points(part) for name, part in value.items()}
    if isinstance(value, list):
        return [with_points(part) for part in value]
    return float(value) if type(value) is int else value


@pytest.mark.parametrize(
    ("family", "kind"), [(family, kind) for family in FAMILIES for kind in kinds(family)]
)
def test_a_resolved_spec_written_with_points_is_the_same_spec(family: str, kind: str) -> None:
    spec = parse_job(json.dumps(minimal_example(family, kind)).encode(), Limits(), EXAMPLE_UPLOADS)
    pointed = json.dumps(with_points(spec.model_dump(mode="json")))
    again = parse_job(pointed.encode(), Limits(), EXAMPLE_UPLOADS)
    assert again.model_dump_json() == spec.model_dump_json()


@pytest.mark.parametrize("loss", ["cross_entropy", "multi_margin", "binary_cross_entropy"])
def test_class_ids_may_have_a_decimal_point_where_the_loss_wants_classes(loss: str) -> None:
    def spec(targets: list[Any], **more: Any) -> JobSpec:
        data = {"kind": "inline", "features": [[0], [1], [2], [3]], "targets": targets}
        problem = {"kind": "supervised", "data": data, "model": {"kind": "linear"}, **more}
        body = {"problem": problem, "optimizer": {"kind": "adam"}}
        return parse_job(json.dumps(body).encode(), Limits())

    chosen = {"loss": {"kind": loss}}
    assert spec([0.0, 1.0, 0.0, 1], **chosen) == spec([0, 1, 0, 1], **chosen)
    values = spec([0.0, 1.0, 0.0, 1.0]).model_dump()["problem"]
    assert (values["loss"]["kind"], values["data"]["targets"][1]) == ("mse", 1.0)


@pytest.mark.parametrize("update", [None, {}, {"seed": 4}, {"seed": 0, "labels": {"a": "b"}}])
def test_a_copy_is_the_one_that_pydantic_makes(update: dict[str, Any] | None) -> None:
    spec = stored(JobSpec, minimal_example("optimizers", "adam"))
    before = spec.model_dump(), set(spec.model_fields_set)
    ours, theirs = spec.model_copy(update=update), BaseModel.model_copy(spec, update=update)
    assert type(ours) is JobSpec
    assert ours == theirs
    assert ours.model_fields_set == theirs.model_fields_set
    assert vars(ours) == vars(theirs)
    assert ours.model_dump_json() == theirs.model_dump_json()
    assert (spec.model_dump(), spec.model_fields_set) == before
    deep = spec.model_copy(update=update, deep=True)
    assert deep == theirs
    assert deep.problem is not spec.problem
