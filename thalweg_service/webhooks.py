"""The command `thalweg webhooks secret …`: the secrets that sign what webhooks are sent.

The client's commands of the same name (deliveries, a trial) stand beside it.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thalweg_service.commands import DATA_DIR, checked, fail, settings_of

if TYPE_CHECKING:
    from core.store.redis.webhooks import RedisSecrets

app = typer.Typer(
    help="Webhooks: what signs them, and what came of each message.", no_args_is_help=True
)
secret = typer.Typer(
    help="The secrets that sign messages: each signs, so that one can follow another.",
    no_args_is_help=True,
)
app.add_typer(secret, name="secret")

COMMAND = "webhooks secret"
DataDir = Annotated[
    Path,
    typer.Option(
        help="The data folder of a `thalweg serve` that runs; THALWEG_REDIS_URL goes before it."
    ),
]
SecretId = Annotated[str, typer.Argument(metavar="ID", help="As `list` has it.")]


def secrets_of(data_dir: Path) -> "RedisSecrets":
    """Reach the store: at THALWEG_REDIS_URL, or that of the service in this folder."""
    from core.errors import NewerFormatError, StoreUnavailableError
    from core.store.calls.opening import check_format
    from core.store.connection.client import SyncClient
    from core.store.redis.webhooks import RedisSecrets
    from thalweg_service.embedded_redis import EmbeddedServer

    configured = settings_of(COMMAND)
    url = configured.redis_url
    if not os.environ.get("THALWEG_REDIS_URL"):
        server = EmbeddedServer(data_dir / "redis")
        url = server.url
        if not server.socket.exists():
            fail(
                COMMAND,
                f"no `thalweg serve` runs on {data_dir}: start it, name its folder with --data-dir,"
                " or set THALWEG_REDIS_URL",
            )
    try:
        check_format(url, configured.namespace)
    except (NewerFormatError, StoreUnavailableError) as error:
        fail(COMMAND, str(error))
    return RedisSecrets(SyncClient(url, configured.namespace, "thalweg-cli"))


@secret.command()
@checked
def add(data_dir: DataDir = DATA_DIR) -> None:
    """Make a secret, and print it: this once, for it cannot be read again. It signs from now on,
    beside those that there are."""
    from core.webhooks.message import new_secret

    text = new_secret()
    made = secrets_of(data_dir).add(text)
    print(f"{made.id}\t{text}")


@secret.command("list")
@checked
def list_(data_dir: DataDir = DATA_DIR) -> None:
    """List the secrets, the oldest first: id and time of making, not what they are."""
    for each in secrets_of(data_dir).list():
        print(f"{each.id}\t{each.created_at}")


@secret.command()
@checked
def revoke(secret_id: SecretId, data_dir: DataDir = DATA_DIR) -> None:
    """Take a secret away: it signs no more. Without any, specs with a webhook are refused, and what
    waits is not delivered."""
    if not secrets_of(data_dir).revoke(secret_id):
        fail(COMMAND, f"there is no secret {secret_id!r}; `thalweg webhooks secret list` has them")
    print(f"{secret_id}\trevoked")
