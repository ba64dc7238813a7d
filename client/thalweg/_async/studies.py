"""Studies: many descents as one."""

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

from thalweg._async import calls
from thalweg._async.models import AsyncModel
from thalweg._async.transport import AsyncTransport, listed, place
from thalweg._async.work import AsyncWork
from thalweg.events import Event
from thalweg.history import History
from thalweg.records import RunRecord, StudyRecord, numbers

if TYPE_CHECKING:
    from thalweg.specs import JobSpec, StudySpec


class AsyncRun(RunRecord, AsyncModel):
    """A run of a study, as it was when it was last read; its calls ask the service."""

    def __init__(self, transport: AsyncTransport, data: dict[str, Any]) -> None:
        super().__init__(data)
        self._transport = transport
        self._path = place("studies", self.study_id, "runs", self.index)

    async def spec(self) -> "JobSpec":
        """Return the run's spec, resolved: created as a job it repeats the run alone."""
        found: JobSpec = (await self._transport.json("GET", self._path))["spec"]
        return found

    async def history(
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
        return await calls.read_history(
            self._transport, path, self.id, kind, series, after, points, until
        )


class AsyncStudy(AsyncWork, StudyRecord):
    """A study. Its properties are as it was when it was last read; its calls ask the service.

    Example:
        >>> study = await client.studies.create({
        ...     "base": {
        ...         "problem": {"kind": "function", "function": {"kind": "sphere", "dim": 2}},
        ...         "optimizer": {"kind": "sgd"},
        ...         "budget": {"max_steps": 50},
        ...     },
        ...     "sweep": {"optimizer.lr": {"values": [0.01, 0.1]}},
        ... })
        >>> study = await study.wait()
        >>> [run.params async for run in study.runs()]
        [{'optimizer.lr': 0.01}, {'optimizer.lr': 0.1}]
        >>> (await study.best())["optimizer"]["lr"]
        0.1
    """

    _collection = "studies"

    async def stream(self, *, run: int | None = None) -> AsyncIterator[Event]:
        """Go through what happens to the study, from now until it has ended.

        `run`: the index of a run whose rows come too.
        """
        query = {"run": run}
        async for event in calls.events(self._transport, self._path, query, polled=False):
            if event.type in {"status", "end"} and event.data.get("id") == self.id:
                self.data = event.data
            yield event

    async def runs(
        self,
        *,
        sort: Literal["index", "metric"] = "index",
        status: str | Sequence[str] | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[AsyncRun]:
        """Go through the runs in order of their index, or the best first."""
        query = {"sort": sort, "status": listed(status)}
        make = self._made
        async for run in self._transport.pages(f"{self._path}/runs", make, query, limit):
            yield run

    def _made(self, data: dict[str, Any]) -> AsyncRun:
        return AsyncRun(self._transport, data)

    async def run(self, index: int) -> AsyncRun:
        """Read one run. Raises `NotFoundError`."""
        data = await self._transport.json("GET", place("studies", self.id, "runs", index))
        return AsyncRun(self._transport, data)

    async def best(self) -> "JobSpec":
        """Return the best configuration as a job's spec, ready to be created."""
        found: JobSpec = await self._transport.json("GET", f"{self._path}/best")
        return found

    async def comparison(self) -> dict[str, Any]:
        """Compare the configurations: means and intervals, targets, and the winner or why there
        is none."""
        found: dict[str, Any] = numbers(
            await self._transport.json("GET", f"{self._path}/comparison")
        )
        return found

    async def importance(self) -> dict[str, Any]:
        """Return the share of the metric's variation that each swept path explains. Raises
        `ConflictError` until the study has succeeded."""
        found: dict[str, Any] = await self._transport.json("GET", f"{self._path}/importance")
        return found

    async def plot(
        self,
        kind: Literal["curves", "profile"] = "curves",
        format: Literal["svg", "png"] = "png",  # noqa: A002
    ) -> bytes:
        """Return a picture, as the service draws it."""
        query = {"kind": kind, "format": format}
        return (await self._transport.send("GET", f"{self._path}/plot", params=query)).content

    async def extend(self, num_runs: int) -> Self:
        """Have the strategy choose this many configurations in all. Raises `ConflictError` once the
        study has ended: then create another with `warm_start_from`."""
        body = {"num_runs": num_runs}
        self.data = await self._transport.json("POST", f"{self._path}/extend", body=body)
        return self

    async def enqueue(self, *configurations: dict[str, Any]) -> Self:
        """Train these configurations next: each a value by swept path. Raises `ConflictError` once
        the study has ended.

        Example:
            >>> study = await client.studies.create({
            ...     "base": {
            ...         "problem": {"kind": "function", "function": {"kind": "sphere", "dim": 2}},
            ...         "optimizer": {"kind": "sgd"},
            ...         "budget": {"max_steps": 50},
            ...     },
            ...     "sweep": {"optimizer.lr": {"log": [0.001, 0.5]}},
            ...     "strategy": {"kind": "random", "num_runs": 4},
            ...     "configurations": [{"optimizer.lr": 0.01}],
            ... })
            >>> study = await study.enqueue({"optimizer.lr": 0.1})
            >>> study.progress["num_runs"]
            6
        """
        body = {"configurations": list(configurations)}
        self.data = await self._transport.json("POST", f"{self._path}/enqueue", body=body)
        return self


class AsyncStudies:
    """The studies of a service: `client.studies`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def create(self, spec: "StudySpec", *, idempotency_key: str | None = None) -> AsyncStudy:
        """Queue a study, and return it; the arguments are those of a job.

        Raises `InvalidRequestError` with every mistake.
        """
        headers = calls.keyed(idempotency_key)
        data = await self._transport.json("POST", "/v1/studies", body=spec, headers=headers)
        return AsyncStudy(self._transport, data)

    async def validate(self, spec: "StudySpec") -> dict[str, Any]:
        """Check a spec: return it resolved, with an estimate of its cost. Nothing is created.

        Raises `InvalidRequestError` with every mistake.
        """
        found: dict[str, Any] = await self._transport.json(
            "POST", "/v1/studies/validate", body=spec
        )
        return found

    async def get(self, id: str) -> AsyncStudy:  # noqa: A002
        """Read a study. Raises `NotFoundError`."""
        return AsyncStudy(self._transport, await self._transport.json("GET", place("studies", id)))

    async def list(
        self,
        *,
        status: str | Sequence[str] | None = None,
        label: str | Sequence[str] | None = None,
        created_after: str | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[AsyncStudy]:
        """Go through the studies, the newest first; the arguments are those of the list of jobs."""
        query = {"status": listed(status), "label": listed(label), "created_after": created_after}
        make = self._made
        async for study in self._transport.pages("/v1/studies", make, query, limit):
            yield study

    def _made(self, data: dict[str, Any]) -> AsyncStudy:
        return AsyncStudy(self._transport, data)
