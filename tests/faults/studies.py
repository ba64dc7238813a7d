"""Studies under fire: the same faults as for jobs, and the same measure."""

import hashlib
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.faults.harm import HARMS, schedule
from tests.faults.jobs import TERMINAL, Client, Json, is_prefix
from tests.faults.stack import Stack, marked_processes, wait_for

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

    def post_study(self, spec: Json, idempotency_key: str) -> str:
        headers = {"Idempotency-Key": idempotency_key}
        reply = self.call("POST", "/v1/studies", json=spec, headers=headers)
        assert reply.status_code == 202, reply.text
        study_id: str = reply.json()["id"]
        return study_id

    def study(self, study_id: str, wait_s: float = 0.0) -> Json:
        return self.body(f"/v1/studies/{study_id}", wait=wait_s)

    def body(self, path: str, **query: Any) -> Json:
        reply = self.call("GET", path, params=query)
        assert reply.status_code == 200, reply.text
        body: Json = reply.json()
        return body

    def ended(self, study_id: str, patience_s: float = 300.0) -> Json:
        """The study once it is terminal, or as it is when patience ends."""
        give_up = time.monotonic() + patience_s
        while True:
            study = self.study(study_id, wait_s=5)
            if study["status"] in TERMINAL or time.monotonic() > give_up:
                return study

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
        if run["status"] == "succeeded":
            trace |= {which: digest("model", checkpoint=which) for which in ("best", "final")}
        return trace


Reference = tuple[list[Json], list[dict[int, Any]]]
"""Of an undisturbed study: its traces, and each run's losses by step."""


def undisturbed(folder: Path) -> dict[str, Reference]:
    """Run every study once on a quiet service."""
    with Stack(folder / "reference", f"ref{time.time_ns()}", lease_s=6.0) as stack:
        client = StudyClient(stack.address)
        ids = {name: client.post_study(spec, name) for name, spec in STUDIES.items()}
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
        over = threading.Event()
        with ThreadPoolExecutor(CALLERS) as pool:
            posted = [
                pool.submit(_keep_busy, stack, random.Random(f"{seed}/{i}"), f"{mark}-{i}", over)
                for i in range(CALLERS)
            ]
            for blow in schedule(dice, num_faults, mean_gap_s):
                time.sleep(blow.after_s)  # the schedule itself, not a synchronization
                HARMS[blow.name][0](stack, dice)
            over.set()
            studies = [study for feed in posted for study in feed.result()]
        complaints = _inspect(stack, studies, references)
    try:
        wait_for("the end of every process", lambda: not list(marked_processes(mark)), 10)
    except TimeoutError:
        complaints += [f"process {pid} is left over" for pid in marked_processes(mark)]
    return complaints


def _keep_busy(
    stack: Stack, dice: random.Random, mark: str, over: threading.Event
) -> list[tuple[str, str]]:
    """One caller: posts, sometimes cancels, waits, posts again. (template, study id) of each."""
    client = StudyClient(stack.address)
    posted: list[tuple[str, str]] = []
    while not over.is_set():
        name = dice.choice(list(STUDIES))
        study_id = client.post_study(STUDIES[name], f"{mark}-{len(posted)}")
        posted.append((name, study_id))
        if dice.random() < 0.2:
            over.wait(dice.uniform(0, 4))
            client.call("POST", f"/v1/studies/{study_id}/cancel")
        while client.study(study_id, wait_s=1)["status"] not in TERMINAL and not over.is_set():
            pass
    client.close()
    return posted


def _inspect(
    stack: Stack, studies: list[tuple[str, str]], references: dict[str, Reference]
) -> list[str]:
    client = StudyClient(stack.address)
    complaints: list[str] = []
    for name, study_id in studies:
        study = client.ended(study_id)
        complaints += [
            f"{name} {study_id}: {what}" for what in _judge(client, study, references[name])
        ]
    listed = client.body("/v1/studies", limit=200)["data"]
    strangers = {study["id"] for study in listed} - {study_id for _, study_id in studies}
    complaints += [f"{study_id} was never acknowledged" for study_id in strangers]
    for _, study_id in studies:
        client.call("DELETE", f"/v1/studies/{study_id}")
    with stack.redis() as connection:
        for key in connection.scan_iter(f"{stack.mark}:*"):
            if any(study_id.encode() in key for _, study_id in studies):
                complaints.append(f"key {key!r} is left over")
    for path in (stack.folder / "artifacts").rglob("*"):
        if path.is_file():
            complaints.append(f"file {path.name} of {path.parent.name} is left over")
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
