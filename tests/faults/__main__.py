"""`make faults`: trial after trial until so many faults have fallen; prints the table of all.

With `--studies` the service is kept busy with studies in place of jobs, and each trial's complaints
are printed.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from tests.faults import studies
from tests.faults.trial import Findings, run_trial, undisturbed


def main() -> int:
    """Exit status 0 when no trial had a complaint."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--faults", type=int, default=500, help="how many in all")
    parser.add_argument("--per-trial", type=int, default=50)
    parser.add_argument("--gap", type=float, default=1.2, help="mean seconds between two")
    parser.add_argument("--lease", type=float, default=1.0, help="lease in seconds (default: 6)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--studies", action="store_true", help="studies in place of jobs")
    options = parser.parse_args()
    return _try_studies(options) if options.studies else _try_jobs(options)


def _try_studies(options: argparse.Namespace) -> int:
    complaints: list[str] = []
    with tempfile.TemporaryDirectory(prefix="thalweg-faults-") as name:
        folder = Path(name)
        references = studies.undisturbed(folder)
        for trial in range(-(-options.faults // options.per_trial)):
            found = studies.run_trial(
                folder,
                references,
                seed=options.seed + trial,
                num_faults=options.per_trial,
                mean_gap_s=options.gap,
            )
            complaints += found
            print(
                f"seed {options.seed + trial}: {options.per_trial} faults on studies,"
                f" {len(found)} complaints",
                *found,
                sep="\n  ",
                flush=True,
            )
    return int(bool(complaints))


def _try_jobs(options: argparse.Namespace) -> int:
    total = Findings()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="thalweg-faults-") as name:
        folder = Path(name)
        references = undisturbed(folder)
        for seed in range(options.seed, options.seed + -(-options.faults // options.per_trial)):
            found = run_trial(
                folder,
                references,
                seed=seed,
                num_faults=options.per_trial,
                mean_gap_s=options.gap,
                lease_s=options.lease,
            )
            total.add(found)
            print(
                f"seed {seed}: {found.acknowledged} jobs, {found.faults.total()} faults,"
                f" {len(found.complaints)} complaints; {total.faults.total()} faults in"
                f" {time.monotonic() - begin:.0f} s",
                flush=True,
            )
            for complaint in found.complaints:
                print(f"  {complaint}", flush=True)
    report(total, options.lease)
    return 1 if total.complaints else 0


def report(total: Findings, lease_s: float) -> None:
    """Counts by fault, the judgement, and the distribution of recovery times."""
    table = Table(title=f"Faults (lease {lease_s:g} s)", title_justify="left")
    for heading, justify in (("fault", "left"), ("times", "right")):
        table.add_column(heading, justify="right" if justify == "right" else "left")
    for name, times in sorted(total.faults.items()):
        table.add_row(name, str(times))
    table.add_section()
    for what, count in (
        ("all", total.faults.total()),
        ("jobs acknowledged", total.acknowledged),
        *((f"attempts {end}", times) for end, times in sorted(total.attempts.items())),
        ("jobs lost or hanging", len(total.not_terminal)),
        ("jobs failed", len(total.failed)),
        ("jobs doubled", len(total.doubled)),
        ("histories or weights that differ", len(total.differing)),
        ("keys, files or processes left over", len(total.left_over)),
    ):
        table.add_row(what, str(count))
    Console(width=100).print(table)
    if total.recoveries_s:
        marks = (50, 90, 99, 100)
        values = np.percentile(total.recoveries_s, marks)
        texts = ", ".join(f"p{m} {v:.1f} s" for m, v in zip(marks, values, strict=True))
        print(f"from the fault to the next attempt ({len(total.recoveries_s)}): {texts}")


if __name__ == "__main__":
    sys.exit(main())
