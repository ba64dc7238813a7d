"""Studies under fire: the same faults as for jobs, and the same measure."""

import hashlib
import random
import time
from pathlib import Path
from typing import Any

from tests.faults.fire import Posted, deleted, post_under_fire, processes_left, strangers
from tests.faults.jobs import Client, Json, is_prefix
from tests.faults.stack import Stack

CALLERS = 3
_DIGITS: Json = {
    "problem": {
        "kind": "supervised",
        "data": {"kind": "builtin", "name": "digits"},
        "model": {"kind": "mlp", "hidden": [32], "dropout": 0.1},
    },
    "optimizer": {"kind": "adam"},
    "record": {"every": 7, "eval_every": 90},
    "max_attempts": 100,
}
_RATES: Json = {"log": [1e-4, 1e-2], "count": 9}

STUDIES: dict[str, Json] = {
    "grid": {
        "base": {**_DIGITS, "budget": {"max_steps": 3000}},
        "sweep": {
            "optimizer.lr": {"values": [0.001, 0.01]},
            "problem.model.hidden": {"values": [[32], [24, 12]]},
        },
        "repeats": 2,
        "metric": {"name": "eval.accuracy", "at": "best", "target": 0.9},
    },
    "halving": {
        "base": {**_DIGITS, "budget": {"max_steps": 1620}},
        "sweep": {"optimizer.lr": _RATES},
        "strategy": {
            "kind": "grid",
            "stopper": {"kind": "successive_halving", "min_steps": 180},
        },
    },
    "tpe": {
        "base": {
            "problem": {"kind": "function", "function": {"kind": "rosenbrock", "dim": 4}},
            "budget": {"max_steps": 2000},
            "max_attempts": 100,
            "record": {"every": 4},
        },
        "sweep": {
            "optimizer": {"values": [{"kind": "adam"}, {"kind": "nadam"}]},
            "optimizer.lr": {"log": [1e-4, 1e-1]},
        },
        "strategy": {"kind": "tpe", "num_runs": 12, "batch_size": 4},
        "metric": {"name": "loss", "at": "best"},
    },
    "alone": {
        "base": {
            "problem": {"kind": "function", "function": {"kind": "rosenbrock", "dim": 20}},
            "optimizer": {"kind": "lbfgs", "max_iter": 4},
            "budget": {"max_steps": 300},
            "max_attempts": 100,
        },
        "sweep": {"optimizer.lr": {"values": [0.02, 0.05]}},
    },
}


class StudyClient(Client):
    """The calls about studies, patient like those about jobs."""

    noun = "studies"

    def runs(self, study_id: str) -> list[Json]:
        runs: list[Json] = self.body(f"/v1/studies/{study_id}/runs", limit=1000)["data"]
        return runs

    def losses_of(self, study_id: str, index: int) -> dict[int, Any]:
        path = f"/v1/studies/{study_id}/runs/{index}/history"
        series = self.body(path, series="loss", limit=10_000)["series"]
        return dict(zip(series["step"], series["loss"], strict=True))

    def traces(self, study_id: str) -> list[Json]:
        """What must not differ of each run: all but times, the ids in it and its artifacts."""
        return [self._trace(study_id, run) for run in self.runs(study_id)]

    def _trace(self, study_id: str, run: Json) -> Json:
        def digest(below: str, **query: Any) -> str:
            path = f"/v1/studies/{study_id}/runs/{run['index']}/{below}"
            reply = self.call("GET", path, params=query)
            assert reply.status_code == 200, (path, query, reply.text)
            return hashlib.sha256(reply.content).hexdigest()

        result = {name: value for name, value in (run["result"] or {}).items() if name != "train_s"}
        named = ("index", "params", "seed", "status", "outcome", "metric", "best", "stopped")
        trace = {name: run[name] for name in named}
        trace |= {"result": result, "target": (run["target"] or {}).get("step")}
        for kind in ("train", "eval"):
            trace[kind] = digest("history", format="csv", kind=kind, limit=10_000)
        if run["status"] == "succeeded" or run["stopped"] is not None:
            trace |= {which: digest("model", checkpoint=which) for which in ("best", "final")}
        return trace


Reference = tuple[list[Json], list[dict[int, Any]]]
"""Of an undisturbed study: its traces, and each run's losses by step."""


def undisturbed(folder: Path) -> dict[str, Reference]:
    """Run every study once on a quiet service."""
    with Stack(folder / "reference", f"ref{time.time_ns()}", lease_s=6.0) as stack:
        client = StudyClient(stack.address)
        ids = {name: client.post(spec, name) for name, spec in STUDIES.items()}
        found: dict[str, Reference] = {}
        for name, study_id in ids.items():
            study = client.ended(study_id)
            assert study["status"] == "succeeded", study["error"]
            indices = range(study["progress"]["num_runs"])
            losses = [client.losses_of(study_id, index) for index in indices]
            found[name] = (client.traces(study_id), losses)
        client.close()
    return found


def run_trial(
    folder: Path,
    references: dict[str, Reference],
    *,
    seed: int,
    num_faults: int,
    mean_gap_s: float = 1.2,
) -> list[str]:
    """Post studies as long as faults fall, let all end in peace, and look at everything; returns
    the complaints."""
    dice = random.Random(seed)
    mark = f"studies{seed}x{time.time_ns()}"
    with Stack(folder / mark, mark) as stack:
        studies, _ = post_under_fire(
            stack,
            dice,
            StudyClient,
            STUDIES,
            seed=seed,
            num_callers=CALLERS,
            cancelled_share=0.2,
            num_faults=num_faults,
            mean_gap_s=mean_gap_s,
        )
        complaints = _inspect(stack, studies, references)
    return complaints + [f"{what} is left over" for what in processes_left(mark)]


def _inspect(stack: Stack, studies: Posted, references: dict[str, Reference]) -> list[str]:
    client = StudyClient(stack.address)
    complaints: list[str] = []
    for name, study_id in studies:
        study = client.ended(study_id)
        complaints += [
            f"{name} {study_id}: {what}" for what in _judge(client, study, references[name])
        ]
    complaints += strangers(client, studies)
    complaints += [f"{what} is left over" for what in deleted(client, stack, studies)]
    client.close()
    return complaints


def _judge(client: StudyClient, study: Json, reference: Reference) -> list[str]:
    traces, losses = reference
    if study["status"] == "cancelled":
        runs = client.runs(study["id"])
        return [
            f"run {run['index']} was cancelled, and is no prefix"
            for run in runs
            if not is_prefix(client.losses_of(study["id"], run["index"]), losses[run["index"]])
        ]
    if study["status"] != "succeeded":
        return [f"is {study['status']}: {study['error']}"]
    progress = study["progress"]
    if progress["step"] > progress["max_steps"]:
        return [f"counts {progress['step']} of {progress['max_steps']} steps"]
    found = client.traces(study["id"])
    return [
        f"run {one['index']} differs in {[key for key in whole if one.get(key) != whole[key]]}"
        for one, whole in zip(found, traces, strict=True)
        if one != whole
    ]
