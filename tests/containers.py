"""The images and the compose file on a real engine: `make containers`.

Builds both images, runs the whole service as a project of its own, and ends with status 0 when what
docs/containers.md promises holds; each line is a promise with its figure. It leaves no container,
volume or network behind. It needs the command `docker` with compose and an engine; how to have one
on a machine without: scripts/engine.sh.
"""

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

Json = dict[str, Any]

ROOT: Final = Path(__file__).resolve().parent.parent
PROJECT: Final = "thalweg-check"
API: Final = "thalweg-check-api"
WORKER: Final = "thalweg-check-worker"
COMPOSE: Final = (
    *("docker", "compose", "--project-name", PROJECT),
    *("--file", "docker-compose.yml", "--file", "images.json"),
)
DIGITS: Final[Json] = {
    "problem": {
        "kind": "supervised",
        "data": {"kind": "builtin", "name": "digits", "eval_fraction": 0.2},
        "model": {"kind": "mlp", "hidden": [32]},
    },
    "optimizer": {"kind": "adam"},
    "budget": {"max_steps": 500},
}
LONG: Final[Json] = {
    **DIGITS,
    "budget": {"max_steps": 20_000},
    "record": {"every": 20},
    "checkpoint": {"every_steps": 500},
}
LARGE: Final[Json] = {
    **DIGITS,
    "problem": {**DIGITS["problem"], "model": {"kind": "mlp", "hidden": [6000, 6000]}},
    "max_attempts": 2,
}
STUDY: Final[Json] = {
    "base": {**DIGITS, "budget": {"max_steps": 50}},
    "sweep": {"optimizer.lr": {"log": [0.001, 1.0]}},
    "strategy": {"kind": "tpe", "num_runs": 12},
}
ASK: Final = """
import sys, urllib.error, urllib.request
method, path = sys.argv[1:3]
request = urllib.request.Request("http://127.0.0.1:8000" + path, sys.stdin.buffer.read() or None,
                                 {"Content-Type": "application/json"}, method=method)
try:
    reply = urllib.request.urlopen(request, timeout=70)
except urllib.error.HTTPError as error:
    reply = error
sys.stdout.buffer.write(b"%d\\n" % reply.status + reply.read())
"""
"""A call of the API, made in its own container: its published port may be in another network."""


def run(
    *words: str,
    check: bool = True,
    folder: Path = ROOT,
    variables: Mapping[str, str] | None = None,
) -> str:
    """Run a command; returns what it printed, errors included."""
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        check=False, cwd=folder, env={**os.environ, **(variables or {})},
    )  # fmt: skip
    said = done.stdout.decode(errors="replace")
    if check and done.returncode:
        raise AssertionError(f"{' '.join(words)[:200]}: {said}")
    return said


def until(what: str, condition: Callable[[], object], timeout_s: float = 90.0) -> None:
    give_up = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up, f"it never came true: {what}"
        time.sleep(0.3)


def told(promise: str, figure: object = "") -> None:
    print(f"ok  {promise}" + (f": {figure}" if figure != "" else ""), flush=True)


def megabytes(size: float) -> str:
    return f"{size / 1e6:,.1f} MB"


@dataclass(frozen=True)
class Images:
    """What builds the images. `builder`: the address of the engine that does, if it is another."""

    base: str
    torch_index: str
    builder: str

    def build(self, target: str, tag: str, source: Path = ROOT) -> float:
        """Build, in so many seconds."""
        began = time.monotonic()
        run(
            *("docker", "build", "--network", "host", "--target", target, "--tag", tag),
            *("--build-arg", f"PYTHON_IMAGE={self.base}"),
            *("--build-arg", f"TORCH_INDEX={self.torch_index}", str(source)),
            variables=self._engine(),
        )
        return time.monotonic() - began

    def facts(self, tag: str) -> Json:
        found: Json = json.loads(run("docker", "inspect", tag, variables=self._engine()))[0]
        return found

    def layer_sizes(self, tag: str) -> list[int]:
        """Bytes of the layers that the Dockerfile makes, the last first."""
        size = "{{.Size}}"
        said = run(
            "docker", "history", "--human=false", "--format", size, tag, variables=self._engine()
        )
        return [int(line) for line in said.split() if int(line)]

    def load(self, *tags: str) -> None:
        """Have them where they are to run."""
        if self.builder:
            with tempfile.NamedTemporaryFile(dir=tempfile.gettempdir()) as archive:
                run("docker", "save", "--output", archive.name, *tags, variables=self._engine())
                run("docker", "load", "--input", archive.name)

    def _engine(self) -> dict[str, str]:
        own = {"DOCKER_HOST": self.builder} if self.builder else {}
        return {"DOCKER_BUILDKIT": "1", **own}


