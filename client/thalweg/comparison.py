"""A comparison of jobs, as the service computed it."""

from typing import TYPE_CHECKING, Any

from thalweg.history import from_json
from thalweg.records import numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Comparison:
    """A comparison of jobs: what differs in their specs, their metrics, their curves.

    Attributes:
        data: the whole reply.
        jobs: of each job its `id`, `name`, `status`, `verdict`, `differs` (fields of its spec that
            are not the same everywhere), `metrics` and others.
        same: the fields of the specs that all have alike.
        baseline: the id of the job that the others' metrics are compared with, or None.

    Example:
        >>> other = client.jobs.create({**job.spec, "seed": 1}).wait()
        >>> found = client.compare([job, other])
        >>> [each["differs"] for each in found.jobs]
        [{'seed': 0}, {'seed': 1}]
        >>> sorted(found.curves("loss")) == sorted(["x", job.id, other.id])
        True
    """

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.jobs: list[dict[str, Any]] = numbers(data["jobs"])
        self.same: dict[str, Any] = data["same"]
        self.baseline: str | None = data["baseline"]

    def curves(self, metric: str = "loss") -> "dict[str, NDArray[Any]]":
        """Return the curves of a metric as arrays, by the job's id, over their common axis `x`.

        Where a job has no value there, it is NaN. Raises `KeyError` for a metric that none has.
        """
        curves = self.data["curves"]
        if metric == "x" or metric not in curves:
            there = ", ".join(name for name in curves if name != "x")
            raise KeyError(f"{metric!r}: the comparison has {there}")
        return from_json({"x": curves["x"], **curves[metric]})

    def rows(self) -> list[tuple[Any, ...]]:
        """Return a line for each job: id, outcome or status, verdict, last and best loss, and what
        differs."""
        found = []
        for each in self.jobs:
            loss = each["metrics"].get("loss") or {}
            differs = " ".join(f"{name}={value}" for name, value in each["differs"].items())
            state = each["outcome"] or each["status"]
            last, best = loss.get("final"), loss.get("best")
            found.append((each["id"], state, each["verdict"], last, best, differs))
        return found

    def __repr__(self) -> str:
        return f"<Comparison of {len(self.jobs)} jobs>"

    def _repr_html_(self) -> str:
        from thalweg.notebook import comparison_html

        return comparison_html(self)


HEAD = ("job", "outcome", "verdict", "loss", "best", "differs")
"""Names of what `Comparison.rows` has."""
