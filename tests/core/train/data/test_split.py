"""Every kind of data under every kind of split: the parts are disjoint and complete, of the sizes
that were announced, the same each time, and all numbers are fitted on the training rows alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from core.errors import JobFailure
from core.specs.data import Upload, split_rows
from core.specs.job import JobSpec, Supervised
from core.specs.parsing.job import parse_job
from core.specs.sizes.extent import extent_of
from core.specs.sizes.shapes import data_shape
from core.specs.splits.rows import PARTS
from core.specs.validation.limits import Limits
from core.train.data.build import load
from core.train.data.dataset import Dataset
from core.train.data.uploaded import exact_rows, uploads_from
from core.train.determinism import generator
from core.train.losses import target_form
from tests.core.train.data.uploads import Stored, stored

Json = dict[str, Any]
Parts = tuple[list[int], list[int], list[int]]
CPU: Final = torch.device("cpu")
ROWS: Final = 43
COLORS: Final = ("blue", "green", "red")
SPLITS: Final[dict[str, Json]] = {
    "fraction": {"kind": "fraction", "eval": 0.25, "test": 0.2, "seed": 5},
    "no evaluation": {"kind": "fraction", "eval": 0.0, "test": 0.3},
    "stratified": {"kind": "fraction", "eval": 0.25, "test": 0.2, "stratify": True},
    "tail": {"kind": "tail", "eval": 0.2, "test": 0.1},
    "folds": {"kind": "folds", "num": 4, "fold": 3, "seed": 2},
    "stratified folds": {"kind": "folds", "num": 3, "fold": 1, "stratify": True},
    "column": {"kind": "column", "name": "fold", "eval": [1], "test": [0]},
}
KINDS: Final = ("builtin", "synthetic", "inline", "dataset")


def lines() -> str:
    """A row's number is the first of its features, so that it can be found again."""
    cells = (
        f"{i},{COLORS[i % 3]},{i % 7},{'' if i % 5 == 2 else i / 8},{i % 2}" for i in range(ROWS)
    )
    return "row,color,fold,gap,y\n" + "\n".join(cells) + "\n"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return stored(tmp_path_factory.mktemp("upload"), lines().encode())


def data_of(kind: str) -> Json:
    match kind:
        case "builtin":
            return {"name": "iris"}
        case "synthetic":
            return {"generator": {"kind": "blobs", "num_samples": ROWS, "num_classes": 3}}
        case "inline":
            return {
                "features": [[i, 1.0] for i in range(ROWS)],
                "targets": [i % 3 for i in range(ROWS)],
            }
        case _:
            return {"target": "y", "missing": "mean", "features": ["row", "color", "gap"]}


Make = Callable[[str, Json], tuple[JobSpec, Dataset]]


@pytest.fixture
def make(file: Stored) -> Make:
    """Return a kind of data, loaded in float64."""

    def made(kind: str, data: Json) -> tuple[JobSpec, Dataset]:
        full = {"kind": kind, **data_of(kind), "standardize": False, **data}
        if kind == "dataset":
            spec = file.spec(full)
        else:
            problem = {"kind": "supervised", "data": full, "model": {"kind": "linear"}}
            body = {"problem": problem, "optimizer": {"kind": "sgd"}}
            spec = parse_job(json.dumps(body).encode(), Limits())
        assert isinstance(spec.problem, Supervised)
        assert spec.problem.loss is not None
        with uploads_from(file.store):
            form = target_form(spec.problem.loss)
            return spec, load(spec.problem.data, form, CPU, torch.float64)

    return made


def keys_of(found: Dataset) -> list[list[tuple[float, ...]]]:
    """The rows of each part, as their features and target."""
    parts: list[list[tuple[float, ...]]] = []
    for part in PARTS:
        rows = found.rows(part)
        if rows is None:
            parts.append([])
            continue
        targets = rows[1].flatten().tolist()
        pairs = zip(rows[0].tolist(), targets, strict=True)
        parts.append([(*x, float(target)) for x, target in pairs])
    return parts


def joined(parts: list[list[Any]]) -> list[Any]:
    return [each for part in parts for each in part]


CASES: Final = [
    (kind, split)
    for kind in KINDS
    for split in SPLITS
    if split != "column" or kind == "dataset"  # of which alone the columns have names
]


