"""A task of a study, from its request to its ending."""

from collections.abc import Callable
from time import perf_counter
from typing import Final, cast

import torch

from core.artifacts.base import JobArtifacts
from core.artifacts.task_files import paused_file, weights_file
from core.errors import ArtifactError, NotFoundError
from core.messages.parts import PausedRun
from core.messages.reports import Restarted, TaskEnding, TaskReport
from core.messages.requests import TrainTask
from core.train.checkpoint.resume import told
from core.train.checkpoint.snapshot import resume_points, step_of
from core.train.devices import exact_kernels, memory_kept, pick_device
from core.train.events import Control, Emit
from core.train.fused.checkpoint.writer import Pace, TaskCheckpointer
from core.train.fused.engine import Engine, MakeStack
from core.train.fused.grouping import Source, groups_of, source_of, source_tree
from core.train.fused.request import fingerprint, specs_of
from core.train.fused.single import AloneState
from core.train.fused.stack.pause import PausedRuns
from core.train.fused.stack.stack import Stack
from core.train.fused.task_state import TaskState, presumes
from core.train.history.flush import Clock
from core.train.memory import Free, free_bytes
from core.train.tensors.tree import Tree
from core.train.tensors.tree_file import decode, encode

PAUSED: Final = "paused runs"


def run_task(
    task: TrainTask,
    artifacts: JobArtifacts,
    emit: Emit[TaskReport],
    control: Control,
    clock: Clock = perf_counter,
    *,
    pace: Pace | None = None,
    make_stack: MakeStack = Stack,
    free: Free = free_bytes,
) -> TaskEnding:
    """Train the runs of a task.

    Args:
        artifacts: the study's.
        pace: how often the task is saved.
        free: memory that a stack could take.

    Raises:
        ArtifactError: the weights or the paused runs cannot be written, or a source is not there.
        JobFailure: no such device, out of memory, data that does not load.
    """
    specs = specs_of(task)
    receiver = TaskState(list(specs), emit, task.target)
    with exact_kernels(), memory_kept():
        device = pick_device(task.device)
        about = fingerprint(task, device.type)
        with TaskCheckpointer(artifacts, task.stem, about, clock, pace or Pace()) as keeper:
            saved = _checkpoint(keeper, task, device)
            sources = _sources(task, artifacts, device, receiver, keeper.unreadable)
            where = "from its start" if saved is None else "from a checkpoint"
            if (detail := told(f"task {task.stem} {where}", keeper.unreadable)) is not None:
                emit(Restarted(detail))
            engine = Engine(
                specs,
                groups_of(specs, sources, device),
                emit=receiver.emit,
                control=control,
                device=device,
                clock=clock,
                make_stack=make_stack,
                free=free,
                stop_step=task.stop_step,
                sources=sources,
                saves=_Saves(keeper, receiver),
                isolate=True,
            )
            if saved is not None:
                receiver.load_state(saved["receiver"])
                engine.load_state(saved["engine"])
            reason = engine.train()
            if reason == "handed_over":
                return TaskEnding(reason, None, {})
            weights = None
            if receiver.kept.steps:
                name = weights_file(task.stem)
                weights = receiver.weights(name, receiver.kept.write(artifacts, name))
            paused = _write_paused(engine, receiver, artifacts, paused_file(task.stem))
            return TaskEnding(reason, weights, paused)


class _Saves:
    """Saves the engine together with what the task knows of its runs."""

    def __init__(self, keeper: TaskCheckpointer, receiver: TaskState) -> None:
        self._receiver = receiver
        self._keeper = keeper
        self.due = keeper.due
        self.spent = keeper.spent

    def save(self, take: Callable[[], Tree]) -> None:
        self._keeper.save(lambda: self._whole(take))

    def save_last(self, take: Callable[[], Tree]) -> None:
        self._keeper.save_last(lambda: self._whole(take))

    def _whole(self, take: Callable[[], Tree]) -> Tree:
        engine = take()  # first: taking it makes the rows leave
        return {"engine": engine, "receiver": self._receiver.state()}


def _checkpoint(keeper: TaskCheckpointer, task: TrainTask, device: torch.device) -> Tree | None:
    if not task.resume:
        return None
    stored = task.stored_rows

    def arrived(tree: Tree) -> bool:
        wanted = presumes(tree["receiver"])
        return stored is None or all(
            rows <= stored.get(run, {}).get(kind, 0)
            for run, held in wanted.items()
            for kind, rows in held.items()
        )

    return keeper.load(str(device), arrived)


def _sources(
    task: TrainTask,
    artifacts: JobArtifacts,
    device: torch.device,
    receiver: TaskState,
    unreadable: list[tuple[str, str]],
) -> dict[int, Source]:
    """Read where the runs go on from; what they had reached before is told to the receiver.

    A file that cannot be read any more is added to `unreadable`: its runs begin anew.
    """
    anew: set[int] = set()
    wanted = task.sources
    found: dict[int, Source] = {}
    for file in dict.fromkeys(wanted.values()):
        try:
            data = artifacts.read(file)
        except NotFoundError as error:
            raise ArtifactError(f"the state of the paused runs is gone: {error}") from error
        try:
            tree = decode(data, PAUSED, str(device))
        except ArtifactError as error:
            unreadable.append((file, str(error)))
            anew.update(run for run, its in wanted.items() if its == file)
            continue
        reached = dict(tree["reached"])
        for runs, saved in tree["sources"]:
            source = source_of(saved)
            for run in runs:
                if wanted.get(run) == file:
                    found[run] = _of_run(source, run)
                    if run in reached:
                        receiver.target.reached[run] = reached[run]
    if missing := wanted.keys() - found.keys() - anew:
        raise ArtifactError(f"the state of the runs {sorted(missing)} is not there")
    return found


def _of_run(source: Source, run: int) -> Source:
    if isinstance(source, PausedRuns):
        return source.of(run)
    (latest, *_) = resume_points(source.files)
    return AloneState(source.files, source.share_s, step_of(latest))


def _write_paused(
    engine: Engine, receiver: TaskState, artifacts: JobArtifacts, file: str
) -> dict[int, PausedRun]:
    """Write the states of the runs that have paused; returns what is known of each."""
    if not engine.paused:
        return {}
    reached = receiver.target.reached
    tree = {
        "sources": [[runs, source_tree(source)] for runs, source in engine.paused],
        "reached": list(reached.items()),
    }
    artifacts.write(file, encode(tree, PAUSED))
    return {
        run: cast(PausedRun, {**known, "target": reached.get(run), "file": file})
        for run, known in engine.known.items()
    }
