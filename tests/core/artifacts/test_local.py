"""A folder: leftovers, and every way in which a disk fails."""

import errno
import os
import stat
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from core.artifacts.base import ArtifactStore
from core.artifacts.local import LocalJob, LocalStore
from core.errors import ArtifactError
from core.ids import JOB_PREFIX, new_id

JOB = new_id(JOB_PREFIX)


@pytest.fixture
def artifacts(tmp_path: Path) -> LocalJob:
    return LocalJob(tmp_path, JOB)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user may not mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_failed_write_leaves_nothing_behind(artifacts: LocalJob, tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"first half"
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        artifacts.write("final.safetensors", pieces())
    assert list((tmp_path / JOB).iterdir()) == []


def test_what_is_dropped_leaves_no_file_and_no_descriptor(
    artifacts: LocalJob, tmp_path: Path
) -> None:
    artifacts.write("initial.safetensors", [b"1"])
    staged = artifacts.stage("final.safetensors", [b"1"])
    assert open_below(tmp_path) or not Path("/proc/self/fd").exists()
    staged.drop()
    artifacts.stage("best.safetensors", [b"1"]).finish()
    found = {path.name for path in (tmp_path / JOB).iterdir()}
    assert found == {"best.safetensors", "initial.safetensors"}
    assert not open_below(tmp_path)


def open_below(folder: Path) -> list[str]:
    """What this process has open of a folder, where the system tells it: other descriptors come and
    go meanwhile."""
    found = []
    for each in Path("/proc/self/fd").glob("*"):
        with suppress(FileNotFoundError):
            found.append(str(each.readlink()))
    return [path for path in found if path.startswith(str(folder))]


def test_leftovers_of_a_killed_writer_are_not_listed_and_go_with_the_job(
    artifacts: LocalJob, tmp_path: Path
) -> None:
    artifacts.write("checkpoints/step_5.safetensors", [b"12345"])
    (tmp_path / JOB / ".final.safetensors.1.2.tmp").write_bytes(b"half")
    assert artifacts.list() == {"checkpoints/step_5.safetensors": 5}
    artifacts.delete_all()
    assert not (tmp_path / JOB).exists()


def test_an_open_file_stays_as_it_was_when_it_is_replaced(artifacts: LocalJob) -> None:
    artifacts.write("best.safetensors", [b"old"])
    opened = artifacts.open("best.safetensors")
    artifacts.write("best.safetensors", [b"newer"])
    assert b"".join(opened.chunks()) == b"old"


@pytest.mark.parametrize("name", ["final.safetensors", "checkpoints/step_5.safetensors"])
def test_a_writer_does_not_bring_back_a_deleted_job(
    name: str, artifacts: LocalJob, tmp_path: Path
) -> None:
    artifacts.write("initial.safetensors", [b"1"])
    staged = artifacts.stage("best.safetensors", [b"1"])
    LocalJob(tmp_path, JOB).delete_all()
    with pytest.raises(ArtifactError):
        artifacts.write(name, [b"1"])
    with pytest.raises(ArtifactError):
        staged.finish()
    assert not (tmp_path / JOB).exists()


def test_listing_goes_on_while_others_delete(artifacts: LocalJob) -> None:
    def come_and_go() -> None:
        for _ in range(200):
            artifacts.write("weights/0_1.safetensors", [b"here"])
            artifacts.delete("weights/0_1.safetensors")

    other = threading.Thread(target=come_and_go)
    other.start()
    while other.is_alive():
        assert set(artifacts.list().values()) <= {4}
    other.join()


def test_a_full_disk_is_an_artifact_error_and_spares_what_is_there(small_disk: Path) -> None:
    artifacts = LocalJob(small_disk, JOB)
    artifacts.write("initial.safetensors", [bytes(50_000)])
    reason = "No space left on device; free some space"
    for name in ("initial.safetensors", "final.safetensors"):
        with pytest.raises(ArtifactError, match=reason) as error:
            artifacts.write(name, [bytes(300_000)])
        assert str(small_disk) not in str(error.value)
        assert name in str(error.value)
    assert artifacts.list() == {"initial.safetensors": 50_000}
    assert artifacts.read("initial.safetensors") == bytes(50_000)
    artifacts.write("final.safetensors", [bytes(100_000)])  # the failed one has freed its room


def test_a_full_disk_does_not_pass_the_check(small_disk: Path) -> None:
    with pytest.raises(ArtifactError, match="full"):
        LocalStore(small_disk).check()  # less than a megabyte is left


def test_a_read_only_file_system_is_an_artifact_error(small_disk: Path) -> None:
    artifacts = LocalJob(small_disk, JOB)
    artifacts.write("final.safetensors", [b"1"])
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for call in (
        lambda: artifacts.write("best.safetensors", [b"1"]),
        lambda: artifacts.delete("final.safetensors"),
        artifacts.delete_all,
        lambda: LocalJob(small_disk, new_id(JOB_PREFIX)).write("final.safetensors", [b"1"]),
    ):
        with pytest.raises(ArtifactError, match="Read-only file system"):
            call()
    with pytest.raises(ArtifactError, match="cannot be written"):
        LocalStore(small_disk).check()
    assert artifacts.read("final.safetensors") == b"1"


def test_an_error_on_the_way_is_told_without_the_path(artifacts: LocalJob, tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"x"
        raise OSError(errno.EIO, "Input/output error", str(tmp_path))

    with pytest.raises(ArtifactError, match="Input/output error") as error:
        artifacts.write("final.safetensors", pieces())
    assert str(tmp_path) not in str(error.value)
    assert artifacts.list() == {}


def test_a_folder_that_cannot_be_made_is_an_artifact_error(tmp_path: Path) -> None:
    root = tmp_path / "file"
    root.write_text("no folder")
    with pytest.raises(ArtifactError, match="Not a directory"):
        LocalJob(root, JOB).write("final.safetensors", [b"1"])
    with pytest.raises(ArtifactError, match="cannot be made"):
        LocalStore(root / "below").check()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_an_artifact_error(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(ArtifactError, match="Permission denied"):
            LocalJob(tmp_path, JOB).write("final.safetensors", [b"1"])
    finally:
        tmp_path.chmod(stat.S_IRWXU)


def test_what_a_killed_trial_has_left_is_taken_away_by_the_next(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    for write in (LocalStore.try_write, ArtifactStore.try_write):
        write(store)
        before = sorted(tmp_path.rglob("*"))
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Path, "unlink", killed)
            with pytest.raises(KeyboardInterrupt):
                write(store)
        assert sorted(tmp_path.rglob("*")) != before
        write(store)
        assert sorted(tmp_path.rglob("*")) == before


def killed(path: Path, missing_ok: bool = False) -> None:
    if path.exists():
        raise KeyboardInterrupt


def test_any_number_of_processes_try_at_once(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        for each in [pool.submit(store.try_write) for _ in range(400)]:
            each.result()
    assert list(tmp_path.iterdir()) == []
