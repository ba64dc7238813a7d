"""Weights on their way to disk: written by threads beside the training, which never waits."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from torch import Tensor

from core.artifacts.base import Buffer, JobArtifacts, Stored
from core.errors import ArtifactError
from core.formats import WEIGHTS
from core.messages.parts import CheckpointName
from core.messages.reports import SavedCheckpoint
from core.specs.base import Json
from core.specs.job import JobSpec
from core.train.checkpoint.snapshot import (
    Snapshot,
    encode,
    fingerprint,
    kept_name,
    kept_step,
    latest_first,
    step_of,
)
from core.train.tensors.tensor_file import pieces

MAX_WAITING_BYTES: Final = 256 * 2**20
MAX_WAITING: Final = 8
"""A checkpoint on the way is left out when more than this would wait for the disk."""
MODEL_THREADS: Final = 2
"""Threads beside the one for resume checkpoints, which are written and pruned in order: the
three files of a run's end wait for the disk together (ext4: 1.5 ms less than with two threads
for all)."""
AT_ONCE_BYTES: Final = 2**18
"""A state up to this size is made a file's bytes by the training itself: that takes less of its
time (a third of a millisecond) than a thread would that wants the interpreter's lock for it."""
AT_THE_END: Final = frozenset({"best", "final", "raw"})
"""Model files that a run writes at its end, and waits for."""
KEPT_ALWAYS: Final = 2
KEPT_AT_MOST: Final = 20
KEPT_BYTES: Final = 64 * 2**20
"""Resume checkpoints on disk: the last two, and older ones while all are this few and small."""


class WriterThreads:
    """Threads that write files beside the training, for one run after another: to start them takes
    up to a millisecond each where the cores are busy."""

    def __init__(self) -> None:
        self.models = ThreadPoolExecutor(MODEL_THREADS, thread_name_prefix="saver")
        self.resumes = ThreadPoolExecutor(1, thread_name_prefix="saver")

    def close(self) -> None:
        """End the threads, once what they write is written."""
        self.models.shutdown()
        self.resumes.shutdown()


@dataclass(frozen=True)
class _Writing:
    name: CheckpointName
    step: int
    size_bytes: int
    done: "Future[tuple[Stored, tuple[str, ...]]]"
    drop: Callable[[], None]
    """Forgets what was taken of it, where `done` does not begin."""


