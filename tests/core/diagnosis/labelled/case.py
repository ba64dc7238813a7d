"""A labelled run: a job whose trouble follows from how it was built."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Json = dict[str, Any]
Half = Literal["tuning", "held_out"]

WELL = frozenset({"healthy", "converged"})
"""Verdicts that call nothing wrong."""


TOO_LARGE = frozenset({"diverging", "oscillating", "plateau", "local_minimum", "noise_limited"})
"""Names for what a far too large rate does to a model: thrown about, thrown up, or units dead."""


@dataclass(frozen=True)
class Case:
    """One run of the labelled set.

    Attributes:
        id: unique, in words.
        family: which table of cases it is from.
        label: the verdict, by the contract's meaning of the word.
        why: the argument that it is so, from how the run was built.
        job: the spec to train.
        also: verdicts that the argument does not exclude; counted as right.
    """

    id: str
    family: str
    label: str
    why: str
    job: Json
    also: frozenset[str] = frozenset()

    @property
    def well(self) -> bool:
        return self.label in WELL

    def right(self, verdict: str) -> bool:
        return verdict == self.label or verdict in self.also


def halves(cases: Iterable[Case]) -> dict[str, Half]:
    """Case id -> its half. In each family, sorted by a hash of the id, every second one is held
    out, so that neither half was chosen by hand."""
    families: dict[str, list[Case]] = {}
    for case in cases:
        families.setdefault(case.family, []).append(case)
    found: dict[str, Half] = {}
    for family in families.values():
        ordered = sorted(family, key=lambda case: hashlib.blake2b(case.id.encode()).digest())
        for place, case in enumerate(ordered):
            found[case.id] = "held_out" if place % 2 else "tuning"
    return found


def function(
    kind: str | Json, start: list[float] | Json, optimizer: Json, steps: int, **more: Any
) -> Json:
    """A job on a function: a named one, an expression (any text with a variable), or its JSON."""
    which: Json = kind if isinstance(kind, dict) else {"kind": kind}
    if isinstance(kind, str) and ("*" in kind or "(" in kind):
        which = {"kind": "expression", "expression": kind}
    problem = {"kind": "function", "function": which, "start": start}
    return {"problem": problem, "optimizer": optimizer, "budget": {"max_steps": steps}, **more}


def supervised(
    data: Json | str, model: Json | list[int], optimizer: Json, steps: int, **more: Any
) -> Json:
    """A supervised job: builtin data by name, widths of a ReLU network as a list ([]: linear)."""
    source: Json = {"kind": "builtin", "name": data} if isinstance(data, str) else data
    if isinstance(model, list):
        model = {"kind": "mlp", "hidden": model} if model else {"kind": "linear"}
    problem: Json = {"kind": "supervised", "data": source, "model": model}
    if "loss" in more:
        problem["loss"] = more.pop("loss")
    job: Json = {"problem": problem, "optimizer": optimizer, "budget": {"max_steps": steps}}
    return job | {"record": {"eval_every": max(1, steps // 20)}} | more


def synthetic(kind: str, seed: int = 0, eval_fraction: float = 0.2, **options: Any) -> Json:
    return {
        "kind": "synthetic",
        "generator": {"kind": kind, **options},
        "seed": seed,
        "eval_fraction": eval_fraction,
    }


def sgd(lr: float, **more: Any) -> Json:
    return {"kind": "sgd", "lr": lr, **more}


def adam(lr: float, **more: Any) -> Json:
    return {"kind": "adam", "lr": lr, **more}
