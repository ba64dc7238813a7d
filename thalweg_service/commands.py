"""Commands of operators. They start processes and ask over HTTP; nothing heavy is imported here.

The command `thalweg` is the client's; it finds these by the entry-point group `thalweg.commands`.
"""

import functools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, TypeVar, cast

import typer

from thalweg_service.packages import foreign

if TYPE_CHECKING:
    from core.settings import Settings

DATA_DIR = Path(".thalweg")
"""Data folder, in the folder where `thalweg serve` is started, so that a project has its own
service."""


RootPath = Annotated[
    str,
    typer.Option(
        help="Path under which a proxy shows the service, such as /thalweg.",
        envvar="THALWEG_ROOT_PATH",
    ),
]


Command = TypeVar("Command", bound=Callable[..., None])


def checked(command: Command) -> Command:
    """Have a command end before it begins where a package of ours is somebody else's."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        if (whose := foreign()) is not None:
            fail(command.__name__, whose)
        command(*arguments, **options)

    return cast("Command", run)


@checked
def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on.", envvar="THALWEG_HOST")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="0: a free one.", envvar="THALWEG_PORT")
    ] = 8000,
    data_dir: Annotated[
        Path, typer.Option(help="Where jobs, weights and logs are kept.")
    ] = DATA_DIR,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Jobs that run at once.")] = 1,
    device: Annotated[
        str, typer.Option(help="What the workers train on: auto, cpu, cuda, cuda:1.")
    ] = "auto",
    root_path: RootPath = "",
    verbose: Annotated[
        bool, typer.Option("--verbose", help="The parts' logs on standard error, not in files.")
    ] = False,
) -> None:
    """Start everything on this machine: server, API and workers, under one supervisor."""
    from pydantic import ValidationError

    os.environ["THALWEG_ROOT_PATH"] = root_path  # the API reads it there
    from core.settings import setting_mistakes
    from thalweg_service import supervisor as service

    plan = service.Plan(host, port, data_dir, workers, device, verbose)
    try:
        service.serve(plan)
    except service.StartError as error:
        fail("serve", str(error))
    except ValidationError as error:
        fail("serve", setting_mistakes(error))


@checked
def api(root_path: RootPath = "") -> None:
    """Start the API alone, against THALWEG_REDIS_URL."""
    os.environ["THALWEG_ROOT_PATH"] = root_path
    become("api")


@checked
def worker(
    device: Annotated[
        str | None, typer.Option(help="What to train on: auto (the default), cpu, cuda, cuda:1.")
    ] = None,
    devices: Annotated[
        str | None,
        typer.Option(
            help="A worker each, under one supervisor: auto (every GPU that is visible; the CPU"
            " where there is none), cuda (every GPU), or a list: cuda:0,cuda:1 or cpu,cpu."
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="Its name in /v1/workers, or what the names begin with. Left out: the host's, and"
            " for one worker the process id."
        ),
    ] = None,
    max_jobs: Annotated[
        int | None,
        typer.Option(min=1, help="End after so many jobs and tasks of studies. Left out: never."),
    ] = None,
    exit_when_idle: Annotated[
        float | None,
        typer.Option(help="End after so many seconds without work. Left out: never."),
    ] = None,
) -> None:
    """Start workers alone, against THALWEG_REDIS_URL: one, or with --devices one a device. With
    --max-jobs or --exit-when-idle each of them ends by itself, with status 0."""
    if exit_when_idle is not None and not 0 < exit_when_idle < float("inf"):
        fail("worker", f"--exit-when-idle {exit_when_idle:g}: give seconds, more than 0")
    ends = {"--max-jobs": max_jobs, "--exit-when-idle": exit_when_idle}
    options = [word for name, end in ends.items() if end is not None for word in (name, str(end))]
    if devices is None:
        named = ("--name", name) if name else ()
        become("worker", "--device", device or "auto", *named, *options)
    if device is not None:
        fail("worker", "give --device or --devices, not both")
    from pydantic import ValidationError

    from core.settings import setting_mistakes
    from thalweg_service import node

    try:
        sys.exit(node.main(devices, name, options))
    except node.NodeError as error:
        fail("worker", str(error))
    except ValidationError as error:
        fail("worker", setting_mistakes(error))


@checked
def settings(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List every setting: its environment variable with the value in force, and its meaning."""
    from core.settings import Settings, unknown_variables, variable

    configured, usual = settings_of("settings"), Settings.model_construct()
    listed = [
        {
            "variable": variable(name),
            "value": configured.shown(name),
            "default": usual.shown(name),
            "description": " ".join((field.description or "").split()),
        }
        for name, field in Settings.model_fields.items()
    ]
    if as_json:
        print(json.dumps(listed, indent=2))
    for entry in () if as_json else listed:
        print(f"{entry['variable']}={entry['value']}")
        print(f"    {entry['description']}")
        if entry["value"] != entry["default"]:
            print(f"    (default: {entry['default'] or 'none'})")
    for each in unknown_variables(os.environ):
        print(f"thalweg settings: {each}", file=sys.stderr)


