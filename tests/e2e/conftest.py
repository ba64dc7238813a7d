"""The whole service as a user has it: `thalweg serve` with two workers, spoken to over HTTP."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.client import Service


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder: Path = tmp_path_factory.mktemp("service")
    command = [
        *(sys.executable, "-m", "thalweg_service", "serve", "--port", "0"),
        *("--data-dir", str(folder / "data"), "--workers", "2"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = re.search(r"http://\S+:\d+", line)
        assert address is not None, f"thalweg serve printed {line!r}"
        running = Service(address[0])
        yield running
        running.http.close()
    finally:
        process.terminate()
        process.wait(timeout=20)
        assert process.stdout is not None
        process.stdout.close()