@pytest.mark.parametrize(("kind", "split"), CASES)
def test_parts_are_disjoint_complete_in_order_and_as_announced(
    kind: str, split: str, make: Make
) -> None:
    spec, found = make(kind, {"split": SPLITS[split]})
    _, everything = make(kind, {"eval_fraction": 0.0})
    parts = keys_of(found)
    size = extent_of(spec)
    sizes = (size.train_rows, size.eval_rows, size.test_rows)
    assert tuple(map(len, parts)) == sizes
    assert found.facts["num_rows"] == dict(zip(PARTS, sizes, strict=True))
    # A gap's filling follows from the training rows: what it stands beside tells the row.
    told = slice(0, 1) if kind == "dataset" else slice(None)
    whole, *_ = ([row[told] for row in part] for part in keys_of(everything))
    place = {row: at for at, row in enumerate(whole)}
    at = [[place[row[told]] for row in part] for part in parts]
    if len(place) == len(whole):  # iris has equal rows
        assert sorted(joined(at)) == list(range(len(whole)))
        assert all(part == sorted(part) for part in at)
    _, again = make(kind, {"split": SPLITS[split]})
    assert keys_of(again) == parts


@pytest.mark.parametrize("name", ["stratified", "stratified folds"])
@pytest.mark.parametrize("kind", KINDS)
def test_classes_are_within_one_row_of_their_share(kind: str, name: str, make: Make) -> None:
    _, found = make(kind, {"split": SPLITS[name]})
    targets = [
        np.zeros(0) if (part := found.rows(each)) is None else part[1].numpy() for each in PARTS
    ]
    counts = np.stack([np.bincount(each.flatten().astype(int), minlength=3) for each in targets])
    shares = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    assert (np.abs(counts - shares) < 1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_short_form_draws_the_rows_that_it_always_did(kind: str, make: Make) -> None:
    _, short = make(kind, {"eval_fraction": 0.3, "split_seed": 7})
    _, long = make(kind, {"split": {"kind": "fraction", "eval": 0.3, "seed": 7}})
    _, everything = make(kind, {"eval_fraction": 0.0})
    num_rows = len(everything.train_features)
    drawn = torch.randperm(num_rows, generator=generator(7, "split"))[: round(num_rows * 0.3)]
    assert keys_of(short) == keys_of(long)
    assert short.eval_features is not None
    expected = everything.train_features[drawn.sort().values]
    where = slice(0, 1) if kind == "dataset" else slice(None)
    assert torch.equal(short.eval_features[:, where], expected[:, where])


def test_a_share_for_the_test_takes_none_of_the_rows_for_evaluation(make: Make) -> None:
    _, without = make("builtin", {"split": {"kind": "fraction", "eval": 0.2}})
    _, with_test = make("builtin", {"split": {"kind": "fraction", "eval": 0.2, "test": 0.2}})
    assert keys_of(without)[1] == keys_of(with_test)[1]


def test_all_folds_together_evaluate_every_row_once(make: Make) -> None:
    split = {"kind": "folds", "num": 5, "seed": 1}
    held = [keys_of(make("inline", {"split": {**split, "fold": k}})[1])[1] for k in range(5)]
    assert sorted(joined(held)) == sorted((float(i), 1.0, float(i % 3)) for i in range(ROWS))


@pytest.mark.parametrize("split", SPLITS)
def test_numbers_are_fitted_on_the_training_rows_alone(split: str, make: Make) -> None:
    _, raw = make("dataset", {"split": SPLITS[split]})
    _, found = make("dataset", {"split": SPLITS[split], "standardize": True})
    rows = np.array([row[0] for row in keys_of(raw)[0]])
    gaps = np.array([np.nan if i % 5 == 2 else i / 8 for i in range(ROWS)])
    assert raw.preprocessing is not None
    (about,) = (each for each in raw.preprocessing["features"] if each["name"] == "gap")
    assert about["fill"] == np.nanmean(gaps[rows.astype(int)])
    # Categories are the whole file's, whatever the training rows have.
    assert raw.feature_names == ("row", *(f"color={c}" for c in (*COLORS, "(other)")), "gap")
    assert found.mean is not None
    assert found.scale is not None
    train = raw.train_features.numpy()
    np.testing.assert_allclose(found.mean, train.mean(axis=0), rtol=1e-12)
    for part in PARTS:
        ours, theirs = found.rows(part), raw.rows(part)
        if ours is not None and theirs is not None:
            expected = (theirs[0].numpy() - found.mean) / found.scale
            np.testing.assert_allclose(ours[0].numpy(), expected, atol=1e-12)


def test_a_column_says_where_each_row_belongs(make: Make) -> None:
    _, found = make("dataset", {"split": SPLITS["column"]})
    held = [[row[0] for row in part] for part in keys_of(found)]
    assert held[1] == [i for i in range(ROWS) if i % 7 == 1]
    assert held[2] == [i for i in range(ROWS) if i % 7 == 0]


TEXT: Final = (
    "x,set,on,y\n1,a,true,1\n2,b,false,2\n3,,true,3\n4,b,true,4\n5,a,false,5\n6,c,,6\n7,a,true,7\n"
)


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ({"name": "set", "eval": ["b"], "test": ["c"]}, ([1, 3, 5, 7], [2, 4], [6])),
        ({"name": "on", "eval": [False]}, ([1, 3, 4, 6, 7], [2, 5], [])),
    ],
)
def test_categories_and_truth_values_split_and_a_missing_one_trains(
    split: Json, expected: Parts, tmp_path: Path
) -> None:
    file = stored(tmp_path, TEXT.encode())
    data = {"target": "y", "features": ["x"], "standardize": False}
    spec = file.spec({**data, "split": {"kind": "column", **split}})
    problem = spec.problem
    assert isinstance(problem, Supervised)
    with uploads_from(file.store):
        found = load(problem.data, "values", CPU, torch.float64)
    assert tuple([row[0] for row in part] for part in keys_of(found)) == expected
    rows = data_shape(problem.data).num_rows
    assert split_rows(problem.data, rows) == tuple(map(len, expected))


