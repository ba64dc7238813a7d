"""Gradients of the classic test functions, written out: a point of shape (…, dim) gives (…, dim).

What the formulas in `core.train.problems.classic` have for derivatives. A fused step of many starts
takes them from here: recording and replaying such short formulas costs several times what they do.
"""

import math
from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor

from core.train.problems import classic
from core.train.problems.classic import TWO_PI, indices


def sphere(x: Tensor) -> Tensor:
    return 2 * x


def sum_squares(x: Tensor) -> Tensor:
    return 2 * indices(x) * x


def rosenbrock(x: Tensor) -> Tensor:
    here = x[..., :-1]
    valley = x[..., 1:] - here**2
    gradient = torch.zeros_like(x)
    gradient[..., :-1] = -400 * here * valley - 2 * (1 - here)
    gradient[..., 1:] += 200 * valley
    return gradient


def rastrigin(x: Tensor) -> Tensor:
    return torch.sin(TWO_PI * x).mul_(10 * TWO_PI).add_(x, alpha=2)


def ackley(x: Tensor) -> Tensor:
    """Return the gradient: 0 of its first part at the kink, as in the function."""
    dim = x.shape[-1]
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    slope = 4 / math.sqrt(dim) * torch.exp(-0.2 / math.sqrt(dim) * norm)
    waves = torch.exp(torch.cos(TWO_PI * x).mean(-1, keepdim=True))
    direction = x / norm.clamp_min(torch.finfo(x.dtype).tiny)
    return slope * direction + TWO_PI / dim * waves * torch.sin(TWO_PI * x)


def griewank(x: Tensor) -> Tensor:
    """Return the gradient. The product of the other cosines is taken from both sides: one of them
    may be 0."""
    roots = indices(x).sqrt()
    cosines = torch.cos(x / roots)
    others = torch.ones_like(x)
    others[..., 1:] = cosines[..., :-1].cumprod(-1)
    others[..., :-1] *= cosines[..., 1:].flip(-1).cumprod(-1).flip(-1)
    return x / 2000 + others * torch.sin(x / roots) / roots


def levy(x: Tensor) -> Tensor:
    w = 1 + (x - 1) / 4
    inner, last = w[..., :-1], w[..., -1]
    gradient = torch.empty_like(x)
    sines, cosines = torch.sin(math.pi * inner + 1), torch.cos(math.pi * inner + 1)
    far = inner - 1
    gradient[..., :-1] = 2 * far * (1 + 10 * sines * (sines + math.pi * far * cosines))
    sine, cosine, far = torch.sin(TWO_PI * last), torch.cos(TWO_PI * last), last - 1
    gradient[..., -1] = 2 * far * (1 + sine * (sine + TWO_PI * far * cosine))
    gradient[..., 0] += math.pi * torch.sin(TWO_PI * w[..., 0])
    return gradient / 4


def styblinski_tang(x: Tensor) -> Tensor:
    return 2 * x**3 - 16 * x + 2.5


def schwefel(x: Tensor) -> Tensor:
    root = x.abs().sqrt()
    return -torch.sin(root) - 0.5 * root * torch.cos(root)


def zakharov(x: Tensor) -> Tensor:
    weights = 0.5 * indices(x)
    weighted = (weights * x).sum(-1, keepdim=True)
    return 2 * x + (2 * weighted + 4 * weighted**3) * weights


def dixon_price(x: Tensor) -> Tensor:
    before, here = x[..., :-1], x[..., 1:]
    chain = 2 * indices(here, first=2) * (2 * here**2 - before)
    gradient = torch.zeros_like(x)
    gradient[..., 1:] = 4 * here * chain
    gradient[..., :-1] -= chain
    gradient[..., 0] += 2 * (x[..., 0] - 1)
    return gradient


def himmelblau(p: Tensor) -> Tensor:
    x, y = p.unbind(-1)
    first, second = x**2 + y - 11, x + y**2 - 7
    return torch.stack([4 * x * first + 2 * second, 2 * first + 4 * y * second], -1)


def beale(p: Tensor) -> Tensor:
    x, y = p.unbind(-1)
    first, second, third = 1.5 - x + x * y, 2.25 - x + x * y**2, 2.625 - x + x * y**3
    along_x = first * (y - 1) + second * (y**2 - 1) + third * (y**3 - 1)
    along_y = x * (first + 2 * y * second + 3 * y**2 * third)
    return 2 * torch.stack([along_x, along_y], -1)


def booth(p: Tensor) -> Tensor:
    x, y = p.unbind(-1)
    return torch.stack([10 * x + 8 * y - 34, 8 * x + 10 * y - 38], -1)


def matyas(p: Tensor) -> Tensor:
    x, y = p.unbind(-1)
    return torch.stack([0.52 * x - 0.48 * y, 0.52 * y - 0.48 * x], -1)


def three_hump_camel(p: Tensor) -> Tensor:
    x, y = p.unbind(-1)
    return torch.stack([4 * x - 4.2 * x**3 + x**5 + y, x + 2 * y], -1)


def six_hump_camel(p: Tensor) -> Tensor:
    x, y = p.unbind(-1)
    return torch.stack([8 * x - 8.4 * x**3 + 2 * x**5 + y, x - 8 * y + 16 * y**3], -1)


def goldstein_price(p: Tensor) -> Tensor:
    x, y = p.unbind(-1)
    near, squares = x + y + 1, 19 - 14 * x + 3 * x**2 - 14 * y + 6 * x * y + 3 * y**2
    first = 1 + near**2 * squares
    along_both = 2 * near * squares + near**2 * (6 * x + 6 * y - 14)
    near, squares = 2 * x - 3 * y, 18 - 32 * x + 12 * x**2 + 48 * y - 36 * x * y + 27 * y**2
    second = 30 + near**2 * squares
    along_x = 4 * near * squares + near**2 * (24 * x - 36 * y - 32)
    along_y = -6 * near * squares + near**2 * (54 * y - 36 * x + 48)
    along = [along_both * second + first * along_x, along_both * second + first * along_y]
    return torch.stack(along, -1)


def branin(p: Tensor) -> Tensor:
    x, y = p.unbind(-1)
    bend, lean = 5.1 / (4 * math.pi**2), 5 / math.pi
    bowl = 2 * (y - bend * x**2 + lean * x - 6)
    along_x = bowl * (lean - 2 * bend * x) - 10 * (1 - 1 / (8 * math.pi)) * torch.sin(x)
    return torch.stack([along_x, bowl], -1)


GRADIENTS: Final[Mapping[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    classic.sphere: sphere,
    classic.sum_squares: sum_squares,
    classic.rosenbrock: rosenbrock,
    classic.rastrigin: rastrigin,
    classic.ackley: ackley,
    classic.griewank: griewank,
    classic.levy: levy,
    classic.styblinski_tang: styblinski_tang,
    classic.schwefel: schwefel,
    classic.zakharov: zakharov,
    classic.dixon_price: dixon_price,
    classic.himmelblau: himmelblau,
    classic.beale: beale,
    classic.booth: booth,
    classic.matyas: matyas,
    classic.three_hump_camel: three_hump_camel,
    classic.six_hump_camel: six_hump_camel,
    classic.goldstein_price: goldstein_price,
    classic.branin: branin,
}
"""Gradient of each function."""
