"""The images and the compose project, as an engine builds and runs them."""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

Json = dict[str, Any]

ROOT: Final = Path(__file__).resolve().parents[2]
PROJECT: Final = "thalweg-check"
API: Final = "thalweg-check-api"
WORKER: Final = "thalweg-check-worker"
COMPOSE: Final = (
    *("docker", "compose", "--project-name", PROJECT),
    *("--file", "docker-compose.yml", "--file", "images.json"),
)
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
