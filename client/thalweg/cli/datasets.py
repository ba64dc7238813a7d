"""Commands about data sets: `thalweg data …`."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from thalweg.cli.files import FileError, schema_of
from thalweg.cli.options import Labels, Limit, Statuses, Timeout
from thalweg.cli.session import Function, Session, Yes, command

DataId = Annotated[
    str, typer.Argument(metavar="DATA", help="The data set's id, or `last` for the newest.")
]
PANEL = "Data sets"


def find(session: Session, data: str) -> Any:
    """Read a data set; `last` is the newest. Raises `FileError` where there is none."""
    if data != "last":
        return session.client.datasets.get(data)
    found = next(session.client.datasets.list(limit=1), None)
    if found is None:
        raise FileError("There are no data sets yet")
    return found


def register(app: typer.Typer, settings: dict[str, Any]) -> None:
    """Register `data` with its own commands."""
    group = typer.Typer(help="Files that jobs and studies train on.", **settings)
    app.add_typer(group, name="data", rich_help_panel=PANEL)
    commands: dict[str, Function] = {
        "upload": upload,
        "list": list_,
        "show": show,
        "preview": preview,
        "delete": delete,
    }
    for name, function in commands.items():
        command(group, name, "Commands")(function)


def upload(
    session: Session,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The file; - reads standard input, with --type.")
    ],
    name: Annotated[
        str | None, typer.Option(help="A name to know it by; left out, the file's.")
    ] = None,
    schema: Annotated[
        str | None,
        typer.Option(help="Kinds of columns, as '{zip: category}', or a file of them."),
    ] = None,
    label: Annotated[
        list[str], typer.Option("--label", "-l", metavar="KEY:VALUE", help="A label of it.")
    ] = [],  # noqa: B006
    media_type: Annotated[
        str | None, typer.Option("--type", help="Its media type; left out, its ending tells.")
    ] = None,
    timeout: Timeout = None,
) -> None:
    """Upload a file, and wait until it has been checked. Prints its id."""
    source: Any = sys.stdin.buffer if str(file) == "-" else file
    found = session.client.datasets.upload(
        source,
        name=name,
        schema=schema_of(schema),
        labels=labels_of(label),
        media_type=media_type,
        timeout_s=timeout,
        progress=not session.as_json,
    )
    session.warn(found.data)
    session.show(found.data, found.id if not session.is_watched else repr(found)[1:-1])


def labels_of(labels: list[str]) -> dict[str, str]:
    """Read labels as they were typed."""
    for label in labels:
        if ":" not in label:
            raise typer.BadParameter(f"--label {label}: write KEY:VALUE, as team:sales")
    return dict(label.split(":", 1) for label in labels)


def list_(
    session: Session,
    status: Statuses = [],  # noqa: B006
    label: Labels = [],  # noqa: B006
    limit: Limit = 20,
) -> None:
    """List data sets, the newest first."""
    found = list(session.client.datasets.list(status=status, label=label, limit=limit))

    def rows() -> None:
        session.table(
            ("data set", "status", "kind", "rows", "bytes", "name"),
            (
                (each.id, each.status, each.kind, each.num_rows, each.data["size_bytes"], each.name)
                for each in found
            ),
        )

    session.show([each.data for each in found], rows)


def show(session: Session, data: DataId) -> None:
    """Show a data set and its columns."""
    from thalweg.notebook import column_row

    found = find(session, data)
    rows = [
        ("id", found.id),
        ("name", found.name),
        ("status", found.status),
        ("kind", found.kind),
        ("rows", found.num_rows),
        ("bytes", found.data["size_bytes"]),
        ("labels", " ".join(f"{key}:{value}" for key, value in found.labels.items()) or None),
        ("error", (found.error or {}).get("message")),
        ("expires", found.data["expires_at"]),
    ]

    def words() -> None:
        session.table(("", ""), [row for row in rows if row[1] is not None])
        head = ("column", "dtype", "shape", "missing", "categories")
        session.table(head, [column_row(column) for column in found.columns])

    session.show(found.data, words)


def preview(
    session: Session,
    data: DataId,
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, max=1000, help="The most rows.")] = 20,
) -> None:
    """Print the first rows of a data set."""
    found = find(session, data)
    values = found.preview(rows)
    names = [column["name"] for column in found.columns]
    session.show(
        values,
        lambda: session.table(names, ([row.get(name) for name in names] for row in values)),
    )


def delete(
    session: Session,
    data: DataId,
    yes: Yes = False,
) -> None:
    """Remove a data set that no job or study uses which has not ended."""
    found = find(session, data)
    session.delete(found, f"Delete {found.id} ({found.name or found.kind})?", yes)
