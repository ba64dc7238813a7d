"""Studies and their runs, made up."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from core.studies import RunRecord

Json = dict[str, Any]

DIGITS: Json = {
    "kind": "supervised",
    "data": {"kind": "builtin", "name": "digits"},
    "model": {"kind": "linear"},
}


def study(
    *,
    repeats: int = 1,
    goal: str = "min",
    target: float | None = None,
    name: str = "eval.loss",
    problem: Json | None = None,
) -> Json:
    return {
        "base": {"problem": problem or DIGITS, "optimizer": {"kind": "sgd", "lr": 0.1}},
        "sweep": {},
        "strategy": {"kind": "grid"},
        "repeats": repeats,
        "metric": {"name": name, "at": "final", "goal": goal, "target": target},
    }


def run(configuration: int, repeat: int, *, repeats: int, **fields: Any) -> RunRecord:
    fields = {
        "params": {"optimizer.lr": 0.1 * (configuration + 1)},
        "status": "succeeded",
        "outcome": "budget_exhausted",
        "result": {"num_steps": 100},
        "share_s": 0.5,
        **fields,
    }
    if fields["status"] not in ("succeeded", "cancelled"):
        fields |= {"outcome": None, "result": None}
    return RunRecord(configuration * repeats + repeat, configuration, repeat, seed=repeat, **fields)


def runs(
    values: Sequence[Sequence[float | None]], params: Sequence[Mapping[str, Any]] | None = None
) -> list[RunRecord]:
    """A configuration a row, a repeat a value; NaN: diverged, None: failed."""
    made = []
    for configuration, row in enumerate(values):
        for repeat, value in enumerate(row):
            fields: Json = {"metric": value}
            if params is not None:
                fields["params"] = dict(params[configuration])
            if value is None:
                fields["status"] = "failed"
            elif math.isnan(value):
                fields["outcome"] = "diverged"
            made.append(run(configuration, repeat, repeats=len(row), **fields))
    return made
