"""The calls that the end-to-end tests make."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from safetensors.numpy import load

from tests.thalweg_service.running import until

Json = dict[str, Any]


class Service:
    """A running service and the calls that most tests make."""

    def __init__(self, address: str) -> None:
        self.http = httpx2.Client(base_url=address, timeout=90)

    def post(self, spec: Json) -> Json:
        reply = self.http.post("/v1/jobs", json=spec)
        assert reply.status_code == 202, reply.text
        job: Json = reply.json()
        return job

    def upload(self, content: bytes, media_type: str = "text/csv", **query: Any) -> Json:
        headers = {"Content-Type": media_type}
        reply = self.http.post("/v1/datasets", content=content, headers=headers, params=query)
        assert reply.status_code in {201, 202}, reply.text
        data: Json = reply.json()
        while data["status"] == "checking":
            data = self.http.get(f"/v1/datasets/{data['id']}?wait=30").json()
        assert data["status"] == "ready", data["error"]
        return data

    def wait(self, job_id: str) -> Json:
        """The job once it is terminal."""
        while True:
            reply = self.http.get(f"/v1/jobs/{job_id}", params={"wait": 30})
            assert reply.status_code == 200, reply.text
            job: Json = reply.json()
            if job["finished_at"] is not None:
                return job

    def run(self, spec: Json) -> Json:
        """POST, wait, and insist that it succeeded."""
        job = self.wait(self.post(spec)["id"])
        assert job["status"] == "succeeded", job["error"]
        return job

    def history(self, job_id: str, **query: Any) -> Json:
        reply = self.http.get(f"/v1/jobs/{job_id}/history", params=query)
        assert reply.status_code == 200, reply.text
        body: Json = reply.json()
        return body

    def series(self, job_id: str, name: str, **query: Any) -> list[Any]:
        values: list[Any] = self.history(job_id, limit=10_000, **query)["series"][name]
        return values

    def weights(self, job_id: str, checkpoint: str) -> dict[str, Any]:
        reply = self.http.get(f"/v1/jobs/{job_id}/model", params={"checkpoint": checkpoint})
        assert reply.status_code == 200, reply.text
        return load(reply.content)


@contextmanager
def serving(folder: Path, workers: int = 1) -> Iterator[Service]:
    """Start `thalweg serve` on this data directory, and stop it afterwards. It is ready with the
    first of its workers; here all of them are there."""
    command = [
        *(sys.executable, "-m", "thalweg_service", "serve", "--port", "0"),
        *("--data-dir", str(folder), "--workers", str(workers)),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        address = re.search(r"http://\S+:\d+", line)
        assert address is not None, f"thalweg serve printed {line!r}"
        running = Service(address[0])
        until(lambda: len(running.http.get("/v1/workers").json()["data"]) == workers, 180.0)
        yield running
        running.http.close()
    finally:
        process.terminate()
        process.wait(timeout=60)
        process.stdout.close()