class Stack:
    """The compose file's service, as a project of its own in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copy(ROOT / "docker-compose.yml", folder)
        images = {"api": API, "worker-cpu": WORKER}
        named = {"services": {name: {"image": image} for name, image in images.items()}}
        (folder / "images.json").write_text(json.dumps(named))
        (folder / "thalweg.env").write_text("THALWEG_TRUSTED_HOSTS=api\nTHALWEG_LOG_LEVEL=debug\n")

    def compose(
        self, *words: str, check: bool = True, variables: Mapping[str, str] | None = None
    ) -> str:
        given = {"THALWEG_PORT": "0", **(variables or {})}
        return run(*COMPOSE, *words, check=check, folder=self.folder, variables=given)

    def up(self, *words: str, variables: Mapping[str, str] | None = None) -> None:
        self.compose("up", "--detach", "--no-build", *words, variables=variables)
        until("all are healthy", self.is_healthy)

    def is_healthy(self) -> bool:
        health = self.compose("ps", "--format", "{{.Health}}").split()
        return len(health) >= 3 and set(health) == {"healthy"}

    def ask(self, method: str, path: str, body: Json | None = None) -> tuple[int, bytes]:
        sent = b"" if body is None else json.dumps(body).encode()
        words = ("exec", "--no-TTY", "api", "python", "-c", ASK, method, path)
        done = subprocess.run(
            (*COMPOSE, *words), input=sent, capture_output=True, check=True, cwd=self.folder
        )
        status, _, reply = done.stdout.partition(b"\n")
        return int(status), reply

    def get(self, path: str) -> Json:
        status, reply = self.ask("GET", path)
        assert status == 200, reply
        found: Json = json.loads(reply)
        return found

    def post(self, path: str, body: Json) -> str:
        status, reply = self.ask("POST", path, body)
        assert status == 202, reply
        return str(json.loads(reply)["id"])

    def end(self, path: str) -> Json:
        found: Json = {}
        while not found.get("finished_at"):
            found = self.get(f"{path}?wait=60")
        return found

    def begun(self, body: Json, step: int) -> str:
        """Post a job and wait until it has made so many steps; returns its path."""
        path = f"/v1/jobs/{self.post('/v1/jobs', body)}"
        until("it trains", lambda: self.get(path)["progress"]["step"] > step)
        return path

    def weights(self, path: str) -> str:
        status, reply = self.ask("GET", f"{path}/model")
        assert status == 200, reply
        return hashlib.sha256(reply).hexdigest()

    def inside(self, part: str, script: str) -> str:
        return self.compose("exec", "--no-TTY", part, "sh", "-c", script, check=False)

    def volumes(self, folder: Path, command: str, *, read_only: bool) -> None:
        """Run a command with both volumes below `/`, and the folder as `/backup`."""
        mode = ":ro" if read_only else ""
        mounts = [f"{PROJECT}_{name}:/{name}{mode}" for name in ("redis", "artifacts")]
        run(
            *("docker", "run", "--rm", "--user", "0:0"),
            *(word for mount in (*mounts, f"{folder}:/backup") for word in ("--volume", mount)),
            *(API, "sh", "-c", command),
        )


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Stack]:
    stack = Stack(folder)
    try:
        stack.compose("down", "--volumes", "--remove-orphans")
        stack.up()
        yield stack
    except AssertionError:
        print(stack.compose("logs", "--tail", "30", check=False), file=sys.stderr)
        raise
    finally:
        stack.compose("down", "--volumes", "--remove-orphans", "--timeout", "20", check=False)


def images_are_built(images: Images) -> None:
    for target, tag in (("api", API), ("worker", WORKER)):
        took = images.build(target, tag)
        told(f"{target} is built", f"{took:.0f} s, {megabytes(images.facts(tag)['Size'])}")
        print("    layers: " + ", ".join(map(megabytes, images.layer_sizes(tag))))


def a_line_makes_one_layer(images: Images, folder: Path) -> None:
    source = folder / "changed"
    left_out = shutil.ignore_patterns(
        ".git", ".venv", ".*_cache", "__pycache__", "node_modules", "tests", "docs"
    )
    shutil.copytree(ROOT, source, ignore=left_out)
    with (source / "core" / "ids.py").open("a") as file:
        file.write(f"# changed at {time.time()}\n")
    images.build("worker", f"{WORKER}:changed", source)
    before, after = (images.facts(tag)["RootFS"]["Layers"] for tag in (WORKER, f"{WORKER}:changed"))
    changed = [one != two for one, two in zip(before, after, strict=True)]
    assert changed == [False] * (len(before) - 1) + [True], changed
    told("a changed line makes one layer", megabytes(images.layer_sizes(f"{WORKER}:changed")[0]))
    shared = len(set(before) & set(images.facts(API)["RootFS"]["Layers"]))
    told("the API and a worker share layers", shared)


def images_hold_what_they_should(images: Images) -> None:
    look = (
        "id -u; python -c 'import pip' 2>&1 | tail -1; command -v pip;"
        " find / -xdev -type d -name tests -path '*-packages*' 2>/dev/null;"
        " touch /opt/thalweg/x 2>&1"
    )
    for tag, torch in ((API, "No module named 'torch'"), (WORKER, "2.13.0")):
        see = f"{look}; python -c 'import torch; print(torch.__version__)' 2>&1 | tail -1"
        said = run("docker", "run", "--rm", "--network", "none", tag, "sh", "-c", see).split("\n")
        assert said[:2] == ["10001", "ModuleNotFoundError: No module named 'pip'"], said
        assert "Permission denied" in said[2], said
        assert torch in said[3], said
        labels = images.facts(tag)["Config"]["Labels"]
        assert labels["org.opencontainers.image.version"] == "0.1.0"
    told("not root, no pip, no tests of packages, labels, torch in the worker only")


def it_serves(stack: Stack) -> None:
    assert stack.get("/readyz")["workers"] == 1
    job = stack.end(f"/v1/jobs/{stack.post('/v1/jobs', DIGITS)}")
    assert job["status"] == "succeeded", job
    study = stack.end(f"/v1/studies/{stack.post('/v1/studies', STUDY)}")
    assert study["status"] == "succeeded", study
    status, picture = stack.ask("GET", f"{job['links']['self']}/plot?kind=loss&format=png")
    assert (status, picture[:4]) == (200, b"\x89PNG")
    told("a job and a study succeed, a picture is drawn", job["result"]["eval"])


def it_carries_the_page(stack: Stack) -> None:
    status, page = stack.ask("GET", "/")
    assert status == 200, page
    files = re.findall(r'(?:src|href)="(/[^"]+\.(?:js|css))"', page.decode())
    assert files, page
    for file in files:
        status, content = stack.ask("GET", file)
        assert (status, bool(content)) == (200, True), file
    told("the page that the image's own stage built is served", ", ".join(files))


def settings_reach_it(stack: Stack) -> None:
    for part in ("api", "worker-cpu"):
        assert "THALWEG_LOG_LEVEL=debug" in stack.inside(part, "env")
    call = "import urllib.request as u; print(u.urlopen('http://api:8000/v1/jobs').status)"
    network = f"{PROJECT}_default"
    said = run("docker", "run", "--rm", "--network", network, API, "python", "-c", call)
    assert said.strip() == "200"
    told("thalweg.env reaches API and workers; another container's call is answered")


def it_is_fenced_in(stack: Stack) -> None:
    for part in ("api", "worker-cpu"):
        said = stack.inside(part, "touch /x /var/lib/thalweg/x; touch /tmp/y && echo written")
        assert said.count("Read-only file system") == 2, said
        assert "written" in said
        status = stack.inside(part, "cat /proc/1/status").split()
        assert int(status[status.index("CapEff:") + 1], 16) == 0
        assert status[status.index("NoNewPrivs:") + 1] == "1"
        facts = json.loads(run("docker", "inspect", f"{PROJECT}-{part}-1"))[0]["HostConfig"]
        assert facts["PidsLimit"] == 1024
        assert facts["LogConfig"]["Config"] == {"max-file": "5", "max-size": "10m"}
        assert facts["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 10}
    used = run("docker", "stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}")
    told("read-only root, no rights, limits, logs that turn over", " | ".join(used.splitlines()))


def a_stopped_worker_hands_over(stack: Stack) -> None:
    path = stack.begun(LONG, 1000)
    began = time.monotonic()
    stack.compose("stop", "worker-cpu")
    took = time.monotonic() - began
    job = stack.get(path)
    assert [attempt["end"] for attempt in job["attempts"]] == ["handed_over"], job
    assert job["progress"]["waiting_for"] == "no_worker"
    stack.compose("start", "worker-cpu")
    until("it goes on", lambda: stack.get(path)["status"] == "running")
    stack.ask("POST", f"{path}/cancel", {})
    stack.end(path)
    told("a worker that is stopped hands its job over", f"{took:.1f} s")


def an_outage_is_trained_through(stack: Stack) -> None:
    path = stack.begun(LONG, 1000)
    stack.compose("stop", "redis")
    until("it is not ready", lambda: "1" in stack.inside("worker-cpu", _health("ready")), 60)
    assert "0" in stack.inside("worker-cpu", _health("live"))
    assert stack.ask("GET", "/livez")[0] == 200
    assert stack.ask("GET", "/readyz")[0] == 503
    stack.compose("start", "redis")
    job = stack.end(path)
    assert (job["status"], len(job["attempts"])) == ("succeeded", 1), job
    told("a job trains through an outage of the server; live stays 0, ready is 1 meanwhile")


def _health(kind: str) -> str:
    return f"thalweg health worker --{kind} >/dev/null 2>&1; echo $?"


def a_backup_is_restored(stack: Stack, folder: Path) -> None:
    """As docs/containers.md says it: both volumes, at work, the server's first."""
    done = stack.end(f"/v1/jobs/{stack.post('/v1/jobs', LONG)}")
    twin, kept = done["links"]["self"], stack.weights(done["links"]["self"])
    path = stack.begun(LONG, 2000)
    saved = "tar -C / --numeric-owner -cf /backup/thalweg.tar redis artifacts || test $? = 1"
    stack.volumes(folder, saved, read_only=True)
    size = (folder / "thalweg.tar").stat().st_size
    stack.compose("down", "--volumes", "--timeout", "20")
    stack.compose("create", "--no-build")
    stack.volumes(folder, "tar -C / --numeric-owner -xpf /backup/thalweg.tar", read_only=False)
    stack.up()
    assert stack.get(twin) == done
    assert stack.weights(twin) == kept
    job = stack.end(path)
    assert [attempt["end"] for attempt in job["attempts"]] == ["lost", "finished"], job
    assert not [each for each in job["timeline"] if each["event"] == "restarted"]
    assert job["result"] == {**done["result"], "train_s": job["result"]["train_s"]}
    told("both volumes are backed up at work and restored as a pair", megabytes(size))


