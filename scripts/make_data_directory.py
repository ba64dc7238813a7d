"""Make the data directory that `tests/e2e/test_stored_data.py` opens: what a version leaves behind.

    python scripts/make_data_directory.py OLD/.venv/bin/thalweg tests/data/format-2.tar.xz

The first argument is the `thalweg` of the version whose directory is wanted (in a checkout of its
own); it is spoken to over HTTP only. The archive holds the folder of `thalweg serve --data-dir` as
it lies after the service was killed, and `contents.json`: what each job and study in it is for, its
record and its rows, as that version's API gave them. So that the directory stays small, its runs
are short and the append-only file is written anew before the end.

A version that changes a format (`core/formats.py`) gets a directory of its own beside the others,
made by the last code before the change; nothing is ever taken out of `tests/data`.
"""

import argparse
import contextlib
import json
import os
import platform
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx2
import redis

Json = dict[str, Any]

ENVIRONMENT: Final = {"OMP_NUM_THREADS": "1", "THALWEG_RECONCILE_EVERY_S": "0.1"}
KEPT: Final = ("redis/appendonlydir", "artifacts")
"""Parts of the data directory that are kept; locks, sockets and logs are left out."""

DIGITS: Final[Json] = {
    "problem": {
        "kind": "supervised",
        "data": {"kind": "builtin", "name": "digits", "eval_fraction": 0.2},
        "model": {"kind": "mlp", "hidden": [8]},
    },
    "optimizer": {"kind": "adam"},
    "budget": {"max_steps": 60},
    "record": {"eval_every": 20},
    "checkpoint": {"every_steps": 30},
    "labels": {"of": "digits"},
}
ROSENBROCK: Final[Json] = {
    "problem": {"kind": "function", "function": {"kind": "rosenbrock", "dim": 2}},
    "optimizer": {"kind": "adam", "lr": 0.002},
    "budget": {"max_steps": 6_000},
    "record": {"every": 50},
    "checkpoint": {"every_steps": 1_000},
}
NORMED: Final[Json] = {
    "kind": "supervised",
    "data": {"kind": "builtin", "name": "iris", "eval_fraction": 0.2},
    "model": {"kind": "mlp", "hidden": [4, 4], "norm": "batch"},
}
LONG: Final[Json] = {
    "problem": NORMED,
    "optimizer": {"kind": "adam", "lr": 0.002},
    "batch_size": "full",
    "budget": {"max_steps": 6_000},
    "record": {"every": 200, "eval_every": 1_000},
    "checkpoint": {"every_steps": 500},
}
"""Long enough to be stopped on the way, as the studies of this name."""
OSCILLATING: Final[Json] = {
    "problem": {
        "kind": "function",
        "function": {"kind": "quadratic", "eigenvalues": [1.0, 10.0]},
        "start": [1.0, 1.0],
    },
    "optimizer": {"kind": "sgd", "lr": 0.199},
    "budget": {"max_steps": 60},
}
DIVERGED: Final[Json] = {
    **OSCILLATING,
    "optimizer": {"kind": "sgd", "lr": 0.25},
    "on_divergence": {"action": "rollback", "max_times": 1},
    "budget": {"max_steps": 300},
}
AUTO: Final[Json] = {
    **OSCILLATING,
    "optimizer": {"kind": "sgd", "lr": "auto"},
    "diagnose": "full",
}
GRID: Final[Json] = {
    "base": {
        **ROSENBROCK,
        "budget": {"max_steps": 80},
        "record": {"every": 5},
        "optimizer": {"kind": "adam"},
    },
    "sweep": {"optimizer.lr": {"values": [0.01, 0.02, 0.04]}},
    "repeats": 2,
    "metric": {"name": "loss", "target": 1.0},
    "labels": {"of": "grid"},
}
HALVING: Final[Json] = {
    "base": {**ROSENBROCK, "budget": {"max_steps": 90}, "record": {"every": 10}},
    "sweep": {"optimizer": {"values": [{"kind": "sgd", "lr": lr} for lr in (1e-4, 2e-4, 5e-4)]}},
    "strategy": {"kind": "grid", "stopper": {"kind": "successive_halving", "min_steps": 30}},
}
LONG_STUDY: Final[Json] = {
    "base": {
        **LONG,
        "record": {"every": 500, "eval_every": 1_000},
        "checkpoint": {},
    },
    "sweep": {"problem.model.dropout": {"values": [0.0, 0.1]}},
}
TPE: Final[Json] = {
    "base": {**ROSENBROCK, "budget": {"max_steps": 20}, "record": {"every": 5}},
    "sweep": {"optimizer.lr": {"log": [0.001, 1.0]}, "optimizer.eps": {"linear": [0.0, 1.0]}},
    "strategy": {"kind": "tpe", "num_runs": 24},
}


