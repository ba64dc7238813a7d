"""Runs a case as a job does: the training loop, the measurement at its end, the diagnosis."""

import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.artifacts.local import LocalJob
from core.diagnosis.diagnose import diagnose
from core.diagnosis.evidence.evidence import gather
from core.diagnosis.evidence.measured import Measured
from core.diagnosis.remedies.effect import compare, facts
from core.diagnosis.rules.table import examine
from core.diagnosis.verdict import decide
from core.messages.reports import Ending, HistoryRows
from core.specs.job import JobSpec
from core.specs.parsing.job import parse_job
from core.specs.parsing.remedy import merge
from core.specs.validation.limits import Limits
from core.train.events import RunEvent
from core.train.loop import run
from core.train.measure.measure import measure_checkpoint
from core.train.measure.trial_steps import first_steps
from tests.core.diagnosis.labelled.case import Case
from tests.core.diagnosis.labelled.cases import (
    causes,
    directions,
    further,
    landscapes,
    models,
    muon,
    networks,
    quadratics,
)
from tests.core.train.harness import writer_threads

Json = dict[str, Any]
Columns = dict[str, NDArray[np.float64]]
JOB = "job_01k2b3c4d5e6f7g8h9jkmnpqrs"


def all_cases() -> list[Case]:
    """The whole set, in a fixed order."""
    parts = (quadratics, landscapes, models, networks, further, muon, causes, directions)
    return [case for part in parts for case in part.cases()]


class Received:
    """Keeps the rows; nobody asks it to stop."""

    stop_requested = None
    dropped = ()

    def __init__(self) -> None:
        self.parts: dict[str, list[Columns]] = {"train": [], "eval": []}

    def emit(self, event: RunEvent) -> None:
        if isinstance(event, HistoryRows):
            self.parts[event.kind].append(event.columns)

    def columns(self, kind: str) -> Columns | None:
        parts = self.parts[kind]
        if not parts:
            return None
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@dataclass(frozen=True)
class Run:
    """A finished run with its diagnosis, and what a comparison needs of it."""

    spec: JobSpec
    ending: Ending
    train: Columns
    evaluation: Columns | None
    measured: Json | None
    diagnosis: Json
    facts: Json
    raw: float
    """The verdict's confidence before calibration."""


def resolved(job: Json) -> JobSpec:
    return parse_job(json.dumps(job).encode(), Limits())


def perform(spec: JobSpec, *, full: bool = True) -> Run:
    """Train and diagnose. `full`: with the measurement of the last weights."""
    received = Received()
    with tempfile.TemporaryDirectory() as folder:
        artifacts = LocalJob(Path(folder), JOB)
        ending = run(
            spec,
            artifacts=artifacts,
            emit=received.emit,
            control=received,
            device="cpu",
            threads=writer_threads(),
        )
        measured = measure_checkpoint(spec, artifacts) if full else None
    train, evaluation = received.columns("train") or {}, received.columns("eval")
    given = (spec, ending.outcome, ending.result, train, evaluation)
    found = diagnose(*given, measured, first_steps)
    with np.errstate(all="ignore"):
        seen = None if measured is None else Measured(measured)
        evidence = gather(spec, ending.outcome, train, evaluation, seen, ending.result)
        raw = decide(examine(evidence), evidence).raw
    return Run(spec, ending, train, evaluation, measured, found, facts(*given, found), raw)


def child(parent: Run, index: int = 0) -> Run | None:
    """The parent with its remedy `index` applied; None when it has no such remedy."""
    remedies = parent.diagnosis["remedies"]
    if len(remedies) <= index:
        return None
    body = json.loads(parent.spec.model_dump_json())
    return perform(resolved(merge(body, remedies[index]["patch"])))


def improvement(parent: Run, after: Run) -> Json:
    return compare(parent.facts, after.facts)


def find(cases: Iterable[Case], part: str) -> list[Case]:
    """Cases whose id contains `part`."""
    return [case for case in cases if part in case.id]
