"""What a worker knows of a run from what its trainer has reported."""

from collections.abc import Iterable

from core.jobs import JobRecord
from core.store.protocols.types import Json


class JobProgress:
    """The record's `progress`, `latest`, `best` and `checkpoints` as of the last report; at first
    as former attempts left them."""

    def __init__(self, job: JobRecord) -> None:
        self.step = int(job.progress.get("step") or 0)
        self.latest = job.latest
        self.best = job.best
        self._max_steps = job.progress.get("max_steps")
        self._checkpoints: dict[str, Json] = {saved["path"]: saved for saved in job.checkpoints}

    def advance(self, step: int, latest: Json | None, best: Json | None) -> None:
        """Take a `progress` report."""
        self.step, self.latest, self.best = step, latest, best

    def save(self, saved: Json) -> None:
        """Take a `checkpoint` report: a path that comes again replaces its entry, and those that
        were dropped for it go."""
        self.drop(saved.pop("dropped"))
        self._checkpoints[saved["path"]] = saved

    def drop(self, paths: Iterable[str]) -> None:
        """These checkpoints are not there any more."""
        for path in paths:
            self._checkpoints.pop(path, None)

    @property
    def checkpoints(self) -> list[Json]:
        """In order of their step."""
        return sorted(self._checkpoints.values(), key=lambda saved: (saved["step"], saved["path"]))

    def progress(self, steps_per_s: float | None) -> Json:
        """The record's `progress`."""
        return {"step": self.step, "max_steps": self._max_steps, "steps_per_s": steps_per_s}

    def partial_result(self, train_s: float) -> Json | None:
        """The `result` of a run that could not say it itself; None when it had reported nothing."""
        if self.latest is None:
            return None
        return {
            "final_loss": self.latest["loss"],
            "best_loss": self.best["loss"] if self.best else None,
            "num_steps": self.step,
            "train_s": train_s,
            "num_parameters": None,
            "eval": None,
        }
