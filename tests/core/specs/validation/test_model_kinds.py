"""Refusals of models, augmentation and reconstruction: the field, the value and the way out."""

import json
import random
from typing import Any

import pytest

from core.errors import FieldError, InvalidInputError
from core.specs.job import DataProblem, JobSpec
from core.specs.layers.expand import expand
from core.specs.layers.inputs import Inputs
from core.specs.layers.trace import LayerError
from core.specs.models import CNN, ResNet
from core.specs.parsing.job import parse_job
from core.specs.sizes.shapes import layers_of, problem_shape
from core.specs.validation.limits import Limits
from tests.core.specs.example_uploads import EXAMPLE_ID, column, table

Json = dict[str, Any]
DIGITS: Json = {"kind": "builtin", "name": "digits"}
IRIS: Json = {"kind": "builtin", "name": "iris"}
IMAGES = table(
    column("image", "integer", shape=(3, 8, 8)),
    column("class", "category", categories=4),
    kind="images",
)
TABLE = table(column("size"), column("colour", "category", categories=3), column("price"))


def body(model: Json, data: Json = DIGITS, kind: str = "supervised", **rest: Any) -> Json:
    problem = {"kind": kind, "data": data, "model": model, **rest}
    return {"problem": problem, "optimizer": {"kind": "adam"}}


def parsed(posted: Json, upload: Any = IMAGES) -> JobSpec:
    return parse_job(json.dumps(posted).encode(), Limits(), {EXAMPLE_ID: upload})


def mistake(posted: Json, upload: Any = IMAGES) -> FieldError:
    with pytest.raises(InvalidInputError) as caught:
        parsed(posted, upload)
    (found,) = caught.value.errors
    return found


