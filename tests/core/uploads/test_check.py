"""A check is a process of its own: with limits, ended with its parent, and leaving nothing."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.errors import ArtifactError
from core.uploads.check import STORED_NAME, Limits, check_file, start_check
from core.uploads.contents import Contents, RefusedFile
from core.uploads.schema import Schema
from core.uploads.stored import StoredFile, read_columns
from tests.core.uploads import large_csv
from tests.core.uploads.samples import (
    CSV,
    PARQUET,
    REFUSED,
    ROWS,
    TEXT,
    ZIP,
    image,
    parquet,
    zipped,
)

ROOT = Path(__file__).resolve().parents[3]
MIB = 2**20


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "data_1" / "stored"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    path.write_bytes(b"a,b\n" + ROWS)
    return path


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """A file whose check does not end while nobody writes to it."""
    path = tmp_path / "endless"
    os.mkfifo(path)
    return path


def refusal(path: Path, media_type: str, target: Path, limits: Limits | None = None) -> RefusedFile:
    with pytest.raises(RefusedFile) as caught:
        check_file(path, media_type, target, limits=limits)
    assert list(target.iterdir()) == []
    return caught.value


def test_a_checked_file_is_stored_and_read_again(table: Path, target: Path) -> None:
    contents = check_file(table, CSV, target, Schema(dtypes={"a": "number"}))
    assert [column.dtype for column in contents.columns] == ["number", "number"]
    stored = target / STORED_NAME
    assert list(target.iterdir()) == [stored]
    assert contents.num_bytes == stored.stat().st_size
    table.unlink()
    found = read_columns(stored, ["b"])["b"]
    assert np.array_equal(found, np.arange(50_000) + 0.5)
    # The file's own header is written before its numbers are looked at.
    unknown = [replace(each, largest=None, largest_row=None) for each in contents.columns]
    assert StoredFile.open(stored).contents == replace(contents, columns=tuple(unknown))
    assert [each.largest for each in contents.columns] == [49_999.0, 49_999.5]
    assert [each.largest_row for each in contents.columns] == [49_999, 49_999]


@pytest.mark.parametrize(
    "name",
    ["empty", "unequal_rows", "zip: bomb", "NPZ: objects", "Parquet: cut", "weights: overlap"],
)
def test_a_refusal_comes_out_of_the_process_and_nothing_is_left(
    tmp_path: Path, target: Path, name: str
) -> None:
    sample = REFUSED.get(name, REFUSED["short row late"])
    path = tmp_path / "file"
    path.write_bytes(sample.data)
    found = refusal(path, sample.media_type, target)
    expected = (sample.code, sample.row, sample.column, sample.entry)
    assert (found.refusal_code, found.row, found.column, found.entry) == expected


def test_an_unknown_media_type_is_refused(table: Path, target: Path) -> None:
    found = refusal(table, "application/x-python", target)
    assert found.refusal_code == "unsupported_media_type"
    assert "text/csv" in found.message


def test_an_earlier_stored_form_outlives_a_refusal(
    table: Path, tmp_path: Path, target: Path
) -> None:
    check_file(table, CSV, target)
    other = tmp_path / "other"
    other.write_bytes(b"a\n")
    with pytest.raises(RefusedFile):
        check_file(other, CSV, target)
    assert StoredFile.open(target / STORED_NAME).contents.num_rows == 50_000


def test_memory_is_limited(tmp_path: Path, target: Path) -> None:
    """A row group of one page holds all of a column, and cannot be read in parts."""
    path = tmp_path / "file"
    values = np.random.default_rng(0).standard_normal(20_000_000)
    path.write_bytes(
        parquet(
            {"x": values}, row_group_size=len(values), data_page_size=2**31 - 1, compression="none"
        )
    )
    found = refusal(path, PARQUET, target, Limits(memory_bytes=120 * MIB))
    assert found.refusal_code == "memory_limit"
    assert "120 MiB" in found.message
    assert "row groups" in found.message


def test_memory_of_images_is_limited(tmp_path: Path, target: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(zipped([("a/1.png", image((4000, 4000), "RGBA"))]))
    found = refusal(path, ZIP, target, Limits(memory_bytes=120 * MIB))
    assert found.refusal_code == "memory_limit"


def test_time_is_limited(endless: Path, target: Path) -> None:
    def write() -> None:
        with suppress(BrokenPipeError), endless.open("wb", buffering=0) as file:
            while True:
                file.write(b"text\n" * 50_000)

    writer = threading.Thread(target=write)
    writer.start()
    found = refusal(endless, TEXT, target, Limits(cpu_s=1))
    writer.join()
    assert found.refusal_code == "time_limit"
    assert "1 processor seconds" in found.message


def test_the_size_of_the_stored_form_is_limited(table: Path, target: Path) -> None:
    found = refusal(table, CSV, target, Limits(file_bytes=100_000))
    assert found.refusal_code == "size_limit"
    assert "100,000 bytes" in found.message


def test_a_folder_that_cannot_be_made_is_no_fault_of_the_file(table: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match="could not be stored"):
        check_file(table, CSV, tmp_path / "file" / "stored")


def test_waiting_ends_while_the_check_goes_on(endless: Path, target: Path) -> None:
    check = start_check(endless, CSV, target)
    assert check.wait(0.01) is None

    async def wait() -> Contents | None:
        waiting = asyncio.create_task(check.wait_async())
        await asyncio.sleep(0)
        waiting.cancel()
        return await check.wait_async(0.01)

    assert asyncio.run(wait()) is None
    check.stop()
    with pytest.raises(RefusedFile, match="stopped"):
        check.wait()
    check.stop()
    assert list(target.iterdir()) == []


def test_many_wait_without_holding_up_the_loop(table: Path, target: Path) -> None:
    async def all_of_them() -> list[Contents | None]:
        check = start_check(table, CSV, target)
        return await asyncio.gather(*(check.wait_async(60) for _ in range(3)))

    first, *others = asyncio.run(all_of_them())
    assert first is not None
    assert others == [first, first]


def test_the_trial_of_a_large_file_measures(tmp_path: Path) -> None:
    block = large_csv.write_csv(tmp_path / "large.csv", 1000)
    found = large_csv.measure(tmp_path / "large.csv", tmp_path / "stored", pairs=1)
    assert found.ratio > 0
    assert found.check_peak_bytes > 10 * MIB
    stored = StoredFile.open(tmp_path / "stored" / STORED_NAME)
    names = [column.name for column in stored.contents.columns]
    assert np.array_equal(stored.matrix(names, np.float64), block)


PARENT = """
import os, sys
from pathlib import Path
from core.uploads.check import start_check
check = start_check(Path(sys.argv[1]), "text/csv", Path(sys.argv[2]))
while check._process is None:
    pass
print(check._process.pid, flush=True)
check.wait()
"""


def test_the_process_ends_with_its_parent(endless: Path, target: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(endless), str(target)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        descriptor = os.pidfd_open(child)
        parent.send_signal(signal.SIGKILL)
        parent.wait(60)
        try:
            with os.fdopen(descriptor) as ended:
                import select

                assert select.select([ended], [], [], 10)[0], "the process outlived its parent"
        finally:
            if Path(f"/proc/{child}").exists() and parent.returncode is None:
                os.kill(child, signal.SIGKILL)


def test_the_process_may_not_reach_the_network_or_start_programs() -> None:
    code = """
import socket, subprocess
from core.uploads.parse.process import limit
limit({"memory_bytes": 2**30, "cpu_s": 9, "open_files": 20, "file_bytes": 9})
for attempt in (
    socket.socket,
    lambda: subprocess.run(["true"]),
    lambda: __import__("os").system("true"),
    lambda: __import__("pickle").loads(b"cos\\nsystem\\n."),
):
    try:
        attempt()
    except PermissionError:
        print("forbidden")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["forbidden"] * 4
