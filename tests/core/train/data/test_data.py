"""Data sets: where their rows come from, how they are split and standardized."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from sklearn import datasets
from sklearn.preprocessing import StandardScaler

from core.specs.data import Data
from core.specs.sizes.shapes import data_shape
from core.train.data.build import DatasetCache, load
from core.train.data.dataset import Dataset
from core.train.losses import TargetForm

CPU = torch.device("cpu")


def parsed(**spec: Any) -> Data:
    adapter: TypeAdapter[Data] = TypeAdapter(Data)
    return adapter.validate_json(json.dumps(spec))


def loaded(form: TargetForm, dtype: torch.dtype = torch.float64, **spec: Any) -> Dataset:
    return load(parsed(**spec), form, CPU, dtype)


BUILTIN: dict[str, tuple[Any, TargetForm]] = {
    "digits": (datasets.load_digits, "class_ids"),
    "iris": (datasets.load_iris, "class_ids"),
    "wine": (datasets.load_wine, "class_ids"),
    "breast_cancer": (datasets.load_breast_cancer, "binary"),
    "diabetes": (datasets.load_diabetes, "values"),
}


@pytest.mark.parametrize("name", BUILTIN)
def test_a_builtin_data_set_holds_scikit_learns_rows(name: str) -> None:
    loader, form = BUILTIN[name]
    features, targets = loader(return_X_y=True)

    data = loaded(form, kind="builtin", name=name, eval_fraction=0.0, standardize=False)

    assert np.array_equal(data.train_features.numpy(), features)
    assert np.array_equal(data.train_targets.numpy().reshape(-1), targets)
    shape = data_shape(parsed(kind="builtin", name=name))
    assert data.train_features.shape == (shape.num_rows, shape.num_features)
    assert data.num_outputs == (1 if form != "class_ids" else shape.num_classes)
    assert len(data.feature_names) == shape.num_features
    if data.class_names is not None:
        assert len(data.class_names) == shape.num_classes
    assert data.eval_features is None


GENERATORS: list[tuple[dict[str, Any], TargetForm]] = [
    ({"kind": "blobs", "num_classes": 4, "num_features": 3}, "class_ids"),
    ({"kind": "moons"}, "binary"),
    ({"kind": "circles"}, "class_ids"),
    ({"kind": "spirals"}, "class_ids"),
    ({"kind": "linear_regression", "num_features": 4}, "values"),
    ({"kind": "friedman1"}, "values"),
    ({"kind": "sinusoid"}, "values"),
    ({"kind": "sine_sequence", "length": 7}, "values"),
    ({"kind": "adding_problem", "length": 6}, "values"),
    ({"kind": "parity", "length": 5}, "class_ids"),
]


def generated(
    generator: dict[str, Any], form: TargetForm, dtype: torch.dtype = torch.float64, seed: int = 0
) -> Dataset:
    return loaded(
        form, dtype, kind="synthetic", generator=generator, seed=seed, eval_fraction=0.0,
        standardize=False,
    )  # fmt: skip


@pytest.mark.parametrize(("generator", "form"), GENERATORS)
def test_a_generator_gives_finite_rows_of_the_shape_that_the_spec_foretells(
    generator: dict[str, Any], form: TargetForm
) -> None:
    generator = {**generator, "num_samples": 50}

    data = generated(generator, form)

    shape = data_shape(parsed(kind="synthetic", generator=generator))
    assert data.train_features.shape == (50, shape.num_features)
    assert data.train_features.isfinite().all()
    assert len(data.train_targets) == 50
    if shape.num_classes is not None:
        assert set(data.train_targets.flatten().tolist()) == set(range(shape.num_classes))


@pytest.mark.parametrize(("generator", "form"), GENERATORS)
def test_a_generator_draws_by_its_seed_alone_whatever_precision_and_threads(
    generator: dict[str, Any], form: TargetForm
) -> None:
    once = generated(generator, form)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        again = generated(generator, form, torch.float32)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)

    assert torch.equal(again.train_features, once.train_features.float())
    assert not torch.equal(once.train_features, generated(generator, form, seed=1).train_features)


def test_the_generators_cover_every_kind() -> None:
    names = {generator["kind"] for generator, _ in GENERATORS}
    schema = json.dumps(TypeAdapter(Data).json_schema())

    assert all(f'"{name}"' in schema for name in names)
    assert len(names) == 10


def test_moons_without_noise_lie_on_their_half_circles() -> None:
    data = generated({"kind": "moons", "noise": 0.0}, "class_ids")

    x, y = data.train_features.unbind(1)
    lower = data.train_targets == 1
    center = torch.where(lower, 1.0, 0.0), torch.where(lower, 0.5, 0.0)
    radius = torch.hypot(x - center[0], y - center[1])
    torch.testing.assert_close(radius, torch.ones_like(radius))
    assert bool(((y >= 0) | lower).all())
    assert bool(((y <= 0.5) | ~lower).all())


def test_linear_regression_data_have_the_condition_number_asked_for() -> None:
    generator = {
        "kind": "linear_regression", "num_samples": 20_000, "num_features": 3,
        "condition_number": 100.0, "noise": 0.0,
    }  # fmt: skip
    data = generated(generator, "values")

    eigenvalues = torch.linalg.eigvalsh(torch.cov(data.train_features.T))
    torch.testing.assert_close(
        eigenvalues, torch.tensor([0.01, 0.1, 1.0], dtype=torch.float64), rtol=0.05, atol=0.0
    )
    ones = torch.ones(20_000, 1, dtype=torch.float64)
    fit = torch.linalg.lstsq(torch.cat([data.train_features, ones], 1), data.train_targets)
    assert fit.residuals.sum().item() < 1e-15


def test_the_adding_problem_sums_the_two_marked_values() -> None:
    data = generated({"kind": "adding_problem", "length": 5, "num_samples": 30}, "values")

    pairs = data.train_features.reshape(30, 5, 2)
    values, markers = pairs.unbind(2)
    assert markers.sum(1).tolist() == [2.0] * 30
    assert markers[:, :2].sum(1).tolist() == [1.0] * 30
    assert torch.equal(data.train_targets[:, 0], (values * markers).sum(1))


def test_parity_is_odd_where_the_product_of_the_bits_is_negative() -> None:
    data = generated({"kind": "parity", "length": 6, "num_samples": 40}, "class_ids")

    assert torch.equal(data.train_features.prod(1) < 0, data.train_targets == 1)


def test_inline_rows_are_taken_as_they_stand() -> None:
    rows: dict[str, Any] = {"kind": "inline", "features": [[1, 2], [3, 4], [5, 6]]}
    plain: dict[str, Any] = {"eval_fraction": 0.0, "standardize": False}

    classes = loaded("class_ids", **rows, targets=[0, 2, 1], **plain)
    values = loaded("values", **rows, targets=[0.5, 2, 1], **plain)
    several = loaded("values", **rows, targets=[[1, 2], [3, 4], [5, 6]], **plain)

    assert classes.train_features.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert classes.train_targets.tolist() == [0, 2, 1]
    assert (classes.num_outputs, classes.class_names) == (3, ("0", "1", "2"))
    assert values.train_targets.tolist() == [[0.5], [2], [1]]
    assert (several.num_outputs, several.class_names) == (2, None)


def test_features_are_standardized_by_the_training_rows_alone() -> None:
    raw = loaded("class_ids", kind="builtin", name="wine", standardize=False)
    data = loaded("class_ids", kind="builtin", name="wine")
    assert raw.eval_features is not None
    assert data.eval_features is not None
    assert data.mean is not None
    assert data.scale is not None

    scaler = StandardScaler().fit(raw.train_features.numpy())
    np.testing.assert_allclose(data.mean, scaler.mean_, rtol=1e-12)
    np.testing.assert_allclose(data.scale, scaler.scale_, rtol=1e-12)
    expected = scaler.transform(raw.eval_features.numpy())
    np.testing.assert_allclose(data.eval_features.numpy(), expected, atol=1e-12)


def test_a_constant_column_becomes_zero_and_is_divided_by_one() -> None:
    data = loaded(
        "values", kind="inline", features=[[0.1, 1], [0.1, 2], [0.1, 4]], targets=[1.0, 2.0, 3.0],
        eval_fraction=0.0,
    )  # fmt: skip
    assert data.scale is not None

    assert data.train_features[:, 0].tolist() == [0.0, 0.0, 0.0]
    assert data.scale[0] == 1.0


def test_a_data_set_is_made_once_however_its_rows_are_ordered() -> None:
    cache = DatasetCache(max_bytes=2**20)
    iris = parsed(kind="builtin", name="iris")
    other_order = parsed(kind="builtin", name="iris", order={"kind": "sequential"}, drop_last=True)
    other_split = parsed(kind="builtin", name="iris", split_seed=1)

    first = cache.get(iris, "class_ids", CPU, torch.float32)

    assert cache.get(other_order, "class_ids", CPU, torch.float32) is first
    assert cache.get(other_split, "class_ids", CPU, torch.float32) is not first
    assert cache.get(iris, "class_ids", CPU, torch.float64) is not first
    assert cache.get(iris, "values", CPU, torch.float32) is not first


def test_the_least_recently_used_data_set_leaves_a_full_cache() -> None:
    iris, wine = parsed(kind="builtin", name="iris"), parsed(kind="builtin", name="wine")
    size = load(wine, "class_ids", CPU, torch.float64).size_bytes
    cache = DatasetCache(max_bytes=size)

    first = cache.get(iris, "class_ids", CPU, torch.float64)
    cache.get(wine, "class_ids", CPU, torch.float64)

    assert cache.get(iris, "class_ids", CPU, torch.float64) is not first


def test_a_data_set_larger_than_the_cache_is_still_given() -> None:
    cache = DatasetCache(max_bytes=1)

    data = cache.get(parsed(kind="builtin", name="iris"), "class_ids", CPU, torch.float64)

    assert data.train_features.shape == (120, 4)
