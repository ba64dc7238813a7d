"""Training runs, those of one structure together: stack after stack, to the last."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Literal, Protocol

import torch

from core.errors import ArtifactError, JobFailure, is_device_lost, is_out_of_memory, out_of_memory
from core.messages.parts import EndReason, Kind
from core.messages.reports import RunFailed
from core.specs.base import Json
from core.specs.job import JobSpec
from core.specs.sizes.cost import num_threads
from core.specs.sizes.extent import history_widths
from core.specs.sizes.fusing import bytes_per_run
from core.train.determinism import set_deterministic
from core.train.events import Control, Emit
from core.train.fused.events import RunRewound, StackEvent, StackEvents
from core.train.fused.grouping import Group, Source, source_of, source_tree
from core.train.fused.memory_probe import MORE, bytes_a_run
from core.train.fused.single import AloneState, SingleRun
from core.train.fused.stack.pause import PausedRuns, pause, resume
from core.train.fused.stack.splitting import TWO, WholeStack, moves_of, split_sizes
from core.train.fused.stack.stack import Stack
from core.train.history.flush import Clock
from core.train.memory import Free, free_bytes
from core.train.tensors.tree import Tree

MOST_TEXT: Final = 300
"""Characters of what went wrong in a run that its record shows."""
Left = Literal["ended", "cancelled", "handed_over", "paused"]
SIZEABLE: Final = 1 / 8
"""Share of the free memory: a stack that is estimated to take less is not measured."""
USABLE: Final = 1 / 2
"""Share of the free memory, by what a stack was measured to take. The rest is for what a step
does not show: evaluations, the copy of all that is saved, the weights of runs that have ended or
paused."""


class MakeStack(Protocol):
    def __call__(
        self,
        specs: Sequence[JobSpec],
        runs: Sequence[int],
        emit: Emit[StackEvent],
        device: torch.device,
        clock: Clock,
        whole: WholeStack | None,
        /,
    ) -> Stack: ...


class Saves(Protocol):
    """Keeps the engine's state for another attempt."""

    def due(self, now: float) -> bool:
        """Tell whether it is time to save."""

    def save(self, take: Callable[[], Tree]) -> None: ...

    def spent(self, seconds: float) -> None:
        """Take note that the last save has cost the training so much more."""

    def save_last(self, take: Callable[[], Tree]) -> None:
        """Save before the engine stops to be continued elsewhere."""


