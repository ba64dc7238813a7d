"""Norm and clipping of the joint gradient, against torch's own."""

import pytest
import torch
from torch import nn

from core.specs.job import ClipNorm, ClipValue
from core.train.optim.gradients import clipping, gradient_norm, gradients_of


def parameters() -> list[nn.Parameter]:
    made = []
    for index, shape in enumerate([(3, 4), (4,), (2, 2)]):
        parameter = nn.Parameter(torch.zeros(shape, dtype=torch.float64))
        parameter.grad = torch.arange(parameter.numel(), dtype=torch.float64).reshape(shape) + index
        made.append(parameter)
    return made


def test_the_norm_is_that_of_all_gradients_as_one_vector() -> None:
    gradients = gradients_of(parameters())
    total = sum(value * value for gradient in gradients for value in gradient.flatten().tolist())
    assert gradient_norm(gradients).item() == pytest.approx(total**0.5, rel=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_norm_has_torchs_bits(count: int, dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(count)
    for _ in range(50):
        some = [torch.randn(7, 3, generator=draw, dtype=dtype) for _ in range(count)]
        assert torch.equal(gradient_norm(some), nn.utils.get_total_norm(some))


def test_transposed_gradients_count_like_others() -> None:
    turned = torch.arange(6.0).reshape(2, 3).T
    assert gradient_norm([turned, torch.tensor([3.0])]).item() == pytest.approx(8.0)


def test_a_parameter_without_gradient_is_left_out() -> None:
    some = parameters()
    some[1].grad = None
    assert len(gradients_of(some)) == 2


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0])
def test_clipping_by_norm_gives_torchs_bits(norm_type: float) -> None:
    ours, theirs = parameters(), parameters()
    clip = clipping(ClipNorm(kind="norm", max_norm=2.0, norm_type=norm_type), ours)
    assert clip is not None
    clip(gradient_norm(gradients_of(ours)))
    nn.utils.clip_grad_norm_(theirs, 2.0, norm_type)
    for a, b in zip(gradients_of(ours), gradients_of(theirs), strict=True):
        assert torch.equal(a, b)


def test_clipping_by_value_clamps() -> None:
    some = parameters()
    clip = clipping(ClipValue(kind="value", clip_value=1.5), some)
    assert clip is not None
    clip(gradient_norm(gradients_of(some)))
    assert max(gradient.abs().max().item() for gradient in gradients_of(some)) == 1.5
    assert clipping(None, some) is None
