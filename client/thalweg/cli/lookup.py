"""Reading of jobs and studies as they are named on the command line."""

from typing import TYPE_CHECKING

from thalweg.cli.files import FileError
from thalweg.cli.session import Session

if TYPE_CHECKING:
    from thalweg import Job, Study


def find_job(session: Session, job: str) -> "Job":
    """Read a job; `last` is the newest. Raises `FileError` where there is none."""
    if is_study(job):
        raise FileError(f"{job} is a study, and this is of jobs and of runs, such as {job}/0")
    if job != "last":
        return session.client.jobs.get(job)
    found = next(session.client.jobs.list(limit=1), None)
    if found is None:
        raise FileError("There are no jobs yet")
    return found.refresh()


def find_study(session: Session, study: str) -> "Study":
    """Read a study; `last` is the newest. Raises `FileError` where there is none."""
    if study.startswith("job_"):
        raise FileError(f"{study} is a job: leave the word `study` out")
    if study != "last":
        return session.client.studies.get(study)
    found = next(session.client.studies.list(limit=1), None)
    if found is None:
        raise FileError("There are no studies yet")
    return found.refresh()


def is_study(work: str) -> bool:
    """Tell whether the id is a study's."""
    return work.startswith("study_") and "/" not in work


def find_work(session: Session, work: str) -> "Job | Study":
    """Read a job as `find_job` does, or a study by its id."""
    return session.client.studies.get(work) if is_study(work) else find_job(session, work)
