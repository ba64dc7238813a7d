"""The data sets that scikit-learn ships, by its own loaders with their default options."""

from typing import Any, assert_never

import numpy as np

from core.specs.data import Builtin
from core.train.data.rows import Rows


def load_builtin(spec: Builtin) -> Rows:
    """Read the data set from scikit-learn's own files (no network)."""
    bunch = _bunch(spec)
    features = np.asarray(bunch.data, dtype=np.float64)
    targets = np.asarray(bunch.target, dtype=np.float64).reshape(-1, 1)
    classes = getattr(bunch, "target_names", None)
    return Rows(
        features,
        targets,
        feature_names=tuple(str(name) for name in bunch.feature_names),
        class_names=None if classes is None else tuple(str(name) for name in classes),
    )


def _bunch(spec: Builtin) -> Any:
    # Importing scikit-learn takes about a second: only the jobs that need it wait for it.
    from sklearn import datasets

    match spec.name:
        case "digits":
            return datasets.load_digits()
        case "iris":
            return datasets.load_iris()
        case "wine":
            return datasets.load_wine()
        case "breast_cancer":
            return datasets.load_breast_cancer()
        case "diabetes":
            return datasets.load_diabetes()
        case _:
            assert_never(spec.name)