def a_folder_of_root_is_refused(stack: Stack, folder: Path) -> None:
    """A worker that may not write to its bind mount says so, and ends; once it may, it works."""
    mounted = folder / "mounted"
    mounted.mkdir()
    words = ("run", "--rm", "--no-deps", "--volume", f"{mounted}:/var/lib/thalweg/artifacts")
    said = stack.compose(*words, "worker-cpu", check=False)
    lines = [line for line in said.splitlines() if line.startswith("thalweg worker:")]
    assert len(lines) == 1, said
    assert "Artifacts cannot be written" in lines[0]
    run("docker", "run", "--rm", "--user", "0:0", "--volume", f"{mounted}:/x", API,
        "chown", "10001:10001", "/x")  # fmt: skip
    name = f"{PROJECT}-mounted"
    stack.compose(*words[:2], "--detach", "--name", name, *words[2:], "worker-cpu")
    try:
        until("it is ready", lambda: "is ready" in run("docker", "logs", name))
    finally:
        run("docker", "stop", name, check=False)
    told("a bind mount of root's is refused in one line", lines[0])


def a_gpu_that_is_not_there_is_refused(stack: Stack) -> None:
    began = time.monotonic()
    words = ("run", "--rm", "--no-deps", "worker-cpu", "thalweg", "worker", "--device", "cuda")
    said = stack.compose(*words, check=False)
    took = time.monotonic() - began
    lines = [line for line in said.splitlines() if line.startswith("thalweg worker:")]
    assert len(lines) == 1, said
    told(f"a device that is not there is refused in {took:.1f} s", lines[0])


