"""Data that an earlier version left behind, opened by this one and used over HTTP.

`tests/data/format-N.tar.xz` are data directories as the last version of format N left them, killed
at work (`scripts/make_data_directory.py` made them, and says how to make the next one). Of format 1
there are two: `format-1` is of before records and files carried a number, `format-1-numbered` of
after; its long runs have batch norm, and it has a study by `tpe`. In format 2, too, what waits
stands in one queue for `auto` and `cpu`; from format 3 on each device has its own.
"""

import json
import re
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from safetensors.numpy import load

from core.formats import STORE, stored_job, stored_study
from scripts.make_data_directory import path_of, processor
from tests.e2e.client import Service, serving

Json = dict[str, Any]

pytestmark = pytest.mark.timeout(900)  # services start, as slowly as the machine lets them
DATA = Path(__file__).resolve().parent.parent / "data"
ENDED = ("digits", "rosenbrock", "oscillating", "diverged", "auto", "long", "continued", "remedied")
STUDIES = ("grid", "halving", "long_study", "tpe")


NOT_MEASURED = {"cpu_s": None, "stored_bytes": None, "device_s": None}
"""Fields of `usage` that the versions of these directories did not have."""


@dataclass(frozen=True)
class Opened:
    """A copy of the directory with a service on it; `contents`: what its makers saw in it."""

    service: Service
    contents: dict[str, Json]
    folder: Path
    written: int
    """The format of its store."""

    @property
    def studies(self) -> list[str]:
        return [use for use in STUDIES if use in self.contents]

    @property
    def same_products(self) -> bool:
        """Whether products of matrices have the bits that they had: a library chooses its kernels
        by the processor."""
        return bool(self.contents["processor"]["flags"] == processor())

    @property
    def same_long_runs(self) -> bool:
        """Whether what was interrupted must come to the bits of its twin that was not."""
        problem = self.contents["long"]["record"]["spec"]["problem"]
        return problem["kind"] == "function" or self.same_products

    def as_read_now(self, record: Json) -> Json:
        """The record with what it is read with since fields came that it lacks."""
        read = stored_study if record["id"].startswith("study_") else stored_job
        return {
            **record,
            "spec": read(record["spec"], self.written),
            "progress": {**record["progress"], "waiting_for": None},
            "links": {**record["links"], **new_links(record)},
            "usage": record.get("usage") and {**NOT_MEASURED, **record["usage"]},
            **({"diagnosis": with_steps(record["diagnosis"])} if record.get("diagnosis") else {}),
        }

    def id(self, use: str) -> str:
        return str(self.contents[use]["id"])

    def get(self, path: str, **query: Any) -> Any:
        reply = self.service.http.get(path, params=query)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def post(self, path: str, body: Json) -> Json:
        reply = self.service.http.post(path, json=body)
        assert reply.status_code == 202, reply.text
        made: Json = reply.json()
        return made

    def end(self, identity: str) -> Json:
        found: Json = {}
        while not found.get("finished_at"):
            found = self.get(path_of(identity), wait=60)
        return found

    def rows(self, path: str, kind: str = "train") -> Json:
        series: Json = self.get(f"{path}/history", kind=kind, limit=10_000)["series"]
        return series

    def weights(self, path: str, checkpoint: str = "final") -> dict[str, bytes]:
        reply = self.service.http.get(f"{path}/model", params={"checkpoint": checkpoint})
        assert reply.status_code == 200, reply.text
        return {name: tensor.tobytes() for name, tensor in load(reply.content).items()}

    def same_runs(self, study: str, other: str) -> None:
        """Of two studies: the same rows and the same weights; on another processor than the first
        one's, whose roots and exponentials a library computes otherwise, about the same losses."""
        if not self.same_products:
            self.same_losses(study, other)
            return
        for one, two in self.runs(study, other):
            assert self.rows(one) == self.rows(two)
            assert self.weights(one) == self.weights(two)

    def same_losses(self, study: str, other: str) -> None:
        """Of two studies that round otherwise: the same steps, rates and about the same losses.
        Their weights may be others: a bias before a batch norm wanders with what is rounded."""
        for one, two in self.runs(study, other):
            rows, others = self.rows(one), self.rows(two)
            assert rows["step"] == others["step"]
            assert np.allclose(rows["lr"], others["lr"], rtol=1e-9, atol=0.0)
            assert np.allclose(rows["loss"], others["loss"], rtol=0.05, atol=1e-3)

    def runs(self, study: str, other: str) -> list[tuple[str, str]]:
        """The paths of the runs of two studies, number by number."""
        count = self.get(path_of(study))["progress"]["num_runs"]
        return [
            (f"{path_of(study)}/runs/{run}", f"{path_of(other)}/runs/{run}") for run in range(count)
        ]


