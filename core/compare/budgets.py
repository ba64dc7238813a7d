"""Whether each choice was tuned as much as the others.

A choice that was tried at more settings, or trained for longer, wins by that alone (Choi et al.
2019, arXiv 1910.05446; Sivaprasad et al. 2020, arXiv 1910.11758): so the comparison says what each
has had.
"""

from typing import Any

import numpy as np

from core.compare import parameters
from core.compare.grouping import State, Table

Json = dict[str, Any]


def tuning_budget(table: Table) -> Json:
    """What each choice has had: `equal`, and `choices` with `params`, `num_configurations`,
    `num_runs`, `num_updates` and `seconds`.

    A choice is what the words among the parameters say (an optimizer's kind); numbers tune it.
    `equal`: all had as many configurations and as many runs. Updates and seconds are those that
    were spent: runs that end early need fewer.
    """
    paths = parameters.varying(table.leaves)
    words = [
        {path: one[path] for path in paths if path in one and parameters.is_choice(one[path])}
        for one in table.leaves
    ]
    rows: dict[str, list[int]] = {}
    for row, one in enumerate(words):
        rows.setdefault(parameters.key(one), []).append(row)
    choices = [
        {
            "params": words[at[0]],
            "num_configurations": len(at),
            "num_runs": int((table.state[at] != State.MISSING).sum()),
            "num_updates": int(table.updates[at].sum()),
            "seconds": float(np.nansum(table.seconds[at])),
        }
        for at in rows.values()
    ]
    given = {(one["num_configurations"], one["num_runs"]) for one in choices}
    return {"equal": len(given) <= 1, "choices": choices}
