"""Nested states come back as they were: values, types, dtypes."""

import json
import math

import torch

from core.train.tensors.tree import Tree, copy_tree, flatten, unflatten

TREE: Tree = {
    0: {
        "step": torch.tensor(3.0),
        "old_dirs": [torch.tensor([0.1]), torch.zeros(2, 0)],
        "al": [None, 0.1 + 0.2],
    },
    "betas": (0.9, 0.999),
    "flag": True,
    "count": 2**60,
    "prev_loss": -math.inf,
    "ids": torch.tensor([1, 2**40]),
    "empty": [[], (), {}],
}


def test_a_tree_goes_through_tensors_and_json_unchanged() -> None:
    tensors: dict[str, torch.Tensor] = {}
    text = json.dumps(flatten(TREE, "state/", tensors))
    assert all(name.startswith("state/") for name in tensors)
    back = unflatten(json.loads(text), tensors, "cpu")
    assert repr(back) == repr(TREE)
    assert back["ids"].dtype == torch.int64


def test_nan_survives() -> None:
    assert math.isnan(unflatten(json.loads(json.dumps(flatten(math.nan, "", {}))), {}, "cpu"))


def test_a_copy_shares_nothing() -> None:
    copy = copy_tree(TREE)
    TREE[0]["step"].add_(1)
    try:
        assert copy[0]["step"].item() == 3.0
    finally:
        TREE[0]["step"].sub_(1)
    copy["empty"][0].append(1)
    assert TREE["empty"][0] == []
