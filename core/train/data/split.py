"""The draw of a split: the part that each row of the data belongs to."""

import numpy as np
import torch
from numpy.typing import NDArray

from core.errors import JobFailure
from core.specs.splits.kinds import FoldsSplit, FractionSplit, TailSplit
from core.specs.splits.rows import Codes, assign, cannot_stratify
from core.train.data.rows import Float, checked
from core.train.determinism import generator


def draw_split(
    split: FractionSplit | TailSplit | FoldsSplit, num_rows: int, targets: Float
) -> Codes:
    """Return the part of each row. `targets`: class ids, where the split is stratified.

    The permutation is the same for all splits of a seed; rows keep their places in it whatever
    the shares.

    Raises:
        JobFailure: a class has too few rows for a stratified split, or no row is left to train.
    """
    drawn: NDArray[np.int64] | None = None
    ids: NDArray[np.int64] | None = None
    if not isinstance(split, TailSplit):
        drawn = torch.randperm(num_rows, generator=generator(split.seed, "split")).numpy()
        if split.stratify:
            ids = targets[:, 0].astype(np.int64)
            counts = np.bincount(ids).tolist()
            reason = cannot_stratify(split, counts, [str(number) for number in range(len(counts))])
            if reason is not None:
                raise JobFailure(
                    "data_unavailable",
                    f"The rows cannot be split with all classes in each part: {reason}.",
                    "problem.data.split.stratify",
                )
    return checked(assign(split, num_rows, drawn, ids), split)
