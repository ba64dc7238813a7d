"""Uploaded rows: read from the stored form, coded, filled by the training rows, and trained on."""

import io
import json
import math
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn import datasets

from core.artifacts.base import JobArtifacts
from core.artifacts.local import LocalJob, LocalStore
from core.errors import InvalidInputError, JobFailure
from core.specs.data import Upload
from core.specs.job import JobSpec, Supervised
from core.specs.parsing.job import parse_job
from core.specs.sizes.extent import extent_of
from core.specs.validation.limits import Limits
from core.train.data.build import load
from core.train.data.dataset import Dataset
from core.train.data.uploaded import exact_rows, scaled_images, uploads_from
from core.train.determinism import generator
from core.train.losses import TargetForm, target_form
from core.train.tensors.tensor_file import parse
from core.uses.images import scaled_image
from tests.core.train.data.uploads import Stored, stored
from tests.core.train.harness import Trained, train

Json = dict[str, Any]
CPU = torch.device("cpu")
MIXED = (
    "size,color,garden,price\n"
    "1.5,red,true,10\n,green,false,20\n3.5,,true,30\n4.5,red,,40\n5.5,blue,true,50\n"
    "6.5,red,true,60\n7.5,green,false,70\n8.5,red,true,80\n"
)


def rows(file: Stored, data: Json, form: TargetForm | None = None) -> Dataset:
    """The data set in float64."""
    spec = file.spec({"eval_fraction": 0.0, "standardize": False, **data})
    problem = spec.problem
    assert isinstance(problem, Supervised)
    assert problem.loss is not None
    with uploads_from(file.store):
        return load(problem.data, form or target_form(problem.loss), CPU, torch.float64)


def trained(file: Stored, spec: JobSpec, folder: Path) -> Trained:
    with uploads_from(file.store):
        return train(spec, folder)


@pytest.mark.parametrize("ignored", [-100, -1])
@pytest.mark.parametrize("names", [(0, 1, 2), (1, 2, 3), (-5, 0, 7)])
def test_rows_to_ignore_have_its_number_whatever_the_classes_are_called(
    names: tuple[int, ...], ignored: int, tmp_path: Path
) -> None:
    """They train and are measured as the same rows that come in the request, with ids of classes
    from 0 on."""
    features = np.random.default_rng(3).normal(size=(60, 2))
    ids = [ignored if row % 5 == 0 else row % 3 for row in range(60)]
    cells = np.array([each if each == ignored else names[each] for each in ids])
    file = stored(tmp_path, csv_of(features, cells))
    options: Json = {"budget": {"max_steps": 20}, "record": {"eval_every": 5}}
    loss = {"kind": "cross_entropy", "ignore_index": ignored}
    spec = file.spec({"target": "target"}, loss=loss, **options)
    uploaded = trained(file, spec, tmp_path / "a")
    body = json.loads(spec.model_dump_json())
    body["problem"]["data"] = {"kind": "inline", "features": features.tolist(), "targets": ids}
    posted = train(parse_job(json.dumps(body).encode(), Limits()), tmp_path / "b")
    for kind in ("train", "eval"):
        assert uploaded.events.histories[kind] == posted.events.histories[kind]
    assert uploaded.events.data is not None
    assert uploaded.events.data["classes"] == list(map(str, names))


def csv_of(features: Any, targets: Any) -> bytes:
    names = [f"f{i}" for i in range(features.shape[1])]
    lines = [",".join([*names, "target"])]
    lines += [
        ",".join([*map(repr, row.tolist()), repr(target)])
        for row, target in zip(features, targets.tolist(), strict=True)
    ]
    return ("\n".join(lines) + "\n").encode()


