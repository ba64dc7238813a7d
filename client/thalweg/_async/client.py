"""The client: where everything begins."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal, Self

import httpx2

from thalweg._async.datasets import AsyncDatasets
from thalweg._async.jobs import AsyncJob, AsyncJobs
from thalweg._async.studies import AsyncStudies
from thalweg._async.transport import AsyncTransport, listed, place
from thalweg._async.webhooks import AsyncWebhooks
from thalweg.comparison import Comparison

Family = Literal[
    "optimizers",
    "schedules",
    "models",
    "layers",
    "activations",
    "losses",
    "metrics",
    "functions",
    "datasets",
    "initializers",
]


def id_of(job: str | AsyncJob) -> str:
    """Return the id of a job that is named by it, or is there itself."""
    return job if isinstance(job, str) else job.id


class AsyncClient:
    """A client of one service.

    Args:
        url: the service's address; left out, `THALWEG_URL`, else `http://127.0.0.1:8000`.
        key: a key of the service; left out, `THALWEG_KEY`, else none.
        timeout_s: seconds until a try to connect, or a silence, is a failure.
        retry_for_s: seconds for which a call that failed is tried again, with growing pauses: after
            429, 500, 502, 503, 504 and lost connections, never before `Retry-After` says. What
            would make something twice is sent again under its `Idempotency-Key`.
        http: a client of httpx2 to use instead of one of its own.

    It keeps connections open; close it, or use it as a context.

    Example:
        >>> from thalweg import AsyncClient
        >>> async with AsyncClient() as client:
        ...     spec = {
        ...         "problem": {"kind": "function", "function": {"kind": "rosenbrock"}},
        ...         "optimizer": {"kind": "adam", "lr": 0.05},
        ...     }
        ...     job = await client.jobs.create(spec)
        ...     job = await job.wait()
        >>> job.status
        'succeeded'
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout_s: float = 30.0,
        retry_for_s: float = 30.0,
        http: httpx2.AsyncClient | None = None,
    ) -> None:
        self._transport = AsyncTransport(url, key, timeout_s, retry_for_s, http)
        self.jobs = AsyncJobs(self._transport)
        """The jobs."""
        self.studies = AsyncStudies(self._transport)
        """The studies."""
        self.datasets = AsyncDatasets(self._transport)
        """The data sets."""
        self.webhooks = AsyncWebhooks(self._transport)
        """Deliveries of webhooks."""

    @property
    def url(self) -> str:
        """The service's address."""
        return self._transport.url

    @property
    def retry_for_s(self) -> float:
        """Seconds for which a call that failed is tried again."""
        return self._transport.retry_for_s

    @retry_for_s.setter
    def retry_for_s(self, seconds: float) -> None:
        self._transport.retry_for_s = seconds

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.url}>"

    async def catalog(self, family: Family) -> list[dict[str, Any]]:
        """List what there is of a family: kind, summary, schema, source, what it supports, and an
        example.

        Example:
            >>> "adam" in [entry["kind"] for entry in await client.catalog("optimizers")]
            True
        """
        found: list[dict[str, Any]] = (await self._transport.json("GET", place("catalog", family)))[
            "data"
        ]
        return found

    async def workers(self) -> list[dict[str, Any]]:
        """List the workers: name, devices, current job, last heartbeat."""
        found = self._transport.pages("/v1/workers", dict, {}, None)
        return [each async for each in found]

    async def compare(
        self,
        jobs: Sequence[str | AsyncJob] = (),
        *,
        label: str | Sequence[str] | None = None,
        baseline: str | AsyncJob | None = None,
        x: Literal["step", "epoch", "time_s"] = "step",
        points: int | None = None,
    ) -> Comparison:
        """Compare 2 to 100 jobs: what differs in their specs, their metrics and their curves.

        Args:
            jobs: jobs, or their ids.
            label: `key:value` that the jobs have, in place of `jobs`.
            baseline: the job that the others' metrics are compared with.
            x: the common axis of the curves.
            points: the most places of the axis; left out: 200.
        """
        query = {
            "job": [id_of(job) for job in jobs],
            "label": listed(label),
            "baseline": None if baseline is None else id_of(baseline),
            "x": x,
            "points": points,
        }
        return Comparison(await self._transport.json("GET", "/v1/comparison", params=query))

    async def usage(self, by: str = "key", since: str | None = None) -> dict[str, Any]:
        """Add up what jobs and studies have used: `total`, and `data` with a group each.

        Args:
            by: `key`, or `label:NAME`.
            since: a time of RFC 3339; what was made before is left out.
        """
        query = {"by": by, "since": since}
        first = await self._transport.json("GET", "/v1/usage", params={**query, "limit": 1})
        groups = self._transport.pages("/v1/usage", dict, query, None)
        return {"total": first["total"], "data": [each async for each in groups]}

    async def document(self) -> dict[str, Any]:
        """Return the service's OpenAPI document."""
        found: dict[str, Any] = await self._transport.json("GET", "/openapi.json")
        return found

    async def version(self) -> dict[str, Any]:
        """Return the service's version."""
        found: dict[str, Any] = await self._transport.json("GET", "/version")
        return found