def with_steps(diagnosis: Json) -> Json:
    """A diagnosis whose findings have a place, or null where none was stored."""
    findings = [{"steps": None, **each} for each in diagnosis["findings"]]
    return {**diagnosis, "findings": findings}


def new_links(record: Json) -> dict[str, str]:
    """The links to calls that came later."""
    names = ("events", "importance") if record["id"].startswith("study_") else ("events",)
    return {name: f"{record['links']['self']}/{name}" for name in names}


def events(record: Json) -> dict[str, str | None]:
    """The last detail of each event of the timeline."""
    return {entry["event"]: entry["detail"] for entry in record["timeline"]}


@pytest.fixture(
    scope="module", params=sorted(DATA.glob("format-*.tar.xz")), ids=lambda path: path.name
)
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Opened]:
    folder = tmp_path_factory.mktemp("opened")
    with tarfile.open(request.param) as archive:
        archive.extractall(folder, filter="data")
    with serving(folder) as service:
        contents = json.loads((folder / "contents.json").read_text())
        yield Opened(service, contents, folder, int(request.param.name.split("-")[1][0]))


def test_what_had_ended_reads_as_it_did(opened: Opened) -> None:
    for use in (*ENDED, *opened.studies):
        before = opened.as_read_now(opened.contents[use]["record"])
        now = opened.get(path_of(opened.id(use)))
        assert {name: now[name] for name in before} == before


def test_histories_read_as_they_did(opened: Opened) -> None:
    for use in ENDED:
        rows = opened.contents[use]["rows"]
        path = path_of(opened.id(use))
        assert {kind: opened.rows(path, kind) for kind in rows} == rows
    for use in opened.studies:
        path = path_of(opened.id(use))
        runs = opened.contents[use]["rows"]
        assert {run: opened.rows(f"{path}/runs/{run}") for run in runs} == runs


def test_all_of_it_is_listed(opened: Opened) -> None:
    listed = {
        each["id"] for noun in ("jobs", "studies")
        for each in opened.get(f"/v1/{noun}", limit=200)["data"]
    }  # fmt: skip
    assert {each["id"] for each in opened.contents.values() if "id" in each} <= listed
    digits = opened.get("/v1/jobs", label="of:digits")["data"]
    assert opened.id("digits") in {each["id"] for each in digits}


def test_runs_and_comparisons_read_as_they_did(opened: Opened) -> None:
    for use in opened.studies:
        path = path_of(opened.id(use))
        before = opened.contents[use]
        runs = opened.get(f"{path}/runs", limit=1_000)["data"]
        old = [
            {name: now[name] for name in was} for now, was in zip(runs, before["runs"], strict=True)
        ]
        assert old == before["runs"]
        comparison = opened.get(f"{path}/comparison")
        # What was stopped early is counted in the reason by now.
        assert comparison.pop("reason").startswith(before["comparison"].pop("reason"))
        # Rows say more by now: what runs came to on the rows of a test, and where they were
        # inherited from, of which these have none.
        more = {"test": None, "inherited": False, "origin": None}
        rows = before["comparison"]["configurations"]
        before["comparison"]["configurations"] = [{**more, **row} for row in rows]
        assert comparison == before["comparison"]
        assert opened.get(f"{path}/best")["optimizer"]


