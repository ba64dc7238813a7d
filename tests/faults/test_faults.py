"""A short trial of each CI run; `make faults` is the long one."""

import sys
from pathlib import Path

import pytest

from tests.faults.trial import run_trial, undisturbed


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes through /proc")
def test_no_job_is_lost_doubled_or_changed_by_twenty_faults(tmp_path: Path) -> None:
    findings = run_trial(tmp_path, undisturbed(tmp_path), seed=2026, num_faults=20)
    assert findings.complaints == []
    assert findings.faults.total() == 20
