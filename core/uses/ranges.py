"""The numbers that a trained model can compute with, by its precision and the scales of its
training rows."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from core.specs.formulas.precisions import LARGEST_INPUT, LARGEST_TARGET, Float, standardized


@dataclass(frozen=True)
class Ranges:
    """The numbers that a model can compute with.

    Attributes:
        precision: that it is computed in.
        inputs, targets: mean and scale by which numbers are standardized, one a column; None: they
            are taken as they are.
    """

    precision: str
    inputs: tuple[Float, Float] | None
    targets: tuple[Float, Float] | None

    @classmethod
    def of(cls, metadata: Mapping[str, str], precision: str, num_inputs: int) -> Self:
        """Read them from the metadata of weights; `num_inputs`: of a row (in a window are many)."""
        found = []
        for name, count in (("standardization", num_inputs), ("target_standardization", None)):
            about = json.loads(metadata.get(name, "{}"))
            scaling = None
            if about:
                mean, scale = (np.array(about[each], np.float64) for each in ("mean", "scale"))
                scaling = (mean, scale) if count is None else (mean[-count:], scale[-count:])
            found.append(scaling)
        return cls(precision, found[0], found[1])

    def inputs_beyond(self, rows: Float) -> NDArray[np.bool_]:
        """Tell which numbers of coded rows the precision cannot hold, once they are
        standardized."""
        return _beyond(rows, self.inputs, LARGEST_INPUT[self.precision])

    def targets_beyond(self, rows: Float) -> NDArray[np.bool_]:
        """Tell which targets it cannot hold."""
        return _beyond(rows, self.targets, LARGEST_TARGET[self.precision])

    def message(self, value: float, what: str) -> str:
        """Say of a number that it is too large, and the way out."""
        is_double = self.precision == "float64"
        other = "" if is_double else ', or take a model that was trained in the precision "float64"'
        scaled = self.targets if what == "target" else self.inputs
        how = "" if scaled is None else ", standardized as in training,"
        return (
            f"{value:g} was given, which{how} the model's precision {self.precision} cannot hold;"
            f" give a smaller number, in the units of the training data{other}"
        )


def _beyond(rows: Float, scaling: tuple[Float, Float] | None, largest: float) -> NDArray[np.bool_]:
    values = rows if scaling is None else standardized(rows, *scaling)
    return np.asarray(np.abs(values) > largest)
