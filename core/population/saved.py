"""A stack's state as a tree that core.train.tree can flatten: arrays as tensors."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.train.tree import Tree


def to_tree(value: Any) -> Tree:
    """Copies of everything; arrays become tensors under a mark, so that they come back as such."""
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
    """What `to_tree` was given, in copies."""
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
