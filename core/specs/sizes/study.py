"""The common traits of a study's configurations, and the sum of what they will take."""

from dataclasses import dataclass, field

from core.errors import FieldError
from core.specs.direction import Goal, goal_of
from core.specs.job import JobSpec
from core.specs.sizes.cost import history_bytes, memory_parts
from core.specs.sizes.extent import Extent, Extents, steps_of


@dataclass
class StudySummary:
    """A summary gathered from one resolved configuration after the other.

    Attributes:
        first: the first of them.
        varying: top-level parts that are not the same in all.
        steps: most updates of each.
        memory_bytes: of the largest.
        history_bytes: of all, one run each.
        columns: of the evaluations, those that all have.
        eval_every: the distances between evaluations that occur.
        goals: where the runs take their loss, `min` or `max`.
        warnings: what is allowed and doubtful in them.
    """

    first: JobSpec | None = None
    varying: set[str] = field(default_factory=set)
    steps: list[int] = field(default_factory=list)
    memory_bytes: int = 0
    history_bytes: int = 0
    largest_history: int = 0
    columns: tuple[str, ...] = ()
    eval_every: set[int | None] = field(default_factory=set)
    goals: set[Goal] = field(default_factory=set)
    warnings: tuple[FieldError, ...] = ()
    _extents: Extents = field(default_factory=Extents, init=False, repr=False)

    def add(self, spec: JobSpec) -> Extent:
        """Take in a configuration; returns its extent."""
        size = self._extents.of(spec)
        steps = steps_of(spec.budget, size)
        self.steps.append(steps)
        self.memory_bytes = max(self.memory_bytes, sum(memory_parts(spec, size, steps).values()))
        history = history_bytes(spec, size, steps)
        self.history_bytes += history
        self.largest_history = max(self.largest_history, history)
        self.eval_every.add(spec.record.eval_every)
        self.goals.add(goal_of(spec.optimizer))
        columns = tuple(size.widths["eval"])
        if self.first is None:
            self.first, self.columns = spec, columns
            return size
        self.columns = tuple(name for name in self.columns if name in columns)
        for name in JobSpec.model_fields:
            part, first = getattr(spec, name), getattr(self.first, name)
            # Most parts are shared; to compare two of them takes their fields one by one.
            if part is not first and name not in self.varying and part != first:
                self.varying.add(name)
        return size

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names that a metric may have."""
        return ("loss", *(f"eval.{name}" for name in self.columns))
