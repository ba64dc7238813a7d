"""Problems and job specs that several end-to-end tests use."""

from copy import deepcopy
from typing import Any, Final

Json = dict[str, Any]

IRIS: Final = {
    "kind": "supervised",
    "data": {"kind": "builtin", "name": "iris"},
    "model": {"kind": "linear"},
}
DIGITS: Final = {
    "kind": "supervised",
    "data": {"kind": "builtin", "name": "digits"},
    "model": {"kind": "mlp", "hidden": [32]},
}
SPHERE: Final = {"kind": "function", "function": {"kind": "sphere", "dim": 2}, "start": [3, 2]}
VALLEY: Final = {
    "kind": "function",
    "function": {"kind": "quadratic", "eigenvalues": [1, 30]},
    "start": [3, 2],
}


def expression(text: str, start: Json, optimizer: Json, steps: int, **more: Any) -> Json:
    return {
        "problem": {
            "kind": "function",
            "function": {"kind": "expression", "expression": text},
            "start": start,
        },
        "optimizer": optimizer,
        "budget": {"max_steps": steps},
        **more,
    }


def digits(optimizer: Json | None = None, steps: int = 50, **more: Any) -> Json:
    """A job on digits, its caller's to change."""
    return {
        "problem": deepcopy(DIGITS),
        "optimizer": optimizer or {"kind": "adam", "lr": 0.01},
        "budget": {"max_steps": steps},
        **more,
    }


def endless(**more: Any) -> Json:
    """A job that runs for minutes unless it is cancelled."""
    return digits(steps=50_000_000, record={"every": 1000, "eval_every": None}, **more)