@pytest.mark.parametrize(
    ("name", "loader", "loss"),
    [
        ("breast_cancer", datasets.load_breast_cancer, "cross_entropy"),
        ("breast_cancer", datasets.load_breast_cancer, "binary_cross_entropy"),
        ("diabetes", datasets.load_diabetes, "mse"),
    ],
)
def test_a_builtin_data_set_uploaded_gives_the_same_bits(
    name: str, loader: Any, loss: str, tmp_path: Path
) -> None:
    features, targets = loader(return_X_y=True)
    file = stored(tmp_path, csv_of(features, targets))
    options: Json = {"budget": {"max_steps": 50}, "record": {"eval_every": 10}}
    spec = file.spec({"target": "target"}, loss=loss, **options)
    uploaded = trained(file, spec, tmp_path / "a")

    body = json.loads(spec.model_dump_json())
    body["problem"]["data"] = {"kind": "builtin", "name": name}
    builtin = train(parse_job(json.dumps(body).encode(), Limits()), tmp_path / "b")
    for kind in ("train", "eval"):
        assert uploaded.events.histories[kind] == builtin.events.histories[kind]
    assert uploaded.events.data == builtin.events.data or name == "breast_cancer"


def test_linear_regression_finds_the_least_squares(tmp_path: Path) -> None:
    source = np.random.default_rng(0)
    features = source.normal(size=(60, 3)) * [1.0, 10.0, 0.1] + [5.0, -3.0, 0.0]
    targets = features @ [2.0, -1.0, 30.0] + 4.0 + source.normal(size=60)
    file = stored(tmp_path, csv_of(features, targets))
    spec = file.spec(
        {"target": "target", "eval_fraction": 0.0},
        optimizer={"kind": "lbfgs", "line_search_fn": "strong_wolfe"},
        budget={"max_steps": 20},
        precision="float64",
    )
    found = trained(file, spec, tmp_path / "job")
    design = np.column_stack([features, np.ones(60)])
    _, residual, _, _ = np.linalg.lstsq(design, targets, rcond=None)
    assert found.ending.result["best_loss"] == pytest.approx(residual[0] / 60, rel=1e-9)


def test_categories_are_the_whole_files_with_one_place_more(tmp_path: Path) -> None:
    file = stored(tmp_path, b"c,y\nb,1.5\na,2.5\nc,3.5\nb,4.5\n", schema=None)
    found = rows(file, {"target": "y"})
    assert found.feature_names == ("c=a", "c=b", "c=c", "c=(other)")
    assert found.train_features.tolist() == [
        [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0],
    ]  # fmt: skip
    ordinal = rows(file, {"target": "y", "categorical": "ordinal"})
    assert ordinal.train_features.tolist() == [[1], [0], [2], [1]]


def test_a_missing_value_is_filled_by_the_training_rows_alone(tmp_path: Path) -> None:
    file = stored(tmp_path, MIXED.encode())
    spec = {"target": "price", "missing": "mean", "categorical": "ordinal", "eval_fraction": 0.5}
    found = rows(file, spec)
    train_rows = np.sort(torch.randperm(8, generator=generator(0, "split")).numpy()[4:])
    size = np.array([1.5, np.nan, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5])
    mean = np.nanmean(size[train_rows])
    assert found.preprocessing is not None
    about = {each["name"]: each for each in found.preprocessing["features"]}
    assert about["size"]["fill"] == mean
    colors = ["red", "green", None, "red", "blue", "red", "green", "red"]
    known = [colors[row] for row in train_rows if colors[row] is not None]
    frequent = max(sorted(set(map(str, known))), key=known.count)
    assert about["color"]["categories"][int(about["color"]["fill"])] == frequent
    expected = np.where(np.isnan(size), mean, size)
    assert found.train_features[:, 0].tolist() == expected[train_rows].tolist()


def test_the_most_frequent_value_is_the_smallest_of_equals(tmp_path: Path) -> None:
    file = stored(tmp_path, b"x,y\n3.5,1\n2.5,2\n,3\n2.5,4\n3.5,5\n9.5,6\n")
    found = rows(file, {"target": "y", "missing": "most_frequent"})
    assert found.train_features[2].item() == 2.5


