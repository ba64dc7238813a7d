"""A full disk fails the job whose file does not fit; on one that cannot be written the job waits;
nothing else is harmed."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.jobs import Client, Json
from tests.faults.stack import Stack, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform != "linux", reason="finds processes through /proc"),
]


def job(width: int) -> Json:
    """Its weights take about 320·width bytes."""
    return {
        "problem": {
            "kind": "supervised",
            "data": {"kind": "builtin", "name": "digits"},
            "model": {"kind": "mlp", "hidden": [width]},
        },
        "optimizer": {"kind": "sgd"},
        "budget": {"max_steps": 20},
        "checkpoint": {"every_steps": 5},
    }


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """One worker, whose artifact folder is a file system of 3 MiB."""
    folder = tmp_path / "stack" / "artifacts"
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m,mode=0700", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user may not mount a file system")
    try:
        with Stack(tmp_path / "stack", f"disk-{tmp_path.name}", workers=1) as stack:
            yield stack
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def ended(client: Client, spec: Json, key: str) -> Json:
    job_id = client.post(spec, key)
    found = client.get(job_id)
    while found["status"] not in {"succeeded", "failed"}:
        found = client.get(job_id, wait_s=5)
    return found


def complete_files(stack: Stack) -> set[str]:
    return {path.name for path in (stack.folder / "artifacts").rglob("*") if path.is_file()}


def test_a_job_fails_on_a_full_disk_and_waits_for_one_that_can_be_written(stack: Stack) -> None:
    client = Client(stack.address)
    small = ended(client, job(8), "small")
    assert small["status"] == "succeeded"
    weights = client.call("GET", f"/v1/jobs/{small['id']}/model").content
    before = complete_files(stack)
    worker, trainer = stack.workers[0].pid, stack.workers[0].child()

    large = ended(client, job(16_000), "large")  # 5 MB do not fit
    assert large["status"] == "failed"
    assert large["error"]["code"] == "artifact_store_unavailable"
    assert "No space left on device" in large["error"]["message"]
    assert str(stack.folder) not in large["error"]["message"]
    assert [attempt["end"] for attempt in large["attempts"]] == ["failed"]
    assert complete_files(stack) == before  # nothing half-written stays, hidden names included

    assert ended(client, job(8), "small again")["status"] == "succeeded"
    assert client.call("GET", f"/v1/jobs/{small['id']}/model").content == weights

    folder = str(stack.folder / "artifacts")
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    waiting = client.post(job(8), "read-only")  # another worker may be able to write
    wait_for("the job to come back", lambda: client.get(waiting)["attempts"][-1:] != [])
    wait_for("the job to wait", lambda: client.get(waiting)["status"] == "queued")
    assert [each["end"] for each in client.get(waiting)["attempts"]] == ["handed_over"]
    assert client.call("GET", f"/v1/jobs/{small['id']}/model").content == weights
    # Its delete is accepted, and the files go as soon as they can.
    assert client.call("DELETE", f"/v1/jobs/{small['id']}").status_code == 204
    assert client.call("GET", f"/v1/jobs/{small['id']}").status_code == 404
    assert (stack.folder / "artifacts" / small["id"]).exists()

    subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
    assert ended(client, job(8), "read-only")["status"] == "succeeded"
    assert ended(client, job(8), "writable")["status"] == "succeeded"
    wait_for("the janitor", lambda: not (stack.folder / "artifacts" / small["id"]).exists())
    assert (stack.workers[0].pid, stack.workers[0].child()) == (worker, trainer)
    client.close()
