"""Quadratic functions, known exactly: eigenvalues, minimum, gradients."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from core.diagnosis.evidence.curves import Floats
from core.specs.functions import Quadratic

_EPS: Final = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class QuadraticForm:
    """½(x−m)ᵀA(x−m) + least: A = vectors·diag(eigenvalues)·vectorsᵀ, eigenvalues ascending.

    `vectors` is None when only the eigenvalues are known (a drawn rotation); `centre` and `least`
    are None when there is no minimum.
    """

    eigenvalues: Floats
    vectors: Floats | None
    linear: Floats | None
    centre: Floats | None
    least: float | None

    def gradients(self, points: Floats) -> Floats | None:
        if self.vectors is None:
            return None
        slope = (points @ self.vectors) * self.eigenvalues @ self.vectors.T
        return slope if self.linear is None else slope + self.linear

    def components(self, point: Floats) -> Floats | None:
        """Return the distances from the minimum along the eigenvectors."""
        if self.vectors is None or self.centre is None:
            return None
        return np.asarray((point - self.centre) @ self.vectors, dtype=np.float64)


def quadratic_form(function: Quadratic, sign: float = 1.0) -> QuadraticForm:
    """Return the quadratic form of the spec's own matrix times `sign`. A drawn rotation is not
    repeated here: eigenvalues only."""
    linear = None if function.linear is None else sign * np.array(function.linear)
    constant = sign * function.constant
    if function.matrix is not None:
        eigenvalues, vectors = np.linalg.eigh(sign * np.array(function.matrix))
        return complete_square(eigenvalues, vectors, linear, constant)
    assert function.eigenvalues is not None
    given = sign * np.array(function.eigenvalues, dtype=np.float64)
    order = np.argsort(given)
    if function.rotation_seed is not None or given.size > 512:
        known = linear is None and bool(given.min() > 0)
        return QuadraticForm(given[order], None, linear, None, constant if known else None)
    return complete_square(given[order], np.eye(given.size)[:, order], linear, constant)


def complete_square(
    eigenvalues: Floats, vectors: Floats, linear: Floats | None, constant: float
) -> QuadraticForm:
    """Complete the square; no minimum with a negative eigenvalue, or a slope along a zero one."""
    slope = np.zeros(eigenvalues.size) if linear is None else linear @ vectors
    flat = np.abs(eigenvalues) <= _EPS * eigenvalues.size * np.abs(eigenvalues).max(initial=0.0)
    sloping = flat & (np.abs(slope) > _EPS * np.abs(slope).max(initial=0.0))
    curved = np.where(flat, 1.0, eigenvalues)
    along = np.where(flat, 0.0, -slope / curved)
    bowl = bool((eigenvalues >= 0)[~flat].all()) and not sloping.any()
    least = constant - 0.5 * float((eigenvalues * along) @ along) if bowl else None
    centre = None if sloping.any() else vectors @ along
    return QuadraticForm(eigenvalues, vectors, linear, centre, least)
