"""What a user's type checker says of the client: right uses pass, each line marked WRONG does not.

`make clients` has basedpyright read it, `tests/client/test_types.py` has mypy.
"""

import asyncio
from typing import assert_type

import numpy as np
from numpy.typing import NDArray

from thalweg import AsyncClient, Client, Dataset, Event, History, Job
from thalweg.specs import AdamOptimizer, JobSpec, StudySpec

client = Client("http://127.0.0.1:8000", timeout_s=5.0)

spec: JobSpec = {
    "problem": {
        "kind": "supervised",
        "data": {"kind": "builtin", "name": "digits", "eval_fraction": 0.2},
        "model": {"kind": "mlp", "hidden": [64, 32]},
    },
    "optimizer": {"kind": "adam", "lr": "auto", "betas": [0.9, 0.99]},
    "budget": {"max_steps": 100},
    "labels": {"team": "vision"},
}
adam = AdamOptimizer(kind="adam", lr=0.1)
assert_type(client.jobs.create(spec), Job)
job = client.jobs.create({"problem": spec["problem"], "optimizer": adam, "seed": 3})
study: StudySpec = {
    "base": {"problem": spec["problem"], "optimizer": {"kind": "sgd"}},
    "sweep": {"optimizer.lr": {"log": [0.001, 1.0], "count": 4}},
}
client.studies.create(study)

client.jobs.create({"problem": spec["problem"], "optimiser": adam})  # WRONG
client.jobs.create({"problem": spec["problem"], "optimizer": {"kind": "adam", "lrr": 1.0}})  # WRONG
wrong_kind: JobSpec = {"problem": spec["problem"], "optimizer": {"kind": "adamm"}}  # WRONG
wrong_type: JobSpec = {**spec, "seed": "three"}  # WRONG
wrong_call = AdamOptimizer(kind="adam", learning_rate=0.1)  # WRONG
wrong_budget: JobSpec = {**spec, "budget": {"max_step": 5}}  # WRONG
job.wait(timeout=3)  # WRONG
job.historie()  # WRONG

assert_type(job.wait(progress=True).status, str)
history = job.history(series=["loss"])
assert_type(history, History)
losses: NDArray[np.generic] = history["loss"]
for event in job.stream(after="latest"):
    assert_type(event, Event)
weights: dict[str, NDArray[np.float32]] = job.weights()

data = client.datasets.upload(
    b"a", media_type="text/csv", labels={"a": "b"}, schema={"a": "number"}
)
assert_type(data, Dataset)
assert_type(data.num_rows, int | None)
client.datasets.upload(3)  # WRONG
client.datasets.upload("a.csv", lables={})  # WRONG


async def main() -> None:
    async with AsyncClient() as ours:
        made = await ours.jobs.create(spec)
        assert_type(await made.history(), History)
        async for event in made.stream():
            assert_type(event, Event)
        made.history()["loss"]  # WRONG


asyncio.run(main())
