"""Records of every kind in a running service, for trials that make calls at random: jobs and
studies by how they end, uploads by what they hold, deliveries by what came of them."""

import io
import json
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from safetensors.numpy import save

from tests.e2e.client import Json, Service
from tests.e2e.specs import digits, endless, expression
from tests.e2e.studies import Studies


def _bowl(lr: float, steps: int = 40, **more: object) -> Json:
    start = {"x1": 1.0, "x2": 2.0}
    return expression("x1**2 + 3*x2**2", start, {"kind": "sgd", "lr": lr}, steps, **more)


JOBS: Final[dict[str, Json]] = {
    "budget exhausted": digits(steps=30, record={"eval_every": 10}, diagnose="full"),
    "converged": _bowl(0.1, 400, stop={"gradient_norm": 1e-3}, diagnose="full"),
    "stalled": _bowl(1 / 3, 400, stop={"patience": 3}, precision="float64"),
    "diverged": _bowl(0.6, 4_000),
    "lr auto": {**digits(steps=20), "optimizer": {"kind": "adam", "lr": "auto"}},
}
"""Jobs by how they end, or by what is peculiar to them."""

_RATES: Final[Json] = {"optimizer.lr": {"log": [0.001, 1.0], "count": 4}}
STUDIES: Final[dict[str, Json]] = {
    "grid": {"base": _bowl(0.1), "sweep": _RATES, "repeats": 2},
    "evaluated": {
        "base": digits(steps=12, record={"eval_every": 4}),
        "sweep": {"problem.model.hidden": {"values": [[4], [8]]}},
        "metric": {"name": "eval.accuracy", "goal": "max", "target": 0.5},
    },
    "random": {"base": _bowl(0.1), "sweep": _RATES, "strategy": {"kind": "random", "num_runs": 4}},
    "tpe": {"base": _bowl(0.1), "sweep": _RATES, "strategy": {"kind": "tpe", "num_runs": 12}},
    "halving": {
        "base": _bowl(0.1, 64),
        "sweep": _RATES,
        "strategy": {
            "kind": "grid",
            "stopper": {"kind": "successive_halving", "factor": 2, "min_steps": 8},
        },
    },
    "diverged": {"base": _bowl(0.1, 4_000), "sweep": {"optimizer.lr": {"values": [0.6, 0.7]}}},
}
"""Studies by their strategy, or by how they end."""


@dataclass
class Ids:
    """Ids of what is there: those to read, and spare ones, which may be changed and deleted."""

    job: list[str] = field(default_factory=list)
    study: list[str] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    msg: list[str] = field(default_factory=list)
    pred: list[str] = field(default_factory=list)
    spare: dict[str, list[str]] = field(default_factory=dict)


def files() -> Iterator[tuple[str, bytes]]:
    """Yield a small file of each media type that can be uploaded."""
    numbers = np.random.default_rng(5).normal(size=(30, 2))
    rows = [{"a": a, "b": b, "name": "one" if a > b else "two"} for a, b in numbers.tolist()]
    lines = [",".join(map(str, row.values())) for row in rows]
    yield "text/csv", "\n".join(["a,b,name", *lines, ""]).encode()
    yield "application/x-ndjson", "".join(json.dumps(row) + "\n" for row in rows).encode()
    held = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), held)
    yield "application/vnd.apache.parquet", held.getvalue()
    held = io.BytesIO()
    np.savez(held, x=numbers, y=np.arange(30))
    yield "application/x-npz", held.getvalue()
    yield "text/plain", b"To be, or not to be.\n" * 30
    yield "application/x-safetensors", save({"weight": np.ones((2, 2), np.float32)})
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for number in range(4):
            picture = io.BytesIO()
            Image.fromarray(np.full((4, 4), 60 * number, np.uint8)).save(picture, "png")
            archive.writestr(f"class{number % 2}/{number}.png", picture.getvalue())
    yield "application/zip", held.getvalue()


