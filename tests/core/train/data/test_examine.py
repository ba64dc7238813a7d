"""What is found in data before training, against counts by hand and SciPy; the rules on it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.tree import DecisionTreeClassifier

from core.diagnosis.diagnose import diagnose
from core.specs.job import JobSpec, Supervised
from core.specs.parsing.job import parse_job
from core.specs.validation.limits import Limits
from core.train.data.examine import _rank_correlation, _told_by_intervals, examine
from tests.core.diagnosis.runs import curve, finding
from tests.core.train.data.test_uploaded import rows
from tests.core.train.data.uploads import Stored, stored
from tests.core.train.harness import train

Json = dict[str, Any]
RULES = ("constant_features", "shared_rows", "unscaled_features", "rare_classes", "target_leak")


def table(**columns: Any) -> bytes:
    """A CSV file with these columns."""
    lines = [",".join(columns)]
    lines += [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
    return "\n".join(lines).encode()


def healthy(num: int = 200) -> dict[str, Any]:
    """Two features of one size and a target that neither of them tells."""
    draws = np.random.default_rng(0).normal(size=(num, 3)).round(4)
    return {"a": draws[:, 0], "b": draws[:, 1], "y": (draws.sum(axis=1) > 0).astype(int)}


def found(folder: Path, columns: dict[str, Any], **data: Any) -> tuple[Json, Json]:
    """What is found in a file of these columns, and the status of each rule."""
    file = stored(folder, table(**columns))
    asked = {"target": "y", "split": {"kind": "tail", "eval": 0.2}, "standardize": False} | data
    asked = {**asked, "eval_fraction": None}
    dataset = rows(file, asked)
    facts = examine(dataset)
    return facts, statuses(file.spec(asked), facts)


def statuses(spec: JobSpec, facts: Json | None) -> Json:
    losses = curve(np.linspace(1.0, 0.5, 50))
    diagnosis = diagnose(spec, "budget_exhausted", None, losses, None, data=facts)
    return {rule: finding(diagnosis, rule) for rule in RULES}


def triggered(rules: Json) -> set[str]:
    return {name for name, each in rules.items() if each["status"] == "triggered"}


def test_nothing_is_found_in_sound_data(tmp_path: Path) -> None:
    facts, rules = found(tmp_path, healthy())
    assert facts["constant"] == {"num": 0, "of": 2, "names": []}
    assert facts["shared"] == {"num": 0, "of": 40}
    assert {each["status"] for each in rules.values()} == {"clear"}


FAULTS: dict[str, Any] = {
    "constant_features": lambda c: {"still": np.full(len(c["y"]), 0.1), **c},
    "shared_rows": lambda c: {name: np.r_[v[:150], v[:50]] for name, v in c.items()},
    "unscaled_features": lambda c: {**c, "a": 1e4 * c["a"]},
    "rare_classes": lambda c: {**c, "y": (np.arange(len(c["y"])) % 50 == 1).astype(int)},
    "target_leak": lambda c: {"told": 3.0 * c["y"] + 0.1 * np.tanh(c["a"]), **c},
}


@pytest.mark.parametrize("rule", RULES)
def test_each_fault_is_found_and_named_alone(tmp_path: Path, rule: str) -> None:
    columns = FAULTS[rule](healthy())
    _, rules = found(tmp_path, columns)
    assert triggered(rules) == {rule}
    evidence = rules[rule]["evidence"]
    assert evidence
    assert all(isinstance(value, float) for value in evidence.values())
    told = {"constant_features": "still", "unscaled_features": "'a'", "target_leak": "'told'"}
    assert told.get(rule, "") in rules[rule]["explanation"]


def test_categories_are_one_feature_and_the_place_for_others_is_no_constant(
    tmp_path: Path,
) -> None:
    columns = healthy()
    kind = np.array(["red", "green", "blue"])[np.arange(200) % 3]
    facts, rules = found(tmp_path, {"kind": kind, **columns})
    assert facts["constant"]["of"] == 3
    assert not triggered(rules)
    same = np.full(200, "red")
    facts, rules = found(tmp_path / "same", {"kind": same, **columns})
    assert facts["constant"] == {"num": 1, "of": 3, "names": ["kind"]}
    told = np.array(["no", "yes"])[columns["y"]]
    _, rules = found(tmp_path / "told", {"told": told, **columns})
    assert triggered(rules) == {"target_leak"}


def test_values_are_told_by_rank_whatever_the_scale(tmp_path: Path) -> None:
    columns = healthy()
    y = columns["a"] + columns["b"]
    _, rules = found(tmp_path, {**columns, "y": y})
    assert not triggered(rules)
    assert rules["rare_classes"]["status"] == "undetermined"
    _, rules = found(tmp_path / "told", {"told": np.exp(-y).round(6), **columns, "y": y})
    assert triggered(rules) == {"target_leak"}


@pytest.mark.parametrize("seed", range(5))
def test_the_rank_correlation_is_scipys(seed: int) -> None:
    draw = np.random.default_rng(seed)
    first, second = draw.integers(0, 20, size=(2, 100)).astype(float)
    expected = abs(stats.spearmanr(first, second + first).statistic)
    assert _rank_correlation(first, second + first) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_what_intervals_tell_is_what_a_tree_of_as_many_leaves_tells(classes: int) -> None:
    """Where one interval a class is enough, both tell all; a tree with fewer cuts tells no more
    than is counted plus the surplus intervals."""
    draw = np.random.default_rng(classes)
    column = draw.uniform(size=300)
    exact = np.floor(column * classes).astype(np.int64)
    tree = DecisionTreeClassifier(max_leaf_nodes=classes, random_state=0)
    assert tree.fit(column[:, None], exact).score(column[:, None], exact) == 1.0
    assert _told_by_intervals(column, exact) == 1.0
    shuffled = draw.permutation(exact)
    assert _told_by_intervals(column, shuffled) < tree.fit(column[:, None], shuffled).score(
        column[:, None], shuffled
    )


def test_standardized_data_are_of_one_size_and_slow_descent_is_told_to_standardize(
    tmp_path: Path,
) -> None:
    columns = healthy() | {"a": 1e4 * healthy()["a"]}
    _, rules = found(tmp_path, columns, standardize=True)
    assert rules["unscaled_features"]["status"] == "clear"


def test_a_job_tells_what_is_in_its_data_unless_nobody_asks(tmp_path: Path) -> None:
    body: Json = {
        "problem": {
            "kind": "supervised",
            "data": {"kind": "builtin", "name": "digits"},
            "model": {"kind": "linear"},
        },
        "optimizer": {"kind": "sgd", "lr": 0.1},
        "budget": {"max_steps": 2},
    }
    specs = {
        how: parse_job(json.dumps(body | {"diagnose": how}).encode(), Limits())
        for how in ("history", "off")
    }
    asked, not_asked = (
        train(specs[how], tmp_path / how).events.examined for how in ("history", "off")
    )
    assert not_asked is None
    assert asked is not None
    assert asked["constant"]["names"] == ["pixel_0_0", "pixel_4_0", "pixel_4_7"]
    assert isinstance(specs["off"].problem, Supervised)
    rules = statuses(specs["off"], asked)
    assert triggered(rules) == {"constant_features"}
    assert {each["status"] for each in statuses(specs["off"], None).values()} == {"undetermined"}


def test_a_function_has_no_data() -> None:
    body = {
        "problem": {"kind": "function", "function": {"kind": "sphere", "dim": 2}},
        "optimizer": {"kind": "sgd", "lr": 0.1},
    }
    spec = parse_job(json.dumps(body).encode(), Limits())
    assert {each["status"] for each in statuses(spec, None).values()} == {"undetermined"}


def test_what_a_file_tells_is_strict_json(tmp_path: Path) -> None:
    file: Stored = stored(tmp_path, table(**healthy()))
    facts = examine(rows(file, {"target": "y"}))
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
