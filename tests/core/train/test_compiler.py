"""Nothing that trains imports torch's compiler, which would be a third of a trainer's start."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

TRAIN_EVERYTHING = """
import sys
import tempfile
from pathlib import Path

from tests.core.train.checkpoint.test_resume import OPTIMIZERS, SCHEDULES, interrupted
from tests.core.train.harness import blobs_job
from worker.trainer.handlers import warm_up, warm_up_rest


def check(after):
    found = [name for name in ("torch._dynamo", "torch._inductor", "sympy") if name in sys.modules]
    if found:
        sys.exit(f"{after} imported {', '.join(found)}")


warm_up("cpu")  # a function and a network, each by itself and as two runs of a study
warm_up_rest()
check("the warm-up")
cases = [(optimizer, {}) for optimizer in OPTIMIZERS]
cases += [({"kind": "sgd"}, {"schedule": schedule}) for schedule in SCHEDULES]
for optimizer, more in cases:
    spec = blobs_job(optimizer, max_steps=12, checkpoint={"every_steps": 4}, **more)
    with tempfile.TemporaryDirectory() as folder:
        interrupted(spec, Path(folder), 6)
    check(f"training with {optimizer} and {more}")
print(len(cases))
"""


def test_no_training_imports_torchs_compiler() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRAIN_EVERYTHING],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 20
