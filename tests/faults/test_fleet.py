"""A short trial of each CI run; `make trials TRIALS_ARGS=fleet` is the long one."""

import sys
from pathlib import Path

import pytest

from tests.faults.fleet import run_trial


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes through /proc")
def test_workers_that_are_taken_away_cost_no_attempt_and_no_row(tmp_path: Path) -> None:
    found = run_trial(
        tmp_path,
        seed=7,
        seconds=4.0,
        gap_s=(0.5, 1.5),
        workers=2,
        templates=["function"],
        studies=["alone"],
    )
    assert found.complaints == []
    # Whether of jobs or of tasks depends on what the workers were at when they were taken away.
    assert found.ends["handed_over"] + found.task_hand_overs >= 1
    assert found.studies["alone"] >= 1
    assert len(found.hand_overs_s) >= 1
