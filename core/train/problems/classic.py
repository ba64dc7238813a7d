"""Classic test functions in torch, over the last axis: a point of shape (…, dim) gives (…).

Formulas and minima: Surjanovic and Bingham, Virtual Library of Simulation Experiments; Jamil and
Yang 2013 (arXiv 1308.4008). Where the textbook form has no derivative at a smooth point (a square
root at its zero), it is written so that autograd finds the right one.
"""

import math

import torch
from torch import Tensor

TWO_PI = 2 * math.pi


def indices(x: Tensor, first: int = 1) -> Tensor:
    """Return `first`, `first` + 1, …, one a coordinate, in `x`'s precision."""
    return torch.arange(first, first + x.shape[-1], dtype=x.dtype, device=x.device)


def sphere(x: Tensor) -> Tensor:
    """Return Σ xᵢ²; 0 at 0."""
    return (x**2).sum(-1)


def sum_squares(x: Tensor) -> Tensor:
    """Return Σ i·xᵢ²; 0 at 0."""
    return (indices(x) * x**2).sum(-1)


def rosenbrock(x: Tensor) -> Tensor:
    """Return Σ 100(xᵢ₊₁ − xᵢ²)² + (1 − xᵢ)²; 0 at (1, …, 1)."""
    here, after = x[..., :-1], x[..., 1:]
    return (100 * (after - here**2) ** 2 + (1 - here) ** 2).sum(-1)


def rastrigin(x: Tensor) -> Tensor:
    """Return 10·dim + Σ xᵢ² − 10 cos(2πxᵢ); 0 at 0."""
    return 10 * x.shape[-1] + (x**2 - 10 * torch.cos(TWO_PI * x)).sum(-1)


def ackley(x: Tensor) -> Tensor:
    """Return 20 + e − 20 exp(−0.2·rms(x)) − exp(mean cos(2πxᵢ)); 0 at 0, where it has a kink."""
    # vector_norm has the subgradient 0 at 0, where sqrt(mean(x²)) gives NaN.
    rms = torch.linalg.vector_norm(x, dim=-1) / math.sqrt(x.shape[-1])
    waves = torch.exp(torch.cos(TWO_PI * x).mean(-1))
    return 20 + math.e - 20 * torch.exp(-0.2 * rms) - waves


def griewank(x: Tensor) -> Tensor:
    """Return 1 + Σ xᵢ²/4000 − Π cos(xᵢ/√i); 0 at 0."""
    return 1 + (x**2).sum(-1) / 4000 - torch.cos(x / indices(x).sqrt()).prod(-1)


def levy(x: Tensor) -> Tensor:
    """Return sin²(πw₁) + Σ (wᵢ−1)²(1 + 10 sin²(πwᵢ+1)) + (w_d−1)²(1 + sin²(2πw_d)), w = 1 + (x −
    1)/4; 0 at (1, …, 1)."""
    w = 1 + (x - 1) / 4
    inner, last = w[..., :-1], w[..., -1]
    waves = (inner - 1) ** 2 * (1 + 10 * torch.sin(math.pi * inner + 1) ** 2)
    end = (last - 1) ** 2 * (1 + torch.sin(TWO_PI * last) ** 2)
    return torch.sin(math.pi * w[..., 0]) ** 2 + waves.sum(-1) + end


def styblinski_tang(x: Tensor) -> Tensor:
    """Return ½ Σ xᵢ⁴ − 16xᵢ² + 5xᵢ; −39.16616570377142·dim at (−2.903534, …)."""
    return 0.5 * (x**4 - 16 * x**2 + 5 * x).sum(-1)


def schwefel(x: Tensor) -> Tensor:
    """Return 418.9828872724339·dim − Σ xᵢ sin √|xᵢ|; 0 at (420.968746, …)."""
    # Held off 0, where the root has no derivative but x·sin √|x| has 0, which the clamp gives.
    root = x.abs().clamp_min(torch.finfo(x.dtype).tiny).sqrt()
    return 418.9828872724339 * x.shape[-1] - (x * torch.sin(root)).sum(-1)


def zakharov(x: Tensor) -> Tensor:
    """Return Σ xᵢ² + (Σ i·xᵢ/2)² + (Σ i·xᵢ/2)⁴; 0 at 0."""
    weighted = (0.5 * indices(x) * x).sum(-1)
    return (x**2).sum(-1) + weighted**2 + weighted**4


def dixon_price(x: Tensor) -> Tensor:
    """Return (x₁ − 1)² + Σ_{i≥2} i(2xᵢ² − xᵢ₋₁)²; 0 at xᵢ = 2^(2^(1−i) − 1)."""
    before, here = x[..., :-1], x[..., 1:]
    chain = indices(here, first=2) * (2 * here**2 - before) ** 2
    return (x[..., 0] - 1) ** 2 + chain.sum(-1)


def himmelblau(p: Tensor) -> Tensor:
    """Return (x² + y − 11)² + (x + y² − 7)²; 0 at (3, 2) and three points more."""
    x, y = p.unbind(-1)
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


def beale(p: Tensor) -> Tensor:
    """Return (1.5 − x + xy)² + (2.25 − x + xy²)² + (2.625 − x + xy³)²; 0 at (3, 0.5)."""
    x, y = p.unbind(-1)
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def booth(p: Tensor) -> Tensor:
    """Return (x + 2y − 7)² + (2x + y − 5)²; 0 at (1, 3)."""
    x, y = p.unbind(-1)
    return (x + 2 * y - 7) ** 2 + (2 * x + y - 5) ** 2


def matyas(p: Tensor) -> Tensor:
    """Return 0.26(x² + y²) − 0.48xy; 0 at 0."""
    x, y = p.unbind(-1)
    return 0.26 * (x**2 + y**2) - 0.48 * x * y


def three_hump_camel(p: Tensor) -> Tensor:
    """Return 2x² − 1.05x⁴ + x⁶/6 + xy + y²; 0 at 0."""
    x, y = p.unbind(-1)
    return 2 * x**2 - 1.05 * x**4 + x**6 / 6 + x * y + y**2


def six_hump_camel(p: Tensor) -> Tensor:
    """Return (4 − 2.1x² + x⁴/3)x² + xy + (4y² − 4)y²; −1.031628453489877 at ±(0.089842,
    −0.712656)."""
    x, y = p.unbind(-1)
    return (4 - 2.1 * x**2 + x**4 / 3) * x**2 + x * y + (4 * y**2 - 4) * y**2


def goldstein_price(p: Tensor) -> Tensor:
    """Return the function of Goldstein and Price 1971; 3 at (0, −1)."""
    x, y = p.unbind(-1)
    squares = 19 - 14 * x + 3 * x**2 - 14 * y + 6 * x * y + 3 * y**2
    first = 1 + (x + y + 1) ** 2 * squares
    squares = 18 - 32 * x + 12 * x**2 + 48 * y - 36 * x * y + 27 * y**2
    return first * (30 + (2 * x - 3 * y) ** 2 * squares)


def branin(p: Tensor) -> Tensor:
    """Return (y − 5.1x²/4π² + 5x/π − 6)² + 10(1 − 1/8π) cos x + 10; 0.39788735772973816 at (π,
    2.275) and two points more."""
    x, y = p.unbind(-1)
    bowl = (y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6) ** 2
    return bowl + 10 * (1 - 1 / (8 * math.pi)) * torch.cos(x) + 10
