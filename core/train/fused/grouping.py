"""Choice of the runs that train together, and of where they go on from."""

from collections.abc import Mapping
from typing import NamedTuple

import torch

from core.specs.job import JobSpec
from core.specs.sizes.fusing import CPU_STACK_BYTES, FEW, GPU_STACK_BYTES, fusable, stacks
from core.train.fused.single import AloneState
from core.train.fused.stack.pause import PausedRuns
from core.train.tensors.tree import Tree

Source = PausedRuns | AloneState
"""Source from which a run goes on: a stack's (with this run alone in it), or its own loop's."""


class Group(NamedTuple):
    """Runs that train together, or (not fused) one that trains by itself.

    Attributes:
        whole: of a part of a stack that did not fit into memory, all runs of that stack.
    """

    runs: list[int]
    fused: bool
    whole: list[int] | None = None


def groups_of(
    specs: Mapping[int, JobSpec],
    sources: Mapping[int, Source],
    device: torch.device,
    *,
    max_runs: int | None = None,
    max_bytes: int | None = None,
) -> list[Group]:
    """Return the runs as they train together: those of one structure that came equally far. One
    that would be by itself trains in the single run's loop, which is faster for one; a paused run
    goes on as it was. Follows from the specs and the device's kind alone, never from its memory."""
    usual = GPU_STACK_BYTES if device.type == "cuda" else CPU_STACK_BYTES
    least = 1 if max_bytes else FEW
    found: list[Group] = []
    kinds: dict[tuple[bool, int], list[int]] = {}
    for run in specs:
        source = sources.get(run)
        if isinstance(source, AloneState):
            found.append(Group([run], fused=False))
        else:
            step = 0 if source is None else source.step
            kinds.setdefault((source is not None, step), []).append(run)
    for (paused, _), runs in kinds.items():
        alike = [specs[run] for run in runs]
        for part in stacks(alike, max_runs=max_runs, max_bytes=max_bytes or usual, least=least):
            together = [runs[number] for number in part]
            fused = paused or (len(part) > 1 and fusable(specs[together[0]]))
            found.append(Group(together, fused))
    order = {run: place for place, run in enumerate(specs)}
    return sorted(found, key=lambda unit: order[unit.runs[0]])


def source_tree(source: Source) -> Tree:
    """Return the source for `core.train.tensors.tree.flatten`."""
    return {"fused": isinstance(source, PausedRuns), "tree": source.tree()}


def source_of(tree: Tree) -> Source:
    """Make the source from what `source_tree` gave."""
    kind = PausedRuns if tree["fused"] else AloneState
    return kind.from_tree(tree["tree"])
