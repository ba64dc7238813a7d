"""`make demo`: two real jobs over HTTP, from the POST to the loss curve.

Starts the whole service with a data folder that is thrown away, sends what a user would send,
shows what comes back, and stops everything, also on Ctrl-C.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

import httpx2
from rich.console import Console
from rich.json import JSON
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from thalweg.curves import curve
from thalweg_service.child_process import signals_deferred, tethered

OUTPUT: Final = Path("demo-output")
TERMINAL: Final = frozenset({"succeeded", "failed", "cancelled"})
_STOP_TIMEOUT_S: Final = 12.0
_PREFIX: Final = "thalweg-demo-"

DIGITS: Final[dict[str, Any]] = {
    "problem": {
        "kind": "supervised",
        "data": {"kind": "builtin", "name": "digits", "eval_fraction": 0.2},
        "model": {"kind": "mlp", "hidden": [64, 32], "activation": "relu"},
    },
    "optimizer": {"kind": "adam", "lr": 0.001},
    "batch_size": 64,
    "budget": {"max_steps": 2000},
    "labels": {"demo": "digits"},
}
ROSENBROCK: Final[dict[str, Any]] = {
    "problem": {
        "kind": "function",
        "function": {"kind": "rosenbrock", "dim": 2},
        "start": [-1.2, 1.0],
    },
    "optimizer": {"kind": "adam", "lr": 0.02},
    "budget": {"max_steps": 10000},
    "stop": {"gradient_norm": 1e-6},
    "labels": {"demo": "rosenbrock"},
}


class DemoError(Exception):
    """The demo cannot go on; `str(error)` says why."""


def main() -> None:
    """Run the demo. Exit status: 0 when both jobs ended as they should, 130 after Ctrl-C."""
    interrupts = Interrupts()
    signal.signal(signal.SIGINT, interrupts)
    signal.signal(signal.SIGTERM, interrupts)
    console = Console()
    try:
        with service(console) as address, httpx2.Client(base_url=address, timeout=70.0) as client:
            good = digits(client, console)
            interrupts.check()
            good &= rosenbrock(client, console)
        interrupts.check()
    except KeyboardInterrupt:
        console.print("Interrupted; everything is stopped.")
        sys.exit(130)
    except (DemoError, httpx2.HTTPError) as error:
        console.print(f"[red]The demo failed:[/red] {error}")
        sys.exit(1)
    console.print("Everything is stopped. [bold]thalweg serve[/bold] starts a service that stays.")
    sys.exit(0 if good else 1)


@contextlib.contextmanager
def service(console: Console, *options: str) -> Iterator[str]:
    """Run `thalweg serve`, with these options, on a free port; yields its address."""
    remove_left(Path(tempfile.gettempdir()))
    folder = tempfile.mkdtemp(prefix=_PREFIX)
    command = (
        sys.executable,
        "-P",
        "-m",
        "thalweg_service",
        "serve",
        "--port",
        "0",
        "--data-dir",
        folder,
        *options,
    )
    # An empty THALWEG_REDIS_URL: the demo never writes into a Redis that happens to be set.
    environment = {**os.environ, "THALWEG_REDIS_URL": "", "THALWEG_HOST": "127.0.0.1"}
    environment.pop("THALWEG_ARTIFACTS", None)
    process: subprocess.Popen[str] | None = None
    try:
        with console.status("Starting the service: a Redis-protocol server, the API, one worker"):
            with signals_deferred():
                process = subprocess.Popen(
                    tethered(command),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env=environment,
                    process_group=0,  # Ctrl-C is for us; we stop it in good order
                )
            assert process.stdout is not None
            line = process.stdout.readline().strip()
        if not line:
            assert process.stderr is not None
            raise DemoError(process.stderr.read().strip() or "the service did not start")
        console.print(line)
        yield next(word for word in line.split() if word.startswith("http://"))
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if process is not None:
            stop(process)
        shutil.rmtree(folder, ignore_errors=True)


def remove_left(parent: Path) -> None:
    """Remove the data folders in `parent` of this user's demos that were killed: no service holds
    their lock."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.lstat().st_uid != os.getuid():
                continue
            with (folder / "serve.lock").open("rb") as lock:  # not there: its service starts now
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)


