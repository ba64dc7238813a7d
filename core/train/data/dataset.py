"""Split, standardized and cast: a data set as the training loop uses it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.specs.base import Json
from core.specs.formulas.precisions import standardized
from core.specs.splits.rows import EVAL, PARTS, TEST, TRAIN, Codes, Part
from core.train.data.ranges import check_features, check_targets
from core.train.data.rows import Float, Rows
from core.train.losses import TargetForm


@dataclass(frozen=True, eq=False)
class Dataset:
    """Tensors on one device, in one precision; never written to after it is made.

    `train_features` is rows x columns; targets have the shape that their `TargetForm` names.
    The parts for evaluation and the test are None when no row is held out for them. `mean` and
    `scale` (float64, one a column) are None when nothing was standardized: the features here are
    (raw − mean) / scale. `target_mean` and `target_scale` are the same of targets.
    `preprocessing` says how the columns of a file became features. Of a text `num_tokens` is the
    size of its vocabulary, `tokenizer` what made its ids, and targets are rows x tokens.
    `in_time`: rows are stretches of a text or a series.
    """

    train_features: Tensor
    train_targets: Tensor
    eval_features: Tensor | None
    eval_targets: Tensor | None
    test_features: Tensor | None
    test_targets: Tensor | None
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...] | None
    mean: Float | None
    scale: Float | None
    form: TargetForm
    preprocessing: Json | None = None
    target_mean: Float | None = None
    target_scale: Float | None = None
    tokenizer: Json | None = None
    num_tokens: int | None = None
    in_time: bool = False

    def rows(self, part: Part) -> tuple[Tensor, Tensor] | None:
        """Return the features and targets of a part; None where no row is held out for it."""
        match part:
            case "train":
                return self.train_features, self.train_targets
            case "eval":
                features, targets = self.eval_features, self.eval_targets
            case "test":
                features, targets = self.test_features, self.test_targets
        return None if features is None or targets is None else (features, targets)

    def in_units(self, values: Tensor) -> Tensor:
        """Return targets, or outputs that are like them, as the data have them: where they are
        scaled, in float64."""
        if self.target_mean is None or self.target_scale is None:
            return values
        mean, scale = (
            torch.from_numpy(each).to(values.device)
            for each in (self.target_mean, self.target_scale)
        )
        return values.double() * scale + mean

    @property
    def num_outputs(self) -> int:
        """The number of outputs that a model must give for each row."""
        if self.num_tokens is not None:
            return self.num_tokens
        match self.form:
            case "class_ids":
                assert self.class_names is not None
                return len(self.class_names)
            case _:
                return self.train_targets.shape[1]

    @property
    def facts(self) -> Json:
        """The facts that a job's record shows of its data."""
        parts = {
            "train": self.train_features,
            "eval": self.eval_features,
            "test": self.test_features,
        }
        return {
            "num_rows": {name: 0 if x is None else len(x) for name, x in parts.items()},
            "num_features": self.train_features.shape[1],
            "classes": None if self.class_names is None else list(self.class_names),
        }

    @property
    def size_bytes(self) -> int:
        """Memory of its tensors."""
        parts = [each for part in PARTS if (rows := self.rows(part)) is not None for each in rows]
        return sum(part.nbytes for part in parts)


def constant_columns(dataset: Dataset) -> list[int]:
    """List the features that have one value, other than 0, in all training rows."""
    x = dataset.train_features
    constant = (x == x[0]).all(0) & (x[0] != 0)
    return [int(column) for column in constant.nonzero().flatten()]


def without_columns(dataset: Dataset, columns: Sequence[int]) -> Dataset:
    """Return the data set with 0 in these features, in all rows."""

    def cleared(features: Tensor | None) -> Tensor | None:
        if features is None:
            return None
        features = features.clone()
        features[:, list(columns)] = 0.0
        return features

    train = cleared(dataset.train_features)
    assert train is not None
    return replace(
        dataset,
        train_features=train,
        eval_features=cleared(dataset.eval_features),
        test_features=cleared(dataset.test_features),
    )


