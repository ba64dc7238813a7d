"""What takes longer than seconds to prove, part by part: `python -m tests.trials [NAME ...]`.

Every part is deterministic but for the moments at which faults fall, needs nothing that another
left on the machine, and ends with status 0 when what it proves holds. `make test` has a small case
of each.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Trial(NamedTuple):
    """A command of Python's, what it proves, and about how many minutes it takes on two cores."""

    arguments: tuple[str, ...]
    proves: str
    minutes: int


TRIALS = {
    "labelled": Trial(
        ("-m", "tests.core.diagnosis.labelled", "--remedies"),
        "402 runs of known trouble get their verdicts, and remedies help (docs/diagnosis.md)",
        4,
    ),
    "comparison": Trial(
        ("scripts/comparison_docs.py", "--check"),
        "intervals and winners are as often right as docs/comparison.md says",
        2,
    ),
    "searches": Trial(
        ("-m", "tests.core.strategies.searches"),
        "tpe finds about as much as Optuna one trial after the other (docs/figures.md)",
        2,
    ),
    "halving": Trial(
        ("-m", "tests.core.strategies.halving_costs"),
        "a short first rung stops the grid's best, a later one seldom (docs/figures.md)",
        3,
    ),
    "auto-lr": Trial(
        ("-m", "tests.core.train.auto_lr"),
        "lr auto is about as good as the best of a grid with every optimizer (docs/users.md)",
        3,
    ),
    "mnist1d": Trial(
        ("-m", "tests.core.train.mnist1d"),
        "models come out on MNIST-1D as in its paper, within 3 points (docs/figures.md)",
        3,
    ),
    "adding-problem": Trial(
        ("-m", "tests.core.train.adding_problem"),
        "an LSTM adds two of fifty numbers; a plain network's gradients vanish, and it is said",
        2,
    ),
    "deepobs": Trial(
        ("-m", "tests.core.train.deepobs"),
        "SGD and Adam come to the published losses of DeepOBS's quadratic_deep",
        2,
    ),
    "large-csv": Trial(
        ("-m", "tests.core.uploads.large_csv"),
        "a CSV of 1 GB is checked in at most 4 x the library's own time (docs/figures.md)",
        3,
    ),
    "onnx": Trial(
        ("-m", "tests.core.train.inference.test_onnx"),
        "every kind of model and layer gives the same outputs as ONNX (docs/predictions.md)",
        1,
    ),
    "streams": Trial(
        ("-m", "tests.api.events"),
        "500 readers of one job lose nothing, 2,000 idle ones cost little (docs/figures.md)",
        1,
    ),
    "many-jobs": Trial(
        ("-m", "tests.api.jobs.many"),
        "a list of 20 among 100,000 jobs takes less than 20 ms (docs/figures.md)",
        3,
    ),
    "page": Trial(
        ("-m", "tests.e2e.page_figures"),
        "the page is there in a second, rows' pixels in 0.4 s, a frame in 50 ms (docs/page.md)",
        3,
    ),
    "requests": Trial(
        ("-m", "tests.e2e.request_load"),
        "200 requests a second beside 2 running jobs are answered in 50 ms (docs/figures.md)",
        2,
    ),
    "faults": Trial(
        ("-m", "tests.faults"),
        "no job is lost, doubled or changed by 500 faults (docs/reliability.md)",
        12,
    ),
    "fleet": Trial(
        ("-m", "tests.faults.fleet"),
        "no attempt and no row is lost by workers that are taken away (docs/reliability.md)",
        12,
    ),
    "conformance": Trial(
        ("-m", "tests.e2e.conformance"),
        "replies to calls at random and at all bounds fit the OpenAPI document (docs/figures.md)",
        7,
    ),
    "injection": Trial(
        ("-m", "tests.e2e.injection"),
        "what is sent to break in or to hold up is refused, and leaves nothing behind",
        1,
    ),
    "job-life": Trial(
        ("-m", "tests.e2e.job_life", "--examples", "60"),
        "whatever is called, jobs and studies move along the table (docs/job-life.md)",
        6,
    ),
    "study-faults": Trial(
        ("-m", "tests.faults", "--studies", "--faults", "200", "--per-trial", "20"),
        "no study is lost, doubled or changed by 200 faults (docs/reliability.md)",
        7,
    ),
}


def main() -> int:
    """Run the parts named, or all; return 0 when every one of them held."""
    listed = "\n".join(
        f"  {name:<14}{trial.proves}; about {trial.minutes} min" for name, trial in TRIALS.items()
    )
    parser = argparse.ArgumentParser(
        prog="python -m tests.trials",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"parts:\n{listed}",
    )
    parser.add_argument("parts", nargs="*", metavar="NAME", help="which parts (default: all)")
    parts: list[str] = parser.parse_args().parts or list(TRIALS)
    if unknown := set(parts) - set(TRIALS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(TRIALS)}")
    failed: list[str] = []
    for name in parts:
        print(f"== {name}: {TRIALS[name].proves}", flush=True)
        begin = time.monotonic()
        done = subprocess.run([sys.executable, *TRIALS[name].arguments], cwd=ROOT, check=False)
        if done.returncode:
            failed.append(name)
        held = "failed" if done.returncode else "holds"
        print(f"== {name} {held}, {(time.monotonic() - begin) / 60:.1f} min", flush=True)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
