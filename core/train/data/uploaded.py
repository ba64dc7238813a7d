"""Rows of an uploaded data set, read from its stored form: no text is parsed.

Categories are those of the whole file, as the record has them; what takes the place of a missing
value is fitted on the training rows.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from core.artifacts.base import ArtifactStore
from core.errors import JobFailure, NotFoundError
from core.specs.base import Json
from core.specs.data import Upload
from core.specs.job import DataProblem, JobSpec, LanguageModel
from core.specs.losses import classes_among
from core.specs.models import Model
from core.specs.splits.kinds import ColumnSplit
from core.specs.splits.rows import EVAL, TEST, TRAIN, Codes
from core.train.data.rows import Float, Rows, checked
from core.uploads.check import STORED_NAME
from core.uploads.contents import Column
from core.uploads.stored import StoredFile

if TYPE_CHECKING:  # rows are read, and counted for a task, without torch
    from torch import Tensor

    from core.train.losses import TargetForm

BLOCK_ROWS: Final = 8_192
"""Rows that are written into the matrix at a time: column by column over all rows, each number
would be in a cache line of its own."""

_SOURCE: ContextVar[ArtifactStore] = ContextVar("uploads")


@contextmanager
def uploads_from(artifacts: ArtifactStore) -> Iterator[None]:
    """Read uploads from this store as long as the context lasts."""
    before = _SOURCE.set(artifacts)
    try:
        yield
    finally:
        _SOURCE.reset(before)


def open_upload(spec: Upload) -> StoredFile:
    """Open the stored form.

    Raises:
        JobFailure: it is gone.
    """
    try:
        artifacts = _SOURCE.get().job(spec.sizes.file)
        path = artifacts.local_path(STORED_NAME)
        if path is None:
            return StoredFile.from_ranges(
                lambda start, length: artifacts.read_range(STORED_NAME, start, length)
            )
        if not artifacts.exists(STORED_NAME):
            raise NotFoundError(STORED_NAME)
        return StoredFile.open(path)
    except NotFoundError as error:
        raise JobFailure(
            "data_unavailable",
            f"The content of the data set {spec.id} is gone: upload it again, and post the spec"
            " with the new id.",
            "problem.data.id",
        ) from error


def read_weights(model: Model) -> "dict[str, Tensor]":
    """Read the tensors that a model begins with, by the names of its parameters.

    Raises:
        JobFailure: the content is gone.
    """
    from safetensors.torch import load

    assert model.stored_weights is not None  # the spec is resolved
    try:
        return load(_SOURCE.get().job(model.stored_weights.file).read(STORED_NAME))
    except NotFoundError as error:
        raise JobFailure(
            "data_unavailable",
            f"The content of the data set of weights {model.initial_weights} is gone: upload it"
            " again, and post the spec with the new id.",
            "problem.model.initial_weights",
        ) from error


def load_upload(spec: Upload, form: "TargetForm", ignored: int | None = None) -> Rows:
    """Read the rows that the spec asks for, coded as numbers; a target that is `ignored`, and
    negative, is no class.

    Raises:
        JobFailure: the content is gone, or leaving out rows leaves too few.
    """
    from core.train.data.split import draw_split

    stored = open_upload(spec)
    features = _columns(spec, stored)
    if spec.image_sides is not None:
        features = [_scaled(each, spec.image_sides) for each in features]
    kept = kept_rows(spec, features, stored)
    num_rows = len(kept) if kept is not None else stored.contents.num_rows or 0
    targets, names = _targets(spec, form, stored, kept, ignored)
    split = spec.chosen_split
    if isinstance(split, ColumnSplit):
        codes = checked(_codes_of_column(split, stored, kept), split)
    else:
        codes = draw_split(split, num_rows, targets)
    train = np.flatnonzero(codes == TRAIN)
    parts = [_coded(each, kept, train, spec) for each in features]
    return Rows(
        _matrix(parts, num_rows),
        targets,
        feature_names=tuple(name for part in parts for name in part.names),
        class_names=names[0] if len(names) == 1 else None,
        preprocessing={
            "features": [part.about for part in parts],
            "targets": list(spec.targets),
            "labels": [list(each) for each in names] if len(names) > 1 else [],
            "missing": spec.missing,
            "categorical": spec.categorical,
            "image_size": None if spec.image_sides is None else list(spec.image_sides),
        },
        codes=codes,
        target_names=spec.targets,
        numbers=kept,
    )


def _codes_of_column(
    split: ColumnSplit, stored: StoredFile, kept: NDArray[np.int64] | None
) -> Codes:
    """Return the part that a column gives each row."""
    column, values = stored.contents.column(split.name), stored.column(split.name)
    assert column is not None  # the record has it
    values = values if kept is None else values[kept]
    codes = np.full(len(values), TRAIN, dtype=np.int8)
    names = column.categories
    for code, cells in ((EVAL, split.eval), (TEST, split.test)):
        numbers = [names.index(str(cell)) if names is not None else int(cell) for cell in cells]
        codes[np.isin(values, numbers)] = code
    return codes


@dataclass(frozen=True)
class _Feature:
    """A column and its values in all rows. `gaps`: the rows without one; None where none is."""

    column: Column
    values: NDArray[Any]
    gaps: NDArray[np.bool_] | None


def _columns(spec: Upload, stored: StoredFile) -> list[_Feature]:
    names = spec.features
    if names is None:
        others = spec.no_features
        names = tuple(each.name for each in stored.contents.columns if each.name not in others)
    found = []
    for name in names:
        column = stored.contents.column(name)
        assert column is not None  # the record has it
        values = stored.column(name)
        found.append(_Feature(column, values, _gaps(values) if column.num_missing else None))
    return found


def _scaled(feature: _Feature, sides: tuple[int, int]) -> _Feature:
    """Scale images (channels, height, width) to this height and width."""
    scaled = scaled_images(feature.values, sides)
    column = replace(feature.column, shape=scaled.shape[1:])
    return _Feature(column, scaled, feature.gaps)


def scaled_images(images: NDArray[Any], sides: tuple[int, int]) -> NDArray[np.float32]:
    """Scale images (rows, channels, height, width) to this height and width."""
    import torch
    from torch.nn import functional

    scaled = np.empty((*images.shape[:2], *sides), dtype=np.float32)
    for start in range(0, len(scaled), BLOCK_ROWS):
        block = torch.tensor(images[start : start + BLOCK_ROWS], dtype=torch.float32)
        found = functional.interpolate(block, sides, mode="bilinear", antialias=True)
        scaled[start : start + BLOCK_ROWS] = found.numpy()
    return scaled


def _gaps(values: NDArray[Any]) -> NDArray[np.bool_]:
    missing = np.isnan(values) if values.dtype.kind == "f" else values < 0
    return np.asarray(missing.reshape(len(values), -1).any(axis=1), dtype=np.bool_)


def kept_rows(
    spec: Upload, features: list[_Feature], stored: StoredFile
) -> NDArray[np.int64] | None:
    """Return the rows in which no feature and no target is missing; None: all. Raises
    `JobFailure`."""
    if spec.missing != "drop":
        return None
    gaps = [each.gaps for each in features if each.gaps is not None]
    for name in spec.targets:
        column = stored.contents.column(name)
        if column is not None and column.num_missing:
            gaps.append(_gaps(stored.column(name)))
    if not gaps:
        return None
    kept = np.flatnonzero(~np.logical_or.reduce(gaps))
    if len(kept) < 2:
        raise JobFailure(
            "data_unavailable",
            f"Leaving out the rows in which a feature or a target is missing leaves {len(kept)} of"
            f" {len(gaps[0]):,}: choose another `missing`, or columns without so many gaps.",
            "problem.data.missing",
        )
    return kept


@dataclass(frozen=True)
class _Part:
    """A feature as numbers: rows x `width`, or one code a row of which `width` columns come.

    Attributes:
        names: of its columns.
        about: how it was coded, for the weights' metadata.
    """

    values: NDArray[Any]
    width: int
    one_hot: bool
    fill: Float | None
    names: tuple[str, ...]
    about: Json


def _coded(
    feature: _Feature, kept: NDArray[np.int64] | None, train: NDArray[np.int64], spec: Upload
) -> _Part:
    column, values = feature.column, feature.values
    if kept is not None:
        values = values[kept]
    values = values.reshape(len(values), -1)
    gaps = None if feature.gaps is None or kept is not None else feature.gaps
    fill = None if gaps is None else _fill(column, values, gaps, train, spec)
    about: Json = {
        "name": column.name,
        "dtype": column.dtype,
        "shape": list(column.shape),
        "categories": None if column.categories is None else list(column.categories),
        "fill": None if fill is None else fill.tolist() if column.shape else float(fill[0]),
    }
    if column.categories is None:
        names = _names(column)
        return _Part(values, values.shape[1], False, fill, names, about)
    if spec.categorical == "ordinal":
        return _Part(values, 1, False, fill, (column.name,), about)
    names = tuple(f"{column.name}={each}" for each in (*column.categories, "(other)"))
    return _Part(values, len(names), True, fill, names, about)


def _names(column: Column) -> tuple[str, ...]:
    if not column.shape:
        return (column.name,)
    places = np.ndindex(*column.shape)
    return tuple(f"{column.name}[{','.join(map(str, place))}]" for place in places)


def _fill(
    column: Column,
    values: NDArray[Any],
    gaps: NDArray[np.bool_],
    train: NDArray[np.int64],
    spec: Upload,
) -> Float:
    """Return what a missing value becomes, by the training rows."""
    known = values[train[~gaps[train]]]
    if len(known) == 0:
        raise JobFailure(
            "data_unavailable",
            f"The column {column.name!r} has no value in any training row, so that nothing can take"
            " the place of missing ones: leave it out of the features, or split the rows another"
            " way.",
            "problem.data.features",
        )
    if spec.missing == "mean" and column.dtype in {"number", "integer", "date"}:
        mean: Float = known.astype(np.float64).mean(axis=0)
        return mean
    # Of values that are equally frequent the smallest.
    each = [np.unique(known[:, i], return_counts=True) for i in range(known.shape[1])]
    return np.array([found[counts.argmax()] for found, counts in each], dtype=np.float64)


def _matrix(parts: list[_Part], num_rows: int) -> Float:
    """Write the parts side by side, missing values filled."""
    matrix = np.empty((num_rows, sum(part.width for part in parts)))
    for start in range(0, num_rows, BLOCK_ROWS):
        block = matrix[start : start + BLOCK_ROWS]
        at = 0
        for part in parts:
            values = part.values[start : start + BLOCK_ROWS]
            if part.fill is not None:
                missing = np.isnan(values) if values.dtype.kind == "f" else values < 0
                values = np.where(missing, part.fill, values)
            into = block[:, at : at + part.width]
            if part.one_hot:
                into[:] = values == np.arange(part.width)
            else:
                into[:] = values
            at += part.width
    return matrix


def _targets(
    spec: Upload,
    form: "TargetForm",
    stored: StoredFile,
    kept: NDArray[np.int64] | None,
    ignored: int | None,
) -> tuple[Float, list[tuple[str, ...]]]:
    """Return the targets, and of classes and labels the names of each column's."""
    columns, names = [], []
    for name in spec.targets:
        column, values = stored.contents.column(name), stored.column(name)
        assert column is not None
        values = values if kept is None else values[kept]
        if form != "values":
            values, of_column = _classes(column, values, ignored)
            names.append(of_column)
        columns.append(values.reshape(len(values), -1).astype(np.float64))
    if not columns:  # of a reconstruction
        num_rows = stored.contents.num_rows if kept is None else len(kept)
        return np.empty((num_rows or 0, 0)), []
    return np.concatenate(columns, axis=1), names


