"""The gradient as one vector: its norm, and clipping, to the same bits as torch's own."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import assert_never

import torch
from torch import Tensor, nn
from torch.nn.utils import (
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
)

from core.specs.job import ClipAdaptive, ClipNorm, ClipPerParameter, ClipValue, GradientClip


def gradients_of(parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """Return the gradients there are; a parameter that the loss does not use has none."""
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def gradient_norm(gradients: list[Tensor]) -> Tensor:
    """Return the joint 2-norm of at least one gradient: 0-dim, on their device, without waiting for
    it.

    As torch.nn.utils.get_total_norm, without its grouping by device (18 µs instead of 33 for six
    tensors).
    """
    if len(gradients) == 1:
        alone: Tensor = torch.linalg.vector_norm(gradients[0])
        return alone
    joint: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    return joint


def norm_of(gradients: list[Tensor]) -> Callable[[], Tensor]:
    """Return what computes the `gradient_norm` of these, whose storage stays, each time anew."""
    norm: Callable[..., Tensor] = torch.linalg.vector_norm
    if len(gradients) == 1:
        return partial(norm, gradients[0])
    norms = gradients[0].new_empty(len(gradients))
    each = [
        partial(norm, part, out=own) for part, own in zip(gradients, norms.unbind(), strict=True)
    ]

    def joint() -> Tensor:
        for one in each:
            one()
        return norm(norms)

    return joint


class GradientCosine:
    """The cosine between each gradient and the one before, on the gradients' device.

    Nothing waits for it. Each gradient is kept as one vector of unit length, so that neither small
    nor large gradients leave the range of float32.
    """

    def __init__(self) -> None:
        self.last: Tensor | None = None
        """The latest gradient's direction, never changed in place; None: there is none."""
        self._held: Tensor | None = None

    def to(self, gradients: list[Tensor], norm: Tensor) -> Tensor:
        """Return the cosine to the gradient given last, 0-dim; NaN where there was none, and where
        either is 0 or not finite. `norm`: the gradients' joint 2-norm."""
        # inf − inf: the direction of an infinite gradient is not known, and not 0.
        known = norm + (norm - norm)
        flat = [gradient.reshape(-1) for gradient in gradients]
        direction = (flat[0] if len(flat) == 1 else torch.cat(flat)) / known
        before, self.last = self.last, direction
        if before is None:
            return torch.full_like(norm, math.nan)
        return torch.dot(direction, before).clamp_(-1.0, 1.0)

    def forget(self) -> None:
        """Forget the gradient of this step: it has none."""
        self.last = None

    def hold(self) -> None:
        """Hold the gradient of the last step: a step begins."""
        self._held = self.last

    def put_back(self) -> None:
        """Put back what was held when the last step began."""
        self.last = self._held


def clipping(
    spec: GradientClip | None, parameters: Sequence[nn.Parameter]
) -> Callable[[Tensor], None] | None:
    """Return a function that clips the gradients in place, given their joint 2-norm; None: none
    wanted.

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
        case ClipPerParameter(max_norm=max_norm, norm_type=norm_type):
            return partial(_clip_each, parameters, max_norm, norm_type)
        case ClipAdaptive(clipping=share, eps=eps):
            return partial(_clip_units, parameters, share, eps)
        case _:
            assert_never(spec)


def _clip_each(
    parameters: Sequence[nn.Parameter], max_norm: float, norm_type: float, norm: Tensor
) -> None:
    for parameter in parameters:
        clip_grad_norm_(parameter, max_norm, norm_type)


@torch.no_grad()
def _clip_units(parameters: Sequence[nn.Parameter], share: float, eps: float, norm: Tensor) -> None:
    """Scale each unit's gradient to at most share · max(‖w‖, eps), in place.

    As optax.adaptive_grad_clip, but for the axis: torch's first is optax's last.
    """
    for parameter in parameters:
        if (gradient := parameter.grad) is None:
            continue
        axes = tuple(range(1, parameter.dim())) or None
        own, size = (
            torch.linalg.vector_norm(each, dim=axes, keepdim=axes is not None)
            for each in (parameter, gradient)
        )
        limit = own.clamp_(min=eps).mul_(share)
        gradient.mul_(torch.where(size > limit, limit / size.clamp(min=1e-6), 1.0))
