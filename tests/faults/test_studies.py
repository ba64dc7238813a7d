"""A short trial of studies for each CI run."""

import sys
from pathlib import Path

import pytest

from tests.faults.studies import run_trial, undisturbed


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes through /proc")
def test_no_study_is_lost_doubled_or_changed_by_twenty_faults(tmp_path: Path) -> None:
    assert run_trial(tmp_path, undisturbed(tmp_path), seed=2026, num_faults=20) == []
