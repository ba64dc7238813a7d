"""Training a population: the one entry point is `run`."""

from collections.abc import Sequence
from time import perf_counter

from core.specs.job import JobSpec
from core.train.devices import exact_kernels, memory_kept, pick_device
from core.train.events import Control, Emit
from core.train.fused.engine import Engine, MakeStack
from core.train.fused.events import RunEnding, RunOver, StackEvent
from core.train.fused.grouping import groups_of
from core.train.fused.stack.stack import Stack
from core.train.history.flush import Clock
from core.train.memory import Free, free_bytes


def run(
    specs: Sequence[JobSpec],
    *,
    emit: Emit[StackEvent],
    control: Control,
    device: str | None = None,
    max_runs: int | None = None,
    max_bytes: int | None = None,
    clock: Clock = perf_counter,
    make_stack: MakeStack = Stack,
    free: Free = free_bytes,
    isolate: bool = False,
) -> list[RunEnding]:
    """Train every spec's run to its end, those of one structure together.

    A run's numbers depend on its spec and on the specs that it shares a stack with (in the last
    bits), never on how the others fare. The settings that torch had in this process come back.

    Args:
        specs: resolved; the run of `specs[i]` is reported as run i.
        device: where to train; left out, the first spec's `device` decides.
        max_runs, max_bytes: the most runs of a stack, and its memory by `bytes_per_run`; left out,
            as many as are fast on such a device.
        clock: seconds, monotonic.
        make_stack: for tests.
        free: memory that a stack could take.
        isolate: what fails in one run fails that run (`RunFailed`), instead of all of them.

    Returns:
        The endings in the order of `specs`; without those that a request to stop left untried (or,
        to hand over, a run that was not in a stack), and of those that failed.

    Raises:
        JobFailure: no such device, out of memory, data that does not load.
    """
    if not specs:
        return []
    endings: list[RunEnding] = []

    def keep(event: StackEvent) -> None:
        if isinstance(event, RunOver):
            endings.append(event.ending)
        emit(event)

    with exact_kernels(), memory_kept():
        where = pick_device(device or specs[0].device)
        numbered = dict(enumerate(specs))
        units = groups_of(numbered, {}, where, max_runs=max_runs, max_bytes=max_bytes)
        Engine(
            numbered,
            units,
            emit=keep,
            control=control,
            device=where,
            clock=clock,
            make_stack=make_stack,
            free=free,
            isolate=isolate,
        ).train()
    return sorted(endings, key=lambda ending: ending.run)