def of_themselves(dataset: Dataset) -> Dataset:
    """Return the data set with its features for targets; the losses are of standardized ones where
    they are, and the metrics of the numbers as they came."""
    return replace(
        dataset,
        train_targets=dataset.train_features,
        eval_targets=dataset.eval_features,
        test_targets=dataset.test_features,
        class_names=None,
        form="values",
        target_mean=dataset.mean,
        target_scale=dataset.scale,
    )


def standardization(features: Float) -> tuple[Float, Float]:
    """Return the mean and standard deviation (of the population) of each column; a constant
    column's are its value and 1, so that it becomes exactly zero."""
    low, high = features.min(axis=0), features.max(axis=0)
    constant = low == high
    with np.errstate(over="ignore", invalid="ignore"):
        mean = np.where(constant, low, features.mean(axis=0))
        scale = np.where(constant, 1.0, features.std(axis=0))
    if not (np.isfinite(mean).all() and np.isfinite(scale).all()):
        # Sums or squares are beyond float64: the same of numbers that are smaller.
        peak = np.maximum(np.abs(low), np.abs(high))
        peak = np.where(peak > 0, peak, 1.0)
        mean, scale = standardization(features / peak)
        return mean * peak, scale * peak
    # A column whose spread is lost in rounding would be divided by zero.
    return mean, np.where(scale > 0, scale, 1.0)


def prepare(
    rows: Rows,
    form: TargetForm,
    codes: Codes,
    *,
    standardize: bool,
    scale_targets: bool,
    plain_columns: Sequence[int] = (),
    device: torch.device,
    dtype: torch.dtype,
) -> Dataset:
    """Split `rows` as `codes` say, each part in the order of the data, standardize the features by
    the training rows' statistics but for `plain_columns`, and targets where that is asked for, cast
    and move.

    Raises:
        JobFailure: the precision cannot hold a number.
    """
    train, held_out, tested = (np.flatnonzero(codes == code) for code in (TRAIN, EVAL, TEST))
    features, mean, scale = rows.features, None, None
    if standardize:
        mean, scale = standardization(features[train])
        mean[list(plain_columns)], scale[list(plain_columns)] = 0.0, 1.0
        features = standardized(features, mean, scale)

    values, target_mean, target_scale = rows.targets, None, None
    if scale_targets:
        target_mean, target_scale = standardization(values[train])
        values = standardized(values, target_mean, target_scale)

    def part(columns: Float, index: NDArray[np.int64], kind: torch.dtype) -> Tensor:
        return _cast(columns[index], kind).to(device)

    def inputs(index: NDArray[np.int64]) -> Tensor:
        return check_features(part(features, index, dtype), rows, index, standardize=standardize)

    def targets(index: NDArray[np.int64]) -> Tensor:
        if form == "class_ids":
            return part(rows.targets, index, torch.int64).squeeze(1).clone()
        return check_targets(part(values, index, dtype), rows, index, scaled=scale_targets)

    evaluated, tests = len(held_out) > 0, len(tested) > 0
    return Dataset(
        train_features=inputs(train),
        train_targets=targets(train),
        eval_features=inputs(held_out) if evaluated else None,
        eval_targets=targets(held_out) if evaluated else None,
        test_features=inputs(tested) if tests else None,
        test_targets=targets(tested) if tests else None,
        feature_names=rows.feature_names,
        class_names=rows.class_names,
        mean=mean,
        scale=scale,
        form=form,
        preprocessing=rows.preprocessing,
        target_mean=target_mean,
        target_scale=target_scale,
    )


def _cast(numbers: Float, kind: torch.dtype) -> Tensor:
    # In a tensor of torch's own making: BLAS gives other last bits for memory that is not aligned
    # as torch aligns it.
    return torch.empty(numbers.shape, dtype=kind).copy_(torch.from_numpy(numbers))
