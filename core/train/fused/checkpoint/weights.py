"""The weights of a task's runs that ended or paused, in one file with the runs stacked."""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from core.artifacts.base import JobArtifacts
from core.formats import WEIGHTS
from core.specs.base import Json
from core.train.fused.events import RunWeights
from core.train.tensors.tensor_file import pieces
from core.train.tensors.tree import Tree

WHICH: Final = ("initial", "best", "final")


class StackedWeights:
    """Rows of `initial.<name>`, `best.<name>` and `final.<name>`, on the CPU: (runs, …) each.

    Args:
        rows: how many runs there are; the memory for all is taken when the first is kept.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._tensors: dict[str, Tensor] = {}
        self._metadata: dict[str, str] = {}
        self.steps: dict[int, Json] = {}
        """Updates applied to each of a run's weights, `best` where there is one; by row."""

    def keep(self, row: int, weights: RunWeights) -> None:
        """Take a run's weights into a row of its own.

        Raises:
            ValueError: they are of another structure than the runs before.
        """
        found = {"initial": weights.initial, "best": weights.best, "final": weights.final}
        for which, tensors in found.items():
            for name, tensor in (tensors or {}).items():
                self._place(f"{which}.{name}", tensor)[row].copy_(tensor)
        steps = {"initial": 0, "best": weights.best_step, "final": weights.final_step}
        self.steps[row] = {name: step for name, step in steps.items() if found[name] is not None}
        self._metadata = dict(weights.metadata)

    def _place(self, name: str, like: Tensor) -> Tensor:
        held = self._tensors.get(name)
        if held is None:
            held = torch.zeros((self._rows, *like.shape), dtype=like.dtype)
            self._tensors[name] = held
        if held.shape[1:] != like.shape or held.dtype != like.dtype:
            raise ValueError(f"{name} is {tuple(like.shape)}, in the runs before {held.shape[1:]}")
        return held

    def state(self) -> Tree:
        """Return the copies of the rows that were kept."""
        index = torch.tensor(sorted(self.steps), dtype=torch.int64)
        return {
            "steps": [[row, self.steps[row]] for row in sorted(self.steps)],
            "tensors": {name: held.index_select(0, index) for name, held in self._tensors.items()},
            "metadata": dict(self._metadata),
        }

    def load_state(self, tree: Tree) -> None:
        """Go on where `state` was taken."""
        self.steps = {row: dict(steps) for row, steps in tree["steps"]}
        self._metadata = dict(tree["metadata"])
        index = torch.tensor(list(self.steps), dtype=torch.int64)
        for name, tensor in tree["tensors"].items():
            held = torch.zeros((self._rows, *tensor.shape[1:]), dtype=tensor.dtype)
            self._tensors[name] = held.index_copy_(0, index, tensor)

    def write(self, artifacts: JobArtifacts, name: str) -> dict[int, int]:
        """Write the rows that were kept, in order; returns where each has come to stand.

        Raises:
            ArtifactError: it cannot be written.
        """
        kept = sorted(self.steps)
        index = torch.tensor(kept)
        whole = len(kept) == self._rows
        tensors: Mapping[str, Tensor] = {
            key: value if whole else value.index_select(0, index)
            for key, value in self._tensors.items()
        }
        metadata = {**self._metadata, "thalweg_weights": str(WEIGHTS)}
        artifacts.write(name, pieces(tensors, metadata))
        return {row: place for place, row in enumerate(kept)}
