"""Clients and APIs that die while a file comes or is checked leave nothing behind."""

import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.thalweg_service.running import Service, Start, children, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

ROWS = b"1.5,2.5,3.5\n" * 400_000
HEAD = (
    "POST /v1/datasets HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n"
    "Content-Length: 50000000\r\n\r\n"
)


def api_of(service: Service) -> int:
    """The process of the API."""
    api: int = until(lambda: children(service.process.pid, " api"))[0]
    return api


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.exists() else []


def datasets(service: Service) -> list[dict[str, Any]]:
    """The data sets, once an API answers."""

    def listed() -> Any:
        try:
            reply = service.client.get("/v1/datasets")
        except httpx2.TransportError:
            return None
        return reply.json() if reply.status_code == 200 else None

    found: list[dict[str, Any]] = until(listed)["data"]
    return found


def test_what_dies_in_the_middle_leaves_nothing(tmp_path: Path, start: Start) -> None:
    service = Service(start(tmp_path, THALWEG_UPLOAD_WAIT_S="0", THALWEG_LEASE_S="1"))
    look_at_what_dies(service, tmp_path)
    service.stop()


def look_at_what_dies(service: Service, tmp_path: Path) -> None:
    folder = tmp_path / "artifacts" / ".uploads"
    address = urlsplit(str(service.client.base_url))

    # A client that hangs up.
    with socket.create_connection((address.hostname or "", address.port or 0)) as client:
        client.sendall(HEAD.encode() + b"a,b,c\n" + ROWS)
        until(lambda: files(folder))
    until(lambda: not files(folder))

    # An API that is killed while a file comes.
    with socket.create_connection((address.hostname or "", address.port or 0)) as client:
        client.sendall(HEAD.encode() + b"a,b,c\n" + ROWS)
        until(lambda: files(folder))
        os.kill(api_of(service), signal.SIGKILL)
    assert datasets(service) == []
    until(lambda: not files(folder))

    # An API that is killed while a file is checked.
    headers = {"Content-Type": "text/csv"}
    content = b"a,b,c\n" + ROWS
    reply = service.client.post("/v1/datasets", content=content, headers=headers)
    assert reply.status_code == 202, reply.text
    assert reply.json()["status"] == "checking"
    os.kill(api_of(service), signal.SIGKILL)
    assert len(datasets(service)) == 1
    (ended,) = until(lambda: [each for each in datasets(service) if each["status"] != "checking"])
    assert (ended["status"], ended["error"]["code"]) == ("refused", "check_interrupted")
    until(lambda: not files(folder))
    assert not list((tmp_path / "artifacts").glob("file_*"))
