"""Facts of a data set that are there before any training, as the rules on data weigh them.

They are counted on the rows as the model gets them. Of large sets the first rows and columns are
compared with the target (`MOST_ROWS`, `MOST_COLUMNS`).
"""

from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from core.specs.base import Json
from core.specs.splits.rows import PARTS
from core.train.data.dataset import Dataset

MOST_ROWS: Final = 10_000
MOST_COLUMNS: Final = 1_000
_FEWEST_ROWS: Final = 20
"""Least number of rows; of fewer, a feature tells the target too easily."""
_MOST_CLASSES: Final = 100
_NAMED: Final = 5

Numbers = NDArray[Any]


class _Feature(NamedTuple):
    """Columns of the matrix that come from one column of a file; of categories several."""

    name: str
    columns: slice
    categories: bool


_KNOWN: Final = WeakKeyDictionary[Dataset, Json]()
# A memo: a data set is shared by jobs, and never written to.


def examined(data: Dataset) -> Json:
    """Return `examine(data)`, computed once for each data set."""
    if data not in _KNOWN:
        _KNOWN[data] = examine(data)
    return _KNOWN[data]


def examine(data: Dataset) -> Json:
    """Count what may be wrong with the data.

    Returns strict JSON: `constant` (features of one value in all training rows), `shared` (rows
    held back that equal a training row), `spread` (the largest standard deviation of a feature over
    the smallest), `rarest` (the class with the fewest training rows), `tell_tale` (the feature that
    by itself tells most of the target); the last four null where they do not apply.
    """
    features, targets = (part.cpu().numpy() for part in (data.train_features, data.train_targets))
    flat = features.reshape(len(features), -1)
    known = _features(data, flat.shape[1])
    constant = (flat == flat[:1]).all(axis=0)
    same = [each.name for each in known if constant[each.columns].all()]
    return {
        "constant": {"num": len(same), "of": len(known), "names": same[:_NAMED]},
        "shared": _shared(data),
        "spread": _spread(flat, [each for each in known if not each.categories], constant),
        "rarest": _rarest(data, targets),
        "tell_tale": _tell_tale(data, flat[:MOST_ROWS], targets[:MOST_ROWS], known),
    }


def _features(data: Dataset, width: int) -> list[_Feature]:
    """List where the matrix has each feature."""
    about = (data.preprocessing or {}).get("features")
    if about is None or data.preprocessing is None:
        names = data.feature_names
        if len(names) != width:
            names = tuple(str(column) for column in range(width))
        return [_Feature(name, slice(at, at + 1), False) for at, name in enumerate(names)]
    coded = data.preprocessing["categorical"] == "one_hot"
    found: list[_Feature] = []
    at = 0
    for each in about:
        if each["categories"] is not None:
            size = len(each["categories"]) + 1 if coded else 1
            found.append(_Feature(each["name"], slice(at, at + size), True))
            at += size
            continue
        for name in data.feature_names[at : at + int(np.prod(each["shape"]))]:
            found.append(_Feature(name, slice(at, at + 1), False))
            at += 1
    return found


def _shared(data: Dataset) -> Json | None:
    """Count the rows held back whose features and targets are those of a training row."""
    held = [rows for part in PARTS if part != "train" and (rows := data.rows(part)) is not None]
    if not held:
        return None
    seen = _joined(data.train_features.cpu().numpy(), data.train_targets.cpu().numpy())
    # Equal rows have equal products with any vector: few are left to be compared byte by byte.
    weights = np.random.default_rng(0).uniform(0.5, 1.0, seen.shape[1])
    keys, num = seen @ weights, 0
    others = [_joined(*(each.cpu().numpy() for each in rows)) for rows in held]
    for pairs in others:
        own = pairs @ weights
        alike = np.isin(own, keys)
        if alike.any():
            training = {row.tobytes() for row in seen[np.isin(keys, own)]}
            num += sum(row.tobytes() in training for row in pairs[alike])
    return {"num": num, "of": sum(map(len, others))}


def _joined(features: Numbers, targets: Numbers) -> Numbers:
    """Return features and targets side by side, in float64; −0 becomes 0."""
    parts = [each.reshape(len(each), -1).astype(np.float64) for each in (features, targets)]
    return np.ascontiguousarray(np.concatenate(parts, axis=1) + 0.0)