class Version:
    """A running service of the version whose directory is made."""

    def __init__(self, thalweg: Path, data: Path) -> None:
        clean = {name: text for name, text in os.environ.items() if not name.startswith("THALWEG_")}
        self._data = data
        self.process = subprocess.Popen(
            [thalweg, "serve", "--port", "0", "--workers", "2", "--data-dir", data],
            stdout=subprocess.PIPE,
            text=True,
            env={**clean, **ENVIRONMENT},
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        address = next(word for word in line.split() if word.startswith("http"))
        self.http = httpx2.Client(base_url=address, timeout=70.0)

    def get(self, path: str, **query: Any) -> Any:
        return self.http.get(path, params=query).raise_for_status().json()

    def post(self, path: str, body: Json) -> Json:
        made: Json = self.http.post(path, json=body).raise_for_status().json()
        return made

    def end(self, path: str) -> Json:
        found: Json = {}
        while not found.get("finished_at"):
            found = self.get(path, wait=60)
        return found

    def write_anew(self) -> None:
        """Have the append-only file hold each key once."""
        with redis.Redis.from_url(f"unix://{self._data}/redis/redis.sock") as server:
            server.bgrewriteaof()
            until(lambda: not server.info("persistence")["aof_rewrite_in_progress"])

    def close(self) -> None:
        """Kill it: its parts end within a second, and what was running stays so in the store."""
        self.process.kill()
        self.process.wait()
        until(lambda: not (self._data / "redis" / "redis.sock").exists() or self._is_silent())

    def _is_silent(self) -> bool:
        try:
            with redis.Redis.from_url(f"unix://{self._data}/redis/redis.sock") as server:
                server.ping()
        except (redis.RedisError, OSError):
            return True
        return False


def until(condition: Callable[[], Any], timeout_s: float = 120.0) -> None:
    give_up = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > give_up:
            raise TimeoutError("it never came true")
        time.sleep(0.01)


def finished(service: Version) -> dict[str, str]:
    """Make what comes to its end: its use, and its id."""
    jobs = {
        "digits": DIGITS,
        "rosenbrock": ROSENBROCK,
        "oscillating": OSCILLATING,
        "diverged": DIVERGED,
        "auto": AUTO,
        "long": LONG,
    }
    made = {use: service.post("/v1/jobs", spec)["id"] for use, spec in jobs.items()}
    studies = {"grid": GRID, "halving": HALVING, "tpe": TPE, "long_study": LONG_STUDY}
    made |= {use: service.post("/v1/studies", spec)["id"] for use, spec in studies.items()}
    for use, identity in made.items():
        found = service.end(path_of(identity))
        assert found["status"] == "succeeded", (use, found["error"])
    budget = {"budget": {"max_steps": 90}}
    digits = path_of(made["digits"])
    made["continued"] = service.post(f"{digits}/continue", budget)["id"]
    made["remedied"] = service.post(f"{path_of(made['oscillating'])}/remedies/0/apply", {})["id"]
    for use in ("continued", "remedied"):
        assert service.end(path_of(made[use]))["status"] == "succeeded"
    service.post(f"{digits}/diagnosis", {"checkpoint": "final"})
    until(lambda: service.http.get(f"{digits}/diagnosis").json().get("measured"))
    return made


def begun(service: Version) -> dict[str, str]:
    """A job and a study that have come to a checkpoint, and a job that waits: both workers are at
    work. The service is stopped once in between, so that the study's task has a checkpoint."""
    study = service.post("/v1/studies", LONG_STUDY)["id"]
    until(lambda: service.get(path_of(study))["progress"]["step"] > 4_000)
    service.process.send_signal(signal.SIGTERM)
    service.process.wait()
    return {"middle_study": study}


def interrupted(service: Version, study: str) -> dict[str, str]:
    made = {"interrupted": service.post("/v1/jobs", LONG)["id"]}
    job = path_of(made["interrupted"])
    until(lambda: service.get(path_of(study))["status"] == "running")
    until(lambda: service.get(job)["progress"]["step"] >= 2_000)
    made["queued"] = service.post("/v1/jobs", {**DIGITS, "seed": 1})["id"]
    return made


def path_of(identity: str) -> str:
    noun = "studies" if identity.startswith("study_") else "jobs"
    return f"/v1/{noun}/{identity}"


def described(service: Version, identity: str) -> Json:
    """The record and all rows, as the API gives them."""
    path = path_of(identity)
    record = service.get(path)
    if not identity.startswith("study_"):
        rows = {
            kind: service.get(f"{path}/history", kind=kind, limit=10_000)["series"]
            for kind in ("train", "eval")
        }
        return {"id": identity, "record": record, "rows": rows}
    runs = service.get(f"{path}/runs", limit=1_000)["data"]
    rows = {
        str(run): service.get(f"{path}/runs/{run}/history", limit=10_000)["series"]
        for run in range(len(runs))
    }
    comparison = service.get(f"{path}/comparison")
    return {"id": identity, "record": record, "runs": runs, "rows": rows, "comparison": comparison}


def processor() -> str:
    """Name what the bits of matrix products depend on: the library chooses its kernels by it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            known = ("avx2", "avx512f", "fma", "amx_tile")
            return " ".join([platform.machine(), *(name for name in known if name in line.split())])
    return platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("thalweg", type=Path, help="the command of the version")
    parser.add_argument("archive", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="thalweg-") as folder:
        data = Path(folder) / "data"
        with contextlib.closing(Version(arguments.thalweg.absolute(), data)) as service:
            made = finished(service)
            contents = {use: described(service, identity) for use, identity in made.items()}
            made |= begun(service)
        with contextlib.closing(Version(arguments.thalweg.absolute(), data)) as service:
            service.write_anew()
            made |= interrupted(service, made["middle_study"])
        for use in made.keys() - contents.keys():
            contents[use] = {"id": made[use]}
        contents["processor"] = {"flags": processor()}
        (data / "contents.json").write_text(json.dumps(contents, separators=(",", ":")))
        with tarfile.open(arguments.archive, "w:xz") as archive:
            for name in (*KEPT, "contents.json"):
                archive.add(data / name, name)
    size = arguments.archive.stat().st_size
    print(f"{arguments.archive}: {size:,} bytes; {', '.join(made)}")


if __name__ == "__main__":
    main()
