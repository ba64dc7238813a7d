"""Norm and clipping of the joint gradient, against torch's own."""

import pytest
import torch
from torch import nn

from core.specs.job import ClipAdaptive, ClipNorm, ClipPerParameter, ClipValue
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


@pytest.mark.parametrize("norm_type", [1.0, 2.0])
def test_each_parameter_is_clipped_as_if_it_were_alone(norm_type: float) -> None:
    mine, theirs = parameters(), parameters()
    clip = clipping(ClipPerParameter(kind="per_parameter", max_norm=2.0, norm_type=norm_type), mine)
    assert clip is not None
    clip(torch.tensor(0.0))
    for one, other in zip(mine, theirs, strict=True):
        nn.utils.clip_grad_norm_([other], 2.0, norm_type)
        assert one.grad is not None
        assert other.grad is not None
        assert torch.equal(one.grad, other.grad)


def test_adaptive_clipping_by_hand() -> None:
    # Rows of norm 5 and 0 with gradients of norm 10 and 2: limits are 0.1·5 and 0.1·0.5. A vector
    # is one unit, and what is below its limit stays.
    matrix = nn.Parameter(torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=torch.float64))
    matrix.grad = torch.tensor([[6.0, 8.0], [2.0, 0.0]], dtype=torch.float64)
    vector = nn.Parameter(torch.tensor([30.0, 40.0], dtype=torch.float64))
    vector.grad = torch.tensor([3.0, 4.0], dtype=torch.float64)
    clip = clipping(ClipAdaptive(kind="adaptive", clipping=0.1, eps=0.5), [matrix, vector])
    assert clip is not None
    clip(torch.tensor(0.0))
    assert matrix.grad.tolist() == [pytest.approx([0.3, 0.4]), pytest.approx([0.05, 0.0])]
    assert vector.grad.tolist() == [3.0, 4.0]


def test_adaptive_clipping_of_a_convolution_is_by_output_channel() -> None:
    draw = torch.Generator().manual_seed(0)
    weight = nn.Parameter(torch.randn(3, 2, 2, 2, generator=draw, dtype=torch.float64))
    weight.grad = torch.randn(3, 2, 2, 2, generator=draw, dtype=torch.float64)
    before = weight.grad.clone()
    clip = clipping(ClipAdaptive(kind="adaptive"), [weight])
    assert clip is not None
    clip(torch.tensor(0.0))
    for channel in range(3):
        limit = 0.01 * weight[channel].norm().item()
        wanted = before[channel] * min(1.0, limit / before[channel].norm().item())
        torch.testing.assert_close(weight.grad[channel], wanted)
