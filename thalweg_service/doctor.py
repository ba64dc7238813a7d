"""`thalweg doctor`: looks at a service, at its store and at this machine, and has it do jobs whose
answers are known.

It asks over HTTP as any caller does. The store is looked at where THALWEG_REDIS_URL names it: the
embedded one of `thalweg serve` shows through the service's own `/readyz`.
"""

import importlib.util
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal

import httpx2
import redis

from core.environment import redis_address

Status = Literal["ok", "warning", "failed", "skipped"]

OLDEST_SERVER: Final = (6, 2)
CLOCKS_S: Final = 2.0
"""Difference of two clocks from which on times in records mislead. Leases do not: they follow the
store's clock alone."""
FEW_FILES: Final = 4_096
LITTLE_DISK: Final = 2**30
JOB_S: Final = 60.0
"""Seconds after which a job of a few steps is taken not to be done."""


@dataclass(frozen=True)
class Check:
    """The answer to one question. `words` say what was found and, unless all is well, the way
    out."""

    name: str
    status: Status
    words: str


@dataclass(frozen=True)
class KnownJob:
    """A job whose answer is known.

    Attributes:
        answer: its solution, by the arithmetic written out in plain Python.
        verdict: of its diagnosis.
    """

    name: str
    spec: dict[str, Any]
    answer: dict[str, float]
    verdict: str | None = None


def main(url: str, redis_url: str | None, artifacts: str, *, jobs: bool, as_json: bool) -> int:
    """Print what was found; returns the exit status: 1 where a check failed."""
    found: list[Check] = []
    for check in examine(url, redis_url, artifacts, jobs=jobs):
        found.append(check)
        if not as_json:
            print(f"{check.status:8} {check.name}: {check.words}", flush=True)
    if as_json:
        print(json.dumps([asdict(check) for check in found], indent=2))
    return int(any(check.status == "failed" for check in found))


