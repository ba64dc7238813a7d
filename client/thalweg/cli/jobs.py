"""Commands about jobs; most take a study as well."""

import sys
from typing import Annotated, Any

import typer

from thalweg.cli import results, studies
from thalweg.cli.files import changed, read_spec
from thalweg.cli.lookup import find_job, find_work, is_study
from thalweg.cli.options import (
    Checkpoint,
    JobId,
    Labels,
    Limit,
    Sets,
    SpecFile,
    Statuses,
    Timeout,
    Wait,
    WorkId,
)
from thalweg.cli.session import Function, Session, Yes, command
from thalweg.cli.watching import tell_new_job, tell_new_study, watch_to_the_end


def register(app: typer.Typer) -> None:
    """Register the commands about jobs."""
    commands: dict[str, Function] = {
        "submit": submit,
        "validate": validate,
        "jobs": jobs,
        "show": show,
        "watch": watch,
        "history": results.history,
        "compare": results.compare,
        "weights": results.weights,
        "predict": results.predict,
        "diagnose": diagnose,
        "apply": apply,
        "clone": clone,
        "continue": continue_,
        "pause": pause,
        "resume": resume,
        "cancel": cancel,
        "delete": delete,
        "export": results.export,
        "open": open_,
    }
    for name, function in commands.items():
        command(app, name)(function)


def submit(
    session: Session,
    file: SpecFile,
    set: Sets = [],  # noqa: A002, B006
    watch: Wait = False,
    timeout: Timeout = None,
) -> None:
    """Queue a job, or a study, from a file. Prints its id."""
    spec: Any = changed(read_spec(file), set)
    if "base" in spec:
        tell_new_study(session, session.client.studies.create(spec), watch, timeout)
    else:
        tell_new_job(session, session.client.jobs.create(spec), watch, timeout)


def validate(session: Session, file: SpecFile, set: Sets = []) -> None:  # noqa: A002, B006
    """Check a file: what it costs, or every mistake."""
    spec: Any = changed(read_spec(file), set)
    client = session.client
    found = client.studies.validate(spec) if "base" in spec else client.jobs.validate(spec)
    session.warn(found)
    session.show(found, lambda: session.table(("estimate", ""), found["estimate"].items()))


def jobs(
    session: Session,
    status: Statuses = [],  # noqa: B006
    label: Labels = [],  # noqa: B006
    limit: Limit = 20,
) -> None:
    """List jobs, the newest first."""
    found = list(session.client.jobs.list(status=status, label=label, limit=limit))

    def rows() -> None:
        session.table(
            ("job", "status", "outcome", "verdict", "step", "loss"),
            (
                (
                    job.id,
                    job.status,
                    job.outcome,
                    job.verdict,
                    job.progress["step"],
                    (job.latest or {}).get("loss"),
                )
                for job in found
            ),
        )

    session.show([job.data for job in found], rows)


def _written(metrics: dict[str, Any] | None) -> str | None:
    if not metrics:
        return None
    return ", ".join(f"{name} {value}" for name, value in metrics.items())


def show(session: Session, job: WorkId) -> None:
    """Show a job, or a study."""
    if is_study(job):
        studies.show(session, job)
        return
    found = find_job(session, job)
    progress, result = found.progress, found.result or {}
    latest, best = found.latest or {}, found.best or {}
    rows = (
        ("id", found.id),
        ("name", found.name),
        ("status", found.status),
        ("outcome", found.outcome),
        ("verdict", found.verdict),
        ("step", f"{progress['step']} of {progress['max_steps']}"),
        ("loss", latest.get("loss")),
        ("best", f"{best['step']}: {best.get('loss', best.get('value'))}" if best else None),
        ("waiting for", progress.get("waiting_for")),
        ("test", _written((result.get("test") or {}).get("best"))),
        ("solution", result.get("solution")),
        ("error", (found.error or {}).get("message")),
        ("optimizer", found.spec["optimizer"]["kind"]),
        ("problem", found.spec["problem"]["kind"]),
        ("made from", found.parent_id),
        ("labels", " ".join(f"{name}:{value}" for name, value in found.labels.items()) or None),
        ("created", found.created_at),
        *((f"remedy {each.index}", f"{each.patch}: {each.reason}") for each in found.remedies),
    )
    shown = [row for row in rows if row[1] is not None]
    session.show(found.data, lambda: session.table(("", ""), shown))