class Engine:
    """Trains units one after another; a stack that does not fit into memory in parts.

    A stack that is estimated to take a sizeable share of the memory that is free is measured first
    (`core.train.fused.memory_probe`), and cut to what fits. Its runs keep their bits on a CPU,
    wherever that allows a cut (`core.train.fused.stack.splitting`); where memory runs out all the
    same, halves come next, whatever it costs in rounding.

    Attributes:
        paused: the states of the runs that `stop_step` has paused so far.
        known: what is known of each of them (`core.train.fused.stack.pause.pause`).
    """

    def __init__(
        self,
        specs: Mapping[int, JobSpec],
        units: Iterable[Group],
        *,
        emit: Emit[StackEvent],
        control: Control,
        device: torch.device,
        clock: Clock,
        make_stack: MakeStack = Stack,
        stop_step: int | None = None,
        sources: Mapping[int, Source] | None = None,
        saves: Saves | None = None,
        free: Free = free_bytes,
        isolate: bool = False,
    ) -> None:
        self._specs = specs
        self._units = deque(units)
        self._events = StackEvents(emit)
        self._control = control
        self._device = device
        self._clock = clock
        self._make_stack = make_stack
        self._stop_step = stop_step
        self._sources = sources or {}
        self._saves = saves
        self._free = free
        self._isolates = isolate
        """True where what fails in one run fails that run alone."""
        self._measured: dict[int, int | None] = {}
        """Bytes that a run takes, by the first run of its stack."""
        self._stack: Stack | None = None
        """The stack of the first unit, once it stands where it trains on."""
        self._current: Tree = None
        """The state that the first unit goes on from, of an earlier attempt."""
        self.paused: list[tuple[list[int], Source]] = []
        self.known: dict[int, Json] = {}

    def train(self) -> EndReason:
        """Train until every run has ended or paused, or the control asks to stop.

        Raises:
            JobFailure: out of memory, data that does not load.
        """
        while self._units:
            request = self._control.stop_requested
            if request is not None:
                if request == "hand_over" and self._saves is not None:
                    self._saves.save_last(lambda: self.state(self._current))
                return "cancelled" if request == "cancel" else "handed_over"
            self._events.next_stack()
            self._stack = None
            unit = self._units[0]
            try:
                left = self._together(unit) if unit.fused else self._alone(unit.runs[0])
            except Exception as error:
                if not self._isolates or _is_everybodys(error):
                    raise
                self._isolate(unit, error)
                left = "split_sizes"
            if left == "cancelled":
                return "cancelled"
            if left == "handed_over":
                return "handed_over"
            self._current = None
            self._events.unit += 1
            if left != "split_sizes":
                self._units.popleft()
        return "finished"

    def state(self, current: Tree) -> Tree:
        """Return where the engine stands, `current` being the state of its first unit."""
        return {
            "units": [list(unit) for unit in self._units],
            "current": current,
            "updates": self._events.before,
            "unit": self._events.unit,
            "paused": [[runs, source_tree(source)] for runs, source in self.paused],
            "known": list(self.known.items()),
        }

    def load_state(self, tree: Tree) -> None:
        """Go on where `state` was taken."""
        self._units = deque(Group(*fields) for fields in tree["units"])
        self._current = tree["current"]
        self._events.before = tree["updates"]
        self._events.unit = tree.get("unit", 0)  # an older version counted none
        self.paused = [(runs, source_of(saved)) for runs, saved in tree["paused"]]
        self.known = dict(tree["known"])

    def _together(self, unit: Group) -> Left | Literal["split_sizes"]:
        """Train one stack; one that does not fit into memory, seen before its first rows left, is
        cut into parts that come next."""
        resumed = self._current is not None
        sizes = [len(unit.runs)] if resumed else self._sizes(unit)
        if len(sizes) == 1:
            before = self._events.num_told
            try:
                return self._stacked(unit)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if self._events.num_told > before or resumed or len(unit.runs) == 1:
                    raise out_of_memory() from error
            sizes = self._halves(unit)
        self._units.popleft()
        self._units.extendleft(reversed(self._parts(unit, sizes)))
        return "split_sizes"

    def _isolate(self, unit: Group, error: Exception) -> None:
        """Go on without what failed in the first unit.

        A run by itself has failed by it. Which one of several it was, nobody can tell: those that
        have not ended train again, each by itself and from where it came into the stack, so that
        only what fails again is lost.
        """
        if len(unit.runs) == 1:
            self._units.popleft()
            self._events.emit(RunFailed(unit.runs[0], _why(error), unit.fused))
            return
        if self._stack is None and self._current is not None:
            raise error  # who of them had ended by then is not known
        self._units.popleft()
        at_work = unit.runs
        if self._stack is not None:
            at_work = self._stack.names(self._stack.training()[1])
        left = [run for run in at_work if run not in self._events.over]
        for run in left:
            self._events.emit(RunRewound(run, self._rows_before(run)))
        parts = [Group([run], fused=run in self._sources) for run in left]
        self._units.extendleft(reversed(parts))

    def _rows_before(self, run: int) -> dict[Kind, int]:
        """Return the rows of each history that the run had when it came into this task."""
        record, source = self._specs[run].record, self._sources.get(run)
        step = source.step if isinstance(source, PausedRuns) else 0
        rows: dict[Kind, int] = {"train": -(-step // record.every)}
        if history_widths(self._specs[run])["eval"]:
            rows["eval"] = -(-step // record.eval_every) if record.eval_every else 0
        return rows

    def _sizes(self, unit: Group) -> list[int]:
        """Return how many runs fit into memory together, part after part."""
        specs, count = [self._specs[run] for run in unit.runs], len(unit.runs)
        free = self._free(self._device) if count >= MORE else None
        if free is None or count * bytes_per_run(specs[0]) <= free * SIZEABLE:
            return [count]
        stack = unit.runs[0] if unit.whole is None else unit.whole[0]
        if stack not in self._measured:
            self._measured[stack] = bytes_a_run(specs, self._device)
        each = self._measured[stack]
        if each is None or count * each <= free * USABLE:
            return [count]
        return split_sizes(count, int(free * USABLE) // each, moves_of(specs, self._device))

    def _halves(self, unit: Group) -> list[int]:
        """Return two halves of the unit, cut so that bits stay the same if there is such a cut."""
        specs, count = [self._specs[run] for run in unit.runs], len(unit.runs)
        half = count // 2
        exact = split_sizes(count, half, moves_of(specs, self._device)) if half >= TWO else []
        return exact if len(exact) > 1 else [half, count - half]

    def _parts(self, unit: Group, sizes: list[int]) -> list[Group]:
        """Cut the unit into parts; a run that is left by itself trains alone."""
        whole, rest, parts = unit.whole or unit.runs, unit.runs, []
        for size in sizes:
            part, rest = rest[:size], rest[size:]
            fused = size > 1 or part[0] in self._sources
            parts.append(Group(part, fused, whole if fused else None))
        return parts

    def _stacked(self, unit: Group) -> Left:
        set_deterministic(1)
        runs, of = unit.runs, unit.whole or unit.runs
        specs = [self._specs[run] for run in runs]
        whole = None
        if unit.whole is not None:
            whole = WholeStack([self._specs[run] for run in of], of.index(runs[0]))
        stack = self._make_stack(specs, runs, self._events.emit, self._device, self._clock, whole)
        if stack.allows_threads:
            work = stack.problem.multiply_adds * len(of) // len(runs)
            set_deterministic(num_threads(work))
        sources = [self._sources[run] for run in runs if run in self._sources]
        if self._current is not None:
            stack.load_state(self._current)
        elif sources:
            resume(stack, [source for source in sources if isinstance(source, PausedRuns)])
        self._stack = stack
        between = None if self._saves is None else self._between
        left = stack.train(self._control, stop_step=self._stop_step, between=between)
        if left == "handed_over" and self._saves is not None:
            self._saves.save_last(lambda: self.state(stack.state()))
        if left == "paused":
            paused, known = pause(stack)
            self.paused.append((paused.runs, paused))
            self.known |= known
        return left

    def _between(self, stack: Stack, now: float) -> None:
        if self._saves is not None and self._saves.due(now):
            self._saves.save(lambda: self.state(stack.state()))

    def _alone(self, run: int) -> Left:
        state = self._sources.get(run)
        if self._current is not None:
            state = AloneState.from_tree(self._current)
        saves, clock = self._saves, self._clock
        alone = SingleRun(
            self._specs[run],
            run,
            emit=self._events.emit,
            control=self._control,
            device=self._device,
            clock=clock,
            state=state if isinstance(state, AloneState) else None,
        )
        if saves is None:
            left = alone.train(stop_step=self._stop_step)
        else:
            restarts = _Restarts(saves, clock)
            left = alone.train(
                stop_step=self._stop_step,
                due=restarts.due,
                save=lambda state: restarts.save(lambda: self.state(state.tree())),
            )
            if left == "handed_over":
                saves.save_last(lambda: self.state(alone.state.tree()))
        if left == "paused":
            self.known[run] = alone.pause()
            self.paused.append(([run], alone.state))
        return left


def _is_everybodys(error: Exception) -> bool:
    """Tell whether it is the fault of no run: memory, data, the way out, the device."""
    if isinstance(error, JobFailure | ArtifactError | OSError | MemoryError):
        return True
    return is_out_of_memory(error) or is_device_lost(error)


def _why(error: Exception) -> Json:
    """Return the `error` of a run that failed by itself."""
    first_line = f"{type(error).__name__}: {error}".partition("\n")[0]  # torch adds its stack
    text = first_line[:MOST_TEXT]
    message = f"This run could not be computed, by itself either ({text}); the others went on."
    return {"code": "internal_error", "message": message, "param": None}


class _Restarts:
    """Saves a run that has to begin anew for it, and counts that as a cost of saving."""

    def __init__(self, saves: Saves, clock: Clock) -> None:
        self._saves = saves
        self._clock = clock
        self._saved_at: float | None = None

    def due(self) -> bool:
        now = self._clock()
        if self._saved_at is not None:
            self._saves.spent(now - self._saved_at)
            self._saved_at = None
        return self._saves.due(now)

    def save(self, take: Callable[[], Tree]) -> None:
        self._saves.save(take)
        self._saved_at = self._clock()
