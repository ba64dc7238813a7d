"""The session of a command: the service's address, and how it tells what it found.

A command is a function whose first argument is a `Session`; `command` registers it, with the
options `--url`, `--key` and `--json`. Exit statuses are those of `Status`.
"""

import functools
import inspect
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from thalweg import Client, Dataset, Job, Study
    from thalweg.records import WorkRecord


RETRY_FOR_S = 3.0
"""Seconds for which a call is tried again: somebody waits."""


class Status(IntEnum):
    """Exit statuses of the command."""

    DONE = 0
    REFUSED = 1
    """The service refused, or a file cannot be used."""
    USAGE = 2
    """The command line is mistaken."""
    NOT_SUCCEEDED = 3
    """The job that was waited for has failed or was cancelled."""
    UNREACHABLE = 4
    """The service does not answer."""
    TIME_IS_UP = 5
    """The job that was waited for has not ended in time; it goes on."""
    INTERRUPTED = 130


Url = Annotated[
    str | None,
    typer.Option(help="Address of the service.", envvar="THALWEG_URL", rich_help_panel="Service"),
]
Key = Annotated[
    str | None,
    typer.Option(help="Key of the service.", envvar="THALWEG_KEY", rich_help_panel="Service",
                 show_envvar=True),
]  # fmt: skip
AsJson = Annotated[
    bool, typer.Option("--json", help="Print JSON for programs.", rich_help_panel="Service")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


class Session:
    """One call of the command.

    Attributes:
        as_json: whether programs read what is printed.
    """

    def __init__(self, url: str | None, key: str | None, as_json: bool) -> None:
        self._url, self._key = url, key
        self.as_json = as_json
        self._client: Client | None = None

    @property
    def client(self) -> "Client":
        """The client, made when it is first needed."""
        if self._client is None:
            from thalweg import Client

            self._client = Client(self._url, self._key, retry_for_s=RETRY_FOR_S)
        return self._client

    def be_patient(self) -> None:
        """Outlast a restart of the service: what is followed may take hours."""
        self.client.retry_for_s = 120.0

    @functools.cached_property
    def console(self) -> "Console":
        """Standard output: plain in a pipe and with `NO_COLOR`."""
        from rich.console import Console

        return Console(highlight=False, soft_wrap=True)

    @property
    def is_watched(self) -> bool:
        """True where somebody looks at a terminal."""
        return sys.stdout.isatty() and not self.as_json

    def show(self, value: Any, told: Callable[[], None] | str) -> None:
        """Print a value as JSON, or tell it in words."""
        if self.as_json:
            print_json(value)
        elif isinstance(told, str):
            print(told)
        else:
            told()

    def tell(self, record: "WorkRecord") -> None:
        """Print a job or a study, or its id where a program reads."""
        self.show(record.data, repr(record)[1:-1] if self.is_watched else record.id)

    def confirm(self, question: str, yes: bool) -> None:
        """Ask, and end the command where the answer is no. `yes`: it was answered beforehand."""
        if yes:
            return
        if not sys.stdin.isatty():
            raise typer.BadParameter("add --yes to delete without being asked")
        typer.confirm(question, abort=True)

    def delete(self, found: "Job | Study | Dataset", question: str, yes: bool) -> None:
        """Delete what was found, once the question is answered, and print its id."""
        self.confirm(question, yes)
        found.delete()
        self.show({"deleted": found.id}, found.id)

    def table(self, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Print a table; in a pipe, lines with tabs between and no head."""
        if not sys.stdout.isatty():
            for row in rows:
                print("\t".join(cell(each).replace("\t", " ") for each in row))
            return
        from rich.table import Table
        from rich.text import Text

        made = Table(*head, box=None, padding=(0, 2, 0, 0), header_style="bold")
        for row in rows:
            made.add_row(*(Text(cell(each)) for each in row))
        self.console.print(made)

    def note(self, text: str) -> None:
        """Tell something on the side, where somebody looks."""
        if sys.stderr.isatty() and not self.as_json:
            print(text, file=sys.stderr)

    def warn(self, reply: Mapping[str, Any]) -> None:
        """Tell the warnings of a reply on the side; one that is printed as JSON has them itself."""
        if not self.as_json:
            for each in reply.get("warnings") or ():
                print(f"warning: {each['message']}", file=sys.stderr)

    def finish(self, status: Status) -> None:
        """End with a status, where it is not `DONE`."""
        if status is not Status.DONE:
            raise typer.Exit(status)


def cell(value: Any) -> str:
    """Return a value as a table shows it."""
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def print_json(value: Any) -> None:
    """Print JSON, in which numbers that are not finite are words, as in the service's replies."""
    print(json.dumps(strict(value), indent=2, ensure_ascii=False))


def strict(value: Any) -> Any:
    """Return a value as strict JSON has it."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    if isinstance(value, dict):
        return {name: strict(each) for name, each in value.items()}
    return [strict(each) for each in value] if isinstance(value, list | tuple) else value


Function = Callable[..., None]


def command(
    app: typer.Typer, name: str | None = None, panel: str = "Jobs"
) -> Callable[[Function], Function]:
    """Register a function as a command; its first argument is the session."""

    def register(function: Function) -> Function:
        given = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        kind = inspect.Parameter.KEYWORD_ONLY
        options = [
            inspect.Parameter(name, kind, annotation=of, default=default)
            for name, of, default in (
                ("url", Url, None),
                ("key", Key, None),
                ("as_json", AsJson, False),
            )
        ]

        @functools.wraps(function)
        def run(
            context: typer.Context, url: str | None, key: str | None, as_json: bool, **rest: Any
        ) -> None:
            above: dict[str, Any] = context.find_root().obj or {}
            session = Session(
                _nearest(context, "url", url, above),
                _nearest(context, "key", key, above),
                as_json or above.get("as_json", False),
            )
            function(session, **rest)

        first = inspect.Parameter("context", kind, annotation=typer.Context)
        parameters = [each.replace(kind=kind) for each in given]
        run.__signature__ = inspect.Signature([first, *parameters, *options])  # type: ignore[attr-defined]
        run.__annotations__ = {
            each.name: each.annotation for each in (first, *parameters, *options)
        }
        app.command(name or function.__name__, rich_help_panel=panel)(run)
        return function

    return register


def _nearest(
    context: typer.Context, name: str, value: str | None, above: dict[str, Any]
) -> str | None:
    """Return an option as it was typed behind the command, else before it, else the
    environment's."""
    source = context.get_parameter_source(name)
    if source is not None and source.name == "COMMANDLINE":
        return value
    return above.get(name) or value


def told_by(error: Exception) -> tuple[str, Status]:
    """Return what to print of an error of the client, and the exit status."""
    from thalweg.errors import UnreachableError, WaitTimeoutError

    status = Status.REFUSED
    if isinstance(error, UnreachableError):
        status = Status.UNREACHABLE
    elif isinstance(error, WaitTimeoutError):
        status = Status.TIME_IS_UP
    text = str(error)
    if status is Status.UNREACHABLE and "THALWEG_URL" not in os.environ:
        text += "; start one with `thalweg serve`, or name it with --url or THALWEG_URL"
    return text, status
