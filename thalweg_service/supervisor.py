"""`thalweg serve`: the whole service on one machine, under one supervisor.

The supervisor starts a Redis-protocol server of its own (or uses THALWEG_REDIS_URL), the API and
the workers, starts again what dies, and stops all of it. Its parts never outlive it.
"""

import contextlib
import fcntl
import http.client
import json
import os
import select
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO, cast

import redis

from core.environment import redis_address
from core.settings import Settings, unknown_variables
from thalweg_service.child_process import Backoff, Part, Stopped, stopping_ignored, woken
from thalweg_service.crew import APART_S, Crew
from thalweg_service.embedded_redis import DISK_FULL, DamagedDataError, EmbeddedServer
from thalweg_service.server_binary import EmbeddedServerError

_READY_TIMEOUT_S: Final = 180.0
_LOOK_EVERY_S: Final = 0.2
_STARTING_LOOK_EVERY_S: Final = 0.02
_MAX_LOG_BYTES: Final = 16 * 2**20
_MOST_DEATHS: Final = 3
"""A part that has died so often before the service was ready will not come up."""
_TELL_AFTER_S: Final = 2.0
_LOOK_WITHIN_S: Final = 5.0
_RESERVES_A_FLOOR: Final = 4
_TELL_WITHIN_S: Final = 0.2

# From the start of a stop: the API's streams are cut, then a worker that has not handed over its
# job is killed, then the server; all of it within 10 s.
_STOP_API_S: Final = 2.0
_STOP_WORKERS_S: Final = 8.8
_STOP_SERVER_S: Final = 0.8


class StartError(Exception):
    """The service cannot start; `str(error)` is one line that says why and what to do."""


@dataclass(frozen=True)
class Plan:
    """The plan of what to serve.

    Attributes:
        data_dir: everything that lasts: the server's data, weights, logs.
        port: 0 takes a free one.
        device: what each worker is started with (`auto`, `cpu`, `cuda`, `cuda:1`).
        verbose: the parts' logs go to standard error instead of files.
    """

    host: str
    port: int
    data_dir: Path
    workers: int = 1
    device: str = "auto"
    verbose: bool = False


