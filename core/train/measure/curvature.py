"""The Hessian's extreme eigenvalues by Lanczos on exact Hessian-vector products.

Products are double backward (Pearlmutter 1994). Lanczos keeps its basis orthogonal in full (Paige
1972; Parlett 1998, The Symmetric Eigenvalue Problem, chapter 13), so that no eigenvalue is found
twice. A Ritz value lies within the spectrum: one that is negative proves negative curvature, and
its residual bounds how far the nearest eigenvalue is.
"""

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import torch
from torch import Tensor

from core.train.measure.objective import Objective, flat

Product = Callable[[Tensor], Tensor]
"""A symmetric operator: vector -> vector."""

DENSE: Final = 64
"""Most parameters for which the whole matrix is computed, and its eigenvalues are exact."""
MOST_STEPS: Final = 300
_BASIS_BYTES: Final = 2**28
_SEED: Final = 24
_EPS: Final = torch.finfo(torch.float64).eps


class Ritz(NamedTuple):
    """A Ritz pair: an approximate eigenpair.

    Attributes:
        value: v'Hv for the unit vector `vector`.
        bound: ‖Hv − value·v‖: some eigenvalue lies within this of `value`.
    """

    value: float
    bound: float
    vector: Tensor


class Spectrum(NamedTuple):
    """The two ends of a spectrum.

    Attributes:
        largest, smallest: the ends, by value.
        products: how many Hessian-vector products they took.
        settled: whether both bounds are as small as asked for (else time or steps ran out).
        rounding: eigenvalues smaller than this in size cannot be told from 0.
        values, weights: all Ritz values (at most 64, ends included) and the squared first parts
            of their vectors: the density of eigenvalues as a random vector sees it (Gauss
            quadrature; Ghorbani, Krishnan and Xiao 2019, arXiv 1901.10159).
    """

    largest: Ritz
    smallest: Ritz
    products: int
    settled: bool
    rounding: float
    values: list[float]
    weights: list[float]


def hessian_product(objective: Objective) -> Product:
    """Return v -> Hv at the objective's point; the graph of the gradient is built once."""
    first = torch.autograd.grad(
        objective.evaluate(None),
        objective.parameters,
        create_graph=True,
        allow_unused=True,
        materialize_grads=True,
    )
    gradient = flat(first)

    def product(vector: Tensor) -> Tensor:
        if not gradient.requires_grad:  # a linear function
            return torch.zeros_like(vector)
        second = torch.autograd.grad(
            gradient,
            objective.parameters,
            grad_outputs=vector,
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        return flat(second).detach()

    return product


def preconditioned(product: Product, scale: Tensor) -> Product:
    """Return v -> P^(-1/2) H P^(-1/2) v for the diagonal P = `scale`: the spectrum of P⁻¹H."""
    root = scale.rsqrt()
    return lambda vector: root * product(root * vector)


def extremes(
    product: Product,
    dim: int,
    *,
    device: torch.device,
    in_time: Callable[[], bool],
    smallest_too: bool = True,
) -> Spectrum | None:
    """Find both ends of the spectrum (or the upper one with care and the lower one as it comes).

    Args:
        in_time: asked before each product; False ends the search with what there is.

    Returns None when the products are not finite.
    """
    if dim <= DENSE:
        return _dense(product, dim, device)
    return _lanczos(product, dim, device, in_time, smallest_too)


def _dense(product: Product, dim: int, device: torch.device) -> Spectrum | None:
    matrix = torch.stack([product(row) for row in torch.eye(dim, dtype=torch.float64).to(device)])
    if not torch.isfinite(matrix).all():
        return None
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    size = float(values.abs().max())
    bound = dim * _EPS * size
    ends = [Ritz(float(values[at]), bound, vectors[:, at]) for at in (-1, 0)]
    shares = [1.0 / dim] * dim
    rounding = 16 * dim * _EPS * size
    return Spectrum(ends[0], ends[1], dim, True, rounding, values.tolist(), shares)


def _lanczos(
    product: Product,
    dim: int,
    device: torch.device,
    in_time: Callable[[], bool],
    smallest_too: bool,
) -> Spectrum | None:
    most = max(4, min(dim, MOST_STEPS, _BASIS_BYTES // (8 * dim)))
    source = torch.Generator().manual_seed(_SEED)
    basis = torch.empty((most, dim), dtype=torch.float64, device=device)
    diagonal: list[float] = []
    beside: list[float] = []
    vector = _fresh(basis[:0], dim, source, device)
    for step in range(most):
        basis[step] = vector
        image = product(vector)
        alpha = float(vector @ image)
        if not math.isfinite(alpha):
            return None
        diagonal.append(alpha)
        known = basis[: step + 1]
        for _ in range(2):  # twice is enough (Parlett)
            image = image - known.T @ (known @ image)
        beta = float(image.norm())
        size = max(abs(each) for each in diagonal + beside + [beta])
        through = beta <= dim * _EPS * size
        late = step + 1 == most or not in_time()
        if late or through or (step >= 9 and step % 5 == 4):
            found = _ritz(diagonal, beside, beta, known)
            enough = found.settled or (not smallest_too and _tight(found.largest, found))
            if late or (enough and not through) or step + 1 == dim:
                return _lifted(found, known)
        if through:
            # The space so far is closed under H; what lies outside is looked at too.
            vector, beta = _fresh(known, dim, source, device), 0.0
        else:
            vector = image / beta
        beside.append(beta)
    raise AssertionError("the last step returns")


def _fresh(known: Tensor, dim: int, source: torch.Generator, device: torch.device) -> Tensor:
    drawn = torch.randn(dim, generator=source, dtype=torch.float64).to(device)
    for _ in range(2):
        drawn = drawn - known.T @ (known @ drawn)
    return torch.nn.functional.normalize(drawn, dim=0)


def _ritz(diagonal: list[float], beside: list[float], beta: float, basis: Tensor) -> Spectrum:
    """Return the ends of the small tridiagonal matrix; vectors in its own coordinates."""
    count = len(diagonal)
    small = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    if beside:
        off = torch.tensor(beside, dtype=torch.float64)
        small += torch.diag(off, 1) + torch.diag(off, -1)
    values, vectors = torch.linalg.eigh(small)
    size = float(values.abs().max())
    ends = []
    for at in (count - 1, 0):
        bound = abs(beta * float(vectors[-1, at])) + _EPS * count * size
        ends.append(Ritz(float(values[at]), bound, vectors[:, at]))
    rounding = 16 * math.sqrt(basis.shape[1]) * count * _EPS * size
    thin = torch.linspace(0, count - 1, min(count, 64), dtype=torch.float64).round().long()
    shares = (vectors[0] ** 2)[thin]
    found = Spectrum(
        ends[0], ends[1], count, False, rounding, values[thin].tolist(), shares.tolist()
    )
    return found._replace(settled=all(_tight(each, found) for each in ends))


def _lifted(found: Spectrum, basis: Tensor) -> Spectrum:
    """Return the spectrum with its vectors in the full space."""
    ends = [
        each._replace(vector=each.vector.to(basis.device) @ basis)
        for each in (found.largest, found.smallest)
    ]
    return found._replace(largest=ends[0], smallest=ends[1])


def _tight(ritz: Ritz, spectrum: Spectrum) -> bool:
    """Tell whether the pair is within 1 % of itself, or too small against the other end to
    matter."""
    size = max(abs(spectrum.largest.value), abs(spectrum.smallest.value))
    return ritz.bound <= max(0.01 * abs(ritz.value), 1e-7 * size)
