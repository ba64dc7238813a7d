"""A bar that shows how far a job, a study or an upload is: in a notebook, or in a terminal."""

import sys
from html import escape
from types import TracebackType
from typing import Any, Self

from thalweg.records import DatasetRecord, JobRecord, WorkRecord


class Upload:
    """A file on its way to the service: a thing that has a bar, as a job.

    Attributes:
        sent: bytes that have left.
    """

    def __init__(self, name: str, size: int | None) -> None:
        self._name, self._size = name, size
        self.sent = 0

    @property
    def ended(self) -> bool:
        """True once all has left."""
        return self.sent == self._size

    @property
    def status(self) -> str:
        """The status: `checking` once the service has all of it."""
        return "checking" if self.ended else "uploading"

    @property
    def progress(self) -> dict[str, Any]:
        """The fraction that has left; None where the whole is not known."""
        return {"fraction": self.sent / self._size if self._size else None}

    def told(self) -> str:
        """Say how much has left."""
        whole = "" if self._size is None else f" of {megabytes(self._size)}"
        return f"{megabytes(self.sent)}{whole}"

    def _repr_html_(self) -> str:
        return f"{escape(self._name)}: {self.status}, {self.told()}"


def megabytes(size: int) -> str:
    """Return a number of bytes in megabytes."""
    return f"{size / 1e6:,.1f} MB"


Shown = WorkRecord | DatasetRecord | Upload
"""Things that have a bar."""


class Progress:
    """A bar for one job, study or upload; nothing is shown where nobody looks (a pipe, a log).

    `shown`: whether it is wanted at all.
    """

    def __init__(self, record: Shown, *, shown: bool) -> None:
        self._record = record
        self._notebook: Any = in_notebook() if shown else None
        terminal = shown and self._notebook is None and sys.stderr.isatty()
        self._bar: Any = _Bar() if terminal else None

    def __enter__(self) -> Self:
        if self._notebook is not None:
            self._notebook = self._notebook(self._record, display_id=True)
        if self._bar is not None:
            self._bar.start()
            self._bar.show(self._record)
        return self

    def update(self, record: Shown) -> None:
        """Show how far it is now."""
        if self._notebook is not None:
            self._notebook.update(record)
        if self._bar is not None:
            self._bar.show(record)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


class _Bar:
    """A bar on standard error."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._rich = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[told]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._rich.add_task("", total=1.0, told="")

    def start(self) -> None:
        self._rich.start()

    def stop(self) -> None:
        self._rich.stop()

    def show(self, record: Shown) -> None:
        fraction = record.progress.get("fraction")
        self._rich.update(
            self._task,
            description=record.status,
            completed=1.0 if record.ended else fraction or 0.0,
            told=told(record),
        )


def told(record: Shown) -> str:
    """Say in a few words how far it is."""
    if isinstance(record, Upload):
        return record.told()
    if isinstance(record, DatasetRecord):
        return record.id
    progress = record.progress
    if isinstance(record, JobRecord):
        words = [f"step {progress['step']:,}"]
        if progress.get("max_steps"):
            words = [f"step {progress['step']:,} of {progress['max_steps']:,}"]
        if record.latest is not None:
            words.append(f"loss {record.latest['loss']:.4g}")
    else:
        words = [f"{progress['num_finished_runs']} of {progress['num_runs']} runs"]
    if progress.get("waiting_for"):
        words.append(f"waiting for {progress['waiting_for']}")
    if progress.get("steps_per_s"):
        words.append(f"{progress['steps_per_s']:,.0f} steps/s")
    return ", ".join(words)


def in_notebook() -> Any:
    """Return IPython's `display` where a notebook shows what it is given; else None."""
    if "IPython" not in sys.modules:
        return None
    from IPython import display, get_ipython

    shell = get_ipython()
    if shell is None or type(shell).__name__ != "ZMQInteractiveShell":
        return None
    return display.display
