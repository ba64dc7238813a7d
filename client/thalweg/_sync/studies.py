# Written by scripts/client_code.py from _async/studies.py. Do not edit by hand.
"""Studies: many descents as one."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

from thalweg._sync import calls
from thalweg._sync.models import Model
from thalweg._sync.transport import Transport, listed, place
from thalweg._sync.work import Work
from thalweg.events import Event
from thalweg.history import History
from thalweg.records import RunRecord, StudyRecord, numbers

if TYPE_CHECKING:
    from thalweg.specs import JobSpec, StudySpec


class Run(RunRecord, Model):
    """A run of a study, as it was when it was last read; its calls ask the service."""

    def __init__(self, transport: Transport, data: dict[str, Any]) -> None:
        super().__init__(data)
        self._transport = transport
        self._path = place("studies", self.study_id, "runs", self.index)

    def spec(self) -> "JobSpec":
        """Return the run's spec, resolved: created as a job it repeats the run alone."""
        found: JobSpec = (self._transport.json("GET", self._path))["spec"]
        return found

    def history(
        self,
        kind: Literal["train", "eval"] = "train",
        *,
        series: str | Sequence[str] | None = None,
        after: int | None = None,
        until: int | None = None,
        points: int | None = None,
    ) -> History:
        """Read the run's rows as arrays; the arguments are those of a job's history."""
        path = f"{self._path}/history"
        return calls.read_history(
            self._transport, path, self.id, kind, series, after, points, until
        )


class Study(Work, StudyRecord):
    """A study. Its properties are as it was when it was last read; its calls ask the service.

    Example:
        >>> study = client.studies.create({
        ...     "base": {
        ...         "problem": {"kind": "function", "function": {"kind": "sphere", "dim": 2}},
        ...         "optimizer": {"kind": "sgd"},
        ...         "budget": {"max_steps": 50},
        ...     },
        ...     "sweep": {"optimizer.lr": {"values": [0.01, 0.1]}},
        ... })
        >>> study = study.wait()
        >>> [run.params for run in study.runs()]
        [{'optimizer.lr': 0.01}, {'optimizer.lr': 0.1}]
        >>> (study.best())["optimizer"]["lr"]
        0.1
    """

    _collection = "studies"

    def stream(self, *, run: int | None = None) -> Iterator[Event]:
        """Go through what happens to the study, from now until it has ended.

        `run`: the index of a run whose rows come too.
        """
        query = {"run": run}
        for event in calls.events(self._transport, self._path, query, polled=False):
            if event.type in {"status", "end"} and event.data.get("id") == self.id:
                self.data = event.data
            yield event

    def runs(
        self,
        *,
        sort: Literal["index", "metric"] = "index",
        status: str | Sequence[str] | None = None,
        limit: int | None = None,
    ) -> Iterator[Run]:
        """Go through the runs in order of their index, or the best first."""
        query = {"sort": sort, "status": listed(status)}
        make = self._made
        for run in self._transport.pages(f"{self._path}/runs", make, query, limit):
            yield run

    def _made(self, data: dict[str, Any]) -> Run:
        return Run(self._transport, data)

    def run(self, index: int) -> Run:
        """Read one run. Raises `NotFoundError`."""
        data = self._transport.json("GET", place("studies", self.id, "runs", index))
        return Run(self._transport, data)

    def best(self) -> "JobSpec":
        """Return the best configuration as a job's spec, ready to be created."""
        found: JobSpec = self._transport.json("GET", f"{self._path}/best")
        return found

    def comparison(self) -> dict[str, Any]:
        """Compare the configurations: means and intervals, targets, and the winner or why there
        is none."""
        found: dict[str, Any] = numbers(self._transport.json("GET", f"{self._path}/comparison"))
        return found

    def importance(self) -> dict[str, Any]:
        """Return the share of the metric's variation that each swept path explains. Raises
        `ConflictError` until the study has succeeded."""
        found: dict[str, Any] = self._transport.json("GET", f"{self._path}/importance")
        return found

    def plot(
        self,
        kind: Literal["curves", "profile"] = "curves",
        format: Literal["svg", "png"] = "png",  # noqa: A002
    ) -> bytes:
        """Return a picture, as the service draws it."""
        query = {"kind": kind, "format": format}
        return (self._transport.send("GET", f"{self._path}/plot", params=query)).content

    def extend(self, num_runs: int) -> Self:
        """Have the strategy choose this many configurations in all. Raises `ConflictError` once the
        study has ended: then create another with `warm_start_from`."""
        body = {"num_runs": num_runs}
        self.data = self._transport.json("POST", f"{self._path}/extend", body=body)
        return self

    def enqueue(self, *configurations: dict[str, Any]) -> Self:
        """Train these configurations next: each a value by swept path. Raises `ConflictError` once
        the study has ended.

        Example:
            >>> study = client.studies.create({
            ...     "base": {
            ...         "problem": {"kind": "function", "function": {"kind": "sphere", "dim": 2}},
            ...         "optimizer": {"kind": "sgd"},
            ...         "budget": {"max_steps": 50},
            ...     },
            ...     "sweep": {"optimizer.lr": {"log": [0.001, 0.5]}},
            ...     "strategy": {"kind": "random", "num_runs": 4},
            ...     "configurations": [{"optimizer.lr": 0.01}],
            ... })
            >>> study = study.enqueue({"optimizer.lr": 0.1})
            >>> study.progress["num_runs"]
            6
        """
        body = {"configurations": list(configurations)}
        self.data = self._transport.json("POST", f"{self._path}/enqueue", body=body)
        return self


class Studies:
    """The studies of a service: `client.studies`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, spec: "StudySpec", *, idempotency_key: str | None = None) -> Study:
        """Queue a study, and return it; the arguments are those of a job.

        Raises `InvalidRequestError` with every mistake.
        """
        headers = calls.keyed(idempotency_key)
        data = self._transport.json("POST", "/v1/studies", body=spec, headers=headers)
        return Study(self._transport, data)

    def validate(self, spec: "StudySpec") -> dict[str, Any]:
        """Check a spec: return it resolved, with an estimate of its cost. Nothing is created.

        Raises `InvalidRequestError` with every mistake.
        """
        found: dict[str, Any] = self._transport.json("POST", "/v1/studies/validate", body=spec)
        return found

    def get(self, id: str) -> Study:  # noqa: A002
        """Read a study. Raises `NotFoundError`."""
        return Study(self._transport, self._transport.json("GET", place("studies", id)))

    def list(
        self,
        *,
        status: str | Sequence[str] | None = None,
        label: str | Sequence[str] | None = None,
        created_after: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Study]:
        """Go through the studies, the newest first; the arguments are those of the list of jobs."""
        query = {"status": listed(status), "label": listed(label), "created_after": created_after}
        make = self._made
        for study in self._transport.pages("/v1/studies", make, query, limit):
            yield study

    def _made(self, data: dict[str, Any]) -> Study:
        return Study(self._transport, data)
