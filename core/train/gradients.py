"""The gradient as one vector: its norm, and clipping, to the same bits as torch's own."""

from collections.abc import Callable, Sequence
from typing import assert_never

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_value_, clip_grads_with_norm_, get_total_norm

from core.spec.job import ClipNorm, ClipValue, GradientClip


def gradients_of(parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """The gradients there are; a parameter that the loss does not use has none."""
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def gradient_norm(gradients: list[Tensor]) -> Tensor:
    """The joint 2-norm of at least one gradient: 0-dim, on their device, without waiting for it.

    As torch.nn.utils.get_total_norm, without its grouping by device (18 µs instead of 33 for six
    tensors).
    """
    if len(gradients) == 1:
        alone: Tensor = torch.linalg.vector_norm(gradients[0])
        return alone
    joint: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    return joint


def clipping(
    spec: GradientClip | None, parameters: Sequence[nn.Parameter]
) -> Callable[[Tensor], None] | None:
    """A function that clips the gradients in place, given their joint 2-norm; None: none wanted.

    Source: torch.nn.utils.clip_grad_norm_ and clip_grad_value_.
    """
    match spec:
        case None:
            return None
        case ClipNorm(max_norm=max_norm, norm_type=norm_type):

            def clip_norm(norm: Tensor) -> None:
                if norm_type != 2.0:
                    norm = get_total_norm(gradients_of(parameters), norm_type)
                clip_grads_with_norm_(parameters, max_norm, norm)

            return clip_norm
        case ClipValue(clip_value=clip_value):

            def clip_value_only(norm: Tensor) -> None:
                del norm
                clip_grad_value_(parameters, clip_value)

            return clip_value_only
        case _:
            assert_never(spec)
