"""Runs of kinds of trouble, and what the rules say of them."""

from tests.core.diagnosis.labelled.case import Json, adam, sgd
from tests.core.diagnosis.labelled.running import Run, perform, resolved
from tests.core.diagnosis.runs import finding

SMOOTH = [sgd(0.05), sgd(0.02, momentum=0.9), sgd(0.02, momentum=0.5, nesterov=True), adam(0.05)]


def run_of(job: Json, *, full: bool = False) -> Run:
    return perform(resolved(job), full=full)


def status(run: Run, rule: str) -> str:
    found: str = finding(run.diagnosis, rule)["status"]
    return found


def name(value: object) -> str:
    return str(value).replace(" ", "")[:60]