def test_rows_with_gaps_are_left_out_and_counted(tmp_path: Path) -> None:
    file = stored(tmp_path, MIXED.encode())
    spec = file.spec({"target": "price", "missing": "drop", "eval_fraction": 0.0})
    assert extent_of(spec).train_rows == 7  # at most: the record knows no more
    with uploads_from(file.store):
        exact = exact_rows(spec)
        assert exact_rows(exact) is exact
    assert extent_of(exact).train_rows == 5
    found = trained(file, exact, tmp_path / "job")
    assert found.events.data is not None
    assert found.events.data["num_rows"] == {"train": 5, "eval": 0, "test": 0}
    kept = rows(file, {"target": "price", "missing": "drop"})
    assert kept.train_targets.flatten().tolist() == [10, 50, 60, 70, 80]


@pytest.mark.parametrize(
    ("cells", "names"),
    [
        (["b", "", "a", "b", "c"], ("a", "b", "c")),
        (["1", "", "0", "1", "2"], ("0", "1", "2")),
        (["true", "", "false", "true", "true"], ("false", "true")),
        (["1.5", "", "0.5", "1.5", "2.5"], None),
    ],
)
def test_rows_without_a_target_are_left_out(
    tmp_path: Path, cells: list[str], names: tuple[str, ...] | None
) -> None:
    """Of every kind of column, beside rows without a feature."""
    table = "".join(f"{x},{y}\n" for x, y in zip(["1", "2", "3", "", "5"], cells, strict=True))
    file = stored(tmp_path, f"x,y\n{table}".encode())
    data = {"target": "y", "missing": "drop", "eval_fraction": 0.0}
    spec = file.spec(data)
    assert extent_of(spec).train_rows == 4
    with uploads_from(file.store):
        assert extent_of(exact_rows(spec)).train_rows == 3
    found = rows(file, data)
    assert found.train_features.flatten().tolist() == [1, 3, 5]
    kept = [cells[0], cells[2], cells[4]]
    expected = [float(cell) if names is None else names.index(cell) for cell in kept]
    assert found.train_targets.flatten().tolist() == expected


def test_gaps_that_leave_no_rows_end_the_job_in_words(tmp_path: Path) -> None:
    file = stored(tmp_path, b"a,b,y\n1,,1\n,2,2\n3,,3\n,4,4\n")
    spec = file.spec({"target": "y", "missing": "drop", "eval_fraction": 0.0})
    with uploads_from(file.store), pytest.raises(JobFailure, match="leaves 0 of 4") as failed:
        exact_rows(spec)
    assert (failed.value.failure_code, failed.value.param) == (
        "data_unavailable",
        "problem.data.missing",
    )


@pytest.mark.parametrize(
    ("column", "names"),
    [
        (["b", "a", "b", "a"], ("a", "b")),
        (["5", "3", "5", "3"], ("3", "5")),
        (["true", "false", "true", "false"], ("false", "true")),
    ],
)
def test_classes_have_the_names_that_the_file_has(
    column: list[str], names: tuple[str, ...], tmp_path: Path
) -> None:
    lines = "".join(f"{i}.5,{each}\n" for i, each in enumerate(column))
    file = stored(tmp_path, f"x,y\n{lines}".encode())
    found = rows(file, {"target": "y"}, "class_ids")
    assert found.class_names == names
    assert [names[i] for i in found.train_targets.tolist()] == column


def test_several_columns_are_several_values(tmp_path: Path) -> None:
    file = stored(tmp_path, b"a,b,c\n1,2,3.5\n4,5,6.5\n7,8,9.5\n")
    found = rows(file, {"target": ["c", "a"]})
    assert found.train_targets.tolist() == [[3.5, 1], [6.5, 4], [9.5, 7]]
    assert found.feature_names == ("b",)


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def test_arrays_with_a_sample_shape_train_a_list_of_layers(tmp_path: Path) -> None:
    digits = datasets.load_digits()
    content = npz(x=digits.images[:, None].astype(np.float32), y=digits.target)
    file = stored(tmp_path, content, "application/x-npz")
    layers = [
        {"kind": "unflatten", "unflattened_size": [1, 8, 8]},
        {"kind": "conv2d", "out_channels": 4, "kernel_size": 3},
        {"kind": "relu"},
        {"kind": "flatten"},
        {"kind": "linear"},
    ]
    spec = file.spec(
        {"target": "y"},
        model={"kind": "layers", "layers": layers},
        optimizer={"kind": "adam", "lr": 0.01},
        budget={"max_steps": 60},
    )
    found = trained(file, spec, tmp_path / "job")
    assert found.ending.result["eval"]["accuracy"] > 0.8
    assert found.events.data == {
        "num_rows": {"train": 1438, "eval": 359, "test": 0},
        "num_features": 64,
        "classes": [str(i) for i in range(10)],
    }