def prepare(
    service: Service,
    jobs: Mapping[str, Json] = JOBS,
    studies: Mapping[str, Json] = STUDIES,
    hook: str | None = None,
) -> Ids:
    """Have all of them made, and wait for their ends; two of each noun more are spare.

    Args:
        hook: URL of a receiver of webhooks.
    """
    found = Ids(data=[service.upload(content, kind)["id"] for kind, content in files()])
    told = {} if hook is None else {"webhook": {"url": hook, "events": ["job.diverged"]}}
    found.job = [service.post({**spec, **told})["id"] for spec in jobs.values()]
    by_name = dict(zip(jobs, found.job, strict=True))
    calls = Studies(service)
    for noun, specs in (("jobs", jobs), ("studies", studies)):
        for spec in specs.values():
            assert service.http.post(f"/v1/{noun}/validate", json=spec).status_code == 200
    found.study = [calls.post(spec) for spec in studies.values()]
    found.spare = {
        "job": [service.post(_bowl(0.1))["id"] for _ in range(2)],
        "study": [calls.post({"base": _bowl(0.1), "sweep": _RATES}) for _ in range(2)],
        "data": [
            service.upload(b"a,b\n1,2\n", name=f"spare {number}")["id"] for number in range(2)
        ],
    }
    for each in [*found.job, *found.spare["job"]]:
        service.wait(each)
    for each in [*found.study, *found.spare["study"]]:
        calls.wait(each)
    _interrupted(service, calls, found)
    _followed_up(service, by_name, found)
    _predicted(service, by_name["budget exhausted"], found)
    if hook is not None:
        for path in (hook, f"{hook}/no"):
            reply = service.http.post("/v1/webhooks/test", json={"url": path})
            assert reply.status_code == 202, reply.text
        found.msg = [
            each["id"] for each in service.http.get("/v1/webhooks/deliveries").json()["data"]
        ]
    return found


def _interrupted(service: Service, calls: Studies, found: Ids) -> None:
    """Add what was cancelled, and what is paused after it had been resumed; studies get more to do
    meanwhile."""
    study_spec = {
        "base": endless(),
        "sweep": {"optimizer.lr": {"log": [0.001, 0.01]}},
        "strategy": {"kind": "random", "num_runs": 2},
    }
    more = {"extend": {"num_runs": 3}, "enqueue": {"configurations": [{"optimizer.lr": 0.005}]}}
    for actions in (["cancel"], ["pause", "resume", "pause"]):
        job = service.post(endless())["id"]
        while service.http.get(f"/v1/jobs/{job}").json()["progress"]["step"] == 0:
            time.sleep(0.01)
        assert service.http.post(f"/v1/jobs/{job}/checkpoints").status_code == 202
        study = calls.post(study_spec)
        for call, body in more.items():
            reply = service.http.post(f"/v1/studies/{study}/{call}", json=body)
            assert reply.status_code in {200, 202}, reply.text
        for path in (f"/v1/jobs/{job}", f"/v1/studies/{study}"):
            for action in actions:
                assert service.http.post(f"{path}/{action}").status_code in {200, 202}
        found.job.append(job)
        found.study.append(study)
        if actions == ["cancel"]:
            service.wait(job)
            calls.wait(study)


def _followed_up(service: Service, by_name: Mapping[str, str], found: Ids) -> None:
    """Add what comes of ended jobs: a continuation, the children of a remedy and of an upload."""
    path = f"/v1/jobs/{by_name['budget exhausted']}"
    replies = [service.http.post(f"{path}/continue", json={"budget": {"max_steps": 40}})]
    path = f"/v1/jobs/{by_name['diverged']}"
    if service.http.get(f"{path}/diagnosis").json()["remedies"]:
        replies.append(service.http.post(f"{path}/remedies/0/apply"))
    data = {"kind": "dataset", "id": found.data[0], "target": "name"}
    problem = {"kind": "supervised", "data": data, "model": {"kind": "linear"}}
    spec = {"problem": problem, "optimizer": {"kind": "sgd"}, "budget": {"max_steps": 5}}
    replies.append(service.http.post("/v1/jobs", json=spec))
    for reply in replies:
        assert reply.status_code == 202, reply.text
        found.job.append(service.wait(reply.json()["id"])["id"])


def _predicted(service: Service, job: str, found: Ids) -> None:
    """Add predictions: of rows, of rows whose classes are known, by other weights."""
    rows = {"features": [[0.0] * 64, [1.0] * 64]}
    for body in (rows, {**rows, "targets": [0, 1]}, {**rows, "checkpoint": "initial"}):
        reply = service.http.post(f"/v1/jobs/{job}/predictions?wait=30", json=body)
        assert reply.status_code == 200, reply.text
        found.pred.append(reply.json()["id"])


def settle(service: Service) -> None:
    """Cancel all that has not ended."""
    for noun in ("jobs", "studies"):
        for status in ("queued", "paused", "running"):
            query: dict[str, str | int] = {"status": status, "limit": 200}
            while page := service.http.get(f"/v1/{noun}", params=query).json():
                for each in page["data"]:
                    service.http.post(f"/v1/{noun}/{each['id']}/cancel")
                if not page["has_more"]:
                    break
                query["after"] = page["next_cursor"]
