"""Every kind of the catalogue, trained as a job and as a study, through every call that reads."""

import io
import itertools
import json
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import httpx2
import numpy as np
import pytest
import schemathesis

from core.specs.catalog import FAMILIES, kinds
from core.specs.examples import REQUIRED, minimal_example
from tests.e2e.client import Json, Service
from tests.e2e.studies import Studies

FORMATS: Final = ("json", "csv", "ndjson", "npz")
CHECKPOINTS: Final = ("final", "best", "initial")
TURNS: Final = itertools.cycle(("svg", "png"))
_ID: Final = re.compile(r"(job|study)_[0-9a-z]{26}")
BEGINNINGS: Final = {"svg": b"<?xml", "png": b"\x89PNG"}

FURTHER: Final[dict[str, Json]] = {
    "quadratic by matrix": {"kind": "quadratic", "matrix": [[2.0, 0.5], [0.5, 1.0]]},
    "rotated quadratic": {"kind": "quadratic", "eigenvalues": [1.0, 4.0], "rotation_seed": 1},
    "quadratic with a slope": {"kind": "quadratic", "eigenvalues": [1.0], "linear": [1.0]},
}
"""Forms of a kind that its schema does not tell apart."""


MEASURED: Final = {f"{family}-{kinds(family)[0]}" for family in FAMILIES} | FURTHER.keys()
"""Kinds whose jobs ask for a full diagnosis, which two kinds of pictures show."""


def examples() -> dict[str, Json]:
    """By name, the catalogue's job specs, with a few steps; a new kind joins by itself."""
    found = {
        f"{family}-{kind}": minimal_example(family, kind)
        for family in FAMILIES
        for kind in kinds(family)
    }
    for name, function in FURTHER.items():
        found[name] = minimal_example("functions", "quadratic")
        found[name]["problem"]["function"] = function
    short = {"budget": {"max_steps": 4}, "record": {"eval_every": 2}}
    return {
        name: {
            **spec,
            **short,
            # Measuring takes longer than all else together: of one small problem a family.
            "diagnose": "full" if name in MEASURED else "history",
            "labels": {"kind": name.replace(" ", "_")},
        }
        for name, spec in found.items()
    }


EXAMPLES: Final = examples()


@pytest.fixture(scope="module")
def specs(service: Service) -> dict[str, Json]:
    """The examples; the one that names an upload names one that is there."""
    lines = "".join(f"{i}.5,{3 * i}.25\n" for i in range(40))
    data = service.upload(f"size,price\n{lines}".encode())
    text = json.dumps(EXAMPLES).replace(REQUIRED["dataset"]["id"], data["id"])
    found: dict[str, Json] = json.loads(text)
    return found


@dataclass(frozen=True)
class Posted:
    """A job and a study of one kind."""

    job_id: str
    study_id: str


@pytest.fixture(scope="module")
def posted(service: Service, specs: dict[str, Json]) -> Iterator[dict[str, "Future[Posted]"]]:
    """All are posted beside the tests, so that the workers are not idle while others are read."""

    def post(spec: Json) -> Posted:
        job = service.post(spec)
        base = {name: part for name, part in spec.items() if name not in {"labels", "diagnose"}}
        study = {"base": base, "repeats": 2, "labels": spec["labels"]}
        reply = service.http.post("/v1/studies", json=study)
        assert reply.status_code == 202, reply.text
        return Posted(job["id"], reply.json()["id"])

    with ThreadPoolExecutor(1) as thread:
        yield {name: thread.submit(post, spec) for name, spec in specs.items()}


class Reads:
    """GETs, each with the statuses that the contract allows; JSON is what the OpenAPI document
    says."""

    def __init__(self, http: httpx2.Client) -> None:
        self._http = http
        self._schema = schemathesis.openapi.from_dict(http.get("/openapi.json").json())

    def get(self, path: str, expected: int = 200, code: str | None = None, **query: Any) -> Any:
        reply = self._http.get(path, params=query)
        assert reply.status_code == expected, (path, query, reply.text[:500])
        if expected != 200:
            body = reply.json()
            assert code in {body["code"], *(error["code"] for error in body.get("errors", []))}
        return reply

    def json(self, path: str, **query: Any) -> Any:
        # `strict`: no NaN or Infinity that JSON does not know.
        def refuse(name: str) -> None:
            raise AssertionError(f"{path} has {name}")

        reply = self.get(path, **query)
        template = re.sub(r"/runs/\d+", "/runs/{index}", _ID.sub(r"{\1_id}", path))
        self._schema[template]["GET"].validate_response(reply)
        return json.loads(reply.content, parse_constant=refuse)

    def histories(self, path: str, num_rows: dict[str, int]) -> None:
        for kind, count in num_rows.items():
            for form in FORMATS:
                content = self.get(path, kind=kind, format=form).content
                if form == "json":
                    assert len(json.loads(content)["series"]["step"]) == count
                elif form == "npz":
                    assert len(np.load(io.BytesIO(content))["step"]) == count
                else:
                    lines = content.decode().splitlines()
                    assert len(lines) == count + (form == "csv")
            assert self.json(path, kind=kind, points=2)["total"] == count
            assert self.json(path, kind=kind, after=0, limit=1)["returned"] == min(1, count - 1)

    def plot(self, path: str, **query: Any) -> None:
        form = next(TURNS)
        content = self.get(path, format=form, **query).content
        assert content.startswith(BEGINNINGS[form])

    def no_plot(self, path: str, status: int, code: str, **query: Any) -> None:
        self.get(path, status, code, format=next(TURNS), **query)


