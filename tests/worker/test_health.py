"""A container asks the exit status."""

import os
import tempfile
import time
from pathlib import Path
from typing import get_args

import pytest

from worker.health import HealthFiles, Kind, check, trouble_of

KINDS: tuple[Kind, ...] = get_args(Kind)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"thalweg-worker-{os.getuid()}"


def test_a_worker_that_has_just_reported_is_live_and_ready() -> None:
    files = HealthFiles()
    files.live()
    files.ready(None)
    for kind in KINDS:
        with pytest.raises(SystemExit) as ended:
            check(kind)
        assert ended.value.code == 0
    files.remove()
    for kind in KINDS:
        assert trouble_of(kind, 10) is not None


def test_a_worker_without_its_store_is_live_and_not_ready() -> None:
    HealthFiles().live()
    assert trouble_of("live", 10) is None
    assert trouble_of("ready", 10) == "No worker has reported within 10 s."


def test_a_worker_in_trouble_is_live_and_not_ready_unless_another_is() -> None:
    first, second = HealthFiles(1), HealthFiles(2)
    first.live()
    first.ready("Artifacts cannot be written (is full).")
    assert trouble_of("live", 10) is None
    with pytest.raises(SystemExit, match=r"^thalweg health: Artifacts cannot be written \(is full"):
        check("ready")
    second.ready(None)
    assert trouble_of("ready", 10) is None


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_of_long_ago_counts_for_nothing(kind: Kind, folder: Path) -> None:
    assert trouble_of(kind, 10) is not None
    files = HealthFiles(1)
    files.live()
    files.ready(None)
    for path in folder.iterdir():
        os.utime(path, (1, 1))
    with pytest.raises(SystemExit, match="within 12 s"):
        check(kind)


def test_what_killed_workers_have_left_goes_once_it_is_a_day_old(folder: Path) -> None:
    now = time.time()
    for pid, age_s in ((1, 2 * 86_400), (2, 3600), (3, 0)):
        files = HealthFiles(pid)
        files.live()
        files.ready(None)
        for path in folder.glob(f"{pid}.*"):
            os.utime(path, (now - age_s, now - age_s))
    HealthFiles.remove_left()
    left = sorted(path.name for path in folder.iterdir())
    assert left == ["2.live", "2.ready", "3.live", "3.ready"]


def test_nobody_else_can_open_the_folder(folder: Path) -> None:
    HealthFiles().live()
    assert folder.stat().st_mode & 0o777 == 0o700