class ArtifactWriter:
    """Writes a run's model files and resume checkpoints; use it as a context manager.

    Model files hold the weights alone, with the problem's metadata and `step` and `checkpoint`;
    a resume checkpoint is a file of its own. Only the final files are waited for. A checkpoint on
    the way that fails is left out: the training is worth more, and a disk that stays
    full fails the final files. Every other file that fails raises.

    Args:
        threads: which write; left out, threads of its own.
    """

    def __init__(
        self,
        artifacts: JobArtifacts,
        spec: JobSpec,
        metadata: Mapping[str, str],
        threads: WriterThreads | None = None,
    ) -> None:
        self._artifacts = artifacts
        self._spec = spec
        self._metadata = dict(metadata)
        self._threads = threads or WriterThreads()
        self._owns_threads = threads is None
        self._writing: deque[_Writing] = deque()
        self._on_disk: dict[str, int] | None = None
        self._kept_steps: set[int] = set()
        self.awaited: dict[int, Json] = {}
        """Steps whose files are on their way, and what is known of their weights."""

    def __enter__(self) -> "ArtifactWriter":
        return self

    def __exit__(self, *_: object) -> None:
        for writing in self._writing:
            if writing.done.cancel():
                writing.drop()
        wait([writing.done for writing in self._writing])
        if self._owns_threads:
            self._threads.close()

    @cached_property
    def _fingerprint(self) -> str:
        """Computed once, and by a thread: a spec may carry megabytes of inline data."""
        return fingerprint(self._spec)

    def has_room(self, size_bytes: int) -> bool:
        """Tell whether a checkpoint of this size may be handed in now."""
        waiting = [writing.size_bytes for writing in self._writing if not writing.done.done()]
        few = len(waiting) < MAX_WAITING and sum(waiting) + size_bytes <= MAX_WAITING_BYTES
        return few or not waiting

    def save_model(
        self, name: CheckpointName, step: int, weights: Mapping[str, Tensor], metrics: Json
    ) -> None:
        """Hand in a model file. `weights` must not change any more.

        Before the first step and after the last the bytes of a small one are taken here: threads
        that begin to write at the same moment wait for one another more than for the disk, which
        then has all files to sync at once.
        """
        size = sum(weight.numel() * weight.element_size() for weight in weights.values())
        file = kept_name(step) if name == "kept" else f"{name}.safetensors"
        data = self._model(name, step, weights)
        if name in AT_THE_END and size <= AT_ONCE_BYTES:
            finish, drop = self._staged(file, data)
            self._hand_in(name, step, size, metrics, lambda: (finish(), ()), drop)
        else:
            self._hand_in(
                name, step, size, metrics, lambda: (self._artifacts.write(file, data), ())
            )

    def save_kept(self, snapshot: Snapshot, weights: Mapping[str, Tensor], metrics: Json) -> None:
        """Hand in a checkpoint that stays: its weights, which must not change any more, and all to
        go on from, whose tensors may."""
        self._kept_steps.add(snapshot.step)
        self.save_model("kept", snapshot.step, weights, metrics)
        self.save_resume(snapshot, metrics, passing=True)

    def save_resume(self, snapshot: Snapshot, metrics: Json, *, passing: bool = False) -> None:
        """Hand in a resume checkpoint; `passing`: its moment's tensors will change."""
        name, step, size = snapshot.name, snapshot.step, snapshot.size_bytes
        is_small = size <= AT_ONCE_BYTES and snapshot.on_host
        if is_small and not passing:  # of a run's end: as small model files are taken
            finish, drop = self._staged(name, encode(snapshot, self._fingerprint))
            self._hand_in("resume", step, size, metrics, lambda: self._pruned(finish()), drop)
            return
        known = "_fingerprint" in self.__dict__
        if is_small and known:
            data = b"".join(encode(snapshot, self._fingerprint))
            self._hand_in("resume", step, size, metrics, lambda: self._resume(name, [data]))
            return
        if passing:
            snapshot = replace(snapshot, moment=snapshot.moment.copy())

        def write() -> tuple[Stored, tuple[str, ...]]:
            return self._resume(name, encode(snapshot, self._fingerprint))

        self._hand_in("resume", step, size, metrics, write)

    def _staged(
        self, name: str, pieces: Iterable[Buffer]
    ) -> tuple[Callable[[], Stored], Callable[[], None]]:
        """Stage an artifact; returns what finishes and what drops it. A failure is one of the
        finish."""
        try:
            staged = self._artifacts.stage(name, pieces)
        except ArtifactError as error:
            failure = error

            def fail() -> Stored:
                raise failure

            return fail, lambda: None
        return staged.finish, staged.drop

    def learned(self, step: int, metrics: Json) -> None:
        """Add what has become known of the weights after `step` updates."""
        if step in self.awaited:
            self.awaited[step].update(metrics)

    def finished(self) -> list[SavedCheckpoint]:
        """Return the files that were completed since the last call, without waiting.

        Raises:
            ArtifactError: the initial weights could not be written.
        """
        saved: list[SavedCheckpoint] = []
        while self._writing and self._writing[0].done.done():
            self._take(saved)
        return saved

    def wait(self) -> list[SavedCheckpoint]:
        """Wait for all files; returns those completed since the last call.

        Raises:
            ArtifactError: one could not be written (an earlier `resume` excepted).
        """
        saved: list[SavedCheckpoint] = []
        while self._writing:
            self._take(saved, last=len(self._writing) == 1)
        return saved

    def forget_after(self, step: int) -> tuple[list[SavedCheckpoint], tuple[str, ...]]:
        """Delete the resume checkpoints of later steps: those steps will be made anew.

        Returns the files completed since the last call, and the paths deleted.
        """
        saved: list[SavedCheckpoint] = []
        while self._writing:
            self._take(saved)
        self._on_disk = None
        names = self._artifacts.list()
        later = [name for name in names if (at := kept_step(name)) is not None and at > step]
        dropped = [*(name for name in latest_first(names) if step_of(name) > step), *later]
        for name in dropped:
            self._artifacts.delete(name)
        return saved, tuple(dropped)

    def _take(self, saved: list[SavedCheckpoint], *, last: bool = False) -> None:
        """Wait for the oldest file; `last`: even a resume checkpoint must not have failed."""
        writing = self._writing.popleft()
        failure = writing.done.exception()
        if failure is None:
            saved.append(self._saved(writing))
        elif last or writing.name not in {"resume", "kept"}:
            raise failure

    def _hand_in(
        self,
        name: CheckpointName,
        step: int,
        size: int,
        metrics: Json,
        write: Callable[[], tuple[Stored, tuple[str, ...]]],
        drop: Callable[[], None] = lambda: None,
    ) -> None:
        self.awaited.setdefault(step, {}).update(metrics)
        threads = self._threads.resumes if name == "resume" else self._threads.models
        self._writing.append(_Writing(name, step, size, threads.submit(write), drop))

    def _saved(self, writing: _Writing) -> SavedCheckpoint:
        stored, dropped = writing.done.result()
        if not any(other.step == writing.step for other in self._writing):
            metrics = self.awaited.pop(writing.step)
        else:
            metrics = dict(self.awaited[writing.step])
        if writing.name == "raw":
            metrics = {}  # what is known at this step is of the average
        return SavedCheckpoint(
            writing.name,
            writing.step,
            stored.name,
            metrics,
            stored.size_bytes,
            stored.sha256,
            dropped,
        )

    def _model(
        self, name: CheckpointName, step: int, weights: Mapping[str, Tensor]
    ) -> Iterable[Buffer]:
        """Yield the bytes of a model file."""
        metadata = {
            **self._metadata,
            "checkpoint": name,
            "step": str(step),
            "thalweg_weights": str(WEIGHTS),
        }
        return pieces(weights, metadata)

    def _resume(self, name: str, pieces: Iterable[Buffer]) -> tuple[Stored, tuple[str, ...]]:
        return self._pruned(self._artifacts.write(name, pieces))

    def _pruned(self, stored: Stored) -> tuple[Stored, tuple[str, ...]]:
        return stored, self._prune(stored)

    def _prune(self, stored: Stored) -> tuple[str, ...]:
        """Delete the oldest resume checkpoints beyond what may be kept, `stored` being the latest.

        The store is listed once: this saver alone writes here while the job runs.
        """
        if self._on_disk is None:
            found = self._artifacts.list()
            self._on_disk = {name: found[name] for name in latest_first(found)}
            self._kept_steps |= {at for name in found if (at := kept_step(name)) is not None}
        kept = self._kept_steps
        sizes = {name: size for name, size in self._on_disk.items() if step_of(name) not in kept}
        if step_of(stored.name) in kept:
            return ()
        self._on_disk[stored.name] = sizes[stored.name] = stored.size_bytes
        if len(sizes) <= KEPT_ALWAYS:
            return ()
        dropped, kept_bytes = [], 0
        for place, name in enumerate(latest_first(sizes)):
            kept_bytes += sizes[name]
            if place >= KEPT_ALWAYS and (place >= KEPT_AT_MOST or kept_bytes > KEPT_BYTES):
                dropped.append(name)
        for name in sorted(dropped, key=step_of):
            try:
                self._artifacts.delete(name)
            except ArtifactError:
                dropped.remove(name)
            else:
                del self._on_disk[name]
        return tuple(dropped)
