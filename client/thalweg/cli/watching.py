"""Following a job or a study to its end, on a terminal or without one."""

import sys
from typing import TYPE_CHECKING

from thalweg.cli.session import Session, Status
from thalweg.errors import WaitTimeoutError
from thalweg.progress import told
from thalweg.records import JobRecord, WorkRecord

if TYPE_CHECKING:
    from thalweg import Job, Study


def end_of(record: WorkRecord) -> Status:
    """Return the exit status for what has ended."""
    return Status.DONE if record.status == "succeeded" else Status.NOT_SUCCEEDED


def watch_to_the_end(session: Session, job: "Job", timeout_s: float | None) -> None:
    """Follow a job and print its end; then end with its status."""
    session.be_patient()
    if session.is_watched:
        _live(job, timeout_s)
    else:
        job.wait(timeout_s)
    session.show(job.data, _end(job) if session.is_watched else plain_end(job))
    session.finish(end_of(job))


def plain_end(job: JobRecord) -> str:
    """Return the line that a pipe gets: id, status, outcome, last loss."""
    loss = (job.latest or {}).get("loss")
    words = (job.id, job.status, job.outcome or "-", "-" if loss is None else f"{loss:.6g}")
    return "\t".join(words)


def _end(job: JobRecord) -> str:
    lines = [repr(job)[1:-1]]
    if job.error is not None:
        lines.append(f"{job.error['code']}: {job.error['message']}")
    remedies = (job.data.get("diagnosis") or {}).get("remedies") or []
    if remedies:
        lines.append(f"`thalweg apply {job.id}` tries: {remedies[0]['reason']}")
    return "\n".join(lines)


def _live(job: "Job", timeout_s: float | None) -> None:
    """Show the curve as it grows, until the job has ended or the time is up."""
    import time

    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    from thalweg.curves import curve

    losses: list[float] = []
    end = None if timeout_s is None else time.monotonic() + timeout_s

    def picture() -> Group:
        head = Text(f"{job.status}  {told(job)}", style="bold")
        if losses:
            head = Text(f"{job.status}  row {len(losses):,}, loss {losses[-1]:.4g}", style="bold")
        lines = curve(losses) if losses else []
        return Group(head, Text("\n".join(lines), style="cyan"))

    with Live(picture(), console=Console(stderr=True), refresh_per_second=8) as live:
        for event in job.stream(series="loss"):
            if event.rows is not None:
                losses += event.rows["loss"].tolist()
            live.update(picture())
            if end is not None and time.monotonic() > end and not job.ended:
                raise WaitTimeoutError(f"{job.id} is {job.status} after {timeout_s:g} s")


def watch_study_to_the_end(session: Session, study: "Study", timeout_s: float | None) -> None:
    """Follow a study and print its end; then end with its status."""
    _wait_for_study(session, study, timeout_s)
    session.show(study.data, repr(study)[1:-1])
    session.finish(end_of(study))


def _wait_for_study(session: Session, study: "Study", timeout_s: float | None) -> None:
    """Wait for the end of a study; on a terminal with a bar."""
    session.be_patient()
    study.wait(timeout_s, progress=sys.stderr.isatty() and not session.as_json)


def tell_new_job(session: Session, job: "Job", watch: bool, timeout_s: float | None) -> None:
    """Print the id of a job that was queued, or follow it to its end."""
    session.warn(job.data)
    if watch:
        session.note(job.id)
        watch_to_the_end(session, job, timeout_s)
    else:
        session.show(job.data, job.id)


def tell_new_study(session: Session, study: "Study", watch: bool, timeout_s: float | None) -> None:
    """Print the id of a study that was queued, where it is to be followed at its end."""
    session.warn(study.data)
    if watch:
        _wait_for_study(session, study, timeout_s)
    session.show(study.data, study.id)
    session.finish(end_of(study) if watch else Status.DONE)
