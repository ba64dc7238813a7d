"""`thalweg keys`: API keys are made, listed, rotated and revoked, in the store itself.

The store is the one that THALWEG_REDIS_URL names, or that of `thalweg serve` in a data folder:
where that does not run, its server is started for as long as it takes.
"""

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from thalweg_service.commands import DATA_DIR, checked, fail, settings_of

if TYPE_CHECKING:
    from core.artifacts.base import ArtifactStore
    from core.keys import KeyRecord
    from core.store.redis.keys import RedisKeys

commands = typer.Typer(
    no_args_is_help=True,
    help="Make, list, rotate and revoke API keys.",
    rich_help_panel="Operators",
)

_PERIOD: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([smhdw])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}
_SIZE: Final = re.compile(r"([0-9]{1,18})(|[KMGT]i?B?)", re.IGNORECASE)
_POWERS: Final = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}

DataDir = Annotated[
    Path, typer.Option(help="The data folder of `thalweg serve`, without THALWEG_REDIS_URL.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Which = Annotated[str, typer.Argument(metavar="KEY", help="Its id, or its name.")]


@dataclass(frozen=True)
class _Place:
    """Place where keys are kept, and where it is noted that there are any."""

    keys: "RedisKeys"
    artifacts: "ArtifactStore"


@commands.command()
@checked
def create(
    owner: Annotated[str, typer.Option(help="Whose it is: a caller sees what its owner made.")],
    name: Annotated[str | None, typer.Option(help="A name to know the key by.")] = None,
    scopes: Annotated[
        str, typer.Option("--scopes", "--scope", help="Of read, write, admin; commas between.")
    ] = "read,write",
    expires_in: Annotated[
        str | None, typer.Option(metavar="PERIOD", help="Such as 90d, 12h; left out: never.")
    ] = None,
    requests_per_s: Annotated[float | None, typer.Option(help="Limit: requests a second.")] = None,
    max_queued: Annotated[
        int | None, typer.Option(help="Limit: jobs and studies that wait.")
    ] = None,
    max_running: Annotated[
        int | None, typer.Option(help="Limit: jobs and tasks of studies at work.")
    ] = None,
    max_stored: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Limit: bytes kept, such as 10GiB.")
    ] = None,
    device_s_per_day: Annotated[
        float | None, typer.Option(help="Limit: seconds of a device, by the day of UTC.")
    ] = None,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Give the owner all that was made before keys.")
    ] = False,
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, once: only a digest is kept. From the first one on every call needs
    a key."""
    limits = {
        "requests_per_s": requests_per_s,
        "queued": max_queued,
        "running": max_running,
        "device_s_per_day": device_s_per_day,
    }
    try:
        stored = None if max_stored is None else _bytes_in(max_stored)
        record = _new_record(owner, name, scopes, expires_in, {**limits, "stored_bytes": stored})
    except ValueError as error:
        fail("keys create", str(error))
    with _place("create", data_dir, is_needed=False) as place:
        place.artifacts.note_keys()  # first: what guards the service is never forgotten
        token = place.keys.create(record)
        adopted = {"adopted": place.keys.adopt(owner)} if adopt else {}
    if as_json:
        print(json.dumps({**_shown(record), **adopted, "key": token}, indent=2))
        return
    print(token)
    tell = f"{record.id} of {owner}, {', '.join(record.scopes)}: it is shown this once."
    print(tell, file=sys.stderr)
    for number in adopted.values():
        tell = f"{owner} has {number} jobs, studies and data sets from before keys."
        print(tell, file=sys.stderr)


def _new_record(
    owner: str, name: str | None, scopes: str, expires_in: str | None, limits: dict[str, Any]
) -> "KeyRecord":
    """Make the record of a new key. Raises `ValueError`."""
    from core.ids import rfc3339, utc_now
    from core.keys import KeyRecord, check_limits, name_in, new_key_id, owner_in, scopes_in

    now = utc_now()
    check_limits(limits)
    expires_at = None if expires_in is None else rfc3339(_time_after(now, expires_in))
    return KeyRecord(
        id=new_key_id(),
        owner=owner_in(owner),
        scopes=scopes_in(scopes),
        created_at=rfc3339(now),
        name=None if name is None else name_in(name),
        expires_at=expires_at,
        **limits,
    )


@commands.command("list")
@checked
def list_keys(data_dir: DataDir = DATA_DIR, as_json: AsJson = False) -> None:
    """List all keys that were made, the newest first."""
    with _place("list", data_dir) as place:
        keys = place.keys.list()
    if as_json:
        print(json.dumps([_shown(key) for key in keys], indent=2))
        return
    rows = [("ID", "NAME", "OWNER", "SCOPES", "STATE", "LAST USED", "LIMITS"), *map(_row, keys)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


@commands.command()
@checked
def revoke(key: Which, data_dir: DataDir = DATA_DIR, as_json: AsJson = False) -> None:
    """Take a key out of use, for good: within a second no call is taken with it, and its streams
    end."""
    with _place("revoke", data_dir) as place:
        found = place.keys.get(key)
        record = place.keys.revoke(found.id)
    if as_json:
        print(json.dumps(_shown(record), indent=2))
    elif found.revoked_at is None:
        print(f"{record.id} is revoked.")
    else:
        print(f"{record.id} was revoked already, at {found.revoked_at[:19]}Z.")


@commands.command()
@checked
def rotate(
    key: Which,
    grace: Annotated[
        str, typer.Option(metavar="PERIOD", help="Time for which the old one is still taken.")
    ] = "0s",
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Give a key a new secret and print it, once; id, owner, scopes and limits stay."""
    try:
        grace_s = _period_in(grace).total_seconds()
    except ValueError as error:
        fail("keys rotate", str(error))
    with _place("rotate", data_dir) as place:
        record, token = place.keys.rotate(place.keys.get(key).id, grace_s)
    if as_json:
        print(json.dumps({**_shown(record), "key": token}, indent=2))
        return
    print(token)
    print(f"{record.id} of {record.owner}: it is shown this once.", file=sys.stderr)


def _shown(key: "KeyRecord") -> dict[str, Any]:
    """Return what is shown of a key: all but its secret."""
    from dataclasses import asdict

    from core.ids import rfc3339, utc_now
    from core.keys import LIMITS

    found = asdict(key)
    limits = {name: found.pop(name) for name in LIMITS}
    return {**found, "scopes": list(key.scopes), "state": _state(key, rfc3339(utc_now()))} | {
        "limits": limits
    }


def _state(key: "KeyRecord", now: str) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "active" if key.refusal(now) is None else "expired"


def _row(key: "KeyRecord") -> tuple[str, ...]:
    shown = _shown(key)
    limits = " ".join(f"{name}={value:.15g}" for name, value in shown["limits"].items() if value)
    state = shown["state"]
    if state == "active" and key.expires_at:
        state = f"until {key.expires_at[:19]}Z"
    used = f"{key.last_used_at[:19]}Z" if key.last_used_at else "never"
    return key.id, key.name or "", key.owner, ",".join(key.scopes), state, used, limits


@contextlib.contextmanager
def _place(command: str, data_dir: Path, *, is_needed: bool = True) -> Iterator[_Place]:
    """Open the store, and close it again; what goes wrong ends the command with one line.

    Args:
        is_needed: a data folder that is not there is an error: there is nothing in it to be found.
    """
    from core.artifacts.build import open_artifacts
    from core.errors import ThalwegError
    from core.store.calls.opening import check_format
    from core.store.redis.keys import RedisKeys
    from thalweg_service.server_binary import EmbeddedServerError

    settings = settings_of(f"keys {command}")
    data_dir = data_dir.expanduser().absolute()
    artifacts = settings.artifacts_location
    try:
        with contextlib.ExitStack() as stack:
            url = os.environ.get("THALWEG_REDIS_URL")
            if not url:
                url = stack.enter_context(
                    embedded(f"keys {command}", data_dir, is_needed=is_needed)
                )
                artifacts = os.environ.get("THALWEG_ARTIFACTS") or str(data_dir / "artifacts")
            check_format(url, settings.namespace)
            keys = RedisKeys(url, settings.namespace)
            stack.callback(keys.disconnect)
            yield _Place(keys, open_artifacts(artifacts))
    except (ThalwegError, EmbeddedServerError) as error:
        fail(f"keys {command}", str(error))


@contextlib.contextmanager
def embedded(command: str, data_dir: Path, *, is_needed: bool) -> Iterator[str]:
    """Yield the address of the embedded server: the one that runs, or one that is started for as
    long as it is used. Where it must be there and is not, `command` fails."""
    import redis

    from thalweg_service.embedded_redis import EmbeddedServer

    if is_needed and not (data_dir / "redis").is_dir():
        fail(
            command,
            f"{data_dir} is no data folder of `thalweg serve`: name it with --data-dir, or the"
            " server with THALWEG_REDIS_URL.",
        )
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    server = EmbeddedServer(data_dir / "redis")
    try:
        with redis.Redis.from_url(server.url) as client:
            client.ping()
    except (redis.RedisError, OSError):
        with server:
            yield server.url
    else:
        yield server.url


def _period_in(text: str) -> timedelta:
    """Read a period: a number and its unit. Raises `ValueError`."""
    found = _PERIOD.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:40]!r} is no period: write a number and s, m, h, d or w, as 90d")
    try:
        return timedelta(seconds=float(found[1]) * _UNITS[found[2]])
    except OverflowError:
        raise ValueError(f"the period {text[:40]!r} is longer than the calendar") from None


def _time_after(now: datetime, expires_in: str) -> datetime:
    """Return when a key expires: later than now. Raises `ValueError`."""
    period = _period_in(expires_in)
    if not period:
        raise ValueError(f"--expires-in {expires_in}: the key would never be taken; leave it out")
    try:
        return now + period
    except OverflowError:
        raise ValueError(
            f"--expires-in {expires_in} is beyond the year 9999: leave it out, and the key never"
            " expires"
        ) from None


def _bytes_in(text: str) -> int:
    """Read a size in bytes: a whole number, with its unit where it has one. Raises `ValueError`."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text[:40]!r} is no size: write bytes, or a number and KiB, MiB, GiB, TiB"
        )
    unit = found[2].upper()
    base = 1024 if "I" in unit else 1000
    return int(found[1]) * int(base ** _POWERS[unit[:1]])