def a_memory_limit_is_named(stack: Stack) -> None:
    limit = {"THALWEG_WORKER_MEMORY": "700m"}
    stack.up("worker-cpu", variables=limit)
    job = stack.end(f"/v1/jobs/{stack.post('/v1/jobs', LARGE)}")
    assert job["status"] == "failed", job
    assert "memory" in job["error"]["message"], job["error"]
    told("a job that is killed for its memory says so", job["error"])


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.containers", description=__doc__)
    parser.add_argument("--base", default="python:3.12-slim-bookworm", help="PYTHON_IMAGE")
    parser.add_argument("--torch-index", default="", help="TORCH_INDEX")
    parser.add_argument("--builder", default="", help="address of an engine that builds")
    parser.add_argument("--no-build", action="store_true", help="run what was built before")
    given = parser.parse_args(arguments)
    images = Images(given.base, given.torch_index, given.builder)
    with tempfile.TemporaryDirectory(prefix="thalweg-containers-") as name:
        folder = Path(name)
        if not given.no_build:
            images_are_built(images)
            a_line_makes_one_layer(images, folder)
        images.load(API, WORKER)
        images_hold_what_they_should(images)
        (folder / "stack").mkdir()
        with running(folder / "stack") as stack:
            it_serves(stack)
            it_carries_the_page(stack)
            settings_reach_it(stack)
            it_is_fenced_in(stack)
            a_stopped_worker_hands_over(stack)
            an_outage_is_trained_through(stack)
            a_backup_is_restored(stack, folder)
            a_folder_of_root_is_refused(stack, folder)
            a_gpu_that_is_not_there_is_refused(stack)
            a_memory_limit_is_named(stack)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