def images() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(12):
            shade, folder = (200, "light") if number % 2 else (30, "dark")
            picture = io.BytesIO()
            Image.new("L", (4, 3), shade + number).save(picture, "PNG")
            archive.writestr(f"{folder}/{number:02}.png", picture.getvalue())
    return file.getvalue()


def test_images_in_a_folder_a_class_are_told_apart(tmp_path: Path) -> None:
    file = stored(tmp_path, images(), "application/zip")
    spec = file.spec({"eval_fraction": 0.0}, budget={"max_steps": 50})
    found = trained(file, spec, tmp_path / "job")
    assert found.events.data is not None
    assert found.events.data["classes"] == ["dark", "light"]
    assert found.events.data["num_features"] == 12
    assert found.ending.result["final_loss"] < 0.3


def test_images_are_scaled_as_pillow_scales_them_and_reconstructed(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    pictures = draw.integers(0, 256, (6, 9, 7, 3), dtype=np.uint8)
    archived = io.BytesIO()
    with zipfile.ZipFile(archived, "w") as archive:
        for number, picture in enumerate(pictures):
            png = io.BytesIO()
            Image.fromarray(picture).save(png, "PNG")
            archive.writestr(f"{'ab'[number % 2]}/{number}.png", png.getvalue())
    file = stored(tmp_path, archived.getvalue(), "application/zip")
    data = {"image_size": [4, 5], "eval_fraction": 0.0, "standardize": False}
    found = rows(file, data).train_features.numpy().reshape(6, 3, 4, 5).transpose(0, 2, 3, 1)
    order = [0, 2, 4, 1, 3, 5]  # by folder
    scaled = [Image.fromarray(pictures[i]).resize((5, 4), Image.Resampling.BILINEAR) for i in order]
    assert np.abs(found - np.stack([np.asarray(each, float) for each in scaled])).max() < 1.0

    spec = file.spec(data, budget={"max_steps": 3})
    body = json.loads(spec.model_dump_json(exclude={"problem": {"data": {"stored"}}}))
    body["problem"] |= {"kind": "reconstruction", "loss": None, "model": {"kind": "autoencoder"}}
    body["problem"]["data"]["target"] = None
    body["record"] = {}
    again = parse_job(json.dumps(body).encode(), Limits(), {spec.problem.data.id: file.facts})  # type: ignore[union-attr]
    ended = trained(file, again, tmp_path / "job")
    assert ended.events.data == {
        "num_rows": {"train": 6, "eval": 0, "test": 0}, "num_features": 60, "classes": None,
    }  # fmt: skip


@pytest.mark.parametrize("sides", [(1, 1), (4, 5), (9, 7), (20, 3), (13, 31)])
@pytest.mark.parametrize("size", [(1, 1), (9, 7), (2, 40)])
def test_posted_images_are_scaled_as_uploaded_ones(
    size: tuple[int, int], sides: tuple[int, int]
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, *size), dtype=np.uint8)
    (uploaded,) = scaled_images(image[None], sides)
    assert scaled_image(image, sides) == pytest.approx(uploaded, abs=1e-3)


