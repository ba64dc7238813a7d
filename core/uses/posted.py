"""Rows that were posted, as a worker reads them: of tables, of a series, or texts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from core.specs.losses import ignored_class
from core.uses.coding import Coder
from core.uses.model import ModelFacts
from core.uses.ranges import Ranges
from core.uses.series import Windows, count_windows, series_coder
from core.uses.texts import checked_texts, packed_texts, text_coder


@dataclass(frozen=True)
class Posted:
    """Posted rows.

    Attributes:
        arrays: `matrix` (rows × numbers), or `texts` and `ends`; with `labels`, what they are.
        num_rows: predictions that are made of them.
        unseen: as of `core.uses.coding.Coded`.
    """

    arrays: Mapping[str, NDArray[Any]]
    num_rows: int
    unseen: Mapping[str, Sequence[str]]


def coder_of(metadata: Mapping[str, str], facts: ModelFacts) -> Coder:
    """Return the coder of a model's rows; `metadata`: of its weights."""
    if facts.context is not None:
        return text_coder(metadata, facts.num_outputs)
    if facts.window is not None and facts.horizon is not None:
        coder = series_coder(metadata, facts.window, facts.horizon, facts.num_outputs)
    else:
        coder = Coder.of(metadata, facts.targets, facts.num_outputs, ignored_class(facts.loss))
        if facts.reconstructs and not any(each.shape for each in coder.features):
            coder = replace(coder, outputs=tuple(json.loads(metadata["feature_names"])))
    return replace(coder, ranges=Ranges.of(metadata, facts.precision, coder.num_inputs))


def code_posted(
    coder: Coder,
    facts: ModelFacts,
    rows: Sequence[Any],
    labels: Sequence[Any] | None,
    windows: Windows,
) -> Posted:
    """Code posted rows. `windows`: of a series, which of them.

    Raises:
        InvalidInputError: with the row, the column, the value and the way out of each mistake.
    """
    unseen: Mapping[str, Sequence[str]] = {}
    if facts.context is not None:
        arrays, num_rows = packed_texts(checked_texts(rows)), len(rows)
        found = None if labels is None else coder.labels(labels, num_rows)
    elif facts.window is not None:
        num_rows = count_windows(len(rows), facts.window, windows, "features")
        first = len(rows) - facts.window if windows == "last" else 0
        coded = coder.rows(rows, first=first)
        arrays = {"matrix": coded.matrix}
        found = None if labels is None else coder.labels(labels, num_rows)
        unseen = coded.unseen
    else:
        coded = coder.rows(rows, labels)
        arrays, num_rows = {"matrix": coded.matrix}, len(rows)
        found, unseen = coded.labels, coded.unseen
    return Posted(arrays if found is None else {**arrays, "labels": found}, num_rows, unseen)