def watch(session: Session, job: WorkId, timeout: Timeout = None) -> None:
    """Follow a job, or a study, to its end, with its curve. Status 3: it has not succeeded."""
    if is_study(job):
        studies.watch(session, job, timeout)
    else:
        watch_to_the_end(session, find_job(session, job), timeout)


def diagnose(
    session: Session,
    job: JobId,
    full: Annotated[
        bool, typer.Option("--full", help="Have the weights measured, and wait for it.")
    ] = False,
    checkpoint: Checkpoint = "final",
    timeout: Timeout = None,
) -> None:
    """Say what went on in a descent, and what may help."""
    found = find_job(session, job)
    diagnosis = found.diagnose(checkpoint, timeout) if full else found.diagnosis()

    def words() -> None:
        sure = "" if diagnosis.confidence is None else f" (confidence {diagnosis.confidence:.0%})"
        print(f"{diagnosis.verdict}{sure}")
        for each in diagnosis.findings:
            if each.status == "triggered":
                print(f"  {each.rule}: {each.explanation}")
        for remedy in diagnosis.remedies:
            print(f"remedy {remedy.index}: {remedy.patch}\n  {remedy.reason}")

    session.show(diagnosis.data, words)


def apply(
    session: Session,
    job: JobId,
    remedy: Annotated[int, typer.Argument(min=0, help="The remedy's number.")] = 0,
    watch: Wait = False,
    timeout: Timeout = None,
) -> None:
    """Try a remedy of the diagnosis in a new job. Prints its id."""
    tell_new_job(session, find_job(session, job).apply(remedy), watch, timeout)


def clone(
    session: Session,
    job: WorkId,
    set: Sets = [],  # noqa: A002, B006
    watch: Wait = False,
    timeout: Timeout = None,
) -> None:
    """Queue a job, or a study, of the same spec, with changes. Prints its id."""
    if is_study(job):
        studies.clone(session, job, set, watch, timeout)
        return
    tell_new_job(session, find_job(session, job).clone(changed({}, set)), watch, timeout)


def continue_(
    session: Session,
    job: JobId,
    max_steps: Annotated[int | None, typer.Option(help="Steps, counted from the origin.")] = None,
    max_epochs: Annotated[float | None, typer.Option(help="Epochs, as well.")] = None,
    max_seconds: Annotated[float | None, typer.Option(help="Seconds of training.")] = None,
    watch: Wait = False,
    timeout: Timeout = None,
) -> None:
    """Go on where a job stopped, with a longer budget. Prints the new job's id."""
    given = {"max_steps": max_steps, "max_epochs": max_epochs, "max_seconds": max_seconds}
    budget: Any = {name: value for name, value in given.items() if value is not None}
    if not budget:
        raise typer.BadParameter("give a longer budget, as --max-steps 4000")
    tell_new_job(session, find_job(session, job).continue_(budget), watch, timeout)


def pause(session: Session, job: WorkId) -> None:
    """Pause a job, or a study: it goes on from where it was when it is resumed."""
    session.tell(find_work(session, job).pause())


def resume(session: Session, job: WorkId) -> None:
    """Have a paused job, or study, go on."""
    session.tell(find_work(session, job).resume())


def cancel(session: Session, job: WorkId) -> None:
    """End a job, or a study; it keeps what it has."""
    session.tell(find_work(session, job).cancel())


def delete(
    session: Session,
    job: WorkId,
    yes: Yes = False,
) -> None:
    """Remove a job, or a study, that has ended, with its history and weights."""
    found = find_work(session, job)
    session.delete(found, f"Delete {found.id} with its history and weights?", yes)


def open_(session: Session, job: Annotated[str, typer.Argument(metavar="[JOB]")] = "") -> None:
    """Open the service's page, or that of a job or a study, in a browser. Prints its address."""
    url = session.client.url
    if job:
        one = find_job(session, job).id if not job.startswith("study_") else job
        url += f"/studies/{one}" if one.startswith("study_") else f"/jobs/{one}"
    print(url)
    if sys.stdout.isatty() and not session.as_json:
        import webbrowser

        webbrowser.open(url)
