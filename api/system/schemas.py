"""Schemas of what the service says of itself, for the OpenAPI document."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, RootModel

from api.http.schemas import Counter, JobId, Number, Page, StudyId, Time, View
from core.specs.schedules import Schedule


class Worker(View):
    name: str
    devices: list[str]
    queues: list[str]
    current_job: JobId | StudyId | None
    """The job or study that the worker works at."""
    last_heartbeat: Time
    started_at: Time
    pid: int
    memory_bytes: dict[str, Counter]
    """All the memory of each device of which it is known. A job that does not fit, by its estimate,
    waits for a worker with more."""


class WorkerPage(Page):
    data: list[Worker]


class Entry(View):
    model_config = ConfigDict(extra="allow")
    kind: str
    summary: str
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    example: dict[str, Any]
    """A job's spec that uses this kind, ready to `POST`."""
    source: str
    supports: dict[str, Any]
    goal: Literal["min", "max"] | None = None
    """The better side of a metric; null of a confusion matrix, which is no number."""
    losses: list[str] = Field(default=[])
    """The losses of the problems that a metric suits."""


class Preview(View):
    """The learning rate of each update."""

    kind: str
    schedule: Schedule
    """The schedule, resolved: every default and length written out."""
    lr: float
    """The base rate: of the optimizer."""
    series: dict[str, list[Number]]
    """Equally long columns: `step` and `lr`."""


class FunctionValues(View):
    """A function at the points that were asked for."""

    values: list[Number]
    """One a point, in their order, in float64. Of a grid all combinations, the last coordinate
    named running fastest: `values[i * m + j]` at the i-th value of the first and the j-th of m of
    the second."""
    grid: dict[str, list[Number]] | None
    """The values of each coordinate of a grid; null: points were given."""


class Entries(View):
    data: list[Entry]


class Counts(RootModel[dict[str, Counter]]):
    """Number of kinds in each family."""


class Alive(View):
    status: Literal["ok"]


class Ready(View):
    status: Literal["ok"]
    checks: dict[str, str]
    workers: Counter
    """Number of workers that are alive."""


class Version(View):
    name: str
    version: str
    api: str


class UsageSums(View):
    """Sums of what jobs and studies have used."""

    num_jobs: Counter
    """Number of jobs."""
    num_studies: Counter
    """Number of studies."""
    device_s: float
    """Seconds for which attempts have held a device (a CPU, too), of those that have ended."""
    cpu_s: float
    """Processor time of the processes that trained."""
    peak_memory_bytes: int | None
    """The largest of the peaks; null where none was measured."""
    stored_bytes: Counter
    """Weights, checkpoints and rows of what has ended."""


class UsageGroup(UsageSums):
    group: str | None
    """The label's value, or the key's id; null: of what has none."""


class UsagePage(Page):
    by: str
    since: str | None
    """The earliest creation that counts; null: all do."""
    total: UsageSums
    """Sums of all groups, on whichever page."""
    data: list[UsageGroup]