def examine(url: str, redis_url: str | None, artifacts: str, *, jobs: bool) -> Iterator[Check]:
    """Yield the answers to all questions, in the order in which one explains the next."""
    yield from look_at_machine(artifacts)
    yield from look_at_store(redis_url)
    key = os.environ.get("THALWEG_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with httpx2.Client(base_url=url, headers=headers, timeout=JOB_S, trust_env=False) as http:
        alive = look_at_service(http, url)
        yield alive
        if alive.status == "failed":
            return
        yield look_at_version(http)
        yield look_at_readiness(http)
        yield look_at_clock(http)
        workers = look_at_workers(http)
        yield workers
        for known in KNOWN_JOBS if jobs else ():
            if workers.status == "failed":
                yield Check(known.name, "skipped", "there is no worker to do it")
            else:
                yield do(http, known)


def look_at_machine(artifacts: str) -> Iterator[Check]:
    """Look at this machine: open files, the disk of the artifacts, GPUs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = soft if hard == resource.RLIM_INFINITY else hard
    if allowed < FEW_FILES:
        words = f"at most {allowed}: every connection is one; raise it (ulimit -Hn, LimitNOFILE=)"
        yield Check("open files", "warning", words)
    else:
        yield Check("open files", "ok", f"{allowed} allowed")
    yield look_at_disk(artifacts)
    yield look_at_gpus()


def look_at_disk(artifacts: str) -> Check:
    """Look at the folder of the artifacts, or at what holds it where it is not made yet."""
    if "://" in artifacts:
        return Check("disk", "skipped", "artifacts lie on an object store; /readyz looks at it")
    folder = Path(artifacts).absolute()
    while not folder.exists():
        folder = folder.parent
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        return Check("disk", "failed", "the folder of THALWEG_ARTIFACTS cannot be written")
    free = shutil.disk_usage(folder).free
    words = f"{free / 2**30:.1f} GiB free for artifacts"
    if free < LITTLE_DISK:
        return Check("disk", "warning", f"{words}: delete jobs, or set a retention")
    return Check("disk", "ok", words)


_GPUS: Final = ("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")
_TORCH: Final = "import torch; print(torch.__version__, torch.cuda.device_count())"


def look_at_gpus() -> Check:
    """Compare the GPUs that the driver lists with those that torch can use."""
    listed = _output_of(_GPUS).splitlines() if shutil.which(_GPUS[0]) else []
    if importlib.util.find_spec("torch") is None:
        words = f"{len(listed)} by the driver; torch is not installed here, so no worker can run"
        return Check("GPU", "skipped", words)
    torch, _, count = _output_of((sys.executable, "-P", "-c", _TORCH)).partition(" ")
    usable = int(count) if count.strip().isdigit() else 0
    if not torch:
        return Check("GPU", "failed", "torch cannot be imported: install the worker's packages")
    if len(listed) > usable and "CUDA_VISIBLE_DEVICES" not in os.environ:
        return Check(
            "GPU",
            "failed",
            f"the driver lists {len(listed)} ({'; '.join(listed)}), and torch {torch} can use"
            f" {usable}: install a build of torch for this driver's CUDA",
        )
    return Check("GPU", "ok", f"torch {torch} can use {usable}")


def _output_of(command: tuple[str, ...]) -> str:
    """Return what a command prints; nothing where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=JOB_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def look_at_store(redis_url: str | None) -> Iterator[Check]:
    """Look at the store's server: its version, what it keeps, its memory and its clock."""
    if redis_url is None:
        words = "THALWEG_REDIS_URL is not set; /readyz tells whether the service reaches its store"
        yield Check("store", "skipped", words)
        return
    try:
        redis_address.check(redis_url)
    except ValueError as error:
        yield Check("store", "failed", f"THALWEG_REDIS_URL is no address of a Redis: {error}")
        return
    server = redis_address.client(redis_url, socket_timeout=5.0, socket_connect_timeout=5.0)
    with server:
        try:
            began = time.perf_counter()
            server.ping()
            words = f"answers within {1000 * (time.perf_counter() - began):.1f} ms"
            mode = redis_address.mode_in(server.execute_command("HELLO"))
            if (why := redis_address.wrong_mode(mode)) is not None:
                yield Check("store", "failed", why)
                return
            yield Check("store", "ok", words)
            yield _asked("store version", lambda: _version_of(server))
            yield _asked("store durability", lambda: _durability_of(server))
            yield _asked("store memory", lambda: _memory_of(server))
            yield _asked("store clock", lambda: _clock_of(server))
        except (redis.RedisError, OSError) as error:
            # Its own words may hold the address; its class tells what to look at.
            words = f"{type(error).__name__}: check THALWEG_REDIS_URL, and that the server runs"
            yield Check("store", "failed", words)


def _asked(name: str, look: Callable[[], tuple[Status, str]]) -> Check:
    try:
        return Check(name, *look())
    except redis.ResponseError:
        return Check(name, "skipped", "the server does not tell this user")


def _version_of(server: Any) -> tuple[Status, str]:
    info = server.info("server")
    found = str(info.get("valkey_version") or info["redis_version"])
    numbers = tuple(int(part) for part in str(info["redis_version"]).split(".")[:2])
    if numbers < OLDEST_SERVER:
        return "failed", f"{found}; Thalweg needs Redis 6.2 or newer, or Valkey"
    return "ok", found


def _durability_of(server: Any) -> tuple[Status, str]:
    wanted = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
    found = {name: server.config_get(name).get(name) for name in wanted}
    said = ", ".join(f"{name} {value}" for name, value in found.items())
    if found["maxmemory-policy"] != wanted["maxmemory-policy"]:
        return "failed", f"{said}: a full server would forget jobs; set maxmemory-policy noeviction"
    if found["appendonly"] != "yes":
        return "failed", f"{said}: jobs are lost when the server ends; set appendonly yes"
    if found["appendfsync"] != "always":
        words = "a power cut may lose the last second of accepted jobs (appendfsync always)"
        return "warning", f"{said}: {words}"
    return "ok", said


def _memory_of(server: Any) -> tuple[Status, str]:
    info = server.info("memory")
    used, most = int(info["used_memory"]), int(info["maxmemory"])
    words = f"{used / 2**20:.0f} MiB used" + (f" of {most / 2**20:.0f}" if most else ", no limit")
    if most and used > 0.9 * most:
        return "warning", f"{words}: new jobs are refused when it is full; delete some or raise it"
    return "ok", words


def _clock_of(server: Any) -> tuple[Status, str]:
    began = time.time()
    seconds, micros = server.time()
    return _difference("the store's", seconds + micros / 1e6 - (began + time.time()) / 2)


def _difference(whose: str, seconds: float) -> tuple[Status, str]:
    words = f"{whose} is {abs(seconds):.1f} s {'ahead of' if seconds > 0 else 'behind'} this one's"
    if abs(seconds) > CLOCKS_S:
        return "warning", f"{words}: times in records mislead; synchronize them (NTP)"
    return "ok", words


def look_at_service(http: httpx2.Client, url: str) -> Check:
    """Ask whether anything answers at the address."""
    try:
        reply = http.get("/livez")
    except httpx2.HTTPError as error:
        words = f"nobody answers at {url} ({type(error).__name__}): start it, or name its --url"
        return Check("service", "failed", words)
    if reply.status_code != 200:
        return Check("service", "failed", f"{url}/livez is answered by {reply.status_code}")
    return Check("service", "ok", f"answers at {url}")


def look_at_version(http: httpx2.Client) -> Check:
    """Compare the service's version with the one installed here."""
    own, found = version("thalweg-service"), _read(http, "/version").get("version")
    if found != own:
        words = f"the service is {found}, this is {own}: install the same version everywhere"
        return Check("version", "warning", words)
    return Check("version", "ok", f"{own} here and there")


def look_at_readiness(http: httpx2.Client) -> Check:
    """Ask whether the service reaches its store and its artifacts."""
    reply = http.get("/readyz")
    checks = _json(reply).get("checks", {})
    said = ", ".join(f"{name} {word}" for name, word in checks.items())
    if reply.status_code != 200:
        return Check("ready", "failed", said or f"/readyz is answered by {reply.status_code}")
    return Check("ready", "ok", said)


def look_at_clock(http: httpx2.Client) -> Check:
    """Compare the service's clock with this machine's, to the second that HTTP tells."""
    reply = http.get("/livez")
    try:
        told = parsedate_to_datetime(reply.headers["date"]).timestamp()
    except (KeyError, ValueError):
        return Check("clock", "skipped", "the reply has no Date")
    return Check("clock", *_difference("the service's", told + 0.5 - time.time()))


def look_at_workers(http: httpx2.Client) -> Check:
    """Count the workers, and look at the age of their reports."""
    reply = http.get("/v1/workers", params={"limit": 200})
    if reply.status_code in {401, 403}:
        words = f"{_json(reply).get('detail', 'a key is needed')} Give doctor one in THALWEG_KEY"
        return Check("workers", "failed", words)
    workers = _json(reply).get("data", [])
    if not workers:
        words = "there are none: jobs are accepted, and wait; start `thalweg worker`"
        return Check("workers", "failed", words)
    now = datetime.now(UTC)
    ages = [
        (now - datetime.fromisoformat(each["last_heartbeat"])).total_seconds() for each in workers
    ]
    devices = sorted({device for each in workers for device in each["devices"]})
    words = f"{len(workers)} on {', '.join(devices)}; last report {max(ages):.1f} s ago"
    if min(ages) < -CLOCKS_S:
        words = f"one reports from {-min(ages):.1f} s ahead: synchronize the machines' clocks (NTP)"
        return Check("workers", "warning", words)
    return Check("workers", "ok", words)


def do(http: httpx2.Client, known: KnownJob) -> Check:
    """Have a job done, compare its answer with the known one, and delete it."""
    reply = http.post("/v1/jobs", json={**known.spec, "labels": {"thalweg": "doctor"}})
    if reply.status_code != 202:
        return Check(known.name, "failed", _json(reply).get("detail", f"{reply.status_code}"))
    path = reply.json()["links"]["self"]
    job: dict[str, Any] = http.get(path, params={"wait": int(JOB_S) - 5}).json()
    if job["status"] not in {"succeeded", "failed", "cancelled"}:
        why = job["progress"].get("waiting_for") or job["status"]
        http.post(f"{path}/cancel")
        return Check(known.name, "failed", f"not done after {JOB_S - 5:.0f} s: {why}")
    http.delete(path)
    if job["status"] != "succeeded":
        error: dict[str, Any] = job["error"] or {"message": f"it was {job['status']}"}
        return Check(known.name, "failed", str(error["message"]))
    return _compared(known, job)


def _compared(known: KnownJob, job: dict[str, Any]) -> Check:
    solution = job["result"]["solution"]
    if isinstance(solution, list):
        solution = {f"x{number}": value for number, value in enumerate(solution, start=1)}
    for name, value in known.answer.items():
        found = solution[name]
        if isinstance(found, str) or abs(found - value) > 1e-9 * max(1.0, abs(value)):
            words = f"{name} is {found}, and should be {value}: the arithmetic of a worker is off"
            return Check(known.name, "failed", words)
    verdict = (job["diagnosis"] or {}).get("verdict")
    if known.verdict is not None and verdict != known.verdict:
        return Check(known.name, "failed", f"its verdict is {verdict}, not {known.verdict}")
    said = ", ".join(f"{name} {value:.9g}" for name, value in known.answer.items())
    return Check(known.name, "ok", f"{said}{f', {verdict}' if known.verdict else ''}")


def _read(http: httpx2.Client, path: str, **query: Any) -> dict[str, Any]:
    return _json(http.get(path, params=query))


def _json(reply: httpx2.Response) -> dict[str, Any]:
    try:
        found = reply.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _descent(
    start: tuple[float, ...],
    gradient: Callable[[tuple[float, ...]], tuple[float, ...]],
    lr: float,
    steps: int,
) -> dict[str, float]:
    """Take the steps of gradient descent in Python's own float64."""
    point = start
    for _ in range(steps):
        point = tuple(x - lr * g for x, g in zip(point, gradient(point), strict=True))
    return {f"x{number}": value for number, value in enumerate(point, start=1)}


def _of_rosenbrock(point: tuple[float, ...]) -> tuple[float, ...]:
    x, y = point
    return -2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)


