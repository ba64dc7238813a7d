"""Training a population: the one entry point is `run`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import torch

from core.determinism import num_threads, set_deterministic
from core.errors import JobFailure
from core.population.alone import run_alone
from core.population.events import (
    PopulationControl,
    PopulationEvents,
    RowBatch,
    RunEnding,
    RunWeights,
    StackEvents,
)
from core.population.stack import Stack
from core.population.structure import CPU_STACK_BYTES, GPU_STACK_BYTES, fusable, stacks
from core.spec.job import JobSpec
from core.train.devices import exact_kernels, pick_device
from core.train.events import Columns
from core.train.reporting import Clock

MakeStack = Callable[[Sequence[JobSpec], Sequence[int], StackEvents, torch.device, Clock], Stack]


def run(
    specs: Sequence[JobSpec],
    *,
    events: PopulationEvents,
    control: PopulationControl,
    device: str | None = None,
    max_runs: int | None = None,
    max_bytes: int | None = None,
    clock: Clock = perf_counter,
    make_stack: MakeStack = Stack,
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

    Returns:
        The endings in the order of `specs`; without those that a request to stop left untried.

    Raises:
        JobFailure: no such device, out of memory, data that does not load.
    """
    gathered = _Gathering(events)
    if not specs:
        return []
    with exact_kernels():
        where = pick_device(device or specs[0].device)
        usual = GPU_STACK_BYTES if where.type == "cuda" else CPU_STACK_BYTES
        for members in stacks(specs, max_runs=max_runs, max_bytes=max_bytes or usual):
            if control.stop_requested is not None:
                break
            _Training(specs, gathered, control, where, clock, make_stack).together(members)
    return sorted(gathered.endings, key=lambda ending: ending.run)


@dataclass(frozen=True)
class _Training:
    """What all stacks of a population share."""

    specs: Sequence[JobSpec]
    events: "_Gathering"
    control: PopulationControl
    device: torch.device
    clock: Clock
    make_stack: MakeStack

    def together(self, members: list[int]) -> None:
        """Train one stack; out of memory before its first rows left, its two halves in turn.

        A run that is left by itself trains in the single run's loop, which is faster for one.
        """
        if len(members) == 1 or not fusable(self.specs[members[0]]):
            for number in members:
                self._alone(number)
            return
        before = self.events.num_calls
        try:
            self._stacked(members)
            return
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            if self.events.num_calls > before:
                raise JobFailure(
                    "out_of_memory", "the device or the host ran out of memory"
                ) from error
        for half in (members[: len(members) // 2], members[len(members) // 2 :]):
            self.together(half)

    def _alone(self, number: int) -> None:
        self.events.next_stack()
        run_alone(
            self.specs[number],
            number,
            events=self.events,
            control=self.control,
            device=self.device,
            clock=self.clock,
        )

    def _stacked(self, members: list[int]) -> None:
        self.events.next_stack()
        set_deterministic(1)
        specs = [self.specs[number] for number in members]
        stack = self.make_stack(specs, members, self.events, self.device, self.clock)
        if stack.allows_threads:
            set_deterministic(num_threads(1, stack.problem.multiply_adds))
        stack.train(self.control)


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error)
    return "not enough memory" in text or "can't allocate memory" in text


class _Gathering:
    """Passes the events on and keeps the endings."""

    def __init__(self, events: PopulationEvents) -> None:
        self._events = events
        self._together = getattr(events, "many_rows", None)
        self.endings: list[RunEnding] = []
        self.num_calls = 0
        self._before = 0
        self._latest = 0

    def rows(self, run: int, kind: str, first_row: int, columns: Columns) -> None:
        self.num_calls += 1
        self._events.rows(run, "train" if kind == "train" else "eval", first_row, columns)

    def many_rows(self, batch: RowBatch) -> None:
        self.num_calls += 1
        if self._together is not None:
            self._together(batch)
            return
        for place, run in enumerate(batch.runs):
            columns = {name: column[place] for name, column in batch.columns.items()}
            self._events.rows(run, batch.kind, batch.first_row, columns)

    def progress(self, num_updates: int, num_running: int) -> None:
        self._latest = num_updates
        self._events.progress(self._before + num_updates, num_running)

    def next_stack(self) -> None:
        """A stack is done: the next one counts its updates from 0."""
        self._before += self._latest
        self._latest = 0

    def ended(self, ending: RunEnding, weights: RunWeights) -> None:
        self.num_calls += 1
        self.endings.append(ending)
        self._events.ended(ending, weights)