@pytest.mark.parametrize(
    ("posted", "param", "code", "words"),
    [
        (body({"kind": "cnn", "channels": [2] * 4}), "model.pool", "shapes_do_not_meet",
         ["stages.3.pool", "max_pool2d", "1 places"]),
        (body({"kind": "cnn", "kernel_size": 2, "channels": [2, 2], "residual": True}),
         "model.channels.0", "shapes_do_not_meet", ["stages.0.block", "(2, 6, 6)", "(2, 8, 8)"]),
        (body({"kind": "resnet", "depth": 10}), "model.depth", "not_a_depth",
         ["10 was given", "8 or 14"]),
        (body({"kind": "layers", "layers": [
            {"kind": "skip", "source": "later"}, {"kind": "linear", "name": "later"}]}),
         "model.layers.0.source", "unknown_layer", ["later"]),
        (body({"kind": "layers", "layers": [
            {"kind": "embed_categories", "places": [[60, 8]], "embedding_dim": 2},
            {"kind": "linear"}]}),
         "model.layers.0", "shapes_do_not_meet", ["column 67", "(64,)"]),
        (body({"kind": "mlp"}, {**IRIS, "augment": [{"kind": "noise"}, {"kind": "flip"}]}),
         "data.augment.1", "no_image", ["flip", "have no shape", "noise"]),
        (body({"kind": "mlp"}, {**IRIS, "augment": [{"kind": "rotation"}]}),
         "data.augment.0", "no_image", ["rotation"]),
        (body({"kind": "mlp"}, kind="reconstruction", loss={"kind": "cross_entropy"}),
         "loss", "loss_does_not_fit", ["cross_entropy", "mse"]),
        (body({"kind": "mlp"}, {**DIGITS, "scale_targets": True}, "reconstruction"),
         "data.scale_targets", "no_targets", ["standardize"]),
        (body({"kind": "mlp"}, {"kind": "inline", "features": [[1.0], [2.0]]}),
         "data.targets", "missing", ["one for each row"]),
        (body({"kind": "mlp"}, {"kind": "inline", "features": [[1.0], [2.0]], "targets": [0, 1]},
              "reconstruction"),
         "data.targets", "no_targets", ["leave it out"]),
        (body({"kind": "mlp"}, {"kind": "dataset", "id": EXAMPLE_ID, "target": "class"},
              "reconstruction"),
         "data.target", "no_targets", ["name the features"]),
        (body({"kind": "linear"}, {**DIGITS, "split": {"kind": "fraction", "stratify": True},
                                   "eval_fraction": None, "split_seed": None}, "reconstruction"),
         "data.split.stratify", "no_classes", ["leave it out"]),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(posted: Json, param: str, code: str, words: list[str]) -> None:
    found = mistake(posted)
    assert (found.param, found.code) == (f"problem.{param}", code), found.message
    assert all(word in found.message for word in words), found.message


def test_image_size_is_of_images() -> None:
    data = {"kind": "dataset", "id": EXAMPLE_ID, "target": "price", "image_size": 8}
    found = mistake(body({"kind": "linear"}, data), TABLE)
    assert (found.param, found.code) == ("problem.data.image_size", "no_images")


@pytest.mark.parametrize(
    ("size", "shape"), [(None, (3, 8, 8)), (4, (3, 4, 4)), ([2, 6], (3, 2, 6))]
)
def test_images_are_shaped_for_a_cnn(size: Any, shape: tuple[int, ...]) -> None:
    data = {"kind": "dataset", "id": EXAMPLE_ID, "image_size": size}
    for kind, classes in (("supervised", 4), ("reconstruction", 3 * shape[1] * shape[2])):
        spec = parsed(body({"kind": "cnn", "channels": [2]}, data, kind))
        assert isinstance(spec.problem, DataProblem)
        layers = layers_of(spec.problem)
        assert layers.layers[0].output == shape
        assert layers.layers[-1].output == (classes,)
        again = parsed(json.loads(spec.model_dump_json(exclude={"problem": {"data": {"stored"}}})))
        assert again == spec


def test_categories_of_an_upload_have_their_places() -> None:
    data: Json = {"kind": "dataset", "id": EXAMPLE_ID}
    spec = parsed(body({"kind": "tabular"}, data, "reconstruction"), TABLE)
    assert isinstance(spec.problem, DataProblem)
    assert problem_shape(spec.problem).categories == ((1, 4),)
    assert layers_of(spec.problem).plain_columns == (1, 2, 3, 4)
    coded = {**data, "categorical": "ordinal"}
    plain = parsed(body({"kind": "tabular"}, coded, "reconstruction"), TABLE)
    assert isinstance(plain.problem, DataProblem)
    assert layers_of(plain.problem).plain_columns == ()


@pytest.mark.parametrize(
    "model",
    [
        {"kind": "cnn", "channels": [4, 8]},
        {"kind": "cnn", "channels": [4, 8], "residual": True},
        {"kind": "resnet", "width": 4},
    ],
)
@pytest.mark.parametrize(("features", "window"), [(1, 12), (3, 5), (1, 100)])
def test_a_window_in_time_has_a_channel_for_each_column(
    model: Json, features: int, window: int
) -> None:
    rows = [[float(time + place) for place in range(features)] for time in range(300)]
    data: Json = {"kind": "inline", "features": rows, "targets": [float(i) for i in range(300)]}
    spec = parsed(body(model, data, "forecast", window=window, horizon=2))
    assert isinstance(spec.problem, DataProblem)
    shaped, turned, first = layers_of(spec.problem).layers[:3]
    assert shaped.output == (window, features + 1)
    assert turned.output == (features + 1, window)
    assert first.output == (4, window)


def test_any_shape_of_rows_is_taken_or_refused_by_its_layer() -> None:
    draw = random.Random("shapes of cnn")
    taken = refused = 0
    places: set[str] = set()
    for _ in range(300):
        axes = draw.randint(1, 4)
        sample = tuple(draw.choice([1, 2, 3, 5, 8]) for _ in range(axes))
        numbers = 1
        for size in sample:
            numbers *= size
        model: Any = CNN.model_validate(
            {
                "kind": "cnn",
                "channels": tuple(draw.choice([1, 2, 3]) for _ in range(draw.randint(1, 3))),
                "kernel_size": draw.randint(1, 4),
                "stride": draw.randint(1, 2),
                "pool": draw.choice([None, "max", "avg"]),
                "residual": draw.random() < 0.3,
            }
        )
        if draw.random() < 0.3:
            model = ResNet(kind="resnet", depth=draw.choice([8, 14]), width=2)
        try:
            found = expand(model, Inputs(numbers, sample), 5)
        except LayerError as error:
            refused += 1
            places.add(error.field.partition(".")[0])
            continue
        taken += 1
        shape = sample if axes > 1 else (1, *sample)
        assert found.layers[0].output == shape
        assert found.layers[-1].output == (5,)
    assert min(taken, refused) > 30
    assert places <= {"kind", "pool", "channels"}
