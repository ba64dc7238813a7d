"""Commands about jobs."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from thalweg.cli.files import FileError, changed, parse, read_spec
from thalweg.cli.session import Function, Session, Status, Yes, command
from thalweg.cli.watching import end_of, watch_study, watch_to_the_end

if TYPE_CHECKING:
    from thalweg import Job, Run, Study
    from thalweg.history import History

JobId = Annotated[
    str, typer.Argument(metavar="JOB", help="The job's id, or `last` for the newest.")
]
WorkId = Annotated[str, typer.Argument(metavar="JOB", help="A job, `last`, or a study.")]
Wait = Annotated[bool, typer.Option("--watch", "-w", help="Follow it to its end.")]
Timeout = Annotated[
    float | None, typer.Option(help="Seconds to wait; then the status is 5, and it goes on.")
]
Sets = Annotated[
    list[str],
    typer.Option("--set", "-s", metavar="PATH=VALUE", help="Change a field: optimizer.lr=0.01."),
]
SpecFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="A spec in YAML or JSON; - reads standard input.")
]
Labels = Annotated[
    list[str],
    typer.Option("--label", "-l", metavar="KEY:VALUE", help="Only those with this label."),
]
Statuses = Annotated[list[str], typer.Option("--status", help="Only those with this status.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="The most entries.")]
Checkpoint = Annotated[
    str, typer.Option(help="final, best, initial, or another that the job has kept.")
]


def find(session: Session, job: str) -> "Job":
    """Read a job; `last` is the newest. Raises `FileError` where there is none."""
    if is_study(job):
        raise FileError(f"{job} is a study, and this is of jobs and of runs, such as {job}/0")
    if job != "last":
        return session.client.jobs.get(job)
    found = next(session.client.jobs.list(limit=1), None)
    if found is None:
        raise FileError("There are no jobs yet")
    return found.refresh()


def is_study(work: str) -> bool:
    """Tell whether the id is a study's."""
    return work.startswith("study_") and "/" not in work


def find_work(session: Session, work: str) -> "Job | Study":
    """Read a job as `find` does, or a study by its id."""
    return session.client.studies.get(work) if is_study(work) else find(session, work)


def register(app: typer.Typer) -> None:
    """Register the commands about jobs."""
    commands: dict[str, Function] = {
        "submit": submit,
        "validate": validate,
        "jobs": jobs,
        "show": show,
        "watch": watch,
        "history": history,
        "compare": compare,
        "weights": weights,
        "predict": predict,
        "diagnose": diagnose,
        "apply": apply,
        "clone": clone,
        "continue": continue_,
        "pause": pause,
        "resume": resume,
        "cancel": cancel,
        "delete": delete,
        "export": export,
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
        study = session.client.studies.create(spec)
        if watch:
            watch_study(session, study, timeout)
        session.show(study.data, study.id)
        session.finish(end_of(study) if watch else Status.DONE)
        return
    job = session.client.jobs.create(spec)
    if not watch:
        session.show(job.data, job.id)
        return
    session.note(job.id)
    watch_to_the_end(session, job, timeout)


def validate(session: Session, file: SpecFile, set: Sets = []) -> None:  # noqa: A002, B006
    """Check a file: what it costs, or every mistake."""
    spec: Any = changed(read_spec(file), set)
    client = session.client
    found = client.studies.validate(spec) if "base" in spec else client.jobs.validate(spec)
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
        from thalweg.cli import studies

        studies.show(session, job)
        return
    found = find(session, job)
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
        study = session.client.studies.get(job)
        watch_study(session, study, timeout)
        session.show(study.data, repr(study)[1:-1])
        session.finish(end_of(study))
        return
    watch_to_the_end(session, find(session, job), timeout)


def rows_of(session: Session, job: str, kind: Any, series: str | None, points: int | None) -> Any:
    """Read the rows of a job, or of a run (`study_…/3`)."""
    found: Job | Run
    if "/" in job:
        study, _, index = job.partition("/")
        if not index.isdigit():
            raise FileError(f"{job}: name a run by the study's id and its number, as study_…/3")
        found = session.client.studies.get(study).run(int(index))
    else:
        found = find(session, job)
    return found.history(kind, series=series, points=points)


def history(
    session: Session,
    job: Annotated[str, typer.Argument(metavar="JOB", help="A job, `last`, or a run: study_…/3.")],
    csv: Annotated[
        bool, typer.Option("--csv", help="CSV, with every number as it was computed.")
    ] = False,
    kind: Annotated[str, typer.Option(help="train, or eval for evaluations.")] = "train",
    series: Annotated[str | None, typer.Option(help="Names with commas between.")] = None,
    points: Annotated[
        int | None, typer.Option(min=1, help="A view of at most so many rows.")
    ] = None,
) -> None:
    """Print a history: a curve for a reader, CSV in a pipe."""
    rows: History = rows_of(session, job, kind, series, points)
    if session.as_json:
        from thalweg.cli.session import print_json

        print_json({name: values.tolist() for name, values in rows.items()})
    elif csv or not sys.stdout.isatty():
        from thalweg.export.tables import stream_csv

        stream_csv(rows.columns(), sys.stdout.buffer)
        sys.stdout.buffer.flush()
    else:
        from thalweg.curves import curve

        drawn = [
            name for name, of in rows.items() if name not in {"step", "time_s"} and of.ndim == 1
        ]
        name = "loss" if "loss" in drawn else drawn[0]
        print(f"{name}, {rows.num_rows} rows")
        print("\n".join(curve(rows[name].tolist())))


def compare(
    session: Session,
    jobs: Annotated[
        list[str], typer.Argument(metavar="JOB...", help="2 to 100 jobs.", show_default=False)
    ] = [],  # noqa: B006
    label: Labels = [],  # noqa: B006
    baseline: Annotated[str | None, typer.Option(help="A job to compare the others with.")] = None,
) -> None:
    """Compare jobs: what differs in their specs, their last and their best loss."""
    from thalweg.comparison import HEAD

    found = session.client.compare(jobs, label=label, baseline=baseline)
    session.show(found.data, lambda: session.table(HEAD, found.rows()))


def weights(
    session: Session,
    job: JobId,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The file to write.")] = None,
    checkpoint: Checkpoint = "final",
) -> None:
    """Write the trained weights into a file (safetensors)."""
    found = find(session, job)
    path = found.save_weights(out or Path(f"{found.id}.safetensors"), checkpoint)
    session.show({"path": str(path), "size_bytes": path.stat().st_size}, str(path))


Rows = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="Rows in a file that can be uploaded (CSV, NDJSON, Parquet, NPZ; a text to go on"
        " with), a data set's id, or - for rows in JSON on standard input.",
    ),
]


