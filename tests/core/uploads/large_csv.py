"""A CSV of 1 GB is checked in at most four times what the reading library alone takes.

    python -m tests.core.uploads.large_csv [--rows N]

Both read from the disk: the file's pages are dropped from memory before each. The library alone is
pyarrow's `open_csv` in one thread with blocks of 1 MiB, its batches thrown away.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from core.uploads.check import STORED_NAME, check_file
from core.uploads.stored import StoredFile

COLUMNS: Final = 100
MOST_RATIO: Final = 4.0
BLOCK_ROWS: Final = 10_000
PAIRS: Final = 3
ALONE: Final = """
import sys
import pyarrow.csv as csv
options = csv.ReadOptions(use_threads=False, block_size=2**20)
print(sum(batch.num_rows for batch in csv.open_csv(sys.argv[1], read_options=options)))
"""


class Measured(NamedTuple):
    """Seconds of each pair, and what the check and the start of a job took."""

    alone_s: list[float]
    check_s: list[float]
    check_peak_bytes: int
    api_growth_bytes: int
    matrix_s: float

    @property
    def ratio(self) -> float:
        """How many times as long the check takes, by medians."""
        return statistics.median(self.check_s) / statistics.median(self.alone_s)


def write_csv(path: Path, num_rows: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Write numbers with six decimals: the same block of rows again and again; return the block."""
    block = np.random.default_rng(0).standard_normal((min(BLOCK_ROWS, num_rows), COLUMNS))
    block = np.round(block, 6)
    lines = "".join(",".join(map(repr, row)) + "\n" for row in block.tolist())
    with path.open("w") as file:
        file.write(",".join(f"x{i}" for i in range(COLUMNS)) + "\n")
        for _ in range(num_rows // len(block)):
            file.write(lines)
    return block


def forget(path: Path) -> None:
    """Drop the file's pages from memory."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(path: Path, target: Path, pairs: int = PAIRS) -> Measured:
    """Check the file and read it by the library alone, in turn."""
    check_s, alone_s, peak = [], [], 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for pair in range(pairs):
        forget(path)
        begin = time.perf_counter()
        contents = check_file(path, "text/csv", target)
        check_s.append(time.perf_counter() - begin)
        if pair == 0:  # no other child has ended yet
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        forget(path)
        begin = time.perf_counter()
        command = [sys.executable, "-c", ALONE, str(path)]
        alone = subprocess.run(command, capture_output=True, text=True, check=True)
        alone_s.append(time.perf_counter() - begin)
        assert int(alone.stdout) == contents.num_rows
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    begin = time.perf_counter()
    names = [column.name for column in contents.columns]
    StoredFile.open(target / STORED_NAME).matrix(names)
    return Measured(alone_s, check_s, peak, growth * 1024, time.perf_counter() - begin)


def main() -> int:
    """Measure and print; return 0 when the check is quick enough and its numbers are right."""
    parser = argparse.ArgumentParser(prog="python -m tests.core.uploads.large_csv")
    parser.add_argument("--rows", type=int, default=1_000_000)
    num_rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        path, target = Path(folder) / "large.csv", Path(folder) / "stored"
        block = write_csv(path, num_rows)
        found = measure(path, target)
        column = StoredFile.open(target / STORED_NAME).column("x7")
        right = np.array_equal(column, np.tile(block[:, 7], num_rows // len(block)))
        size = path.stat().st_size / 2**20
    print(f"{num_rows:,} rows x {COLUMNS} columns, {size:,.0f} MiB")
    print(f"library alone  {statistics.median(found.alone_s):6.1f} s   {found.alone_s}")
    print(f"check          {statistics.median(found.check_s):6.1f} s   {found.check_s}")
    print(f"ratio          {found.ratio:6.2f}     (at most {MOST_RATIO})")
    print(f"peak memory of the check's process {found.check_peak_bytes / 2**20:,.0f} MiB")
    print(f"the caller's memory grew by {found.api_growth_bytes / 2**20:,.0f} MiB")
    print(f"a job's matrix of float32 from the stored form {found.matrix_s:.2f} s")
    print(f"numbers are {'right' if right else 'WRONG'}")
    return int(found.ratio > MOST_RATIO or not right)


if __name__ == "__main__":
    sys.exit(main())