def stop(process: subprocess.Popen[str]) -> None:
    """End the service, by force if it must be (its parts then end with it)."""
    process.terminate()
    try:
        process.communicate(timeout=_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def digits(client: httpx2.Client, console: Console) -> bool:
    """Train the digit classifier; return whether it learned."""
    job = run(client, console, "A digit classifier: 64-64-32-10 perceptron, Adam", DIGITS)
    accuracy = ((job["result"] or {}).get("eval") or {}).get("accuracy", 0.0)
    console.print(f"Accuracy on the digits it has not seen: [bold]{accuracy:.1%}[/bold]\n")
    return bool(job["status"] == "succeeded" and accuracy > 0.9)


def rosenbrock(client: httpx2.Client, console: Console) -> bool:
    """Minimize Rosenbrock's function; return whether the minimum was found."""
    job = run(client, console, "Rosenbrock's valley from (-1.2, 1), Adam", ROSENBROCK)
    solution = (job["result"] or {}).get("solution") or []
    point = ", ".join(f"{x:.6f}" for x in solution)
    console.print(f"Minimum found at ([bold]{point}[/bold]); the true one is (1, 1)\n")
    return bool(job["status"] == "succeeded" and all(abs(x - 1) < 0.01 for x in solution))


def run(
    client: httpx2.Client, console: Console, title: str, spec: dict[str, Any]
) -> dict[str, Any]:
    """Send a job, follow it to its end and show it; return the job in its final state."""
    console.rule(f"[bold]{title}")
    console.print(Panel(JSON(json.dumps(spec)), title="POST /v1/jobs", title_align="left"))
    reply = client.post("/v1/jobs", json=spec)
    job = body(reply)
    told = {name: job[name] for name in ("id", "status", "progress")}
    console.print(Panel(JSON(json.dumps(told)), title=accepted(reply), title_align="left"))
    job, losses = follow(client, console, job["links"]["self"])
    show(console, job, losses)
    save_picture(client, console, job)
    return job


def follow(
    client: httpx2.Client, console: Console, link: str
) -> tuple[dict[str, Any], list[float]]:
    """Wait until the job is terminal: a progress bar, fed by the rows that have come since."""
    losses: list[float] = []
    after: int | None = None
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("step {task.completed:.0f}/{task.total:.0f}  loss {task.fields[loss]}"),
        TimeElapsedColumn(),
        console=console,
    ) as progress:
        bar = progress.add_task("queued", total=1, loss="-")
        while True:
            job = body(client.get(link, params={"wait": 0.2}))
            while True:
                page = history(client, link, after)
                losses += [float(loss) for loss in page["series"]["loss"]]
                after = page["next_after"] if page["returned"] else after
                if page["returned"] < page["limit"]:
                    break
            step, ended = job["progress"]["step"], job["status"] in TERMINAL
            progress.update(
                bar,
                description=job["phase"] or job["status"],
                completed=step,
                total=step if ended else job["progress"]["max_steps"],
                loss=f"{losses[-1]:.4g}" if losses else "-",
            )
            if ended:
                return job, losses


def history(client: httpx2.Client, link: str, after: int | None) -> dict[str, Any]:
    """Return the next rows after a step."""
    params: dict[str, str | int] = {"series": "loss", "limit": 10_000}
    if after is not None:
        params["after"] = after
    return {**body(client.get(f"{link}/history", params=params)), "limit": params["limit"]}


def show(console: Console, job: dict[str, Any], losses: list[float]) -> None:
    """Print the job's outcome and result."""
    result = job["result"] or {}
    table = Table(show_header=False, box=None, padding=(0, 2))
    diagnosis = job["diagnosis"] or {}
    for name, value in (
        ("status, outcome", f"{job['status']}, {job['outcome']}"),
        ("steps", f"{result.get('num_steps')} in {result.get('train_s') or 0.0:.2f} s"),
        ("loss", f"{losses[0]:.4g} → {result.get('final_loss'):.4g}" if losses else "-"),
        ("diagnosis", str(diagnosis.get("verdict"))),
        ("error", (job["error"] or {}).get("message")),
    ):
        if value is not None:
            table.add_row(name, value)
    console.print(table)
    console.print(Text(f"loss by step, 0 to {len(losses) - 1}", style="bold"))
    console.print(Text("\n".join(curve(losses)), style="cyan"), soft_wrap=True)


def save_picture(client: httpx2.Client, console: Console, job: dict[str, Any]) -> None:
    """Save the curve as the service draws it."""
    reply = client.get(f"{job['links']['self']}/plot", params={"kind": "loss", "format": "png"})
    if reply.status_code != 200:
        raise DemoError(f"GET …/plot: {reply.status_code} {reply.text}")
    OUTPUT.mkdir(exist_ok=True)
    path = OUTPUT / f"{job['labels']['demo']}-loss.png"
    path.write_bytes(reply.content)
    console.print(f"The picture: {path} ({len(reply.content):,} bytes)")


def body(reply: httpx2.Response) -> dict[str, Any]:
    """Return the reply's JSON. Raises `DemoError` for an error."""
    if reply.status_code >= 400:
        raise DemoError(f"{reply.request.method} {reply.url}: {reply.status_code} {reply.text}")
    content: dict[str, Any] = reply.json()
    return content


def accepted(reply: httpx2.Response) -> str:
    """Describe the head of a reply, in short."""
    return f"{reply.status_code} {reply.reason_phrase}  Location: {reply.headers.get('location')}"


class Interrupts:
    """Signals become `KeyboardInterrupt`. Python drops one that is raised in a destructor or in a
    callback of its own, so each is remembered too: `check` raises it again."""

    def __init__(self) -> None:
        self._came = False

    def __call__(self, number: int, frame: FrameType | None) -> NoReturn:
        self._came = True
        raise KeyboardInterrupt

    def check(self) -> None:
        if self._came:
            raise KeyboardInterrupt


if __name__ == "__main__":
    main()
