"""Two workers that share no folder hand a job over through an object store."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.jobs import TEMPLATES, Client, Json, Trace
from tests.faults.stack import Part, Stack, wait_for
from tests.object_server import BUCKET, ObjectServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform != "linux", reason="finds processes through /proc"),
]
SPEC = {**TEMPLATES["dropout"], "budget": {"max_steps": 9_000}}
"""A second of a processor's time: the worker is killed between its first checkpoint and its end."""


def node(folder: Path) -> dict[str, str]:
    """A machine of its own as far as files go."""
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    return {"TMPDIR": str(folder / "tmp"), "HOME": str(folder)}


class TwoNodes(Stack):
    """A stack whose API and workers each have folders of their own, and one bucket together."""

    def __init__(self, folder: Path, mark: str, objects: ObjectServer, **options: float) -> None:
        shared = objects.environment | {"THALWEG_ARTIFACTS": f"s3://{BUCKET}/{mark}"}
        super().__init__(
            folder,
            mark,
            worker_environment=lambda i: shared | node(folder / f"node-{i}"),
            **options,  # type: ignore[arg-type]
        )
        more = shared | node(folder / "node-api")
        self.api = self._part("api", [sys.executable, "-m", "api"], more)


def worker_of(stack: Stack, job: Json) -> Part:
    """The one that runs the job; its name ends in its process id."""
    name: str = job["attempts"][-1]["worker"]
    return next(part for part in stack.workers if name.endswith(f"-{part.pid}"))


def run(
    stack: Stack, hurt: Callable[[Client, str], Callable[[], None]]
) -> tuple[Trace, list[str | None]]:
    """A job's trace and the ends of its attempts. `hurt` does what it wants to do while the job
    runs, and returns what is to be looked at before the job is deleted."""
    client = Client(stack.address)
    job_id = client.post(SPEC, "one")
    look = hurt(client, job_id)
    job = client.get(job_id)
    while job["status"] not in {"succeeded", "failed", "cancelled"}:
        job = client.get(job_id, wait_s=5)
    assert job["status"] == "succeeded", job
    look()
    trace = client.trace(job)
    ends = [attempt["end"] for attempt in job["attempts"]]
    workers = [attempt["worker"] for attempt in job["attempts"]]
    assert len(set(workers)) == len(workers)
    assert client.call("DELETE", f"/v1/jobs/{job_id}").status_code == 204
    client.close()
    return trace, ends


def test_a_killed_nodes_job_is_resumed_on_another_to_the_same_bits(
    tmp_path: Path, object_server: ObjectServer
) -> None:
    with Stack(tmp_path / "reference", f"one-{tmp_path.name}", workers=1, lease_s=6.0) as stack:
        undisturbed, _ = run(stack, lambda client, job_id: lambda: None)

    mark = f"two-{tmp_path.name}".replace("_", "-")
    ids: list[str] = []
    with TwoNodes(tmp_path / "nodes", mark, object_server, lease_s=1.0) as stack:

        def kill(client: Client, job_id: str) -> Callable[[], None]:
            ids.append(job_id)

            def has_resume_point() -> bool:
                reply = client.call("GET", f"/v1/jobs/{job_id}/checkpoints")
                return any(each["name"] == "resume" for each in reply.json()["data"])

            wait_for("a checkpoint", has_resume_point)
            worker_of(stack, client.get(job_id)).end(signal.SIGKILL)
            # Only an attempt that begins at step 0 writes the initial weights.
            initial = object_server.bucket_folder / mark / job_id / "initial.safetensors"
            written = initial.stat()

            def look() -> None:
                assert initial.stat() == written

            return look

        trace, ends = run(stack, kill)
        (job_id,) = ids
        local = [path for path in (tmp_path / "nodes").rglob("*") if job_id in str(path)]

    assert ends == ["lost", "finished"]
    assert trace == undisturbed
    assert local == []
    left = [path for path in (object_server.bucket_folder / mark).rglob("*") if path.is_file()]
    assert [path for path in left if not path.name.startswith(".rclone")] == []
