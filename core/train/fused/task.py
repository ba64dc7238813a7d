"""A task of a study, from the fields of its frame to its endings."""

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, Final

import torch

from core.artifacts.base import JobArtifacts
from core.artifacts.task_files import paused_file, weights_file
from core.errors import ArtifactError, NotFoundError
from core.train.checkpoint.resume import told
from core.train.checkpoint.snapshot import resume_points, step_of
from core.train.devices import exact_kernels, memory_kept, pick_device
from core.train.fused.checkpoint.writer import Pace, TaskCheckpointer
from core.train.fused.engine import Engine, MakeStack
from core.train.fused.events import EventFanout, PopulationControl
from core.train.fused.grouping import Source, groups_of, source_of, source_tree
from core.train.fused.request import fingerprint, specs_of
from core.train.fused.single import AloneState
from core.train.fused.stack.pause import PausedRuns
from core.train.fused.stack.stack import Stack
from core.train.fused.task_state import TaskEvents, TaskState, presumes
from core.train.history.flush import Clock
from core.train.memory import Free, free_bytes
from core.train.tensors.tree import Tree
from core.train.tensors.tree_file import decode, encode

Json = dict[str, Any]
PAUSED: Final = "paused runs"


def run_task(
    job: Mapping[str, Any],
    artifacts: JobArtifacts,
    events: TaskEvents,
    control: PopulationControl,
    clock: Clock = perf_counter,
    *,
    pace: Pace | None = None,
    make_stack: MakeStack = Stack,
    free: Free = free_bytes,
) -> Json:
    """Train the runs of a `population` frame; returns the fields of its `ended` frame.

    Args:
        job: the frame's fields.
            `stem`: what the names of the task's artifacts begin with.
            `device`: where to train.
            `base`, `configurations`: of the resolved study, and the parameters of each.
            `format`: in which the study was stored; left out: this version's.
            `runs`: `[index in the study, place in configurations, seed]` each; their models are
                alike.
            `stop_step`: after so many updates, runs that have not ended pause; None: none does.
            `sources`: by index, the artifact with the state that a paused run goes on from.
            `resume`: go on from the task's latest checkpoint; without any, from the beginning.
            `stored_rows`: by index, the rows of each history that have arrived: a checkpoint that
                presumes more is not used. None: all of them.
            `target`: as `core.train.fused.task_state.Target` takes it.
            All but the first five may be left out.
        artifacts: the study's.
        pace: how often the task is saved.
        free: memory that a stack could take.

    Returns:
        `reason`: `finished`, `cancelled` (what had not ended by then keeps what it has) or
        `handed_over`. `weights`: `{"file", "rows": {index: row}, "steps": {index: {"initial",
        "best", "final"}}}` of the runs that ended or paused; None without any. `paused`: by index
        `{"step", "loss", "eval", "best", "share_s", "target", "file"}`.

    Raises:
        ArtifactError: the weights or the paused runs cannot be written, or a source is not there.
        JobFailure: no such device, out of memory, data that does not load.
    """
    specs = specs_of(job)
    receiver = TaskState(list(specs), events, job.get("target"))
    with exact_kernels(), memory_kept():
        device = pick_device(job["device"])
        about = fingerprint(job, device.type)
        with TaskCheckpointer(artifacts, job["stem"], about, clock, pace or Pace()) as keeper:
            saved = _checkpoint(keeper, job, device)
            sources = _sources(job, artifacts, device, receiver, keeper.unreadable)
            where = "from its start" if saved is None else "from a checkpoint"
            if (detail := told(f"task {job['stem']} {where}", keeper.unreadable)) is not None:
                events.restarted(detail)
            engine = Engine(
                specs,
                groups_of(specs, sources, device),
                events=EventFanout(receiver),
                control=control,
                device=device,
                clock=clock,
                make_stack=make_stack,
                free=free,
                stop_step=job.get("stop_step"),
                sources=sources,
                saves=_Saves(keeper, receiver),
            )
            if saved is not None:
                receiver.load_state(saved["receiver"])
                engine.load_state(saved["engine"])
            reason = engine.train()
            if reason == "handed_over":
                return {"reason": reason, "weights": None, "paused": {}}
            weights = None
            if receiver.kept.steps:
                name = weights_file(job["stem"])
                weights = receiver.weights(name, receiver.kept.write(artifacts, name))
            paused = _write_paused(engine, receiver, artifacts, paused_file(job["stem"]))
            return {"reason": reason, "weights": weights, "paused": paused}


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


def _checkpoint(
    keeper: TaskCheckpointer, job: Mapping[str, Any], device: torch.device
) -> Tree | None:
    if not job.get("resume"):
        return None
    stored_rows = job.get("stored_rows")
    stored = None if stored_rows is None else {int(k): rows for k, rows in stored_rows.items()}

    def arrived(tree: Tree) -> bool:
        wanted = presumes(tree["receiver"])
        return stored is None or all(
            rows <= stored.get(run, {}).get(kind, 0)
            for run, held in wanted.items()
            for kind, rows in held.items()
        )

    return keeper.load(str(device), arrived)


def _sources(
    job: Mapping[str, Any],
    artifacts: JobArtifacts,
    device: torch.device,
    receiver: TaskState,
    unreadable: list[tuple[str, str]],
) -> dict[int, Source]:
    """Where the runs go on from; what they had reached before is told to the receiver. A file that
    cannot be read any more is added to `unreadable`: its runs begin anew."""
    anew: set[int] = set()
    wanted = {int(index): file for index, file in (job.get("sources") or {}).items()}
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
) -> dict[int, Json]:
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
        run: {**known, "target": reached.get(run), "file": file}
        for run, known in engine.known.items()
    }
