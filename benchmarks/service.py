"""A running service for the benchmarks, and the few calls that they make (stdlib only)."""

import http.client
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, Final

Json = dict[str, Any]

IDLE_S: Final = 2.0
"""A connection idle for longer is replaced: the service closes it after 5 s."""


class Client:
    """One kept-alive connection to the service."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._connection = http.client.HTTPConnection(host, port, timeout=600)
        self._used = monotonic()

    def call(self, method: str, path: str, body: Json | None = None) -> bytes:
        payload = None if body is None else json.dumps(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        if monotonic() - self._used > IDLE_S:
            self._connection.close()
        self._connection.request(method, path, payload, headers)
        reply = self._connection.getresponse()
        content = reply.read()
        self._used = monotonic()
        if reply.status >= 400:
            raise RuntimeError(f"{method} {path}: {reply.status} {content[:2000]!r}")
        return content

    def json(self, method: str, path: str, body: Json | None = None) -> Json:
        answer: Json = json.loads(self.call(method, path, body))
        return answer

    def run_job(self, spec: Json) -> Json:
        """POST a job and wait for its end."""
        job = self.json("POST", "/v1/jobs", spec)
        return self.wait(job["id"])

    def wait(self, job_id: str) -> Json:
        while True:
            job = self.json("GET", f"/v1/jobs/{job_id}?wait=60")
            if job["finished_at"] is not None:
                if job["status"] != "succeeded":
                    raise RuntimeError(f"{job_id} ended as {job['status']}: {job['error']}")
                return job


@contextmanager
def running_service(workers: int = 1) -> Iterator[Client]:
    """`thalweg serve` on a free port with a data folder of its own; stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="thalweg-bench-") as folder:
        command = [
            *(sys.executable, "-m", "thalweg_service", "serve", "--port", "0"),
            *("--data-dir", str(Path(folder) / "data"), "--workers", str(workers)),
        ]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            address = re.search(r"http://([^:/\s]+):(\d+)", line)
            if address is None:
                raise RuntimeError(f"thalweg serve did not start: {line!r}")
            yield Client(address[1], int(address[2]))
        finally:
            process.terminate()
            process.wait(timeout=30)


def digits_job(**changes: Any) -> Json:
    """The digits MLP 64-64-10, batch 64, Adam: the job that the figures speak of."""
    spec: Json = {
        "problem": {
            "kind": "supervised",
            "data": {"kind": "builtin", "name": "digits"},
            "model": {"kind": "mlp", "hidden": [64]},
        },
        "optimizer": {"kind": "adam", "lr": 0.001},
        "batch_size": 64,
    }
    return spec | changes