def test_the_weights_say_how_rows_became_features(tmp_path: Path) -> None:
    file = stored(tmp_path, MIXED.encode())
    spec = file.spec({"target": "price", "missing": "mean"}, budget={"max_steps": 1})
    found = trained(file, spec, tmp_path / "job")
    metadata = parse(found.artifacts.read("final.safetensors"))[1]
    names = json.loads(metadata["feature_names"])
    assert names == [
        *("size", "color=blue", "color=green", "color=red", "color=(other)", "garden"),
    ]
    assert len(json.loads(metadata["standardization"])["mean"]) == len(names)
    about = json.loads(metadata["preprocessing"])
    assert [each["name"] for each in about["features"]] == ["size", "color", "garden"]
    assert (about["targets"], about["missing"]) == (["price"], "mean")
    assert "stored" not in metadata["spec"]


def test_a_content_that_is_gone_ends_the_job_in_words(tmp_path: Path) -> None:
    file = stored(tmp_path, MIXED.encode())
    spec = file.spec({"target": "price", "features": ["size"], "missing": "mean"})
    file.store.job(file.facts.file).delete_all()
    with uploads_from(file.store), pytest.raises(JobFailure, match="upload it again") as failed:
        train(spec, tmp_path / "job")
    assert failed.value.failure_code == "data_unavailable"


class RangesOnly(LocalStore):
    """A store whose artifacts are no files for others, as those of an object store."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._folder = root

    def job(self, job_id: str) -> LocalJob:
        return RangesOnlyJob(self._folder, job_id)


class RangesOnlyJob(LocalJob):
    def local_path(self, name: str) -> Path | None:
        return JobArtifacts.local_path(self, name)


def test_ranges_of_an_object_store_give_the_same_rows(tmp_path: Path) -> None:
    file = stored(tmp_path, MIXED.encode())
    away = Stored(RangesOnly(tmp_path / "artifacts"), file.facts)
    spec = {"target": "price", "missing": "mean"}
    near, far = rows(file, spec), rows(away, spec)
    assert torch.equal(near.train_features, far.train_features)
    assert torch.equal(near.train_targets, far.train_targets)


def before(file: Stored) -> Stored:
    """The file as an earlier version has checked it, which did not look for its largest numbers."""
    columns = [replace(each, largest=None, largest_row=None) for each in file.facts.columns]
    return Stored(file.store, replace(file.facts, columns=tuple(columns)))


def test_numbers_beyond_float32_end_the_job_in_words(tmp_path: Path) -> None:
    file = stored(tmp_path, b"x,y\n1e100,1\n2.5,2\n3.5,3\n4.5,4\n")
    plain = {"target": "y", "eval_fraction": 0.0, "standardize": False}
    with pytest.raises(InvalidInputError, match=r'"x" has 1e\+100 in row 0 .*float32.*float64'):
        file.spec(plain)
    spec = before(file).spec(plain)
    with uploads_from(file.store), pytest.raises(JobFailure, match=r"'x' is 1e\+100 in row 0 .*32"):
        train(spec, tmp_path / "job")
    wide = file.spec(
        {"target": "y", "eval_fraction": 0.0}, precision="float64", budget={"max_steps": 1}
    )
    assert math.isfinite(trained(file, wide, tmp_path / "b").ending.result["final_loss"])


def test_a_spec_of_an_upload_is_one(tmp_path: Path) -> None:
    file = stored(tmp_path, MIXED.encode())
    problem = file.spec({"target": "price", "features": ["size"], "missing": "mean"}).problem
    assert isinstance(problem, Supervised)
    assert isinstance(problem.data, Upload)
    assert problem.data.sizes.file == file.facts.file


def test_several_columns_of_two_values_are_labels(tmp_path: Path) -> None:
    lines = [f"{i / 10},{i % 2},{'yes' if i % 3 else 'no'}" for i in range(12)]
    file = stored(tmp_path, ("\n".join(["size,even,third", *lines]) + "\n").encode())
    data = {"target": ["even", "third"], "eval_fraction": 0.25}
    spec = file.spec(data, loss="binary_cross_entropy")

    done = trained(file, spec, tmp_path / "run")

    assert done.weights()["output.weight"].shape == (2, 1)
    assert set(done.ending.result["eval"]) == {"step", "loss", "accuracy"}