def _spread(flat: Numbers, numeric: list[_Feature], constant: Numbers) -> Json | None:
    sizes = flat.std(axis=0, dtype=np.float64)
    known = [
        (float(sizes[at]), each.name)
        for each in numeric
        if not constant[at := each.columns.start] and 0.0 < sizes[at] < np.inf
    ]
    if len(known) < 2:
        return None
    (smallest, narrow), (largest, wide) = min(known), max(known)
    return {"ratio": largest / smallest, "largest": wide, "smallest": narrow}


def _rarest(data: Dataset, targets: Numbers) -> Json | None:
    match data.form:
        case "class_ids":
            assert data.class_names is not None
            counts = np.bincount(targets[targets >= 0], minlength=len(data.class_names))
            rarest, even = int(counts.argmin()), 1.0 / len(counts)
            name, num = data.class_names[rarest], int(counts[rarest])
        case "binary":
            ones = targets.reshape(len(targets), -1).sum(axis=0)
            fewer = np.minimum(ones, len(targets) - ones)
            rarest, even = int(fewer.argmin()), 0.5
            num = int(fewer[rarest])
            name = str(int(2 * ones[rarest] <= len(targets)))
            if fewer.size > 1:
                name += f" of output {rarest}"
        case "values":
            return None
    return {"name": name, "num": num, "of": len(targets), "even_share": even}


def _tell_tale(
    data: Dataset, flat: Numbers, targets: Numbers, features: list[_Feature]
) -> Json | None:
    """Find the feature that by itself tells most of the target.

    Its `share` is, of classes, that of the rows that it puts right: numbers by one interval a
    class, categories by the class that most of their rows have; every interval or category beyond
    the number of classes counts as a mistake. Of values it is the size of Spearman's rank
    correlation.
    """
    targets = targets.reshape(len(targets), -1)
    if len(flat) < _FEWEST_ROWS or len(features) < 2 or targets.shape[1] != 1:
        return None
    wanted = targets[:, 0]
    values = data.form == "values"
    if not values:
        known = wanted >= 0  # the class that a loss ignores
        flat, wanted = flat[known], wanted[known].astype(np.int64)
    if not 2 <= np.unique(wanted).size <= (len(flat) if values else _MOST_CLASSES):
        return None
    best, share = "", 0.0
    for each in features[:MOST_COLUMNS]:
        if each.categories:
            found = 0.0 if values else _told_by_categories(_codes(flat[:, each.columns]), wanted)
        elif values:
            found = _rank_correlation(flat[:, each.columns.start], wanted)
        else:
            found = _told_by_intervals(flat[:, each.columns.start], wanted)
        if found > share:
            best, share = each.name, found
    return {"name": best, "share": share} if best else None


def _codes(columns: Numbers) -> Numbers:
    return columns.argmax(axis=1) if columns.shape[1] > 1 else columns[:, 0]


def _told_by_intervals(column: Numbers, classes: Numbers) -> float:
    counts = _counts(column, classes)
    kinds = counts.argmax(axis=1)
    intervals = 1 + int((kinds[1:] != kinds[:-1]).sum())
    return _share(counts, intervals)


def _told_by_categories(codes: Numbers, classes: Numbers) -> float:
    counts = _counts(codes, classes)
    return _share(counts, len(counts))


def _counts(column: Numbers, classes: Numbers) -> Numbers:
    """Count the rows of each value and class: (values in order) x classes."""
    values, place = np.unique(column, return_inverse=True)
    kinds = int(classes.max()) + 1
    counts = np.bincount(place * kinds + classes, minlength=values.size * kinds)
    return counts.reshape(values.size, kinds)


def _share(counts: Numbers, groups: int) -> float:
    num_classes = int((counts.sum(axis=0) > 0).sum())
    right = int(counts.max(axis=1).sum()) - max(0, groups - num_classes)
    return max(0.0, right / int(counts.sum()))


def _rank_correlation(column: Numbers, values: Numbers) -> float:
    first, second = (ranks - ranks.mean() for ranks in map(_ranks, (column, values)))
    size = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return abs(float((first * second).sum())) / size if size > 0.0 else 0.0


def _ranks(values: Numbers) -> Numbers:
    """Return the ranks; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Numbers = (counts.cumsum() - (counts - 1) / 2.0)[place]
    return ranks
