"""The events of stack after stack, as those of one population."""

from core.population.events import PopulationEvents, RowBatch, RunEnding, RunWeights
from core.train.events import Columns


class Gathering:
    """Passes the events on and keeps the endings. Satisfies `StackEvents`.

    Attributes:
        num_calls: rows, pauses and endings that came.
        before: updates of the stacks that are done.
    """

    def __init__(self, events: PopulationEvents) -> None:
        self._events = events
        self._together = getattr(events, "many_rows", None)
        self._rewound = getattr(events, "rewound", None)
        self._paused = getattr(events, "paused", None)
        self.endings: list[RunEnding] = []
        self.num_calls = 0
        self.before = 0
        self._latest = 0

    def rows(self, run: int, kind: str, first_row: int, columns: Columns) -> None:
        self.num_calls += 1
        self._events.rows(run, "train" if kind == "train" else "eval", first_row, columns)

    def many_rows(self, batch: RowBatch) -> None:
        self.num_calls += 1
        if self._together is not None:
            self._together(batch)
            return
        for place, run in enumerate(batch.runs):
            columns = {name: column[place] for name, column in batch.columns.items()}
            self._events.rows(run, batch.kind, batch.first_row, columns)

    def rewound(self, run: int, rows: dict[str, int]) -> None:
        if self._rewound is not None:
            self._rewound(run, rows)

    def paused(self, run: int, weights: RunWeights) -> None:
        self.num_calls += 1
        if self._paused is not None:
            self._paused(run, weights)

    def progress(self, num_updates: int, num_running: int) -> None:
        self._latest = num_updates
        self._events.progress(self.before + num_updates, num_running)

    def next_stack(self) -> None:
        """A stack is done: the next one counts its updates from 0."""
        self.before += self._latest
        self._latest = 0

    def ended(self, ending: RunEnding, weights: RunWeights) -> None:
        self.num_calls += 1
        self.endings.append(ending)
        self._events.ended(ending, weights)
