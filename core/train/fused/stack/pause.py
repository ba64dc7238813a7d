"""Runs that pause at a step and go on in another stack, with others that came as far."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.specs.base import Json
from core.train.fused.problems.base import Metrics
from core.train.fused.stack.stack import Stack
from core.train.tensors.tree import Tree, from_tree, to_tree

Columns = dict[str, Any]
"""Arrays, tensors or lists with an entry a run."""
WEIGHTS = "weights."
_INITIAL = "traces.initial"


@dataclass(frozen=True)
class PausedRuns:
    """Runs of one structure between two steps.

    Attributes:
        runs: the names by which they are reported, in the order of the columns' entries.
        columns: all that they need to go on; nothing of it is shared with a stack.
    """

    step: int
    runs: list[int]
    columns: Columns

    def tree(self) -> Tree:
        """Return the runs for `core.train.tensors.tree.flatten`."""
        return {"step": self.step, "runs": self.runs, "columns": to_tree(self.columns)}

    @classmethod
    def from_tree(cls, tree: Tree) -> "PausedRuns":
        return cls(tree["step"], tree["runs"], from_tree(tree["columns"]))

    def of(self, run: int) -> "PausedRuns":
        """Return one of the runs."""
        at = self.runs.index(run)
        columns = {name: column[at : at + 1] for name, column in self.columns.items()}
        return PausedRuns(self.step, [run], columns)


def pause(stack: Stack) -> tuple[PausedRuns, dict[int, Json]]:
    """Return the runs that still train in a stack as they are between two steps, and what is known
    of each: `step`, its `initial_loss`, the `loss` of its last row, the `eval` of its weights as
    they are (recorded only where one is due), `best`, `share_s`. Their rows and weights leave the
    stack."""
    metrics = _evaluated(stack)
    stack.flush()
    slots, numbers = stack.training()
    steps, losses = stack.best.recorded(slots)
    here = None if metrics is None else stack.judges.levels(metrics)[slots]
    # A run that ends here counts its last evaluation among those that may be best.
    is_best = np.zeros(len(slots), dtype=bool)
    if here is not None:
        is_best = stack.best.beaten_by(here, slots)
        steps, losses = np.where(is_best, stack.step, steps), np.where(is_best, here, losses)
    stack.send_weights(is_best)
    index = torch.from_numpy(slots)
    columns: Columns = {
        f"{part}.{name}": column
        for part, held in stack.parts.items()
        for name, column in held.pause(slots).items()
    }
    for name, weight in stack.problem.weights.items():
        columns[WEIGHTS + name] = weight.index_select(0, index.to(weight.device))
    train_s, share_s = stack.times(numbers)
    columns |= {"train_s": train_s, "share_s": share_s}
    names = stack.names(numbers)
    known: dict[int, Json] = {}
    for row, (slot, run) in enumerate(zip(slots.tolist(), names, strict=True)):
        best = stack.judges.rules[slot].best_at(int(steps[row]), float(losses[row]))
        known[run] = {
            "step": stack.step,
            "initial_loss": stack.traces.one(slot).began_at,
            "loss": float(stack.traces.last[slot]) if stack.step else None,
            "eval": metrics and _of_slot(metrics, slot) | {"step": stack.step},
            "best": best if steps[row] >= 0 else None,
            "share_s": float(share_s[row]),
        }
    return PausedRuns(stack.step, names, columns), known


def _evaluated(stack: Stack) -> Metrics | None:
    """Return every slot's evaluation at this step."""
    found = stack.evaluations
    if found is None:
        return None
    if found.due(stack.step):
        stack.evaluate()
    if found.known(stack.step):
        return found.latest
    with stack.at_result_weights():
        return stack.problem.evaluate()


def _of_slot(metrics: Metrics, slot: int) -> Json:
    return {name: float(column[slot]) for name, column in metrics.items()}


def resume(stack: Stack, paused: Sequence[PausedRuns]) -> None:
    """Go on with these runs, which all came as far, on a new stack of their specs, in order.

    A run goes on as it would have in its own stack, but for rounding: what differs between its
    stack and this one is which numbers are the same in all runs.
    """
    device = stack.problem.rows.device
    parts = [each.columns for each in paused]
    if not all(_INITIAL in part for part in parts):
        stack.begin()  # an older version noted row 0's losses alone
        parts = [{_INITIAL: np.full(len(part["train_s"]), np.nan)} | part for part in parts]
    columns: Columns = {
        name: column.to(device) if isinstance(column, Tensor) else column
        for name, column in _joined(parts).items()
    }
    for part, held in stack.parts.items():
        start = f"{part}."
        held.resume(
            {k.removeprefix(start): column for k, column in columns.items() if k.startswith(start)}
        )
    for name, weight in stack.problem.weights.items():
        weight.copy_(columns[WEIGHTS + name])
    stack.go_on_from(paused[0].step, columns["train_s"], columns["share_s"])


def _joined(parts: Sequence[Columns]) -> Columns:
    """Return the columns one after another. One that some lack is 0 there."""
    names = dict.fromkeys(name for part in parts for name in part)
    lengths = [len(part["train_s"]) for part in parts]
    joined: Columns = {}
    for name in names:
        like = next(part[name] for part in parts if name in part)
        pieces = [
            part[name] if name in part else _nothing(like, length)
            for part, length in zip(parts, lengths, strict=True)
        ]
        if isinstance(like, Tensor):
            joined[name] = torch.cat(pieces)
        elif isinstance(like, np.ndarray):
            joined[name] = np.concatenate(pieces)
        else:
            joined[name] = [entry for piece in pieces for entry in piece]
    return joined


def _nothing(like: Any, length: int) -> Any:
    if isinstance(like, Tensor):
        return like.new_zeros((length, *like.shape[1:]))
    return np.zeros((length, *like.shape[1:]), dtype=like.dtype)
