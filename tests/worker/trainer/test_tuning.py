"""A rate that is found on the way: the record says it, whatever interrupts; and the real duty."""

import json
import math
from pathlib import Path
from typing import Any, Literal

import pytest

from core.messages.reports import Ending
from core.messages.requests import TrainJob
from core.settings import Settings
from core.specs.base import Json
from core.specs.parsing.job import parse_job
from core.specs.validation.limits import Limits
from tests.core.train.harness import JOB, Received
from tests.worker.bench import Bench, there
from tests.worker.scenarios import Settle, Tune
from worker.trainer.handlers import train_job


def test_the_settled_rate_stands_in_the_record_with_its_evidence(bench: Bench) -> None:
    bench.worker()
    job = bench.until_status(bench.submit(Settle(0.25), lr="auto"), "succeeded")
    assert job.spec["optimizer"]["lr"] == 0.25
    assert job.resolved == {"optimizer.lr": {"value": 0.25, "evidence": {"loss": math.inf}}}
    assert bench.steps(job.id) == list(range(10))


def test_the_diagnosis_is_of_the_settled_spec(bench: Bench) -> None:
    bench.worker()
    found = bench.submit(Settle(0.25), lr="auto", diagnose="full")
    job = bench.until_status(found, "succeeded")
    assert job.spec["optimizer"]["lr"] == 0.25
    assert there(job.diagnosis)["findings"]
    assert there(job.diagnosis)["verdict"]


def test_a_job_is_cancelled_while_it_looks_for_its_rate(bench: Bench) -> None:
    bench.worker()
    job_id = bench.submit(Tune(), lr="auto")
    bench.until(lambda: bench.get(job_id).phase == "tuning")
    bench.cancel(job_id)
    job = bench.until_status(job_id, "cancelled")
    assert job.spec["optimizer"]["lr"] == "auto"
    assert (job.resolved, job.result, job.outcome) == ({}, None, None)
    assert [attempt.end for attempt in job.attempts] == ["cancelled"]


def test_a_worker_that_shuts_down_while_tuning_leaves_it_to_another(bench: Bench) -> None:
    first = bench.worker()
    job_id = bench.submit(Tune(), resumed=Settle(0.5), lr="auto")
    bench.until(lambda: bench.get(job_id).phase == "tuning")
    first.stop()
    assert bench.get(job_id).spec["optimizer"]["lr"] == "auto"
    bench.worker()
    job = bench.until_status(job_id, "succeeded")
    assert job.spec["optimizer"]["lr"] == 0.5
    assert [attempt.end for attempt in job.attempts] == ["handed_over", "finished"]


# --- the duty itself, with torch


class Events(Received):
    """Also keeps what was settled."""

    spec: Json | None = None
    resolved: Json | None = None

    def settled(self, spec: Json, resolved: Json) -> None:
        assert self.histories == {"train": {}, "eval": {}}, "before the first row"
        self.spec, self.resolved = spec, resolved


class Control:
    """Asks to stop at the read after `reads`; None: never."""

    dropped: tuple[int, ...] = ()
    keep = 0

    def __init__(self, request: Literal["cancel", "hand_over"], reads: int | None) -> None:
        self._request = request
        self._left = math.inf if reads is None else reads

    @property
    def stop_requested(self) -> Literal["cancel", "hand_over"] | None:
        self._left -= 1
        return self._request if self._left < 0 else None


def duty(
    spec: Json,
    folder: Path,
    request: Literal["cancel", "hand_over"] = "cancel",
    reads: int | None = None,
    *,
    resume: bool = False,
) -> tuple[Ending, Events]:
    events = Events()
    job = TrainJob(
        job_id=JOB,
        spec=spec,
        artifacts=str(folder),
        device="cpu",
        resume=resume,
        stored_rows=None,
        run=1,
    )
    return train_job(job, events.emit, Control(request, reads)), events


@pytest.fixture(scope="module")
def spec() -> Json:
    body = {
        "problem": {
            "kind": "supervised",
            "data": {"kind": "builtin", "name": "iris"},
            "model": {"kind": "mlp", "hidden": [8]},
        },
        "optimizer": {"kind": "adam", "lr": "auto"},
        "budget": {"max_steps": 60},
    }
    spec = parse_job(json.dumps(body).encode(), Limits.of(Settings()))
    return spec.model_dump(mode="json")


def test_the_duty_tunes_settles_and_trains_as_if_posted_with_the_rate(
    spec: Json, tmp_path: Path
) -> None:
    ending, events = duty(spec, tmp_path / "a")
    assert events.phases == ["tuning", "preparing", "training", "saving"]
    assert events.spec is not None
    assert events.resolved is not None
    lr = events.resolved["optimizer.lr"]["value"]
    assert events.spec == {**spec, "optimizer": {**spec["optimizer"], "lr": lr}}
    again, plain = duty(events.spec, tmp_path / "b")
    assert plain.phases == ["preparing", "training", "saving"]
    assert plain.spec is None
    for name in ("step", "loss", "lr", "grad_norm"):
        assert plain.column(name) == events.column(name)
    assert plain.column("step")[0] == 0
    assert {**again.result, "train_s": 0} == {**ending.result, "train_s": 0}


@pytest.mark.parametrize("reads", [0, 20, 120, 180])
@pytest.mark.parametrize(
    ("request_", "reason"), [("cancel", "cancelled"), ("hand_over", "handed_over")]
)
def test_asked_to_stop_while_tuning_the_duty_ends_with_nothing_to_keep(
    spec: Json, tmp_path: Path, reads: int, request_: Any, reason: str
) -> None:
    ending, events = duty(spec, tmp_path, request_, reads)
    assert (ending.reason, ending.outcome, ending.result, ending.best) == (reason, None, {}, None)
    assert events.phases == ["tuning"]
    assert events.spec is None
    assert events.histories == {"train": {}, "eval": {}}


def test_an_attempt_that_tunes_again_goes_on_to_the_bit(spec: Json, tmp_path: Path) -> None:
    """The record may not have heard of the rate when the worker died: training had begun."""
    whole = duty(spec, tmp_path / "whole")[1]
    reads = 0
    while True:  # the first request that comes after the tuning
        reads += 50
        ending, first = duty(spec, tmp_path / f"{reads}", "hand_over", reads)
        if first.spec is not None and len(first.histories["train"]) > 0:
            break
    assert ending.reason == "handed_over"
    _, second = duty(spec, tmp_path / f"{reads}", resume=True)
    assert second.spec == first.spec == whole.spec
    rows = {**first.histories["train"], **second.histories["train"]}
    assert [rows[row]["loss"] for row in sorted(rows)] == whole.column("loss")
    assert min(second.histories["train"]) > 0
