"""Jobs whose rate is left to the service, and what was found for them."""

import json
from dataclasses import dataclass
from typing import Any, Literal

from core.settings import Settings
from core.specs.job import JobSpec
from core.specs.parsing.job import parse_job
from core.specs.unions import members
from core.specs.validation.limits import Limits
from core.train.auto_lr.race import race
from core.train.auto_lr.settle import Settled, settle
from core.train.events import Control

Json = dict[str, Any]

LIMITS = Limits.of(Settings())
TAKERS = [kind for kind in members("optimizer") if kind not in ("lbfgs", "rprop", "prodigy")]
"""Optimizers whose rate may be left to the service."""


@dataclass
class Going:
    """A control that asks to stop at the read after `reads`; None: never."""

    reads: int | None = None
    dropped: tuple[int, ...] = ()

    @property
    def stop_requested(self) -> Literal["cancel", "hand_over"] | None:
        if self.reads is None:
            return None
        self.reads -= 1
        return "hand_over" if self.reads < 0 else None


def job(problem: Json, optimizer: Json, steps: int = 200, **rest: Any) -> JobSpec:
    body = {
        "problem": problem,
        "optimizer": {"lr": "auto", **optimizer},
        "budget": {"max_steps": steps},
        "record": {"eval_every": None},
        "device": "cpu",
        **rest,
    }
    return parse_job(json.dumps(body).encode(), LIMITS)


def quadratic(*eigenvalues: float) -> Json:
    function = {"kind": "quadratic", "eigenvalues": list(eigenvalues)}
    return {"kind": "function", "function": function, "start": [1.0] * len(eigenvalues)}


ROSENBROCK: Json = {"kind": "function", "function": {"kind": "rosenbrock", "dim": 2}}

DIGITS: Json = {
    "kind": "supervised",
    "data": {"kind": "builtin", "name": "digits"},
    "model": {"kind": "mlp", "hidden": [32]},
}

WINE: Json = {**DIGITS, "data": {"kind": "builtin", "name": "wine"}}


def found(spec: JobSpec, how: Any = race, control: Control | None = None) -> Settled:
    answer = settle(spec, how, control=control or Going(), device="cpu")
    assert answer is not None
    return answer


def evidence(answer: Settled) -> Json:
    told: Json = answer.resolved["optimizer.lr"]["evidence"]
    return told
