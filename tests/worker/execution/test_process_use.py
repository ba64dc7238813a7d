"""What a process uses, against what it does; and samples by hand."""

import os
import resource
from pathlib import Path

import pytest

from worker.execution.process_use import ProcessUse, Sampler, process_use


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="Linux tells it")
def test_it_is_what_the_system_says() -> None:
    before = process_use(os.getpid())
    assert before is not None
    sum(number * number for number in range(3_000_000))
    after = process_use(os.getpid())
    assert after is not None
    used = resource.getrusage(resource.RUSAGE_SELF)
    assert after.cpu_s == pytest.approx(used.ru_utime + used.ru_stime, abs=0.1)
    assert after.cpu_s >= before.cpu_s
    assert 10 * 2**20 < after.memory_bytes <= used.ru_maxrss * 1024 + 2**20


def test_a_process_that_is_gone_uses_nothing_that_is_known() -> None:
    assert process_use(None) is None
    assert process_use(2**30) is None


def test_a_name_with_spaces_and_brackets_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    fields = ["S", *map(str, range(4, 60))]  # fields 3, 4, ... of the line
    (tmp_path / "7" / "stat").write_text(f"7 (a) b ( c) {' '.join(fields)}\n")
    (tmp_path / "7" / "statm").write_text("900 3 1 1 0 1 0\n")
    found = process_use(7, tmp_path)
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    assert found == ProcessUse((14 + 15) / ticks, 3 * page)


class Machine:
    """A clock and a process, moved by the test."""

    def __init__(self) -> None:
        self.now = 100.0
        self.use: ProcessUse | None = ProcessUse(3.0, 1000)

    def clock(self) -> float:
        return self.now

    def look(self) -> ProcessUse | None:
        return self.use


def test_a_sample_is_of_the_time_since_the_last() -> None:
    machine = Machine()
    sampler = Sampler(machine.look, machine.clock)
    assert sampler.sample() is None
    sampler.enter("training")
    machine.now, machine.use = 101.0, ProcessUse(3.5, 2000)
    sampler.came([[0, 0.0], [8, 0.75]])
    machine.now, machine.use = 105.0, ProcessUse(10.5, 4000)
    # By hand: 7.5 s of processor time in 5 s; 0.75 s of training by then, and 4 s since.
    assert sampler.sample() == [4.75, 150.0, 4000.0, None, None]
    sampler.device = 87.0, 2**30
    machine.now = 107.0
    assert sampler.sample() == [6.75, 0.0, 4000.0, 87.0, 2**30]
    machine.use = None
    machine.now = 108.0
    assert sampler.sample() == [7.75, None, None, 87.0, 2**30]
    sampler.enter("saving")
    assert sampler.sample() is None
