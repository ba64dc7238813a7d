"""Training runs, those of one structure together: stack after stack, to the last."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import torch

from core.determinism import num_threads, set_deterministic
from core.errors import JobFailure
from core.population.alone import Alone, AloneState
from core.population.events import PopulationControl, StackEvents
from core.population.gathering import Gathering
from core.population.pausing import PausedRuns, pause, resume
from core.population.shortage import is_out_of_memory
from core.population.stack import Stack
from core.spec.job import JobSpec
from core.spec.structure import CPU_STACK_BYTES, FEW, GPU_STACK_BYTES, fusable, stacks
from core.train.reporting import Clock
from core.train.tree import Tree

Json = dict[str, Any]
Reason = Literal["finished", "cancelled", "handed_over"]
Left = Literal["ended", "cancelled", "handed_over", "paused"]
MakeStack = Callable[[Sequence[JobSpec], Sequence[int], StackEvents, torch.device, Clock], Stack]
Source = PausedRuns | AloneState
"""Where a run goes on from: a stack's (with this run alone in it), or its own loop's."""


class Unit(NamedTuple):
    """Runs that train together, or (not fused) one that trains by itself."""

    runs: list[int]
    fused: bool


class Saves(Protocol):
    """Keeps the engine's state for another attempt."""

    def due(self, now: float) -> bool:
        """Whether it is time to."""

    def save(self, take: Callable[[], Tree]) -> None: ...

    def spent(self, seconds: float) -> None:
        """The last save has cost the training so much more."""

    def save_last(self, take: Callable[[], Tree]) -> None:
        """Before the engine stops to be continued elsewhere."""


def units_of(
    specs: Mapping[int, JobSpec],
    sources: Mapping[int, Source],
    device: torch.device,
    *,
    max_runs: int | None = None,
    max_bytes: int | None = None,
) -> list[Unit]:
    """The runs as they train together: those of one structure that came equally far. One that
    would be by itself trains in the single run's loop, which is faster for one; a paused run goes
    on as it was."""
    usual = GPU_STACK_BYTES if device.type == "cuda" else CPU_STACK_BYTES
    least = 1 if max_bytes else FEW
    found: list[Unit] = []
    kinds: dict[tuple[bool, int], list[int]] = {}
    for run in specs:
        source = sources.get(run)
        if isinstance(source, AloneState):
            found.append(Unit([run], fused=False))
        else:
            step = 0 if source is None else source.step
            kinds.setdefault((source is not None, step), []).append(run)
    for (paused, _), runs in kinds.items():
        alike = [specs[run] for run in runs]
        for part in stacks(alike, max_runs=max_runs, max_bytes=max_bytes or usual, least=least):
            together = [runs[number] for number in part]
            fused = paused or (len(part) > 1 and fusable(specs[together[0]]))
            found.append(Unit(together, fused))
    order = {run: place for place, run in enumerate(specs)}
    return sorted(found, key=lambda unit: order[unit.runs[0]])


class Engine:
    """Trains units one after another; a stack that does not fit into memory in halves.

    Attributes:
        paused: the states of the runs that `stop_step` has paused so far.
        known: what is known of each of them (`core.population.pausing.pause`).
    """

    def __init__(
        self,
        specs: Mapping[int, JobSpec],
        units: Iterable[Unit],
        *,
        events: Gathering,
        control: PopulationControl,
        device: torch.device,
        clock: Clock,
        make_stack: MakeStack = Stack,
        stop_step: int | None = None,
        sources: Mapping[int, Source] | None = None,
        saves: Saves | None = None,
    ) -> None:
        self._specs = specs
        self._units = deque(units)
        self._events = events
        self._control = control
        self._device = device
        self._clock = clock
        self._make_stack = make_stack
        self._stop_step = stop_step
        self._sources = sources or {}
        self._saves = saves
        self._current: Tree = None
        """The state that the first unit goes on from, of an earlier attempt."""
        self.paused: list[tuple[list[int], Source]] = []
        self.known: dict[int, Json] = {}

    def train(self) -> Reason:
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
            unit = self._units[0]
            left = self._together(unit.runs) if unit.fused else self._alone(unit.runs[0])
            if left == "cancelled":
                return "cancelled"
            if left == "handed_over":
                return "handed_over"
            self._current = None
            if left != "halved":
                self._units.popleft()
        return "finished"

    def state(self, current: Tree) -> Tree:
        """Where the engine stands, `current` being the state of its first unit."""
        return {
            "units": [[unit.runs, unit.fused] for unit in self._units],
            "current": current,
            "updates": self._events.before,
            "paused": [[runs, source_tree(source)] for runs, source in self.paused],
            "known": list(self.known.items()),
        }

    def load_state(self, tree: Tree) -> None:
        """Go on where `state` was taken."""
        self._units = deque(Unit(runs, fused) for runs, fused in tree["units"])
        self._current = tree["current"]
        self._events.before = tree["updates"]
        self.paused = [(runs, source_of(saved)) for runs, saved in tree["paused"]]
        self.known = dict(tree["known"])

    def _together(self, runs: list[int]) -> Left | Literal["halved"]:
        """Train one stack; out of memory before its first rows left, its two halves come next."""
        before = self._events.num_calls
        try:
            return self._stacked(runs)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            resumed = self._current is not None
            if self._events.num_calls > before or resumed or len(runs) == 1:
                message = "the device or the host ran out of memory"
                raise JobFailure("out_of_memory", message) from error
        self._units.popleft()
        half = len(runs) // 2
        for part in (runs[half:], runs[:half]):
            paused = part[0] in self._sources
            self._units.appendleft(Unit(part, fused=len(part) > 1 or paused))
        return "halved"

    def _stacked(self, runs: list[int]) -> Left:
        set_deterministic(1)
        specs = [self._specs[run] for run in runs]
        stack = self._make_stack(specs, runs, self._events, self._device, self._clock)
        if stack.allows_threads:
            set_deterministic(num_threads(1, stack.problem.multiply_adds))
        sources = [self._sources[run] for run in runs if run in self._sources]
        if self._current is not None:
            stack.load_state(self._current)
        elif sources:
            resume(stack, [source for source in sources if isinstance(source, PausedRuns)])
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
        alone = Alone(
            self._specs[run],
            run,
            events=self._events,
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
            self.known[run] = alone.known()
            self.paused.append(([run], alone.state))
        return left


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


def source_tree(source: Source) -> Tree:
    """For `core.train.tree.flatten`."""
    return {"fused": isinstance(source, PausedRuns), "tree": source.tree()}


def source_of(tree: Tree) -> Source:
    """From what `source_tree` gave."""
    kind = PausedRuns if tree["fused"] else AloneState
    return kind.from_tree(tree["tree"])
