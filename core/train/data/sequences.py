"""Data sets of sequences: the windows of a series, the contexts of a text."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from core.specs.formulas.precisions import standardized
from core.specs.job import Forecast, LanguageModel
from core.specs.sizes.sequences import vocabulary_size
from core.specs.splits.rows import EVAL, TEST, TRAIN, Codes
from core.train.data.dataset import Dataset, standardization
from core.train.data.ranges import check_features, check_targets
from core.train.data.rows import Rows
from core.train.data.text import Ids, contexts, tokenized


def load_text(problem: LanguageModel, device: torch.device, dtype: torch.dtype) -> Dataset:
    """Return the contexts of a text: ids (rows, context) in `dtype`, which holds them exactly, and
    as targets the ids that follow (int64).

    Raises:
        JobFailure: the content is gone.
    """
    text = tokenized(problem)
    parts = [_tokens(ids, problem.context, device, dtype) for ids in text.parts]
    train, evaluated, test = parts
    assert train is not None
    return Dataset(
        train_features=train[0],
        train_targets=train[1],
        eval_features=None if evaluated is None else evaluated[0],
        eval_targets=None if evaluated is None else evaluated[1],
        test_features=None if test is None else test[0],
        test_targets=None if test is None else test[1],
        feature_names=(),
        class_names=None,
        mean=None,
        scale=None,
        form="class_ids",
        tokenizer=text.tokenizer,
        num_tokens=vocabulary_size(problem),
        in_time=True,
    )


def _tokens(
    ids: Ids, context: int, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor] | None:
    rows = contexts(ids, context)
    if rows is None:
        return None
    features, targets = (torch.from_numpy(each.copy()) for each in rows)
    return features.to(dtype).to(device), targets.to(device)


@dataclass(frozen=True)
class _Series:
    """A series in the order of time, scaled.

    Attributes:
        inputs: times x channels: a row's features, then its targets.
        targets: times x targets.
        ends: of the rows for training, and of those for evaluation.
    """

    inputs: Tensor
    targets: Tensor
    ends: tuple[int, int]


def load_series(
    problem: Forecast, rows: Rows, codes: Codes, device: torch.device, dtype: torch.dtype
) -> Dataset:
    """Return the windows of a series: (rows, window · channels), time after time, and as targets
    (rows, horizon · targets) the values that follow. Means and deviations are those of the rows for
    training; so no number of a window depends on what comes after its last target."""
    data, window, horizon = problem.data, problem.window, problem.horizon
    train = int((codes == TRAIN).sum())
    assert (np.sort(codes) == codes).all() and TRAIN < EVAL < TEST  # noqa: PT018 (one fact)
    inputs, targets = np.concatenate([rows.features, rows.targets], axis=1), rows.targets
    names = (*rows.feature_names, *_target_names(problem, targets.shape[1]))
    came, every = replace(rows, features=inputs, feature_names=names), np.arange(len(inputs))
    mean, scale, target_mean, target_scale = None, None, None, None
    if data.standardize:
        mean, scale = standardization(inputs[:train])
        inputs = standardized(inputs, mean, scale)
    if data.scale_targets:
        target_mean, target_scale = standardization(targets[:train])
        targets = standardized(targets, target_mean, target_scale)
    cast = [torch.from_numpy(each).to(dtype) for each in (inputs, targets)]
    check_targets(cast[1], came, every, scaled=data.scale_targets)
    check_features(cast[0], came, every, standardize=data.standardize)
    series = _Series(cast[0], cast[1], (train, train + int((codes == EVAL).sum())))

    def part(first: int, last: int) -> tuple[Tensor, Tensor] | None:
        return _windows(series, first, last, window, horizon, device)

    first_target = window
    parts = [
        part(first_target, train),
        part(train, series.ends[1]),
        part(series.ends[1], len(codes)),
    ]
    (train_rows, evaluated, test) = parts
    assert train_rows is not None
    return Dataset(
        train_features=train_rows[0],
        train_targets=train_rows[1],
        eval_features=None if evaluated is None else evaluated[0],
        eval_targets=None if evaluated is None else evaluated[1],
        test_features=None if test is None else test[0],
        test_targets=None if test is None else test[1],
        feature_names=tuple(f"{name}[{t}]" for t in range(1 - window, 1) for name in names),
        class_names=None,
        mean=None if mean is None else np.tile(mean, window),
        scale=None if scale is None else np.tile(scale, window),
        form="values",
        preprocessing=rows.preprocessing,
        in_time=True,
        target_mean=None if target_mean is None else np.tile(target_mean, horizon),
        target_scale=None if target_scale is None else np.tile(target_scale, horizon),
    )


def _target_names(problem: Forecast, count: int) -> tuple[str, ...]:
    named = getattr(problem.data, "targets", ())
    if len(named) == count and all(isinstance(each, str) for each in named):
        return tuple(named)
    return tuple(f"y{number}" for number in range(1, count + 1))


def _windows(
    series: _Series,
    first: int,
    last: int,
    window: int,
    horizon: int,
    device: torch.device,
) -> tuple[Tensor, Tensor] | None:
    """Return the windows whose targets are rows `first` to `last` (not itself); None without."""
    count = last - first - horizon + 1
    if count < 1 or first < window:
        return None
    inputs, targets = series.inputs, series.targets
    before = inputs[first - window : first + count - 1].unfold(0, window, 1).transpose(1, 2)
    after = targets[first : first + count + horizon - 1].unfold(0, horizon, 1).transpose(1, 2)
    return before.flatten(1).contiguous().to(device), after.flatten(1).contiguous().to(device)
