"""What parameters say of a configuration."""

import pytest

from core.compare.parameters import (
    is_choice,
    label,
    leaves,
    sets_the_metric,
    varying,
)


def test_a_path_applies_before_those_it_is_a_prefix_of() -> None:
    params = {"optimizer.lr": 0.5, "optimizer": {"kind": "sgd", "lr": 0.1, "betas": [0.9, 0.99]}}
    assert leaves(params) == {
        "optimizer.kind": "sgd",
        "optimizer.lr": 0.5,
        "optimizer.betas": [0.9, 0.99],
    }


def test_nothing_and_an_object_in_its_place_are_told_apart() -> None:
    assert leaves({"gradient_clip": None}) == {"gradient_clip": None}
    assert leaves({"gradient_clip": {"kind": "norm", "max_norm": 1.0}}) == {
        "gradient_clip.kind": "norm",
        "gradient_clip.max_norm": 1.0,
    }


def test_paths_vary_by_their_values_or_by_being_there() -> None:
    assert varying([{"a": 1, "b": 2, "c": [1]}, {"a": 1, "b": 3, "c": [1], "d": 0}]) == ["b", "d"]
    assert varying([{"a": 1}, {"a": True}, {"a": 1.0}]) == ["a"]
    assert varying([]) == []


@pytest.mark.parametrize(
    ("path", "metric", "expected"),
    [
        ("problem.function.dim", "loss", True),
        ("problem.data.name", "eval.accuracy", True),
        ("problem.data.split_seed", "eval.loss", True),
        ("problem.data.split.fold", "eval.loss", True),
        ("problem.data.standardize", "eval.loss", False),
        ("problem.data.scale_targets", "eval.loss", True),
        ("problem.data.scale_targets", "eval.mae", False),
        ("problem.data.order.kind", "eval.loss", False),
        ("problem.model.hidden", "eval.loss", False),
        ("problem.start", "loss", False),
        ("problem.loss.kind", "eval.loss", True),
        ("problem.loss.kind", "eval.accuracy", False),
        ("optimizer.lr", "loss", False),
    ],
)
def test_what_makes_metrics_incomparable(path: str, metric: str, expected: bool) -> None:
    assert sets_the_metric(path, metric) is expected


def test_words_are_chosen_and_numbers_tuned() -> None:
    assert [is_choice(value) for value in ("adam", True, None, ["a"])] == [True] * 4
    assert [is_choice(value) for value in (1, 0.5, [32, 32], [])] == [False] * 4


def test_labels_are_short_words() -> None:
    parts = {"optimizer.kind": "heavy_ball", "optimizer.lr": 0.0012345, "batch_size": "full"}
    assert label(parts) == "heavy ball, lr 0.001234, batch_size full"
    assert label({"problem.model.hidden": [64, 32], "optimizer.nesterov": True}) == (
        "hidden [64, 32], nesterov true"
    )
    assert len(label({f"p{i}": i for i in range(50)})) == 80
