"""Nested Python values with tensors in them (an optimizer's state): copied, flattened, rebuilt.

torch's `Optimizer.load_state_dict` casts every tensor but `step` to its parameter's dtype, which
changes ASGD's and NAdam's scalars in float64; going through these functions keeps every bit.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

Tree = Any
"""A tree: None, bool, int, float, str, Tensor, and lists, tuples and dicts of these."""
JsonTree = Any
"""The same without tensors."""


def copy_tree(tree: Tree) -> Tree:
    """Return the same value with every tensor cloned (detached)."""
    return map_tensors(tree, lambda tensor: tensor.detach().clone())


def map_tensors(tree: Tree, function: Callable[[Tensor], Tensor]) -> Tree:
    match tree:
        case Tensor():
            return function(tree)
        case dict():
            return {key: map_tensors(value, function) for key, value in tree.items()}
        case list():
            return [map_tensors(value, function) for value in tree]
        case tuple():
            return tuple(map_tensors(value, function) for value in tree)
        case _:
            return tree


def flatten(tree: Tree, prefix: str, tensors: dict[str, Tensor]) -> JsonTree:
    """Put the tensors of `tree` into `tensors` under names that begin with `prefix`.

    Returns JSON from which `unflatten` builds the same tree (Python's `json` keeps floats exactly,
    infinities and NaN included).

    Raises:
        TypeError: the tree holds something that is none of `Tree`'s kinds.
    """
    match tree:
        case Tensor():
            name = f"{prefix}{len(tensors)}"
            tensors[name] = tree
            return {"tensor": name, "device": tree.device.type}
        case dict():
            items = [[key, flatten(value, prefix, tensors)] for key, value in tree.items()]
            return {"dict": items}
        case list():
            return {"list": [flatten(value, prefix, tensors) for value in tree]}
        case tuple():
            return {"tuple": [flatten(value, prefix, tensors) for value in tree]}
        case None | bool() | int() | float() | str():
            return tree
        case _:
            raise TypeError(f"cannot save a {type(tree).__name__}")


def unflatten(value: JsonTree, tensors: Mapping[str, Tensor], device: str) -> Tree:
    """Return the tree that `flatten` took apart; tensors that were on a device go to `device`."""
    match value:
        case {"tensor": str(name), "device": saved_on}:
            return tensors[name].to("cpu" if saved_on == "cpu" else device)
        case {"dict": items}:
            return {key: unflatten(item, tensors, device) for key, item in items}
        case {"list": items}:
            return [unflatten(item, tensors, device) for item in items]
        case {"tuple": items}:
            return tuple(unflatten(item, tensors, device) for item in items)
        case _:
            return value


# A stack's state as a tree that core.train.tensors.tree can flatten: arrays as tensors.
def to_tree(value: Any) -> Tree:
    """Return the copies of everything; arrays become tensors under a mark, so that they come back
    as such."""
    match value:
        case Tensor():
            return value.detach().clone()
        case np.ndarray():
            return {"array": torch.from_numpy(np.ascontiguousarray(value)).clone()}
        case np.generic():
            return value.item()
        case dict():
            return {name: to_tree(part) for name, part in value.items()}
        case list():
            return [to_tree(part) for part in value]
        case tuple():
            return tuple(to_tree(part) for part in value)
        case _:
            return value


def from_tree(tree: Tree) -> Any:
    """Return what `to_tree` was given, in copies."""
    match tree:
        case Tensor():
            return tree.clone()
        case {"array": Tensor() as tensor}:
            return tensor.numpy().copy()
        case dict():
            return {name: from_tree(part) for name, part in tree.items()}
        case list():
            return [from_tree(part) for part in tree]
        case tuple():
            return tuple(from_tree(part) for part in tree)
        case _:
            return tree