def _classes(
    column: Column, values: NDArray[Any], ignored: int | None
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return ids from 0 on, or `ignored` where that is negative, and the classes' names in their
    order."""
    if column.categories is not None:
        return values, column.categories
    known = (0, 1) if column.dtype == "bool" and column.values is None else column.values
    assert known is not None  # validation has seen to it
    known = classes_among(known, ignored)
    ids = np.searchsorted(np.array(known), values)
    if ignored is not None and ignored < 0:
        ids = np.where(values == ignored, ignored, ids)
    if column.dtype == "bool":
        return ids, tuple(("false", "true")[value] for value in known)
    return ids, tuple(map(str, known))


def exact_rows(spec: JobSpec) -> JobSpec:
    """Return the spec with the number of rows that its data have once those with gaps are left out,
    or once the tokens of its text are counted: the record says an upper bound only.

    Raises:
        JobFailure: the content is gone, or too few rows are left.
    """
    problem = spec.problem
    if isinstance(problem, LanguageModel):
        from core.train.data.text import exact_tokens

        exactly = exact_tokens(problem)
        return spec if exactly is problem else spec.model_copy(update={"problem": exactly})
    if not isinstance(problem, DataProblem) or not isinstance(problem.data, Upload):
        return spec
    data = problem.data
    if data.missing != "drop":
        return spec
    stored, split = open_upload(data), data.chosen_split
    kept = kept_rows(data, _columns(data, stored), stored)
    if kept is None:
        return spec
    exact_sizes: Json = {"num_rows": len(kept)}
    if isinstance(split, ColumnSplit):
        codes = checked(_codes_of_column(split, stored, kept), split)
        exact_sizes["part_rows"] = tuple(np.bincount(codes, minlength=3).tolist())
    sizes = data.sizes.model_copy(update=exact_sizes)
    if sizes == data.sizes:
        return spec
    exact = problem.model_copy(update={"data": data.model_copy(update={"stored": sizes})})
    return spec.model_copy(update={"problem": exact})