def _job(
    function: dict[str, Any], start: Any, lr: float, steps: int, **more: Any
) -> dict[str, Any]:
    return {
        "problem": {"kind": "function", "function": function, "start": start},
        "optimizer": {"kind": "sgd", "lr": lr},
        "budget": {"max_steps": steps},
        "precision": "float64",
        **more,
    }


KNOWN_JOBS: Final = (
    KnownJob(
        "quadratic",
        _job({"kind": "expression", "expression": "x1**2"}, {"x1": 10.0}, 0.2, 10),
        _descent((10.0,), lambda point: (2 * point[0],), 0.2, 10),
    ),
    KnownJob(
        "Rosenbrock",
        _job({"kind": "rosenbrock", "dim": 2}, [-1.2, 1.0], 0.001, 200),
        _descent((-1.2, 1.0), _of_rosenbrock, 0.001, 200),
    ),
    KnownJob(
        "saddle",
        _job(
            {"kind": "expression", "expression": "x1**2 - x2**2"},
            {"x1": 1.0, "x2": 0.0},
            0.1,
            200,
            diagnose="full",
        ),
        _descent((1.0, 0.0), lambda point: (2 * point[0], -2 * point[1]), 0.1, 200),
        verdict="saddle_point",
    ),
)
"""A quadratic (from 10 at rate 0.2: 10 · 0.6¹⁰ = 0.060466 after 10 steps), a narrow valley, and a
saddle that the descent walks into."""
