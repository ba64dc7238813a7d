"""Copying weights into a problem."""

from collections.abc import Mapping

import torch
from torch import Tensor


def copy_state(into: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Copy `state` into the tensors of `into`, in place.

    Raises:
        ValueError: the names or a shape differ; nothing has been copied then.
    """
    if into.keys() != state.keys():
        missing = sorted(into.keys() - state.keys())
        unknown = sorted(state.keys() - into.keys())
        raise ValueError(f"weights do not fit: missing {missing}, unknown {unknown}")
    for name, tensor in into.items():
        if tensor.shape != state[name].shape:
            wanted, got = tuple(tensor.shape), tuple(state[name].shape)
            raise ValueError(f"weights do not fit: {name} has shape {got}, not {wanted}")
    with torch.no_grad():
        for name, tensor in into.items():
            tensor.copy_(state[name])
