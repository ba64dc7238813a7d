# Written by scripts/client_code.py from _async/jobs.py. Do not edit by hand.
"""Jobs: one descent each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import sleep
from typing import TYPE_CHECKING, Any, Literal, Self

from thalweg._sync import calls
from thalweg._sync.models import Model
from thalweg._sync.transport import Transport, deadline, listed, place
from thalweg._sync.work import Work
from thalweg.errors import ConflictError, WaitTimeoutError
from thalweg.events import POLL_S, Event
from thalweg.history import History
from thalweg.records import Finding, JobRecord, numbers

if TYPE_CHECKING:
    from thalweg.specs import Budget, JobSpec

Kind = Literal["train", "eval", "system"]


class Job(Work, JobRecord, Model):
    """A job. Its properties are as it was when it was last read; its calls ask the service.

    Example:
        >>> job = client.jobs.create({
        ...     "problem": {"kind": "function", "function": {"kind": "rosenbrock"}},
        ...     "optimizer": {"kind": "adam", "lr": 0.05},
        ...     "budget": {"max_steps": 200},
        ... })
        >>> (job.wait()).status
        'succeeded'
    """

    _collection = "jobs"

    def stream(
        self,
        *,
        after: int | Literal["latest"] | None = None,
        series: str | Sequence[str] | None = None,
        kind: Kind | None = None,
    ) -> Iterator[Event]:
        """Go through what happens to the job, from its first row on, until it has ended.

        Args:
            after: rows with a larger step only; `latest` leaves out those that are there already.
            series: names of series; left out: all.
            kind: the kind of rows.

        A connection that breaks is made again, without a gap or a repeat. Where the service has no
        streams, it is asked again and again.

        Example:
            >>> losses = []
            >>> for event in job.stream(series="loss"):
            ...     if event.type == "points":
            ...         losses.extend(event.rows["loss"])
            >>> len(losses)
            200
        """
        query = {"after": after, "series": calls.series_of(series), "kind": kind}
        for event in calls.events(self._transport, self._path, query, polled=True):
            if event.type in {"status", "end"} and event.data.get("id") == self.id:
                self.data = event.data
            yield event

    def history(
        self,
        kind: Kind = "train",
        *,
        series: str | Sequence[str] | None = None,
        after: float | None = None,
        until: float | None = None,
        points: int | None = None,
    ) -> History:
        """Read the rows that there are, as arrays.

        Args:
            kind: `train` (a row a recorded step), `eval` (a row an evaluation) or `system` (what
                the job's processes use, a row every few seconds).
            series: names of series; left out: all but `time_s` and `epoch`.
            after: rows with a larger step only; of `system`, with a later `time_s`.
            until: rows up to and with this step only; of `system`, up to this `time_s`.
            points: a view of at most so many of these rows that keeps extremes, instead of all.

        Example:
            >>> history = job.history()
            >>> history["loss"].shape
            (200,)
            >>> bool(history["loss"][-1] < history["loss"][0])
            True
        """
        path = f"{self._path}/history"
        return calls.read_history(
            self._transport, path, self.id, kind, series, after, points, until
        )

    def checkpoints(self) -> list[dict[str, Any]]:
        """List the weights that are kept: name, step, metrics, size and SHA-256."""
        found = self._transport.pages(f"{self._path}/checkpoints", numbers, {}, None)
        return [each for each in found]

    def keep_checkpoint(self) -> Self:
        """Have a running job write a checkpoint at its next step, which stays as long as the job.

        Raises `ConflictError` when it does not run.
        """
        path = f"{self._path}/checkpoints"
        self.data = self._transport.json("POST", path, repeatable=False)
        return self

    def plot(
        self,
        kind: Literal["loss", "lr", "path", "spectrum", "landscape"] = "loss",
        format: Literal["svg", "png"] = "png",  # noqa: A002
    ) -> bytes:
        """Return a picture, as the service draws it."""
        query = {"kind": kind, "format": format}
        return (self._transport.send("GET", f"{self._path}/plot", params=query)).content

    def diagnosis(self) -> "Diagnosis":
        """Read the diagnosis. Raises `ConflictError` (`not_ready`) while there is none."""
        found = self._transport.json("GET", f"{self._path}/diagnosis")
        return Diagnosis.of(self, found)

    def diagnose(
        self, checkpoint: str | int = "final", timeout_s: float | None = None
    ) -> "Diagnosis":
        """Have the weights of a job that has ended measured, and return the diagnosis.

        Raises `WaitTimeoutError` when it is not made in time; it goes on.
        """
        path, left = f"{self._path}/diagnosis", deadline(timeout_s)
        self._transport.json("POST", path, body={"checkpoint": checkpoint})
        while left() > 0:
            try:
                found = self.diagnosis()
            except ConflictError as error:
                if error.code != "not_ready":
                    raise
            else:
                self.refresh()
                return found
            sleep(max(0.0, min(POLL_S, left())))
        raise WaitTimeoutError(f"The diagnosis of {self.id} is not made after {timeout_s:g} s")

    @property
    def remedies(self) -> "tuple[Remedy, ...]":
        """Changes that the diagnosis proposes, the most promising first."""
        diagnosis = self.data.get("diagnosis") or {}
        return tuple(Remedy.of(self, each) for each in diagnosis.get("remedies") or ())

    def apply(self, index: int = 0) -> "Job":
        """Try a remedy: return a new job, with the remedy's patch."""
        return self._child(f"remedies/{index}/apply", None)

    def continue_(self, budget: "Budget | None" = None, **limits: Any) -> "Job":
        """Go on where the job stopped, with a longer budget; return the new job.

        Budgets count from the origin: `continue_(max_steps=4000)` of a job of 2,000 steps adds as
        many.
        """
        return self._child("continue", {"budget": {**(budget or {}), **limits}})

    def _child(self, call: str, body: Any) -> "Job":
        path, headers = f"{self._path}/{call}", calls.keyed(None)
        data = self._transport.json("POST", path, body=body, headers=headers)
        return Job(self._transport, data)


@dataclass(frozen=True, repr=False)
class Remedy:
    """A change of the spec that may help.

    Attributes:
        index: its place in the diagnosis.
        patch: a JSON merge patch on the spec.
        reason: why it may help.
        expected: numbers that it should lead to.
    """

    job: Job
    index: int
    patch: dict[str, Any]
    reason: str
    expected: dict[str, Any]

    @classmethod
    def of(cls, job: Job, data: Mapping[str, Any]) -> Self:
        """Read a remedy from a reply."""
        expected = numbers(data.get("expected") or {})
        return cls(job, data["index"], data["patch"], data["reason"], expected)

    def apply(self) -> Job:
        """Try it: return a new job with the patch."""
        return self.job.apply(self.index)

    def __repr__(self) -> str:
        return f"<Remedy {self.index}: {self.patch}, {self.reason}>"


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """The service's diagnosis of a descent.

    Attributes:
        verdict: what went on, in one word.
        confidence: from 0 to 1, or None.
        findings: what each rule found.
        remedies: what may help, the most promising first.
        data: the whole reply.
    """

    verdict: str
    confidence: float | None
    findings: tuple[Finding, ...]
    remedies: tuple[Remedy, ...]
    data: dict[str, Any]

    @classmethod
    def of(cls, job: Job, data: dict[str, Any]) -> Self:
        """Read a diagnosis from a reply."""
        return cls(
            data["verdict"],
            data.get("confidence"),
            tuple(Finding.of(each) for each in data["findings"]),
            tuple(Remedy.of(job, each) for each in data["remedies"]),
            data,
        )

    def __repr__(self) -> str:
        return f"<Diagnosis: {self.verdict}, {len(self.remedies)} remedies>"

    def _repr_html_(self) -> str:
        from thalweg.notebook import diagnosis_html

        return diagnosis_html(self.data)


class Jobs:
    """The jobs of a service: `client.jobs`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        spec: "JobSpec",
        *,
        name: str | None = None,
        note: str | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Queue a job, and return it.

        Args:
            spec: what to do, as typed models (`thalweg.specs`) or a plain dict.
            name: a name to find it by.
            note: anything to remember.
            idempotency_key: the same key makes the same job, however often it is sent. Left out,
                each call has one of its own, so that what is sent again makes one job.

        Raises `InvalidRequestError` with every mistake.

        Example:
            >>> job = client.jobs.create({
            ...     "problem": {"kind": "function", "function": {"kind": "sphere", "dim": 2}},
            ...     "optimizer": {"kind": "sgd", "lr": 0.1},
            ... })
            >>> job.spec["schedule"]
            {'kind': 'constant'}
        """
        beside = {"name": name, "note": note}
        body = {**spec, **{field: text for field, text in beside.items() if text is not None}}
        headers = calls.keyed(idempotency_key)
        data = self._transport.json("POST", "/v1/jobs", body=body, headers=headers)
        return Job(self._transport, data)

    def validate(self, spec: "JobSpec") -> dict[str, Any]:
        """Check a spec: return it resolved, an estimate of its cost, and its model's layers.

        Raises `InvalidRequestError` with every mistake. Nothing is created.
        """
        found: dict[str, Any] = self._transport.json("POST", "/v1/jobs/validate", body=spec)
        return found

    def get(self, id: str) -> Job:  # noqa: A002
        """Read a job. Raises `NotFoundError`."""
        return Job(self._transport, self._transport.json("GET", place("jobs", id)))

    def list(
        self,
        *,
        status: str | Sequence[str] | None = None,
        label: str | Sequence[str] | None = None,
        created_after: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Job]:
        """Go through the jobs, the newest first.

        Args:
            status: any of these.
            label: `key:value`; all of these.
            created_after: a time of RFC 3339.
            limit: the most jobs; None goes through all.

        Example:
            >>> [job.status for job in client.jobs.list(status="succeeded", limit=1)]
            ['succeeded']
        """
        query = {"status": listed(status), "label": listed(label), "created_after": created_after}
        make = self._made
        for job in self._transport.pages("/v1/jobs", make, query, limit):
            yield job

    def _made(self, data: dict[str, Any]) -> Job:
        return Job(self._transport, data)
