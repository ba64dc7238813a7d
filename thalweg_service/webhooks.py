"""The command `thalweg webhooks secret …`: the secrets that sign what webhooks are sent.

The client's commands of the same name (deliveries, a trial) stand beside it. The store is found as
by `thalweg keys`.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thalweg_service.commands import DATA_DIR, checked, fail, settings_of
from thalweg_service.keys import AsJson, DataDir, embedded

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

SecretId = Annotated[str, typer.Argument(metavar="ID", help="As `list` has it.")]


@contextlib.contextmanager
def secrets_of(command: str, data_dir: Path) -> Iterator["RedisSecrets"]:
    """Open the store, and close it again; what goes wrong ends the command with one line."""
    from core.errors import ThalwegError
    from core.store.calls.opening import check_format
    from core.store.redis.webhooks import RedisSecrets
    from thalweg_service.server_binary import EmbeddedServerError

    command = f"webhooks secret {command}"
    settings = settings_of(command)
    data_dir = data_dir.expanduser().absolute()
    try:
        with contextlib.ExitStack() as stack:
            url = os.environ.get("THALWEG_REDIS_URL")
            if not url:
                url = stack.enter_context(embedded(command, data_dir, is_needed=False))
            check_format(url, settings.namespace)
            secrets = RedisSecrets(url, settings.namespace)
            stack.callback(secrets.disconnect)
            yield secrets
    except (ThalwegError, EmbeddedServerError) as error:
        fail(command, str(error))


@secret.command()
@checked
def add(data_dir: DataDir = DATA_DIR, as_json: AsJson = False) -> None:
    """Make a secret, and print it: this once, for it cannot be read again. It signs from now on,
    beside those that there are."""
    with secrets_of("add", data_dir) as secrets:
        made, text = secrets.add()
    shown = {"id": made.id, "created_at": made.created_at, "secret": text}
    print(json.dumps(shown, indent=2) if as_json else f"{made.id}\t{text}")


@secret.command("list")
@checked
def list_(data_dir: DataDir = DATA_DIR, as_json: AsJson = False) -> None:
    """List the secrets, the oldest first: id and time of making, not what they are."""
    with secrets_of("list", data_dir) as secrets:
        found = secrets.list()
    if as_json:
        shown = [{"id": each.id, "created_at": each.created_at} for each in found]
        print(json.dumps(shown, indent=2))
        return
    for each in found:
        print(f"{each.id}\t{each.created_at}")


@secret.command()
@checked
def revoke(secret_id: SecretId, data_dir: DataDir = DATA_DIR, as_json: AsJson = False) -> None:
    """Take a secret away: it signs no more. Without any, specs with a webhook are refused, and what
    waits is not delivered."""
    with secrets_of("revoke", data_dir) as secrets:
        was_there = secrets.revoke(secret_id)
    if not was_there:
        why = f"there is no secret {secret_id!r}; `thalweg webhooks secret list` has them"
        fail("webhooks secret revoke", why)
    shown = {"id": secret_id, "state": "revoked"}
    print(json.dumps(shown, indent=2) if as_json else f"{secret_id}\trevoked")