@pytest.fixture(scope="module")
def reads(service: Service) -> Reads:
    return Reads(service.http)


def num_rows_of(job_or_run: Json, steps: int) -> dict[str, int]:
    """Of each history; evaluations at 0, at each second step and at the end."""
    evaluated = job_or_run["result"]["eval"] is not None
    at_even, at_the_end = steps // 2 + 1, steps % 2
    return {"train": steps, "eval": at_even + at_the_end} if evaluated else {"train": steps}


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_job_of_every_kind_is_read_by_every_call(
    service: Service,
    specs: dict[str, Json],
    reads: Reads,
    posted: dict[str, "Future[Posted]"],
    name: str,
) -> None:
    spec = specs[name]
    assert service.http.post("/v1/jobs/validate", json=spec).status_code == 200
    job = service.wait(posted[name].result().job_id)
    assert job["status"] == "succeeded", job["error"]
    path = f"/v1/jobs/{job['id']}"
    (listed,) = reads.json("/v1/jobs", label=f"kind:{spec['labels']['kind']}")["data"]
    assert listed["id"] == job["id"]
    assert service.http.post("/v1/jobs/validate", json=job["spec"]).json()["spec"] == job["spec"]
    steps = job["result"]["num_steps"]
    rows = steps + (job["outcome"] in {"converged", "diverged"})
    found = num_rows_of(job, steps)
    reads.histories(f"{path}/history", {**found, "train": rows})
    assert reads.json(f"{path}/diagnosis")["verdict"]
    for checkpoint in CHECKPOINTS:
        assert reads.get(f"{path}/model", checkpoint=checkpoint).content
    assert reads.json(f"{path}/checkpoints")["data"]
    reads.plot(f"{path}/plot", kind="loss")
    if name in MEASURED or name.startswith("schedules"):
        reads.plot(f"{path}/plot", kind="lr")
    measured = (job["diagnosis"].get("measured") or {}) if name in MEASURED else {}
    for kind in ("spectrum", "landscape"):
        if measured.get("spectrum" if kind == "spectrum" else "slice"):
            reads.plot(f"{path}/plot", kind=kind)
        else:  # not asked for, or there was no time for it
            reads.no_plot(f"{path}/plot", 409, "not_ready", kind=kind)
    if job["spec"]["problem"]["kind"] == "function" and len(job["result"]["solution"]) == 2:
        reads.plot(f"{path}/plot", kind="path")
    else:
        reads.no_plot(f"{path}/plot", 422, "not_two_dimensional", kind="path")


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_study_of_every_kind_is_read_by_every_call(
    service: Service,
    specs: dict[str, Json],
    reads: Reads,
    posted: dict[str, "Future[Posted]"],
    name: str,
) -> None:
    study = Studies(service).wait(posted[name].result().study_id)
    assert study["status"] == "succeeded", study["error"]
    path = f"/v1/studies/{study['id']}"
    label = f"kind:{EXAMPLES[name]['labels']['kind']}"
    (listed,) = reads.json("/v1/studies", label=label)["data"]
    assert listed["id"] == study["id"]
    again = service.http.post("/v1/studies/validate", json=study["spec"])
    assert again.json()["spec"] == study["spec"]
    for sort in ("index", "metric"):
        assert len(reads.json(f"{path}/runs", sort=sort)["data"]) == 2
    compared = reads.json(f"{path}/comparison")
    is_function = study["spec"]["base"]["problem"]["kind"] == "function"
    assert (compared["minima"] is not None) == is_function
    best = reads.json(f"{path}/best")
    assert service.http.post("/v1/jobs/validate", json=best).json()["spec"] == best
    for index in range(2):
        run = reads.json(f"{path}/runs/{index}")
        assert run["status"] == "succeeded", run
        assert service.http.post("/v1/jobs/validate", json=run["spec"]).status_code == 200
        steps = run["result"]["num_steps"]
        rows = steps + (run["outcome"] in {"converged", "diverged"})
        found = {**num_rows_of(run, steps), "train": rows}
        if index:
            assert reads.json(f"{path}/runs/{index}/history")["total"] == rows
        else:
            reads.histories(f"{path}/runs/{index}/history", found)
        for checkpoint in CHECKPOINTS:
            assert reads.get(f"{path}/runs/{index}/model", checkpoint=checkpoint).content
    reads.plot(f"{path}/plot", kind="curves")
    if compared["profile"] is None:
        reads.no_plot(f"{path}/plot", 422, "no_profile", kind="profile")
    else:
        reads.plot(f"{path}/plot", kind="profile")
