"""`thalweg serve` on a disk that fills up: it reads on, loses nothing and recovers by itself."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.thalweg_service.running import Service, Start, children, until
from tests.thalweg_service.small_disk import Filling, mounted

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
    with mounted(tmp_path / "disk") as folder:
        yield folder


def test_a_full_disk_is_read_on_and_recovers_by_itself(
    folder: Path, tmp_path: Path, start: Start
) -> None:
    with (tmp_path / "errors").open("w") as errors:
        process = start(folder / "data", errors=errors, THALWEG_RESERVE_BYTES=str(RESERVE))
    service = Service(process)
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
    until(lambda: "the disk is full" in (tmp_path / "errors").read_text())

    filling.go()
    until(lambda: service.client.post("/v1/jobs", json=MINIMIZE).status_code == 202)
    assert service.client.post(f"/v1/jobs/{running}/cancel").status_code == 202
    assert service.end(running)["status"] == "cancelled"
    assert service.end(service.post(MINIMIZE)["id"])["status"] == "succeeded"
    # It has not ended at a write that failed.
    assert children(service.process.pid, named="-server") == [server]
    service.stop()
    err = (tmp_path / "errors").read_text()
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
    until(service.workers, timeout_s=180)  # it stands back for who has the processors
    assert service.end(service.post(MINIMIZE)["id"])["status"] == "succeeded"
    assert service.stop()[1].count("the disk is full") == 1