class Supervisor:
    """Starts, tends and stops the parts of one plan; used once, in the main thread."""

    def __init__(
        self,
        plan: Plan,
        *,
        say: Callable[[str], None],
        complain: Callable[[str], None],
        progress: Callable[[str], None],
        apart_s: float = APART_S,
    ) -> None:
        """Take what is told where to: `say` gets the one line with the address, `complain` what
        happens to the parts, `progress` why a start takes long. None of them may raise. Workers
        that died together are started again `apart_s` after one another."""
        self._plan = plan
        self._data = plan.data_dir.expanduser().absolute()
        self._say = say
        self._complain = complain
        self._progress = progress
        self._before_ready: list[str] = []
        self._server: EmbeddedServer | None = None
        self._server_since = 0.0
        self._server_at: float | None = None
        self._server_backoff = Backoff()
        self._redis_url = ""
        self._api: Part | None = None
        self._crew = Crew(lambda: self._redis_url, apart_s=apart_s)
        self._lock: int | None = None

    def run(self) -> None:
        """Serve until a signal of `STOPPING`. Raises `StartError`; nothing is left running then."""
        with woken() as wait:
            try:
                address = self._start()
                for news in self._before_ready:
                    self._complain(news)
                ready = f"{address} (docs at {address}/docs, data in {self._data})"
                self._say(f"Thalweg is ready: {ready}")
                while True:
                    wait(_LOOK_EVERY_S)
                    while told := self._tend():  # what has died is started by the next look
                        for news in told:
                            self._complain(news)
            except Stopped:
                pass
            finally:
                stopping_ignored()
                self._stop()

    # --- start

    def _start(self) -> str:
        self._prepare_folder()
        port = free_port(self._plan.host, self._plan.port)
        self._redis_url = self._start_server()
        environment = {
            "THALWEG_HOST": self._plan.host,
            "THALWEG_PORT": str(port),
            "THALWEG_REDIS_URL": self._redis_url,
            **({"THALWEG_STORE_FOLDER": str(self._server.folder)} if self._server else {}),
            "THALWEG_ARTIFACTS": os.environ.get("THALWEG_ARTIFACTS", str(self._data / "artifacts")),
        }
        # -P: a folder named `worker` or `api` where we are started is not ours.
        python = (sys.executable, "-P", "-m")
        for number in range(1, self._plan.workers + 1):
            command = (*python, "worker", "--device", self._plan.device)
            log, stem = self._log(f"worker-{number}"), f"{socket.gethostname()}-{number}"
            self._crew.workers.append(Part(f"worker {number}", command, environment, log, stem))
        self._api = Part("api", (*python, "api"), environment, self._log("api"))
        for part in self._parts:
            try:
                part.start()
            except OSError as error:
                raise StartError(f"The {part.name} cannot be started: {error}.") from error
        self._wait_until_ready(port)
        host = f"[{self._plan.host}]" if ":" in self._plan.host else self._plan.host
        return f"http://{host}:{port}"

    def _prepare_folder(self) -> None:
        try:
            self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self._data / "logs").mkdir(mode=0o700, exist_ok=True)
            (self._data / "artifacts").mkdir(mode=0o700, exist_ok=True)
            self._lock = os.open(
                self._data / "serve.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise StartError(
                f"The data folder {self._data} cannot be written ({error.strerror});"
                " choose another with --data-dir."
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StartError(
                f"Another `thalweg serve` is using {self._data}; choose another folder with"
                " --data-dir."
            ) from error

    def _start_server(self) -> str:
        """Return the address of Redis: THALWEG_REDIS_URL, or that of a server of our own, which is
        started."""
        if url := os.environ.get("THALWEG_REDIS_URL"):
            Settings(redis_url=url)  # a mistaken address is told as such
            try:
                redis_address.check(url)
                with redis_address.client(
                    url, socket_connect_timeout=3.0, socket_timeout=3.0
                ) as it:
                    mode = redis_address.mode_in(it.execute_command("HELLO"))
                if (why := redis_address.wrong_mode(mode)) is not None:
                    raise StartError(why)
            except (redis.RedisError, ValueError, OSError) as error:
                address = Settings(redis_url=url).redis_address
                raise StartError(
                    f"No Redis answers at THALWEG_REDIS_URL={address}: {error}"
                ) from error
            return url
        try:
            reserve_bytes = Settings().reserve_bytes
            self._server = EmbeddedServer(
                self._data / "redis", floor_bytes=reserve_bytes // _RESERVES_A_FLOOR
            )
            self._server_since = time.monotonic()
            self._server.start()
        except EmbeddedServerError as error:
            raise StartError(self._way_out(error)) from error
        if not self._server.takes_writes:
            self._before_ready.append(DISK_FULL)
        self._before_ready += _cut_off(self._server)
        return self._server.url

    def _way_out(self, error: EmbeddedServerError) -> str:
        if not isinstance(error, DamagedDataError):
            return str(error)
        return (
            f"{error} `thalweg repair --data-dir {self._data}` copies the files and cuts a damaged"
            " end off."
        )

    def _log(self, name: str) -> Path | None:
        if self._plan.verbose:
            return None
        path = self._data / "logs" / f"{name}.log"
        with contextlib.suppress(OSError):
            if path.exists() and path.stat().st_size > _MAX_LOG_BYTES:
                path.replace(path.with_suffix(".log.1"))
        return path

    def _wait_until_ready(self, port: int) -> None:
        give_up = time.monotonic() + _READY_TIMEOUT_S
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._plan.host, self._plan.host)
        told = False
        while not self._ready(host, port):
            self._before_ready += self._tend()
            for part in self._parts:
                waits_for_space = self._disk_is_full and part in self._crew.workers
                if part.deaths >= _MOST_DEATHS and not part.running and not waits_for_space:
                    why = part.last_words() or "its log does not say why"
                    raise StartError(f"The {part.name} did not start: {why}")
            if not told and time.monotonic() > give_up - _READY_TIMEOUT_S + _TELL_AFTER_S:
                told = True
                self._progress("starting: the API and the workers load their libraries …")
            if time.monotonic() > give_up:
                raise StartError(
                    f"The service was not ready within {_READY_TIMEOUT_S:g} s; see the logs in"
                    f" {self._data / 'logs'}."
                )
            time.sleep(_STARTING_LOOK_EVERY_S)

    def _ready(self, host: str, port: int) -> bool:
        """Tell whether the API is ready, and one of our workers has reported."""
        if self._disk_is_full:  # no worker can report; who has a key can read
            return ask(host, port, "/v1/jobs?limit=1")[0] in {200, 401}
        if ask(host, port, "/readyz")[0] != 200:
            return False
        pids = {part.pid for part in self._crew.workers}
        return any(worker.get("pid") in pids for worker in self._reported())

    def _reported(self) -> list[dict[str, Any]]:
        """Read what the workers have reported, in the store: the API wants a key for it where there
        are keys."""
        key = Settings().workers_key
        try:
            with redis_address.client(self._redis_url, socket_timeout=_LOOK_WITHIN_S) as client:
                seconds, micros = cast("tuple[int, int]", client.time())
                now_ms = 1000 * seconds + micros // 1000
                alive: Any = client.zrangebyscore(f"{key}:until", f"({now_ms}", "+inf")
                texts: Any = client.hmget(key, alive) if alive else []
        except (redis.RedisError, OSError):
            return []
        return [json.loads(text) for text in texts if text]

    # --- tend and stop

    @property
    def _parts(self) -> list[Part]:
        return [*self._crew.workers, *([self._api] if self._api else [])]

    def _tend(self) -> list[str]:
        """Start again what has died; returns what is to be told."""
        news = []
        for part in self._parts:
            if part in self._crew.workers:
                told = self._crew.tend(part)
            else:
                told = part.tend()
            if told:
                news.append(told)
        if self._server is not None:
            news += self._tend_server(self._server)
        return news

    @property
    def _disk_is_full(self) -> bool:
        return self._server is not None and not self._server.takes_writes

    def _tend_server(self, server: EmbeddedServer) -> list[str]:
        if server.running:
            told = server.keep_off_a_full_disk()
            return [told] if told else []
        now = time.monotonic()
        if self._server_at is None:
            self._server_at = now + self._server_backoff.after(now - self._server_since)
            return ["the server ended; starting it again"]
        if now < self._server_at:
            return []
        self._server_since = now
        try:
            server.start()
        except EmbeddedServerError as error:
            self._server_at = time.monotonic() + self._server_backoff.after(0.0)
            return [self._way_out(error)]
        self._server_at = None
        return _cut_off(server)

    def _stop(self) -> None:
        began = time.monotonic()
        for part in reversed(self._parts):  # the API first: no new jobs
            part.terminate()
        if self._api is not None:
            self._api.wait(began + _STOP_API_S)
        for worker in self._crew.workers:
            worker.wait(began + _STOP_WORKERS_S)
        if self._server is not None:
            self._server.stop(_STOP_SERVER_S)
        if self._lock is not None:
            os.close(self._lock)


