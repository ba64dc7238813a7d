"""What is evaluated of a run in a stack is what the run alone has, every metric of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from core.specs.job import JobSpec
from core.specs.losses import METRICS
from core.specs.parsing.job import parse_job
from core.specs.sizes.fusing import groups
from core.specs.validation.limits import Limits
from tests.core.train.fused.harness import compare_with_alone

Json = dict[str, Any]

ROWS: Json = {
    "kind": "inline",
    "features": [[(7 * i % 11) / 5 - 1, (i * i % 13) / 6 - 1] for i in range(60)],
    "eval_fraction": 0.5,
}
PROBLEMS: dict[str, tuple[Json, Json, str]] = {
    "classes": (
        {**ROWS, "targets": [(i * i + i // 3) % 3 for i in range(60)]},
        {"kind": "cross_entropy"},
        "classes",
    ),
    "one-logit": (
        {**ROWS, "targets": [(i * i + i // 3) % 3 % 2 for i in range(60)]},
        {"kind": "binary_cross_entropy"},
        "two_classes",
    ),
    "values": (
        {**ROWS, "targets": [[i / 30 + 0.1, (i % 7) - 3.5] for i in range(60)]},
        {"kind": "mse"},
        "values",
    ),
}


def job(problem: str, *metrics: Any, rows: Json | None = None, **rest: Any) -> JobSpec:
    data, loss, _ = PROBLEMS[problem]
    data = data if rows is None else {**ROWS, "eval_fraction": None, **rows}
    model = {"kind": "mlp", "hidden": [4], "activation": "tanh"}
    body = {
        "problem": {"kind": "supervised", "data": data, "loss": loss, "model": model},
        "optimizer": {"kind": "sgd", "lr": 0.1},
        "precision": "float64",
        "batch_size": 10,
        "budget": {"max_steps": 5},
        "record": {"metrics": list(metrics), "eval_every": 2},
        **rest,
    }
    return parse_job(json.dumps(body).encode(), Limits())


@pytest.mark.parametrize("problem", sorted(PROBLEMS))
def test_every_metric_in_a_stack_is_that_of_the_run_alone(problem: str, tmp_path: Path) -> None:
    suits = [name for name, facts in METRICS.items() if PROBLEMS[problem][2] in facts.suits]
    specs = [
        job(problem, *suits, optimizer={"kind": "sgd", "lr": lr}, budget={"max_steps": steps})
        for lr, steps in ((0.1, 5), (0.5, 4), (0.9, 5))
    ]
    assert groups(specs) == [[0, 1, 2]]

    together = compare_with_alone(specs, tmp_path)

    numbers = [name for name in suits if METRICS[name].goal is not None]
    assert list(together.received[0].histories["eval"][0]) == ["step", "loss", *numbers]
    for ending in together.endings.values():
        shown = ending.ending.result["eval"]
        assert ("confusion_matrix" in shown) == ("confusion_matrix" in suits)
        if "confusion_matrix" in suits:
            assert sum(map(sum, shown["confusion_matrix"])) == 30
