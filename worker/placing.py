"""How the rows of a task's runs are to lie in the store: with other runs' rows, or in chunks."""

from collections.abc import Mapping
from typing import Final

from core.store.history.bundles import MAX_HISTORY_BYTES, num_bytes
from core.store.protocols.types import Layouts
from worker.backlog import History

MAX_SEGMENTS: Final = 8
"""Of a history, about: a segment on the way holds such a share of all rows that may come."""
LEAST_ROWS: Final = 64
"""Of a segment on the way: one costs as much space as a few rows."""


class Placing:
    """Short histories lie in bundles, segment after segment, as long as their rows come in few
    parts; the others, and those that were cut, in chunks of their own.

    Args:
        layouts: of the histories of each run.
    """

    def __init__(self, layouts: Mapping[int, Layouts]) -> None:
        self._layouts = layouts
        self._bundled: dict[History, int] = {}
        """Rows of a history that lie in bundles."""
        self._chunked: set[History] = set()

    def makes_segment(
        self, history: History, first_row: int, num_rows: int, *, last: bool, anew: bool = False
    ) -> bool:
        """Whether these rows may be a history's next segment. `last`: no other row follows. `anew`:
        what there was after `first_row` is taken back."""
        if anew:
            if first_row > 0:
                return False
        elif history in self._chunked or first_row != self._bundled.get(history, 0):
            return False
        run, kind = history
        layout = self._layouts[run][kind]
        most = first_row + num_rows if last else layout.expected_rows
        if not num_rows or most is None or num_bytes(layout, most) > MAX_HISTORY_BYTES:
            return False
        return last or num_rows >= max(LEAST_ROWS, most / MAX_SEGMENTS)

    def goes_to_chunks(self, history: History) -> bool:
        """No segment follows. Whether there are rows in bundles, which have to move."""
        self._chunked.add(history)
        return history in self._bundled

    def written(self, history: History, num_rows: int, *, bundled: bool) -> None:
        """Its rows lie so, as many as these."""
        if bundled:
            self._bundled[history] = num_rows
            self._chunked.discard(history)
        else:
            self._bundled.pop(history, None)
