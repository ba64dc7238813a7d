"""A run that is not fused: the single run's own loop, behind the population's interface."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal, assert_never

import numpy as np
import torch
from torch import Tensor

from core.errors import ArtifactError
from core.messages.reports import (
    Concluded,
    DataLoaded,
    Ending,
    HistoryRows,
    Intervened,
    PhaseBegun,
    PopulationProgress,
    Progress,
    Restarted,
    SavedCheckpoint,
)
from core.specs.base import Json
from core.specs.job import JobSpec
from core.train.checkpoint.snapshot import Snapshot, decode, resume_points, step_of
from core.train.events import Control, Emit, RunEvent
from core.train.fused.checkpoint.memory_files import MemoryFiles
from core.train.fused.events import (
    RowBatch,
    RunEnding,
    RunOver,
    RunPaused,
    RunRewound,
    RunWeights,
    StackEvent,
)
from core.train.fused.problems.build import DTYPES
from core.train.history.flush import Clock
from core.train.loop import run as run_single
from core.train.problems.base import Problem
from core.train.problems.build import build_problem
from core.train.state import result_weights
from core.train.stopping import evaluation_rules_of
from core.train.tensors.tensor_file import parse
from core.train.tensors.tree import Tree

Left = Literal["ended", "cancelled", "handed_over", "paused"]


@dataclass
class AloneState:
    """A run between two steps.

    Attributes:
        files: its initial weights and its latest resume checkpoint; empty before the first step.
        share_s: its time so far.
        first_step: updates that were applied before this task.
    """

    files: MemoryFiles = field(default_factory=MemoryFiles)
    share_s: float = 0.0
    first_step: int = 0

    def tree(self) -> Tree:
        """Return the state for `core.train.tensors.tree.flatten`."""
        tensors = self.files.tensors()
        return {"files": tensors, "share_s": self.share_s, "first_step": self.first_step}

    @classmethod
    def from_tree(cls, tree: Tree) -> "AloneState":
        files = MemoryFiles.of(tree["files"])
        return cls(files, tree["share_s"], tree["first_step"])


def nobody(state: AloneState) -> None:
    """Ignore the state of the run."""


class SingleRun:
    """A run in a loop of its own.

    Attributes:
        state: where it stands; `train` goes on from there, and leaves it where the run left off.
    """

    def __init__(
        self,
        spec: JobSpec,
        run: int,
        *,
        emit: Emit[StackEvent],
        control: Control,
        device: torch.device,
        clock: Clock = perf_counter,
        state: AloneState | None = None,
    ) -> None:
        # Checkpoints on the way are taken by handing the run over: by time, not by steps.
        checkpoint = spec.checkpoint.model_copy(update={"every_steps": None})
        self._spec = spec.model_copy(update={"checkpoint": checkpoint})
        self._run = run
        self._emit = emit
        self._control = control
        self._device = device
        self._clock = clock
        self.state = state or AloneState()

    def train(
        self,
        *,
        stop_step: int | None = None,
        due: Callable[[], bool] = lambda: False,
        save: Callable[[AloneState], None] = nobody,
    ) -> Left:
        """Train until the run has ended, or the control asks to stop, or until `stop_step` updates
        are made. Handed over or paused, nothing of an ending is reported.

        Args:
            due: asked before each step whether the state should be saved.
            save: called with it then.

        Raises:
            what `core.train.loop.run` raises.
        """
        while True:
            control = _Control(self._run, self._control, due)
            ending = self._go_on(control, stop_step)
            if ending.reason != "handed_over":
                ended = RunEnding(self._run, ending, False, self.state.share_s)
                self._emit(RunOver(ended, _weights(self.state.files, ending)))
                dropped = self._control.stop_requested is None
                return "cancelled" if ending.reason == "cancelled" and not dropped else "ended"
            self.state.files.keep_latest()
            (latest,) = resume_points(self.state.files)
            self._emit(PopulationProgress(step_of(latest) - self.state.first_step, 1))
            match control.answered:
                case "hand_over":
                    return "handed_over"
                case "save":
                    save(self.state)
                case _:
                    return "paused"

    def _go_on(self, control: "_Control", stop_step: int | None) -> Ending:
        began, files = self._clock(), self.state.files
        relay = _Relay(self._run, self._emit, self.state, self._clock)
        ending = run_single(
            self._spec,
            artifacts=files,
            emit=relay.emit,
            control=control,
            resume=bool(resume_points(files)),
            device=str(self._device),
            stop_step=stop_step,
            clock=self._clock,
        )
        self.state.share_s += self._clock() - began
        return ending

    def pause(self) -> Json:
        """Return what is known of a run that has paused, as of those of a stack
        (`core.train.fused.stack.pause.pause`); its weights leave."""
        snapshot = _latest(self.state.files, self._spec, self._device)
        final = self._result_weights(snapshot)
        ledger, kept = snapshot.ledger, snapshot.best
        first = ledger["trace"]["first"]
        rules = evaluation_rules_of(self._spec)
        best = rules.best_at(kept["step"], kept["loss"]) if kept["step"] >= 0 else None
        of_best = snapshot.best_weights
        metrics = self._evaluation(snapshot, final)
        every = self._spec.record.eval_every
        if metrics is not None:
            if every is not None and snapshot.step % every == 0:
                # It comes again, as the same row, when the run goes on.
                self._record(ledger["num_evaluations"], metrics)
            # A run that ends here counts its last evaluation among those that may be best.
            level = metrics[rules.metric]
            better = best is None or rules.sign * level < rules.sign * kept["loss"]
            if math.isfinite(level) and better:
                best = rules.best_at(snapshot.step, level)
                of_best = list(final.values())
        self._send_weights(snapshot.step, final, of_best, -1 if best is None else best["step"])
        return {
            "step": snapshot.step,
            "initial_loss": first if snapshot.step or not math.isnan(first) else None,
            "loss": ledger["trace"]["last"] if snapshot.step else None,
            "eval": metrics,
            "best": best,
            "share_s": self.state.share_s,
        }

    def _result_weights(self, snapshot: Snapshot) -> dict[str, Tensor]:
        return result_weights(self._spec, self._problem, snapshot.moment)

    def _problem(self) -> Problem:
        return build_problem(self._spec, self._device, DTYPES[self._spec.precision or "float32"])

    def _evaluation(self, snapshot: Snapshot, weights: dict[str, Tensor]) -> Json | None:
        found = snapshot.ledger["evaluation"]
        if found is None or snapshot.ledger["evaluated_step"] != snapshot.step:
            problem = self._problem()
            problem.load_state(weights)
            found = problem.evaluate()
        return None if found is None else {**found, "step": snapshot.step}

    def _send_weights(
        self, step: int, final: dict[str, Tensor], best: list[Tensor], best_step: int
    ) -> None:
        initial, metadata = parse(self.state.files.files["initial.safetensors"])
        named = dict(zip(final, best, strict=True)) if best_step >= 0 else None
        weights = RunWeights(initial, named, final, best_step, step, _of_all_weights(metadata))
        self._emit(RunPaused(self._run, weights))

    def _record(self, row: int, metrics: Json) -> None:
        columns = {name: np.array([[value]], dtype=float) for name, value in metrics.items()}
        share_s = np.array([[self.state.share_s]])
        self._emit(RowBatch("eval", [self._run], row, columns, share_s))


class _Relay:
    """The single run's events, passed on under its number."""

    def __init__(self, run: int, emit: Emit[StackEvent], state: AloneState, clock: Clock) -> None:
        self._run = run
        self._emit = emit
        self._state = state
        self._clock = clock
        self._began = clock()
        self._steps = [0.0, 0.0]
        self._times = [state.share_s, state.share_s]

    def emit(self, event: RunEvent) -> None:
        """Take an event of the run."""
        match event:
            case HistoryRows():
                self._rows(event)
            case Progress(step):
                self._emit(PopulationProgress(step - self._state.first_step, 1))
            case Intervened(_, rewound):
                if rewound is not None:
                    self._emit(RunRewound(self._run, rewound))
            case PhaseBegun() | DataLoaded() | SavedCheckpoint() | Restarted() | Concluded():
                return
            case _:
                assert_never(event)

    def _rows(self, rows: HistoryRows) -> None:
        steps = rows.columns["step"]
        if rows.kind == "train":
            now = self._state.share_s + self._clock() - self._began
            before = self._steps[1] or float(steps[0])
            self._steps, self._times = [before, float(steps[-1])], [self._times[1], now]
        # Between two reports, the time of a row is as its step.
        share_s = np.interp(steps, self._steps, self._times)[None]
        together = {name: column[None] for name, column in rows.columns.items()}
        self._emit(
            RowBatch(rows.kind, [self._run], rows.first_row, together, share_s, rows.times, [0.0])
        )

    def restarted(self, detail: str) -> None:
        return


