"""When the supervisor of several workers ends: its workers are programs that end at once."""

import subprocess
import sys

import pytest

RUN = """
import sys
from thalweg_service.node import Node
node = Node(("cpu", "cpu"), "n", tell=print, command=(sys.executable, "-c", sys.argv[1]), apart_s=0)
sys.exit(node.run())
"""
ONCE = """
import os, pathlib, signal, sys
mark = pathlib.Path({folder!r}) / sys.argv[-1].rpartition("-")[0]
if not mark.exists():
    mark.touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def run(worker: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-c", RUN, worker]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("worker", "status"),
    [
        ("", 0),  # it has done what it was started for
        ("import sys; sys.exit(1)", 1),  # it cannot work here
        ("import sys; sys.exit(1 if '-2-' in sys.argv[-1] else 0)", 1),
    ],
)
def test_it_ends_with_its_workers_and_as_they_did(worker: str, status: int) -> None:
    done = run(worker)
    assert (done.returncode, done.stderr) == (status, "")


def test_workers_that_die_are_started_again_until_they_end_by_themselves(tmp_path: object) -> None:
    done = run(ONCE.format(folder=str(tmp_path)))
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [
        "worker cpu ended (SIGKILL); starting it again",
        "worker cpu-2 ended (SIGKILL); starting it again",
    ]