def predict(
    session: Session,
    job: Annotated[str, typer.Argument(metavar="JOB", help="A job, `last`, or a run: study_…/3.")],
    file: Rows,
    csv: Annotated[bool, typer.Option("--csv", help="Print a table in CSV.")] = False,
    checkpoint: Checkpoint = "final",
    windows: Annotated[
        Literal["last", "all"] | None,
        typer.Option(
            help="Of a forecast: what comes after the last row, or after each that has enough"
            " before it.",
        ),
    ] = None,
    timeout: Timeout = None,
) -> None:
    """Predict rows with the weights of a job, or of a study's run."""
    of = _model(session, job)
    found = of.predict(_rows(file), checkpoint=checkpoint, windows=windows, timeout_s=timeout)

    def table() -> None:
        if csv or not session.is_watched:
            sys.stdout.write(found.to_csv())
            return
        columns = found.columns()
        cells = zip(*(each.tolist() for each in columns.values()), strict=True)
        session.table(tuple(columns), cells)
        for name, value in (found.metrics or {}).items():
            if isinstance(value, int | float):
                session.note(f"{name}: {value:.6g}")

    session.show(found.data, table)


def _model(session: Session, job: str) -> "Job | Run":
    """Read the job, or the study's run, whose weights are meant. Raises `FileError`."""
    study, slash, index = job.partition("/")
    if not study.startswith("study_"):
        return find(session, job)
    if not slash or not index.isdigit():
        raise FileError(f"{job} is a study: name one of its runs, as {study}/0")
    return session.client.studies.get(study).run(int(index))


def _rows(file: str) -> Any:
    """Return rows as they were named: a file, a data set's id, or JSON that is piped in. Raises
    `FileError`."""
    if file == "-":
        found = parse(sys.stdin.read(), "standard input")
        if not isinstance(found, list):
            raise FileError("Standard input holds no rows: give a list in JSON")
        return found
    return file if file.startswith("data_") and not Path(file).exists() else Path(file)


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
    found = find(session, job)
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
    _child(session, find(session, job).apply(remedy), watch, timeout)


def clone(
    session: Session,
    job: WorkId,
    set: Sets = [],  # noqa: A002, B006
    watch: Wait = False,
    timeout: Timeout = None,
) -> None:
    """Queue a job, or a study, of the same spec, with changes. Prints its id."""
    if is_study(job):
        from thalweg.cli import studies

        studies.clone(session, job, set, watch, timeout)
        return
    _child(session, find(session, job).clone(changed({}, set)), watch, timeout)


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
    _child(session, find(session, job).continue_(budget), watch, timeout)


def _child(session: Session, job: "Job", watch: bool, timeout: float | None) -> None:
    if watch:
        session.note(job.id)
        watch_to_the_end(session, job, timeout)
    else:
        session.show(job.data, job.id)


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
    session.confirm(f"Delete {found.id} with its history and weights?", yes)
    found.delete()
    session.show({"deleted": found.id}, found.id)


def export(
    session: Session,
    job: WorkId,
    to: Annotated[str, typer.Option(help="tensorboard, csv or parquet.")] = "tensorboard",
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write into.")] = Path(
        "runs"
    ),
) -> None:
    """Write the history of a job, or of every run of a study, for other programs."""
    from thalweg.export import FORMATS, export_job, export_study

    if to not in FORMATS:
        raise typer.BadParameter(f"--to {to}: one of {', '.join(FORMATS)}")
    if is_study(job):
        paths = export_study(session.client.studies.get(job), out, to)
    else:
        paths = export_job(find(session, job), out, to)
    session.show([str(path) for path in paths], lambda: print(*paths, sep="\n"))


def open_(session: Session, job: Annotated[str, typer.Argument(metavar="[JOB]")] = "") -> None:
    """Open the service's page, or that of a job or a study, in a browser. Prints its address."""
    url = session.client.url
    if job:
        one = find(session, job).id if not job.startswith("study_") else job
        url += f"/studies/{one}" if one.startswith("study_") else f"/jobs/{one}"
    print(url)
    if sys.stdout.isatty() and not session.as_json:
        import webbrowser

        webbrowser.open(url)
