"""Rows that came in the request itself."""

import numpy as np

from core.specs.data import Inline
from core.train.data.rows import Rows, numbered


def load_inline(spec: Inline, *, classes: bool) -> Rows:
    """Return the rows as they stand; with `classes`, class ids from 0 to the largest one named."""
    features = np.array(spec.features, dtype=np.float64).reshape(spec.num_rows, -1)
    if spec.targets is None:  # of a reconstruction
        width = features.shape[1]
        return Rows(features, features[:, :0], numbered("x", width), class_names=None)
    targets = np.array(spec.targets, dtype=np.float64).reshape(len(spec.targets), -1)
    count = max(2, int(targets.max()) + 1)
    classes = classes and not isinstance(spec.targets[0], tuple)  # else they are labels
    return Rows(
        features,
        targets,
        feature_names=numbered("x", features.shape[1]),
        class_names=numbered("", count, first=0) if classes else None,
    )
