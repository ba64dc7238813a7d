"""Words on the columns of an upload: which there are, and which one was meant."""

import difflib
from collections.abc import Sequence
from typing import Final

from core.specs.sizes.uploads import ColumnFacts
from core.specs.validation.errors import shown

MOST_LISTED: Final = 20


def unknown_column(name: str, columns: Sequence[ColumnFacts]) -> str:
    """Say that there is no such column, and which there are."""
    near = near_name(name, [each.name for each in columns])
    hint = f" (did you mean {shown(near)}?)" if near else ""
    return f"the data set has no column {shown(name)}{hint}; its columns: {listed(columns)}"


def near_name(name: str, names: Sequence[str]) -> str | None:
    """Return the one of `names` that is most likely meant; None where none is near."""
    plain = {each.strip().lower(): each for each in names}
    if (same := plain.get(name.strip().lower())) is not None:
        return same
    found = difflib.get_close_matches(name, names, n=1, cutoff=0.75)
    return found[0] if found else None


def listed(columns: Sequence[ColumnFacts]) -> str:
    """List the columns' names; of many the first."""
    names = [shown(each.name) for each in columns[:MOST_LISTED]]
    more = len(columns) - len(names)
    return ", ".join(names) + (f" and {more:,} more" if more else "")