def counts(content: bytes, tmp_path: Path, media_type: str = "text/csv") -> Json:
    facts = stored(tmp_path, content, media_type).facts
    return {each.name: (each.cells, each.counts) for each in facts.columns}


def test_an_upload_counts_the_rows_of_each_value(tmp_path: Path) -> None:
    found = counts(b"a,b,c,d\n1,x,true,0.5\n,y,,1.5\n-3,y,true,2\n1,,false,3\n", tmp_path)
    assert found == {
        "a": ((-3, 1), (1, 2)),
        "b": (("x", "y"), (1, 2)),
        "c": ((False, True), (1, 2)),
        "d": (None, None),
    }


def test_rows_that_are_left_out_are_of_no_part(tmp_path: Path) -> None:
    file = stored(tmp_path, TEXT.replace("4,b", ",b").encode())
    split = {"kind": "column", "name": "set", "eval": ["b"], "test": ["a"]}
    data = {"target": "y", "features": ["x"], "missing": "drop"}
    spec = file.spec({**data, "split": split})
    assert extent_of(spec)[4:7] == (2, 2, 3)  # at most: the record knows no more
    with uploads_from(file.store):
        exact = exact_rows(spec)
        assert exact_rows(exact) is exact
    assert extent_of(exact)[4:7] == (2, 1, 3)
    nothing = stored(tmp_path / "other", b"x,set,y\n,a,1\n,a,2\n3,b,3\n4,b,4\n5,b,5\n")
    spec = nothing.spec({**data, "split": {"kind": "column", "name": "set", "eval": ["b"]}})
    with uploads_from(nothing.store), pytest.raises(JobFailure, match="none of the 3") as failed:
        exact_rows(spec)
    assert failed.value.failure_code == "data_unavailable"


def test_classes_that_gaps_leave_too_few_rows_of_end_the_job_in_words(tmp_path: Path) -> None:
    content = b"x,y\n1,a\n2,a\n3,a\n4,a\n5,a\n,b\n7,b\n"
    file = stored(tmp_path, content)
    split = {"kind": "folds", "num": 2, "stratify": True}
    spec = file.spec({"target": "y", "missing": "drop", "split": split})
    problem = spec.problem
    assert isinstance(problem, Supervised)
    assert isinstance(problem.data, Upload)
    with uploads_from(file.store), pytest.raises(JobFailure, match="class 1 has one row") as failed:
        load(problem.data, "class_ids", CPU, torch.float64)
    assert failed.value.failure_code == "data_unavailable"


def permuted(seed: int) -> NDArray[np.int64]:
    found: NDArray[np.int64] = torch.randperm(ROWS, generator=generator(seed, "split")).numpy()
    return found


def test_folds_are_dealt_from_the_permutation_of_their_seed(make: Make) -> None:
    """As docs/data.md says it, so that others can draw the same."""
    for fold in range(4):
        _, found = make("inline", {"split": {"kind": "folds", "num": 4, "fold": fold, "seed": 2}})
        expected = sorted(permuted(2)[fold::4].tolist())
        assert [int(row[0]) for row in keys_of(found)[1]] == expected
