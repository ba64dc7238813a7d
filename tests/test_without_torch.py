"""What says that it needs no torch is imported and started where torch cannot be had."""

import ast
import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from core.ids import JOB_PREFIX, new_id, rfc3339, utc_now
from core.jobs import JobRecord
from core.settings import Settings
from core.specs.parsing.job import Limits, parse_job
from core.store.history.layout import HistoryLayout
from core.store.protocols.types import NewJob
from core.store.redis import AsyncRedisStore
from tests.worker.scenarios import Finish, labels

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("api", "core", "thalweg_service", "worker")
Found = TypeVar("Found")
SAYS_SO = re.compile(r"\b(no|without) torch\b|\btorch-free\b", re.IGNORECASE)

NO_TORCH = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        # Celery takes greenlet where it is there; it comes with the tests' browser alone.
        if name.partition(".")[0] in {"torch", "torchvision", "greenlet"}:
            raise ImportError("there is no torch here, and it was asked for: " + name)

sys.meta_path.insert(0, NoTorch())
"""
IMPORT_EACH = """
import importlib

for module in sys.argv[1:]:
    try:
        importlib.import_module(module)
    except ImportError as error:
        sys.exit(f"{module}: {error}")
"""


def modules_that_say_so() -> list[str]:
    """Every module of the product with a docstring, its own or one in it, that says so."""
    found: list[str] = []
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for path in (path for part in PARTS for path in (ROOT / part).rglob("*.py")):
        nodes = [
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, documented)
        ]
        if any(SAYS_SO.search(" ".join((ast.get_docstring(node) or "").split())) for node in nodes):
            found.append(".".join(path.relative_to(ROOT).with_suffix("").parts))
    return sorted(found)


def test_what_says_that_it_has_no_torch_is_imported_without() -> None:
    modules = modules_that_say_so()
    assert "core.specs.sizes.cost" in modules
    done = subprocess.run(
        [sys.executable, "-c", NO_TORCH + IMPORT_EACH, *modules],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def submit(settings: Settings) -> str:
    """A job that the fake trainer ends after five rows."""
    body = {
        "problem": {"kind": "function", "function": {"kind": "sphere", "dim": 1}},
        "optimizer": {"kind": "sgd"},
        "labels": labels(Finish(5)),
    }
    spec = parse_job(json.dumps(body).encode(), Limits.of(settings))
    job = NewJob(
        id=new_id(JOB_PREFIX),
        spec=spec.model_dump(mode="json"),
        labels=spec.labels,
        created_at=rfc3339(utc_now()),
        priority=spec.priority,
        max_attempts=spec.max_attempts,
        device=spec.device,
        layouts={"train": HistoryLayout(1, {"loss": 1, "lr": 1, "grad_norm": 1}, 100)},
    )

    async def create() -> None:
        store = AsyncRedisStore(settings.redis_url, settings.namespace)
        try:
            await store.create(job, None)
        finally:
            await store.aclose()

    asyncio.run(create())
    return job.id


def found(
    settings: Settings,
    worker: subprocess.Popen[str],
    look: Callable[[AsyncRedisStore], Awaitable[Found | None]],
) -> Found:
    """What is looked for in the store, once it is there, in two minutes."""

    async def wait() -> Found:
        store = AsyncRedisStore(settings.redis_url, settings.namespace)
        give_up = time.monotonic() + 120
        try:
            while (there := await look(store)) is None:
                assert worker.poll() is None, "the worker ended"
                assert time.monotonic() < give_up, "it did not come"
                await asyncio.sleep(0.02)
            return there
        finally:
            await store.aclose()

    return asyncio.run(wait())


def resident_mib(process: subprocess.Popen[str]) -> float:
    """The memory of a process that is resident; 0 where the system does not tell it like Linux."""
    statm = Path(f"/proc/{process.pid}/statm")
    pages = int(statm.read_text().split()[1]) if statm.exists() else 0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_a_worker_starts_and_has_a_job_done_where_torch_cannot_be_had(
    redis_url: str, namespace: str, tmp_path: Path
) -> None:
    settings = Settings(redis_url=redis_url, namespace=namespace, artifacts=str(tmp_path))
    # Python imports this module, if it is on its path, before all else: in the trainer too.
    (tmp_path / "sitecustomize.py").write_text(NO_TORCH)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    with (tmp_path / "log").open("w") as log:
        worker = subprocess.Popen(
            [sys.executable, "-P", str(ROOT / "tests/worker/fake_worker.py"), "--name", "alone"],
            stdout=log,
            stderr=log,
            text=True,
            env=os.environ
            | {
                "PYTHONPATH": path,
                "THALWEG_REDIS_URL": settings.redis_url,
                "THALWEG_NAMESPACE": settings.namespace,
                "THALWEG_ARTIFACTS": settings.artifacts_location,
                "THALWEG_RECONCILE_EVERY_S": "0.1",
            },
        )

    async def ready(store: AsyncRedisStore) -> bool | None:
        return bool(await store.workers()) or None

    async def ended(store: AsyncRedisStore) -> JobRecord | None:
        job = await store.get(job_id)
        return job if job.finished_at is not None else None

    try:
        assert found(settings, worker, ready)
        # 78 to 79, as its pages lie; 85 once the validators of specs are built.
        assert resident_mib(worker) <= 82
        job_id = submit(settings)
        job = found(settings, worker, ended)
    finally:
        worker.terminate()
        worker.wait(timeout=60)
    said = (tmp_path / "log").read_text()
    assert job.status == "succeeded", said
    assert [attempt.worker for attempt in job.attempts] == ["alone"]
    assert worker.returncode == 0, said


@pytest.mark.parametrize("module", ["torch", "torchvision.ops", "core.train.loop"])
def test_there_is_no_torch_to_be_had_there(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NO_TORCH + IMPORT_EACH, module],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "there is no torch here" in done.stderr