def test_pictures_are_drawn(opened: Opened) -> None:
    asked = (
        *(("digits", "loss"), ("diverged", "loss"), ("auto", "lr")),
        *(("rosenbrock", "path"), ("auto", "spectrum"), ("grid", "curves")),
    )
    for use, kind in asked:
        path = path_of(opened.id(use))
        reply = opened.service.http.get(f"{path}/plot", params={"kind": kind, "format": "svg"})
        assert reply.status_code == 200, reply.text
        assert b"<svg" in reply.content


def test_weights_and_diagnoses_are_there(opened: Opened) -> None:
    for use in ENDED:
        path = path_of(opened.id(use))
        assert all(opened.weights(path, checkpoint) for checkpoint in ("initial", "final"))
        assert opened.get(f"{path}/checkpoints")["data"]
        assert opened.get(f"{path}/diagnosis")["verdict"]
    for use in opened.studies:
        assert opened.weights(f"{path_of(opened.id(use))}/runs/0")
    assert opened.get(f"{path_of(opened.id('remedied'))}/diagnosis")["compared_to_parent"]


def test_what_was_interrupted_comes_to_the_same_bits(opened: Opened) -> None:
    job = opened.end(opened.id("interrupted"))
    assert [attempt["end"] for attempt in job["attempts"]] == ["lost", "finished"]
    assert "restarted" not in events(job)
    one, two = path_of(opened.id("interrupted")), path_of(opened.id("long"))
    assert opened.weights(one).keys() == opened.weights(two).keys()
    if opened.same_long_runs:
        assert opened.rows(one) == opened.rows(two)
        assert opened.weights(one) == opened.weights(two)
    assert opened.end(opened.id("queued"))["status"] == "succeeded"


def test_a_study_in_the_middle_goes_on_where_it_was(opened: Opened) -> None:
    study = opened.end(opened.id("middle_study"))
    assert study["status"] == "succeeded"
    assert "restarted" not in events(study)
    if opened.same_long_runs:
        one, other = opened.id("middle_study"), opened.id("long_study")
        if study["spec"]["base"]["problem"]["kind"] == "function":
            opened.same_runs(one, other)
        else:  # Adam in stacks rounds otherwise than in the versions that made these (CHANGELOG)
            opened.same_losses(one, other)


def test_a_job_is_continued_from_its_checkpoint(opened: Opened) -> None:
    path = path_of(opened.id("digits"))
    child = opened.post(f"{path}/continue", {"budget": {"max_steps": 90}})
    assert opened.end(child["id"])["status"] == "succeeded"
    # As the version that made the directory continued it.
    again, before = path_of(child["id"]), path_of(opened.id("continued"))
    assert opened.rows(again)["step"] == opened.rows(before)["step"] == list(range(60, 90))
    if opened.same_products:
        assert opened.rows(again) == opened.rows(before)


def test_a_long_job_is_continued_with_the_parameters_that_it_has(opened: Opened) -> None:
    path = path_of(opened.id("long"))
    steps = opened.contents["long"]["record"]["spec"]["budget"]["max_steps"]
    child = opened.post(f"{path}/continue", {"budget": {"max_steps": steps + 10}})
    assert opened.end(child["id"])["status"] == "succeeded"
    again = path_of(child["id"])
    assert opened.rows(again)["step"] == [steps, steps + 9]
    assert opened.weights(again).keys() == opened.weights(path).keys()
    assert opened.weights(again, "initial") == opened.weights(path)


def test_a_remedy_is_applied(opened: Opened) -> None:
    child = opened.post(f"{path_of(opened.id('oscillating'))}/remedies/0/apply", {})
    assert opened.end(child["id"])["diagnosis"]["compared_to_parent"]
    assert opened.rows(path_of(child["id"])) == opened.rows(path_of(opened.id("remedied")))


