"""The command `thalweg`: its options, and where its commands come from.

Commands of the client are registered here. Commands of other distributions, such as `serve` of
`thalweg-service`, are found by the entry-point group `thalweg.commands`: the name of an entry point
is the command's, and what it leads to is a function that Typer can read.
"""

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from thalweg import __version__
from thalweg.cli import catalog, datasets, jobs, studies, webhooks
from thalweg.cli.session import AsJson, Key, Status, Url, told_by
from thalweg.cli.words import check, depth

GROUP: Final = "thalweg.commands"
OF_THE_SERVICE: Final = frozenset(
    {"api", "demo", "doctor", "health", "keys", "repair", "serve", "settings", "worker"}
)
"""Commands that `thalweg-service` brings."""
SETTINGS: Final[dict[str, Any]] = {
    "no_args_is_help": True,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


class Commands(TyperGroup):
    """The client's commands, then those of other distributions.

    What another distribution brings is imported when it is called or listed. A group that both have
    has the commands of both.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._whole: set[str] = set()

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the options before the command, once they are found to have their values."""
        if not ctx.resilient_parsing:
            check(self, ctx, args, leads=True)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        """List the commands in the order of the help."""
        found = super().list_commands(ctx)
        return [*found, *(name for name in plugins() if name not in found)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command; None where there is none of this name."""
        own: Any = super().get_command(ctx, cmd_name)
        if cmd_name in self._whole or cmd_name not in plugins():
            return own
        made = command_of(cmd_name, plugins()[cmd_name].load())
        self._whole.add(cmd_name)
        if own is not None:  # one of two groups, whose commands are put together
            assert isinstance(own, TyperGroup)
            own.commands |= made.commands
            return own
        self.commands[cmd_name] = made
        return made

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that was typed; of one that is not installed, say what to install."""
        if args[0] in OF_THE_SERVICE and not OF_THE_SERVICE & plugins().keys():
            ctx.fail(
                f"`thalweg {args[0]}` belongs to the service, which is not installed here: pip"
                " install 'thalweg-service[worker,embedded]'"
            )
        for name in plugins():  # so that a typo is compared with them too
            self.get_command(ctx, name)
        _, found, rest = super().resolve_command(ctx, args)
        at, leaf = depth(found, ctx, rest)
        end = rest.index("--") if "--" in rest else len(rest)
        is_bare_group = hasattr(leaf, "commands") and at == len(rest)
        asks_for_help = is_bare_group or not {"-h", "--help"}.isdisjoint(rest[:end])
        if not (is_bare_group or ctx.resilient_parsing):
            below = type(ctx)(leaf, parent=ctx, info_name=" ".join([args[0], *rest[:at]]))
            check(leaf, below, rest[at:], leads=hasattr(leaf, "commands"))
        # What was typed before it counts as typed first among its own options.
        if args[0] in plugins() and not asks_for_help:
            rest = [*rest[:at], *typed_options(ctx), *rest[at:]]
        return args[0], found, rest


def typed_options(context: Any) -> list[str]:
    """Return the words of the options of `thalweg` itself that were typed."""
    words: list[str] = []
    for name, option in (("url", "--url"), ("key", "--key"), ("as_json", "--json")):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            value = context.params[name]
            words += [option] if value is True else [f"{option}={value}"]
    return words


_found: dict[str, EntryPoint] = {}


def plugins() -> dict[str, EntryPoint]:
    """Find the commands of other distributions."""
    if not _found:
        _found.update({point.name: point for point in entry_points(group=GROUP)})
    return _found


def command_of(name: str, function: Callable[..., Any]) -> Any:
    """Make a command of a function, or of a Typer application with commands of its own."""
    if isinstance(function, typer.Typer):
        return typer.main.get_group(function)
    single = typer.Typer(add_completion=False, **SETTINGS)
    single.command(name, context_settings=SETTINGS["context_settings"])(function)
    made = typer.main.get_command(single)
    made.rich_help_panel = "Operators"  # type: ignore[attr-defined]
    return made


def print_version(asked: bool) -> None:
    """Print the version and end, where it was asked for."""
    if asked:
        print(__version__)
        raise typer.Exit


app = typer.Typer(name="thalweg", cls=Commands, **SETTINGS)


@app.callback()
def options(
    context: typer.Context,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Optimization jobs over HTTP: submit, train, follow, compare."""
    context.obj = {"url": url, "key": key, "as_json": as_json}


@app.command()
def version() -> None:
    """Print the version."""
    print_version(True)


jobs.register(app)
studies.register(app, SETTINGS)
datasets.register(app, SETTINGS)
webhooks.register(app, SETTINGS)
catalog.register(app)


def main() -> None:
    """Run the `thalweg` command."""
    from thalweg.errors import ThalwegError

    try:
        sys.exit(app(prog_name="thalweg"))
    except ThalwegError as error:
        text, status = told_by(error)
        print(f"thalweg: {text}", file=sys.stderr)
        sys.exit(status)
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        print(f"thalweg: {named}{error.strerror or error}", file=sys.stderr)
        sys.exit(Status.REFUSED)