class _Control:
    """The population's control, for one of its runs.

    Attributes:
        answered: what was asked of the run, and why.
    """

    dropped: tuple[int, ...] = ()

    def __init__(self, run: int, control: Control, due: Callable[[], bool]) -> None:
        self._run = run
        self._control = control
        self._due = due
        self.answered: Literal["cancel", "hand_over", "save"] | None = None

    @property
    def stop_requested(self) -> Literal["cancel", "hand_over"] | None:
        dropped = self._control.dropped
        request = "cancel" if dropped and self._run in dropped else self._control.stop_requested
        if request is not None:
            self.answered = "cancel" if request == "cancel" else "hand_over"
        elif self._due():
            self.answered = "save"
        else:
            return None
        return "cancel" if request == "cancel" else "hand_over"


def _latest(files: MemoryFiles, spec: JobSpec, device: torch.device) -> Snapshot:
    names = resume_points(files)
    if not names:
        raise ArtifactError("a paused run has no checkpoint")
    return decode(files.files[names[0]], spec, str(device))


def _weights(files: MemoryFiles, ending: Ending) -> RunWeights:
    held: dict[str, tuple[dict[str, Tensor], dict[str, str]]] = {
        name: parse(data) for name, data in files.files.items() if "/" not in name
    }
    initial, metadata = held["initial.safetensors"]
    final, of_final = held.get("final.safetensors", held["initial.safetensors"])
    best = held.get("best.safetensors")
    return RunWeights(
        initial,
        None if best is None else best[0],
        final,
        -1 if best is None else int(best[1]["step"]),
        int(of_final["step"]),
        _of_all_weights(metadata),
    )


def _of_all_weights(metadata: dict[str, str]) -> dict[str, str]:
    """Return the metadata that hold of a run's other weights too, and of other runs'."""
    return {k: v for k, v in metadata.items() if k not in ("step", "checkpoint", "spec")}
