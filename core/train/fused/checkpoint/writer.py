"""Resume checkpoints of a task: taken now and then by the clock, written beside the training."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from core.artifacts.base import JobArtifacts
from core.artifacts.task_files import checkpoint_files
from core.errors import ArtifactError, NotFoundError, is_out_of_memory
from core.train.history.flush import Clock
from core.train.tensors.tree import Tree
from core.train.tensors.tree_file import decode, encode

KIND: Final = "checkpoint"


@dataclass(frozen=True)
class Pace:
    """A pace at which a task is saved.

    Attributes:
        every_s: at most as often.
        share: of the time, what saving may take: where it is slow, it comes more seldom.
    """

    every_s: float = 10.0
    share: float = 0.02


class TaskCheckpointer:
    """Saves a task in two files in turn; use it as a context manager.

    A checkpoint that cannot be written is left out, unless it is the last one, for a hand-over.

    Args:
        about: what the task's course depends on; a checkpoint of anything else is not loaded.

    Attributes:
        unreadable: name of each file that `load` could not read, and why.
    """

    def __init__(
        self, artifacts: JobArtifacts, stem: str, about: str, clock: Clock, pace: Pace
    ) -> None:
        self._artifacts = artifacts
        self._names = checkpoint_files(stem)
        self._about = about
        self._clock = clock
        self._pace = pace
        self._number = 0
        self.unreadable: list[tuple[str, str]] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="keeper")
        self._writing: Future[float] | None = None
        self._saved_at = clock()
        self._taking_s = 0.0
        self._next = self._saved_at + pace.every_s

    def __enter__(self) -> "TaskCheckpointer":
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    def due(self, now: float) -> bool:
        """Tell whether it is time to save. Cheap."""
        if now < self._next or (self._writing is not None and not self._writing.done()):
            return False
        if self._writing is not None:
            failed = self._writing.exception() is not None
            cost_s = self._taking_s + (0.0 if failed else self._writing.result())
            self._writing = None
            self._next = self._saved_at + max(self._pace.every_s, cost_s / self._pace.share)
        return now >= self._next

    def save(self, take: Callable[[], Tree]) -> None:
        """Save what `take` returns, copies of everything, without waiting for the disk. Where there
        is no memory for them, this checkpoint is left out."""
        began = self._clock()
        self._next = began + self._pace.every_s
        try:
            tree = take()
        except (MemoryError, RuntimeError) as error:
            if is_out_of_memory(error):
                return
            raise
        self._saved_at = self._clock()
        self._taking_s = self._saved_at - began
        self._next = self._saved_at + self._pace.every_s
        self._writing = self._thread.submit(self._write, tree)

    def spent(self, seconds: float) -> None:
        """Take note that the last save has cost the training so much more."""
        self._taking_s += seconds

    def save_last(self, take: Callable[[], Tree]) -> None:
        """Save, and wait for it.

        Raises:
            ArtifactError: it cannot be written.
        """
        self._thread.submit(self._write, take()).result()

    def load(self, device: str, usable: Callable[[Tree], bool]) -> Tree | None:
        """Return the latest checkpoint that is whole, of this task, and usable; None without
        any."""
        found: list[tuple[int, str, Tree]] = []
        self.unreadable = []
        for name in self._names:
            try:
                saved = decode(self._artifacts.read(name), KIND, device, self._about)
                found.append((saved["number"], name, saved["tree"]))
            except NotFoundError:
                continue
            except (ArtifactError, KeyError, TypeError, ValueError) as error:
                self.unreadable.append((name, str(error)))
        for number, _, tree in sorted(found, key=lambda each: each[0], reverse=True):
            if usable(tree):
                # The next one replaces the other file.
                self._number = number
                return tree
        return None

    def _write(self, tree: Tree) -> float:
        """Write the checkpoint. Returns the seconds that it took."""
        began = self._clock()
        saved: dict[str, Any] = {"number": self._number + 1, "tree": tree}
        name = self._names[(self._number + 1) % len(self._names)]
        self._artifacts.write(name, encode(saved, KIND, self._about))
        self._number += 1
        return self._clock() - began
