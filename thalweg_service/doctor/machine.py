"""Looks at this machine and at the store's server."""

import importlib.util
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import redis

from core.environment import redis_address
from thalweg_service.doctor.check import Check, Status, difference

OLDEST_SERVER: Final = (6, 2)
FEW_FILES: Final = 4_096
LITTLE_DISK: Final = 2**30
COMMAND_S: Final = 60.0
"""Seconds that a command which is asked may take."""


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
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=COMMAND_S, check=False
        )
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
    if most and used >= most:
        return "failed", f"{words}: it is full, and takes neither jobs nor the reports of workers"
    if most and used > 0.9 * most:
        return "warning", f"{words}: new jobs are refused when it is full; delete some or raise it"
    return "ok", words


def _clock_of(server: Any) -> tuple[Status, str]:
    began = time.time()
    seconds, micros = server.time()
    return difference("the store's", seconds + micros / 1e6 - (began + time.time()) / 2)