@checked
def repair(
    data_dir: Annotated[
        Path, typer.Option(help="The data folder of `thalweg serve`, which must be stopped.")
    ] = DATA_DIR,
    yes: Annotated[bool, typer.Option("--yes", help="Cut without asking.")] = False,
) -> None:
    """Cut off the damaged end of the server's append-only file, after a copy was made."""
    from thalweg_service import repair as repairing
    from thalweg_service.server_binary import EmbeddedServerError

    def agree(damage: repairing.Damage) -> bool:
        print(
            f"{damage.path} is damaged from byte {damage.sound_bytes} on, of {damage.size_bytes}."
            f" Cut off, the last {damage.lost_bytes} bytes of what was written are lost: jobs and"
            " rows among them. The files are copied first."
        )
        if yes:
            return True
        if not sys.stdin.isatty():
            fail("repair", "add --yes to have it cut.")
        return typer.confirm("Cut it off?")

    try:
        repairing.repair(data_dir, agree=agree, say=print)
    except (repairing.RepairError, EmbeddedServerError) as error:
        fail("repair", str(error))


@checked
def health(
    part: Annotated[Literal["api", "worker"], typer.Argument()],
    live: Annotated[
        bool,
        typer.Option(
            "--live/--ready",
            help="Whether the process is alive, whatever became of Redis; or whether it is ready"
            " for work: Redis is there, and artifacts can be written.",
        ),
    ] = False,
) -> None:
    """Tell by the exit status whether a part on this machine is well (for containers)."""
    if part == "worker":
        become("worker", "--check", "live" if live else "ready")
    from thalweg_service.supervisor import ask

    configured = settings_of("health")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(configured.host, configured.host)
    status, reply = ask(host, configured.port, "/livez" if live else "/readyz")
    if status != 200:
        how = "alive" if live else "ready"
        fail("health", f"the API is not {how}: {reply.get('detail', 'it does not answer')}")


@checked
def demo() -> None:
    """Start a service for two jobs, show them from POST to loss curve, and stop it."""
    from thalweg_service import demo as demonstration

    demonstration.main()


@checked
def doctor(
    url: Annotated[
        str, typer.Option(help="Address of the service.", envvar="THALWEG_URL")
    ] = "http://127.0.0.1:8000",
    key: Annotated[
        str | None,
        typer.Option(help="Key of the service.", envvar="THALWEG_KEY", show_envvar=True),
    ] = None,
    jobs: Annotated[
        bool,
        typer.Option(
            "--jobs/--no-jobs",
            help="Whether to have it do three small jobs whose answers are known.",
        ),
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Examine a service, its store and this machine: what is wrong, and what to do about it."""
    from thalweg_service.doctor import examine as examination

    configured = settings_of("doctor")
    redis_url = configured.redis_url if os.environ.get("THALWEG_REDIS_URL") else None
    artifacts = configured.artifacts
    sys.exit(examination.main(url, key, redis_url, artifacts, jobs=jobs, as_json=as_json))


def become(module: str, *arguments: str) -> NoReturn:
    """Turn this process into a part (-P: whatever folder it is started in)."""
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *arguments])


def fail(command: str, message: str) -> NoReturn:
    """Print one line on standard error, and exit with a status that is not 0."""
    print(f"thalweg {command}: {message}", file=sys.stderr)
    sys.exit(1)


def settings_of(command: str) -> "Settings":
    """Read the settings of the environment; with a mistake in them, the command fails."""
    from pydantic import ValidationError

    from core.settings import Settings, setting_mistakes

    try:
        return Settings()
    except ValidationError as error:
        fail(command, setting_mistakes(error))