def test_a_diagnosis_is_made_of_old_weights(opened: Opened) -> None:
    path = path_of(opened.id("oscillating"))
    reply = opened.service.http.post(f"{path}/diagnosis", json={"checkpoint": "final"})
    assert reply.status_code == 202, reply.text
    give_up = time.monotonic() + 60.0
    while not opened.service.http.get(f"{path}/diagnosis").json().get("measured"):
        assert time.monotonic() < give_up


@pytest.mark.parametrize("use", ["rosenbrock", "diverged", "auto", "digits"])
def test_a_stored_spec_posted_again_gives_the_same_bits(opened: Opened, use: str) -> None:
    path = path_of(opened.id(use))
    again = opened.post("/v1/jobs", opened.get(path)["spec"])
    assert opened.end(again["id"])["status"] == "succeeded"
    repeated = path_of(again["id"])
    spec, before = opened.get(repeated)["spec"], opened.get(path)["spec"]
    # The number of threads was not written out before format 4; it is the same.
    assert spec["threads"] is not None
    assert {**spec, "threads": before["threads"]} == before
    assert opened.rows(repeated)["step"] == opened.rows(path)["step"]
    # Products of matrices follow the processor (a library chooses its kernels by it).
    if use != "digits" or opened.same_products:
        assert opened.rows(repeated) == opened.rows(path)
        assert opened.weights(repeated) == opened.weights(path)


@pytest.mark.parametrize("use", ["grid", "halving", "tpe"])
def test_a_stored_study_posted_again_gives_the_same_bits(opened: Opened, use: str) -> None:
    if use not in opened.studies:
        pytest.skip("not in this directory")
    again = opened.post("/v1/studies", opened.get(path_of(opened.id(use)))["spec"])
    assert opened.end(again["id"])["status"] == "succeeded"
    opened.same_runs(again["id"], opened.id(use))


def test_the_store_carries_its_format_from_now_on(opened: Opened) -> None:
    with redis.Redis.from_url(f"unix://{opened.folder}/redis/redis.sock") as server:
        assert server.get("thalweg:format") == str(STORE).encode()


def test_a_backup_made_at_work_is_restored_and_what_it_cannot_read_begins_anew(
    opened: Opened, tmp_path: Path
) -> None:
    if "tpe" in opened.studies:
        pytest.skip("once is enough: in the other directory")
    job = opened.post("/v1/jobs", opened.get(path_of(opened.id("long")))["spec"])["id"]
    while opened.get(path_of(job))["progress"]["step"] < 2_000:
        continue
    backup = tmp_path / "backup.tar"
    # As docs/operators.md says it. tar's status is 1 when a file has grown meanwhile.
    copied = subprocess.run(
        ["tar", "-C", str(opened.folder), "-cf", str(backup), "redis/appendonlydir", "artifacts"],
        check=False,
    )
    assert copied.returncode in {0, 1}
    restored = tmp_path / "restored"
    restored.mkdir()
    subprocess.run(["tar", "-C", str(restored), "-xf", str(backup)], check=True)
    steps = list((restored / "artifacts" / job / "checkpoints").iterdir())
    assert steps
    for path in steps:
        path.write_bytes(path.read_bytes()[:-1])
    opened.service.http.post(f"{path_of(job)}/cancel")
    digits, long = path_of(opened.id("digits")), path_of(opened.id("long"))
    with serving(restored) as service:
        again = Opened(service, opened.contents, restored, opened.written)
        before = opened.as_read_now(opened.contents["digits"]["record"])
        now = again.get(digits)
        assert {name: now[name] for name in before} == before
        assert again.weights(digits) == opened.weights(digits)
        told = events(again.end(job))["restarted"] or ""
        assert re.match(r"from step 0: checkpoints/step_\d+.safetensors cannot be read \(", told)
        if opened.same_long_runs:
            assert again.rows(path_of(job)) == opened.rows(long)
            assert again.weights(path_of(job)) == opened.weights(long)
