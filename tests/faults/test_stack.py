"""Whatever fails to start or to end, a trial leaves no process behind."""

import sys
from pathlib import Path
from signal import SIGTERM, Signals

import pytest

from tests.faults.stack import MARK, Part, Stack, marked_processes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes through /proc")
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


class Unwilling(Part):
    def end(self, how: Signals = SIGTERM, timeout_s: float = 20.0) -> None:
        super().end(how, timeout_s)
        raise OSError(f"{self.name} does not end")


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    """Parts that only sleep."""
    made = Stack(tmp_path, f"stack-{tmp_path.name}", workers=2)
    made.api, *made.workers = (sleeper(Part, each.name, made) for each in made.parts)
    return made


def sleeper(kind: type[Part], name: str, stack: Stack, command: list[str] = SLEEP) -> Part:
    return kind(name, command, {MARK: stack.mark}, stack.folder / f"{name}.log")


def put(stack: Stack, place: int, part: Part) -> None:
    """Let the part take the place of the API (0) or of a worker."""
    if place == 0:
        stack.api = part
    else:
        stack.workers[place - 1] = part


@pytest.mark.parametrize("place", range(3))
def test_all_others_end_where_one_does_not(stack: Stack, place: int) -> None:
    put(stack, place, sleeper(Unwilling, "unwilling", stack))
    with pytest.raises(OSError, match="unwilling does not end"), stack:
        assert len(list(marked_processes(stack.mark))) == 3
    assert list(marked_processes(stack.mark)) == []
    assert not stack.server.running


@pytest.mark.parametrize("place", range(3))
def test_what_was_started_ends_where_a_part_does_not_start(stack: Stack, place: int) -> None:
    put(stack, place, sleeper(Part, "missing", stack, ["/nowhere/missing"]))
    with pytest.raises(FileNotFoundError), stack:
        pass
    assert list(marked_processes(stack.mark)) == []
    assert not stack.server.running
