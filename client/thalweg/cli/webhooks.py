"""Commands about webhooks: `thalweg webhooks …`. Those about secrets are the service's."""

from typing import Annotated, Any, Literal

import typer

from thalweg.cli.options import Limit, Statuses
from thalweg.cli.session import Function, Session, Status, command

DeliveryId = Annotated[str, typer.Argument(metavar="DELIVERY", help="The delivery's id.")]
Format = Literal["standard", "slack", "discord", "feishu", "dingtalk", "wecom"]
PANEL = "Webhooks"


def register(app: typer.Typer, settings: dict[str, Any]) -> None:
    """Register `webhooks` with its own commands."""
    group = typer.Typer(
        help="Webhooks: what signs them, and what came of each message.", **settings
    )
    app.add_typer(group, name="webhooks", rich_help_panel=PANEL)
    commands: dict[str, Function] = {
        "deliveries": deliveries,
        "redeliver": redeliver,
        "test": trial,
    }
    for name, function in commands.items():
        command(group, name, "Commands")(function)


def deliveries(
    session: Session,
    job: Annotated[str | None, typer.Option(help="Of the job with this id.")] = None,
    study: Annotated[str | None, typer.Option(help="Of the study with this id.")] = None,
    status: Statuses = [],  # noqa: B006
    limit: Limit = 20,
) -> None:
    """List what was sent to webhooks, the newest first."""
    found = list(
        session.client.webhooks.deliveries(job=job, study=study, status=status, limit=limit)
    )

    def rows() -> None:
        head = ("delivery", "event", "of", "status", "attempts", "to", "trouble")
        session.table(head, map(row_of, found))

    session.show(found, rows)


def row_of(delivery: dict[str, Any]) -> tuple[Any, ...]:
    """Return a delivery as a line of the table."""
    return (
        delivery["id"],
        delivery["event"],
        delivery["job_id"] or delivery["study_id"],
        delivery["status"],
        delivery["num_attempts"],
        delivery["url"],
        trouble_of(delivery),
    )


def trouble_of(delivery: dict[str, Any]) -> str | None:
    """Return what was wrong with the last attempt; None: nothing."""
    last: dict[str, Any] = (delivery["attempts"] or [{}])[-1]
    return last.get("error")


def redeliver(session: Session, delivery: DeliveryId) -> None:
    """Have a message sent once more: the same, under its id."""
    found = session.client.webhooks.redeliver(delivery)
    session.show(found, found["id"])


def trial(
    session: Session,
    receiver: Annotated[str, typer.Argument(metavar="URL", help="Where it is sent.")],
    format: Annotated[  # noqa: A002
        Format, typer.Option(help="The form of the message.")
    ] = "standard",
) -> None:
    """Have a trial sent to a URL, and tell what came of it."""
    found = session.client.webhooks.test(receiver, format=format)
    session.show(found, f"{found['status']}: {trouble_of(found) or found['id']}")
    session.finish(Status.DONE if found["status"] == "delivered" else Status.REFUSED)
