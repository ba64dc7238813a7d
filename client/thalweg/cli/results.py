"""Commands about what jobs have left: rows, weights, predictions."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from thalweg.cli.files import FileError, parse, schema_of
from thalweg.cli.lookup import find_job, is_study
from thalweg.cli.options import Checkpoint, JobId, Labels, Timeout, WorkId
from thalweg.cli.session import Session

if TYPE_CHECKING:
    from thalweg import Job, Run
    from thalweg.history import History


def rows_of(session: Session, job: str, kind: Any, series: str | None, points: int | None) -> Any:
    """Read the rows of a job, or of a run (`study_…/3`)."""
    found: Job | Run
    if "/" in job:
        study, _, index = job.partition("/")
        if not index.isdigit():
            raise FileError(f"{job}: name a run by the study's id and its number, as study_…/3")
        found = session.client.studies.get(study).run(int(index))
    else:
        found = find_job(session, job)
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
    found = find_job(session, job)
    path = found.save_weights(out or Path(f"{found.id}.safetensors"), checkpoint)
    session.show({"path": str(path), "size_bytes": path.stat().st_size}, str(path))


Rows = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="Rows in a file that can be uploaded (CSV, NDJSON, Parquet, NPZ; a text to go on"
        " with; a PNG or JPEG image), a data set's id, or - for rows in JSON on standard input.",
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
    schema: Annotated[
        str | None,
        typer.Option(help="How a file is read, as '{delimiter: ;}', or a file of it."),
    ] = None,
    media_type: Annotated[
        str | None, typer.Option("--type", help="A file's media type; left out, its ending tells.")
    ] = None,
    timeout: Timeout = None,
) -> None:
    """Predict rows with the weights of a job, or of a study's run."""
    of = _model(session, job)
    found = of.predict(
        _rows(file),
        checkpoint=checkpoint,
        windows=windows,
        schema=schema_of(schema),
        media_type=media_type,
        timeout_s=timeout,
    )

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
        return find_job(session, job)
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
        paths = export_job(find_job(session, job), out, to)
    session.show([str(path) for path in paths], lambda: print(*paths, sep="\n"))
