"""Measurement of the memory that a run of a stack takes, by steps that are thrown away."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from core.errors import is_out_of_memory
from core.specs.job import JobSpec
from core.train.determinism import set_deterministic
from core.train.fused.events import StackEvent
from core.train.fused.stack.stack import Stack

FEWER, MORE = 2, 4
"""Runs of the two stacks that are measured: their difference leaves out what runs share."""
STEPS: Final = 2
"""Updates of each: from the second on, the best weights lie beside a step's own memory."""


def bytes_a_run(specs: Sequence[JobSpec], device: torch.device) -> int | None:
    """Return the memory that one run adds to a stack of these, measured by real steps of small
    stacks that are thrown away. None: even they do not fit.

    Nothing of them reaches anybody: their events go nowhere, and each draw of the training has a
    generator of its own (`core.train.determinism`), so that it does not matter what was drawn
    before. Evaluations are left out: they take their rows in pieces of a bounded size.

    On a GPU torch's allocator tells the peak. Nobody tells it for a CPU: the process's own peak
    (VmHWM) misses what is taken from memory that an earlier step has left to it, so there the
    storages are counted that torch's operations make, as long as they live. What an operation
    needs only within itself is left out.
    """
    try:
        set_deterministic(1)
        _peak(specs[:FEWER], device)  # loads the data, and what the libraries keep
        fewer, more = (_peak(_varied(specs, count), device) for count in (FEWER, MORE))
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            return None
        raise
    return max(1, (more - fewer) // (MORE - FEWER))


def _varied(specs: Sequence[JobSpec], count: int) -> list[JobSpec]:
    """Return some of the specs, with as many seeds as there are: runs that share one share
    batches."""
    by_seed: dict[int, JobSpec] = {}
    for spec in specs:
        by_seed.setdefault(spec.seed, spec)
    return [*by_seed.values(), *specs][:count]


def _peak(specs: Sequence[JobSpec], device: torch.device) -> int:
    runs = list(range(len(specs)))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        _Trial(specs, runs, _nobody, device, _no_time).train(_Free(), stop_step=STEPS)
        return int(torch.cuda.max_memory_allocated(device) - before)
    count = _Count()
    with count:
        _Trial(specs, runs, _nobody, device, _no_time).train(_Free(), stop_step=STEPS)
    return count.peak


class _Trial(Stack):
    """A stack that evaluates nothing, but keeps weights as the best as if it had. Where its runs
    begin is left out, too: they are looked at one after another."""

    def begin(self) -> None:
        return

    def evaluate(self) -> None:
        losses = self.earlier_s - self.step
        self.best.offer(self.step, losses, self.problem.weights, recorded=True)


class _Count(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Bytes of the storages that operations inside have made and that live: the most at once."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._living: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {id_of(each) for each in tree_iter((args, kwargs)) if isinstance(each, Tensor)}
        for each in tree_iter(result):
            if isinstance(each, Tensor) and id_of(each) not in given:
                storage = each.untyped_storage()
                weak = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
                self._living[id_of(each)] = weak, storage.nbytes()
        for name, (reference, _) in list(self._living.items()):
            if reference.expired():  # type: ignore[no-untyped-call]
                del self._living[name]
        self.peak = max(self.peak, sum(size for _, size in self._living.values()))
        return result


def id_of(tensor: Tensor) -> int:
    """Return the id of a tensor's storage."""
    return int(tensor.untyped_storage()._cdata)


def _nobody(event: StackEvent) -> None:
    """Take a trial's events, and do nothing with them."""


class _Free:
    """A control that asks a trial for nothing."""

    stop_requested: Literal["cancel", "hand_over"] | None = None
    dropped: tuple[int, ...] = ()


def _no_time() -> float:
    return 0.0
