"""Records: things of the service as replies tell of them. Their calls stand in the clients."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

TERMINAL: Final = frozenset({"succeeded", "failed", "cancelled"})
"""Statuses that do not change any more."""
_WORDS: Final = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def numbers(value: Any) -> Any:
    """Return a reply's value with floats for the words that stand for numbers not finite."""
    if isinstance(value, str):
        return _WORDS.get(value, value)
    if isinstance(value, dict):
        return {name: numbers(each) for name, each in value.items()}
    if isinstance(value, list):
        return [numbers(each) for each in value]
    return value


class Record:
    """A thing of the service, as it was when it was last read.

    `data` is the reply, as a dict; the properties read from it.
    """

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data

    @property
    def id(self) -> str:
        """The id."""
        return str(self.data["id"])

    def __repr__(self) -> str:
        return f"<{type(self).__name__.removeprefix('Async')} {self.id}: {self._state()}>"

    def _state(self) -> str:
        return ""

    def _number(self, name: str) -> Any:
        return numbers(self.data.get(name))


class WorkRecord(Record):
    """A job, or a study, as it was when it was last read."""

    @property
    def status(self) -> str:
        """The status: `queued`, `running`, `paused`, `cancelling`, `succeeded`, `failed` or
        `cancelled`."""
        return str(self.data["status"])

    @property
    def ended(self) -> bool:
        """True once the status will not change any more."""
        return self.status in TERMINAL

    @property
    def spec(self) -> Any:
        """The spec with every default written out; posted again it repeats the work."""
        return self.data["spec"]

    @property
    def name(self) -> str | None:
        """The name that it was given."""
        return self.data.get("name")

    @property
    def labels(self) -> dict[str, str]:
        """The labels."""
        return dict(self.data.get("labels") or {})

    @property
    def progress(self) -> dict[str, Any]:
        """Numbers of how far it has come and how fast, and what it waits for."""
        found: dict[str, Any] = self._number("progress")
        return found

    @property
    def result(self) -> dict[str, Any] | None:
        """The numbers of the end; None before."""
        found: dict[str, Any] | None = self._number("result")
        return found

    @property
    def error(self) -> dict[str, Any] | None:
        """Reason of its failure: `code`, `message` and `param`; None where it has not."""
        return self.data.get("error")

    @property
    def created_at(self) -> str:
        """Time when it was made (RFC 3339)."""
        return str(self.data["created_at"])


class JobRecord(WorkRecord):
    """A job, as it was when it was last read."""

    @property
    def outcome(self) -> str | None:
        """Outcome of the descent: `converged`, `stalled`, `budget_exhausted` or `diverged`."""
        found: str | None = self.data["outcome"]
        return found

    @property
    def latest(self) -> dict[str, Any] | None:
        """The last recorded row's step and loss."""
        found: dict[str, Any] | None = self._number("latest")
        return found

    @property
    def best(self) -> dict[str, Any] | None:
        """The best row's step and value."""
        found: dict[str, Any] | None = self._number("best")
        return found

    @property
    def parent_id(self) -> str | None:
        """The job that it was made from."""
        return self.data.get("parent_id")

    @property
    def verdict(self) -> str | None:
        """Verdict of the diagnosis in one word; None while there is none."""
        diagnosis = self.data.get("diagnosis")
        return None if diagnosis is None else str(diagnosis["verdict"])

    def _state(self) -> str:
        words = [self.status, self.outcome, self.verdict]
        if not self.ended:
            words = [self.status, f"step {self.progress['step']}"]
        return ", ".join(word for word in words if word)

    def _repr_html_(self) -> str:
        from thalweg.notebook import job_html

        return job_html(self)


class StudyRecord(WorkRecord):
    """A study, as it was when it was last read."""

    def _state(self) -> str:
        progress = self.progress
        return f"{self.status}, {progress['num_finished_runs']} of {progress['num_runs']} runs"

    def _repr_html_(self) -> str:
        from thalweg.notebook import study_html

        return study_html(self)


class RunRecord(Record):
    """A run of a study, as it was when it was last read."""

    @property
    def id(self) -> str:
        """The study's id and the run's index (`study_…/3`)."""
        return f"{self.study_id}/{self.index}"

    @property
    def study_id(self) -> str:
        """The study's id."""
        return str(self.data["study_id"])

    @property
    def index(self) -> int:
        """The run's number."""
        return int(self.data["index"])

    @property
    def params(self) -> dict[str, Any]:
        """Parameters of this run's configuration, by dotted path of the job's spec."""
        return dict(self.data["params"])

    @property
    def status(self) -> str:
        """The status, as of a job."""
        return str(self.data["status"])

    @property
    def outcome(self) -> str | None:
        """Outcome of the descent."""
        found: str | None = self.data["outcome"]
        return found

    @property
    def metric(self) -> float | None:
        """The study's metric of this run."""
        found: float | None = self._number("metric")
        return found

    def _state(self) -> str:
        return ", ".join(f"{word}" for word in (self.status, self.outcome) if word)


class DatasetRecord(Record):
    """A data set, as it was when it was last read."""

    @property
    def status(self) -> str:
        """The status: `checking`, `ready` or `refused`."""
        return str(self.data["status"])

    @property
    def ended(self) -> bool:
        """True once it has been checked."""
        return self.status != "checking"

    @property
    def progress(self) -> dict[str, Any]:
        """An empty mapping: how far a check has come is not known."""
        return {}

    @property
    def name(self) -> str | None:
        """The name that it was given."""
        found: str | None = self.data["name"]
        return found

    @property
    def labels(self) -> dict[str, str]:
        """The labels."""
        return dict(self.data["labels"])

    @property
    def kind(self) -> str:
        """The kind: `table`, `arrays`, `text`, `images` or `weights`."""
        return str(self.data["kind"])

    @property
    def num_rows(self) -> int | None:
        """The number of rows, images, or lines; None of weights, and while it is unknown."""
        found: int | None = self.data["num_rows"]
        return found

    @property
    def columns(self) -> list[dict[str, Any]]:
        """The columns: each one's `name`, `dtype`, `shape`, `num_missing` and `categories`."""
        return list(self.data["columns"])

    @property
    def error(self) -> dict[str, Any] | None:
        """Reason of its refusal: `code`, `message`, `row`, `column`, `entry`; else None."""
        found: dict[str, Any] | None = self.data["error"]
        return found

    def _state(self) -> str:
        words = [self.status, self.name, self.kind]
        if self.num_rows is not None:
            words.append(f"{self.num_rows:,} rows")
        return ", ".join(word for word in words if word)

    def _repr_html_(self) -> str:
        from thalweg.notebook import dataset_html

        return dataset_html(self)


@dataclass(frozen=True)
class Finding:
    """Answer of one rule of the diagnosis.

    Attributes:
        rule: its name.
        status: `triggered`, `clear` or `undetermined`.
        evidence: the numbers that decided.
        explanation: what it means.
        source: the paper or book behind the rule.
        steps: first and last step of what it is about; None: it has no place in the history.
    """

    rule: str
    status: str
    evidence: dict[str, Any]
    explanation: str
    source: str | None
    steps: tuple[int, int] | None = None

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        """Read a finding from a reply."""
        return cls(
            data["rule"],
            data["status"],
            numbers(data["evidence"]),
            data["explanation"],
            data.get("source"),
            None if data.get("steps") is None else (data["steps"][0], data["steps"][1]),
        )