def _cut_off(server: EmbeddedServer) -> list[str]:
    """Tell what the server has left out of its data; it does so with a command that is not whole,
    the trace of a write that nobody had an answer to."""
    if server.cut_off is None:
        return []
    return [f"the server's file ended in the midst of a command and was cut: {server.cut_off}"]


def free_port(host: str, port: int) -> int:
    """Find the port that the API can listen on: `port`, or for 0 a free one. Raises
    `StartError`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
            return int(trial.getsockname()[1])
    except OSError as error:
        raise StartError(
            f"Port {port} of {host} cannot be used ({error.strerror}); choose another with --port."
        ) from error


def ask(host: str, port: int, path: str) -> tuple[int, Any]:
    """Send a GET request: the status and the JSON; (0, {}) when nobody answers."""
    connection = http.client.HTTPConnection(host, port, timeout=5.0)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read() or b"{}")
    except (OSError, http.client.HTTPException, ValueError):
        return 0, {}
    finally:
        connection.close()


def serve(plan: Plan) -> None:
    """Run the plan with its one line on standard output and complaints on standard error.

    Raises `StartError`.
    """
    Settings()  # a mistaken THALWEG_… is told here, not in a log file

    def complain(text: str) -> None:
        tell(f"thalweg serve: {text}", sys.stderr)

    for each in unknown_variables(os.environ):
        complain(each)

    def progress(text: str) -> None:
        if sys.stderr is not None and sys.stderr.isatty():
            complain(text)

    def say(text: str) -> None:
        tell(text, sys.stdout)

    Supervisor(plan, say=say, complain=complain, progress=progress).run()


def tell(text: str, stream: TextIO | None) -> None:
    """Write a line; what stands behind `stream` neither ends the service nor holds it up: a closed
    pipe, a full disk, a reader that has stopped reading, an encoding without the line's letters."""
    if stream is None:
        return
    with contextlib.suppress(OSError, ValueError):
        line = f"{text}\n".encode(stream.encoding, "backslashreplace")
        if select.select([], [stream], [], _TELL_WITHIN_S)[1]:
            # Not through the stream's buffer: what stays there would fail the process's exit.
            os.write(stream.fileno(), line)
