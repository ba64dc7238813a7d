"""Job specs that several end-to-end tests use."""

from typing import Any

Json = dict[str, Any]


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
    return {
        "problem": {
            "kind": "supervised",
            "data": {"kind": "builtin", "name": "digits"},
            "model": {"kind": "mlp", "hidden": [32]},
        },
        "optimizer": optimizer or {"kind": "adam", "lr": 0.01},
        "budget": {"max_steps": steps},
        **more,
    }


def endless(**more: Any) -> Json:
    """A job that runs for minutes unless it is cancelled."""
    return digits(steps=50_000_000, record={"every": 1000, "eval_every": None}, **more)
