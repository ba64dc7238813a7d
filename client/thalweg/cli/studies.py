"""Commands about studies: `thalweg study …`."""

from typing import Annotated, Any

import typer

from thalweg.cli.files import changed, read_spec, values_of
from thalweg.cli.lookup import find_study
from thalweg.cli.options import (
    Labels,
    Limit,
    Sets,
    SpecFile,
    Statuses,
    StudyId,
    Timeout,
    Wait,
)
from thalweg.cli.session import Function, Session, Yes, command
from thalweg.cli.watching import tell_new_study, watch_study_to_the_end

PANEL = "Studies"


def register(app: typer.Typer, settings: dict[str, Any]) -> None:
    """Register `study` with its own commands."""
    group = typer.Typer(help="Many descents as one.", **settings)
    app.add_typer(group, name="study", rich_help_panel=PANEL)
    commands: dict[str, Function] = {
        "submit": submit,
        "list": list_,
        "show": show,
        "watch": watch,
        "runs": runs,
        "best": best,
        "comparison": comparison,
        "importance": importance,
        "extend": extend,
        "enqueue": enqueue,
        "clone": clone,
        "pause": pause,
        "resume": resume,
        "cancel": cancel,
        "delete": delete,
    }
    for name, function in commands.items():
        command(group, name, "Commands")(function)


def submit(
    session: Session,
    file: SpecFile,
    set: Sets = [],  # noqa: A002, B006
    watch: Wait = False,
    timeout: Timeout = None,
) -> None:
    """Queue a study from a file. Prints its id."""
    spec: Any = changed(read_spec(file), set)
    tell_new_study(session, session.client.studies.create(spec), watch, timeout)


def list_(
    session: Session,
    status: Statuses = [],  # noqa: B006
    label: Labels = [],  # noqa: B006
    limit: Limit = 20,
) -> None:
    """List studies, the newest first."""
    found = list(session.client.studies.list(status=status, label=label, limit=limit))

    def rows() -> None:
        session.table(
            ("study", "status", "runs", "of"),
            (
                (
                    study.id,
                    study.status,
                    study.progress["num_finished_runs"],
                    study.progress["num_runs"],
                )
                for study in found
            ),
        )

    session.show([study.data for study in found], rows)


def show(session: Session, study: StudyId) -> None:
    """Show a study."""
    found = find_study(session, study)
    best = found.data["best"] or {}
    progress = found.progress
    rows = [
        ("id", found.id),
        ("status", found.status),
        ("runs", f"{progress['num_finished_runs']} of {progress['num_runs']}"),
        ("best", best.get("params")),
        ("its metric", best.get("metric")),
        ("waiting for", progress.get("waiting_for")),
        ("error", (found.error or {}).get("message")),
        ("created", found.created_at),
    ]
    shown = [row for row in rows if row[1] is not None]
    session.show(found.data, lambda: session.table(("", ""), shown))


def watch(session: Session, study: StudyId, timeout: Timeout = None) -> None:
    """Follow a study to its end. Status 3: it has not succeeded."""
    watch_study_to_the_end(session, find_study(session, study), timeout)


def runs(
    session: Session,
    study: StudyId,
    sort: Annotated[str, typer.Option(help="index, or metric for the best first.")] = "index",
    limit: Limit = 1000,
) -> None:
    """List a study's runs with their parameters and metric."""
    order: Any = sort
    found = list(find_study(session, study).runs(sort=order, limit=limit))

    def rows() -> None:
        session.table(
            ("run", "status", "outcome", "metric", "parameters"),
            (
                (
                    run.index,
                    run.status,
                    run.outcome,
                    run.metric,
                    " ".join(f"{name}={value}" for name, value in run.params.items()),
                )
                for run in found
            ),
        )

    session.show([run.data for run in found], rows)


def best(session: Session, study: StudyId) -> None:
    """Print the best configuration as a job's spec: JSON that `thalweg submit -` takes."""
    from thalweg.cli.session import print_json

    print_json(find_study(session, study).best())


def comparison(session: Session, study: StudyId) -> None:
    """Compare the configurations of a study, and name the winner or why there is none."""
    found = find_study(session, study).comparison()

    def words() -> None:
        session.table(
            ("parameters", "mean", "diverged", "failed"),
            (
                (
                    " ".join(f"{name}={value}" for name, value in each["params"].items())
                    + (" (inherited)" if each.get("inherited") else ""),
                    each.get("mean"),
                    each.get("num_diverged"),
                    each.get("num_failed"),
                )
                for each in found["configurations"]
            ),
        )
        if found.get("reason"):
            print(found["reason"])

    session.show(found, words)


def importance(session: Session, study: StudyId) -> None:
    """Tell how much of the metric's variation each swept path explains."""
    found = find_study(session, study).importance()

    def words() -> None:
        shares = found["importance"]
        if shares is None:
            print(found["reason"])
        else:
            rows = ((path, f"{share:.3f}") for path, share in shares.items())
            session.table(("parameter", "share"), rows)

    session.show(found, words)


def extend(
    session: Session,
    study: StudyId,
    num_runs: Annotated[
        int, typer.Argument(help="Configurations that its strategy chooses in all.")
    ],
) -> None:
    """Have a study that has not ended choose more configurations."""
    session.tell(find_study(session, study).extend(num_runs))


def enqueue(
    session: Session,
    study: StudyId,
    values: Annotated[
        list[str], typer.Argument(help="A value by path, such as optimizer.lr=0.01.", metavar="SET")
    ],
) -> None:
    """Have a study that has not ended train a configuration: a value for each swept path."""
    session.tell(find_study(session, study).enqueue(values_of(values)))


def clone(
    session: Session,
    study: StudyId,
    set: Sets = [],  # noqa: A002, B006
    watch: Wait = False,
    timeout: Timeout = None,
) -> None:
    """Queue a study of the same spec, with changes. Prints its id."""
    made = find_study(session, study).clone(changed({}, set))
    tell_new_study(session, made, watch, timeout)


def pause(session: Session, study: StudyId) -> None:
    """Pause a study: no new runs begin, and those at work are handed over."""
    session.tell(find_study(session, study).pause())


def resume(session: Session, study: StudyId) -> None:
    """Have a paused study go on."""
    session.tell(find_study(session, study).resume())


def cancel(session: Session, study: StudyId) -> None:
    """End a study; it keeps what it has."""
    session.tell(find_study(session, study).cancel())


def delete(
    session: Session,
    study: StudyId,
    yes: Yes = False,
) -> None:
    """Remove a study that has ended, with its runs."""
    found = find_study(session, study)
    session.delete(found, f"Delete {found.id} with its runs?", yes)
