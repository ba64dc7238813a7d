"""A container asks the exit status."""

import os
import tempfile
from pathlib import Path

import pytest

from worker.health import alive_file, any_alive, check


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_a_worker_that_has_just_reported_is_alive() -> None:
    alive_file().touch()
    assert any_alive(10)
    with pytest.raises(SystemExit) as ended:
        check()
    assert ended.value.code == 0


def test_a_report_of_long_ago_and_no_report_count_for_nothing() -> None:
    assert not any_alive(10)
    path = alive_file(pid=1)
    path.touch()
    os.utime(path, (1, 1))
    with pytest.raises(SystemExit, match="No worker has reported within 12 s"):
        check()


def test_nobody_else_can_open_the_folder() -> None:
    assert alive_file().parent.stat().st_mode & 0o777 == 0o700
