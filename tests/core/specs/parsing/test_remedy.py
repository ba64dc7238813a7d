"""Merge patches: RFC 7396's own examples, and the rule on kinds."""

from typing import Any

import pytest

from core.specs.parsing.remedy import merge


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # RFC 7396, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_the_examples_of_the_rfc(target: Any, patch: Any, result: Any) -> None:
    assert merge(target, patch) == result


def test_a_merge_patch_follows_the_rfc_and_replaces_another_kind_whole() -> None:
    spec = {"a": {"kind": "x", "lr": 1, "old": 2}, "b": [1, 2], "c": {"d": 1}}
    assert merge(spec, {"a": {"lr": 3}})["a"] == {"kind": "x", "lr": 3, "old": 2}
    assert merge(spec, {"a": {"kind": "y", "lr": 3}})["a"] == {"kind": "y", "lr": 3}
    assert merge(spec, {"a": {"kind": "x", "lr": 3}})["a"] == {"kind": "x", "lr": 3, "old": 2}
    assert merge(spec, {"b": [3], "c": {"d": None}}) == {"a": spec["a"], "b": [3], "c": {}}
    assert merge({"start": {"x1": 1.0}}, {"start": {"kind": "uniform", "low": 0, "high": 1}}) == {
        "start": {"kind": "uniform", "low": 0, "high": 1}
    }
