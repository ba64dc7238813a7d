"""`thalweg serve` on a disk that fills up: it reads on, loses nothing and recovers by itself."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.thalweg_service.running import Service, children, start, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform != "linux", reason="mounts a file system"),
]

MINIMIZE = {
    "problem": {"kind": "function", "function": {"kind": "rosenbrock", "dim": 2}},
    "optimizer": {"kind": "adam", "lr": 0.002},
    "budget": {"max_steps": 20},
}
ENDLESS = {**MINIMIZE, "budget": {"max_steps": 100_000_000}, "record": {"every": 1000}}
RESERVE = 2**24


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m,mode=0700", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user may not mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Filling:
    """A file that leaves as much free on its disk as it is told."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / "filling").open("wb", buffering=0)

    def leave(self, wanted: int) -> None:
        found = os.statvfs(self._file.fileno())
        try:
            while (more := found.f_bavail * found.f_frsize - wanted) > 0:
                self._file.write(bytes(min(more, 2**20)))
                found = os.statvfs(self._file.fileno())
        except OSError:
            assert wanted == 0

    def go(self) -> None:
        self._file.truncate(0)
        self._file.close()


def test_a_full_disk_is_read_on_and_recovers_by_itself(folder: Path) -> None:
    service = Service(start(folder / "data", THALWEG_RESERVE_BYTES=str(RESERVE)))
    (server,) = children(service.process.pid, named="-server")
    known = service.post(MINIMIZE)["id"]
    service.end(known)
    running = service.post(ENDLESS)["id"]
    service.until_step(running, 1)
    filling = Filling(folder)

    filling.leave(RESERVE // 2)
    until(lambda: service.client.post("/v1/jobs", json=MINIMIZE).status_code == 503)
    refused = service.client.post("/v1/jobs", json=MINIMIZE)
    assert refused.json()["code"] == "storage_full"
    service.until_step(running, service.job(running)["progress"]["step"] + 1)  # goes on

    filling.leave(0)
    for _ in range(20):  # all that reads
        for path in ("", f"/{known}", f"/{known}/history", f"/{running}", "?status=running"):
            assert service.client.get(f"/v1/jobs{path}").status_code == 200
        assert service.client.post("/v1/jobs", json=MINIMIZE).status_code == 503
    assert service.client.get("/livez").status_code == 200

    filling.go()
    until(lambda: service.client.post("/v1/jobs", json=MINIMIZE).status_code == 202)
    assert service.client.post(f"/v1/jobs/{running}/cancel").status_code == 202
    assert service.end(running)["status"] == "cancelled"
    assert service.end(service.post(MINIMIZE)["id"])["status"] == "succeeded"
    # It has not ended at a write that failed.
    assert children(service.process.pid, named="-server") == [server]
    err = service.stop()[1]
    assert err.count("the disk is full") == 1
    assert err.count("the disk has space again") == 1

    # A service that is started on a full disk reads, too.
    filling = Filling(folder)
    filling.leave(0)
    service = Service(start(folder / "data", THALWEG_RESERVE_BYTES=str(RESERVE)))
    assert service.job(known)["status"] == "succeeded"
    refused = service.client.post("/v1/jobs", json=MINIMIZE)
    assert (refused.status_code, refused.json()["code"]) == (503, "storage_full")
    filling.go()
    until(lambda: service.client.post("/v1/jobs", json=MINIMIZE).status_code == 202)
    until(service.workers, timeout_s=60)
    assert service.end(service.post(MINIMIZE)["id"])["status"] == "succeeded"
    assert service.stop()[1].count("the disk is full") == 1
