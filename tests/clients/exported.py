"""What the client exports is read by the programs that it is for.

python exported.py ADDRESS FOLDER
"""

import math
import subprocess
import sys
from pathlib import Path

import pandas as pd
import polars as pl
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from thalweg import Client
from thalweg.export import export_job, export_study

folder = Path(sys.argv[2])
client = Client(sys.argv[1])
job = client.jobs.create(
    {
        "problem": {
            "kind": "supervised",
            "data": {"kind": "builtin", "name": "iris", "eval_fraction": 0.2},
            "model": {"kind": "mlp", "hidden": [8]},
        },
        "optimizer": {"kind": "adam", "lr": 0.01},
        "budget": {"max_steps": 500},
    }
).wait()
rows, evaluations = job.history(), job.history("eval")


def scalars(path: Path) -> EventAccumulator:
    return EventAccumulator(str(path), size_guidance={"scalars": 0}).Reload()


(path,) = export_job(job, folder, "tensorboard")
read = scalars(path)
for kind, history in (("train", rows), ("eval", evaluations)):
    for name in set(history) - {"step"}:
        found = read.Scalars(f"{kind}/{name}")
        assert [each.step for each in found] == history["step"].tolist()
        for each, value in zip(found, history[name].tolist(), strict=True):
            assert math.isclose(each.value, value, rel_tol=1e-6), (name, each, value)

train, evals = export_job(job, folder, "parquet")
assert pd.read_parquet(train)["loss"].tolist() == rows["loss"].tolist()
assert pl.read_parquet(evals)["step"].to_list() == evaluations["step"].tolist()
train, _ = export_job(job, folder, "csv")
assert pl.read_csv(train)["loss"].to_list() == rows["loss"].tolist()
assert rows.to_pandas().equals(pd.read_parquet(folder / f"{job.id}-train.parquet"))
assert rows.to_polars()["grad_norm"].to_list() == rows["grad_norm"].tolist()

# Frames are uploaded with the kinds of their columns.
columns = {"size": [1.5, None, 2.5], "code": ["007", "b", "007"], "sold": [True, False, True],
           "rooms": [1, 2, 3]}  # fmt: skip
dtypes = ["number", "category", "bool", "integer"]
for frame in (pd.DataFrame(columns, index=[7, 8, 9]), pl.DataFrame(columns)):
    data = client.datasets.upload(frame, name="frame")
    assert [column["dtype"] for column in data.columns] == dtypes
    assert [column["num_missing"] for column in data.columns] == [1, 0, 0, 0]
    assert data.preview(1) == [{"size": 1.5, "code": "007", "sold": True, "rooms": 1}]
    data.delete()

# A run that diverges: infinite and undefined values are kept.
problem = {"kind": "function", "function": {"kind": "sphere", "dim": 2}}
wild = client.jobs.create(
    {"problem": problem, "optimizer": {"kind": "sgd", "lr": 1e300}, "budget": {"max_steps": 9}}
).wait()
(path,) = export_job(wild, folder, "tensorboard")
assert not math.isfinite(scalars(path).Scalars("train/loss")[-1].value)
study = client.studies.create(
    {
        "base": {"problem": problem, "optimizer": {"kind": "sgd"}, "budget": {"max_steps": 20}},
        "sweep": {"optimizer.lr": {"values": [0.01, 0.1]}},
    }
).wait()
paths = export_study(study, folder, "tensorboard")
assert [len(scalars(path).Scalars("train/loss")) for path in paths] == [20, 20]

# A user's file: basedpyright complains of each line that is marked, and of no other.
user = folder / "typed.py"  # the checker leaves out what lies below a folder such as `.venv`
user.write_text(Path(__file__).with_name("typed.py").read_text())
checker = Path(sys.executable).with_name("basedpyright")
said = subprocess.run(
    [checker, "--level", "error", "--pythonpath", sys.executable, user],
    capture_output=True, text=True, check=False,
)  # fmt: skip
lines = user.read_text().splitlines()
wrong = {number for number, line in enumerate(lines, 1) if line.endswith("# WRONG")}
told = {int(line.split(":")[1]) for line in said.stdout.splitlines() if " - error: " in line}
assert told == wrong, said.stdout
print(job.id, study.id)
