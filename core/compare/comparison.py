"""A study's comparison: what its runs say, and what they do not.

The parts: `table` (runs as arrays), `intervals` (means), `targets` (times to a target), `ranking`
and `winner` (who leads, and whether that is more than chance), `performance_profiles`, `minima`
(functions).

It also says how much each choice was tuned: one that was tried at more settings, or trained for
longer, wins by that alone (Choi et al. 2019, arXiv 1910.05446; Sivaprasad et al. 2020, arXiv
1910.11758).
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from core.compare import parameters
from core.compare.minima.minima import minima
from core.compare.performance_profiles import profiles
from core.compare.ranking import STANDING, Ranking, rank
from core.compare.statistics.intervals import LEVEL, means
from core.compare.table import Floats, Ints, State, Table, folded, tabulate
from core.compare.targets import to_target
from core.compare.winner import verdict
from core.formats import STORE, stored_job
from core.specs.base import Json
from core.specs.direction import goal_of_stored
from core.specs.studies.sweep import applied
from core.studies import RunRecord


def tuning_budget(table: Table) -> Json:
    """Return the budget that each choice has had: `equal`, and `choices` with `params`,
    `num_configurations`, `num_runs`, `num_updates` and `seconds`.

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


_MANY: Final = (
    "The configurations have {count} different problems, and a metric on one says nothing about "
    "another: see `problems` for each, and `profile` over all of them."
)


def compare(
    study: Json, runs: Sequence[RunRecord], *, complete: bool, written: int = STORE
) -> Json:
    """Return the body of `GET /v1/studies/{id}/comparison`.

    Args:
        study: the resolved study.
        runs: those that have been planned, in any order.
        complete: the study is terminal. Before, all that is said is of the runs so far, and there
            is no winner.
        written: the format in which the study was stored.

    Returns:
        `metric`; `complete`; `num_runs`; `level` (of the intervals); `configurations` (`_row`), by
        rank; `leader` and `winner`, numbers of configurations or None, and `reason` in words;
        `problems`: None, or where configurations train different problems, whose metrics cannot be
        compared, the same for each (`leader` and `winner` are then None); `profile`
        (`races.profiles`) or None with `profile_reason`; `tuning_budget`; `minima` of functions.
    """
    runs = folded(study, runs)
    table = tabulate(study, runs)
    own = means(table.values, floor=table.resolution / np.sqrt(12.0))
    groups, paths = _problems(table, str(study["metric"].get("name")))
    rankings = [rank(table, rows, own, goal=study["metric"].get("goal")) for rows in groups]
    rows = _rows(table, rankings, targeted=study["metric"].get("target") is not None)
    told = [
        _told(table, ranking, study, runs, complete=complete, written=written)
        for ranking in rankings
    ]
    profile, why_not = profiles(table, target=study["metric"].get("target"))
    body: Json = {
        "metric": study["metric"],
        "complete": complete,
        "num_runs": len(runs),
        "level": LEVEL,
        "configurations": rows,
    }
    if len(told) == 1:
        body |= told[0] | {"problems": None}
    else:
        reason = _MANY.format(count=len(told)) if told else "No run has been planned yet."
        body |= {"leader": None, "winner": None, "reason": reason, "minima": None}
        body["problems"] = [
            {"params": parameters.pick(table.leaves[int(ranking.rows[0])], paths), **one}
            for ranking, one in zip(rankings, told, strict=True)
        ]
    body |= {"profile": profile, "profile_reason": why_not, "tuning_budget": tuning_budget(table)}
    return body


def best_configuration(study: Json, runs: Sequence[RunRecord]) -> int | None:
    """Return the number of the leader: of those that lost no run the one with the best mean. None
    where no run has a value of the metric yet, or where configurations train different problems."""
    runs = folded(study, runs)
    table = tabulate(study, runs)
    groups, _ = _problems(table, str(study["metric"].get("name")))
    if len(groups) != 1:
        return None
    found = rank(table, groups[0], means(table.values), goal=study["metric"].get("goal"))
    return None if found.leader is None else table.numbers[found.leader]


def _problems(table: Table, metric: str) -> tuple[list[Ints], list[str]]:
    """Return the rows of the table that have a problem in common, and the paths that tell problems
    apart."""
    paths = [
        path
        for path in parameters.varying(table.leaves)
        if parameters.sets_the_metric(path, metric)
    ]
    rows: dict[str, list[int]] = {}
    for row, one in enumerate(table.leaves):
        rows.setdefault(parameters.key(parameters.pick(one, paths)), []).append(row)
    return [np.array(each) for each in rows.values()], paths


def _rows(table: Table, rankings: Sequence[Ranking], *, targeted: bool) -> list[Json]:
    """Return one row a configuration, best first, problem after problem.

    `mean` and `ci95` are None where they would speak for survivors only: where runs diverged or
    failed, or were stopped; `survivors` then has the mean of those that were not. `ci95` is None
    for one value. `values`: the metric as recorded of each repeat, also of runs that count as lost.
    `test`: what the runs came to on the rows of the test; nothing is ranked by it.
    """
    steps: list[Json | None] = [None] * len(table.numbers)
    seconds = steps
    if targeted:
        gone = table.updates.astype(np.float64)
        steps = [*to_target(table, table.target_step, gone, whole=True)]
        seconds = [*to_target(table, table.target_s, table.seconds, whole=False)]
    spent, updates = np.nansum(table.seconds, axis=1).tolist(), table.updates.sum(axis=1).tolist()
    counts = {name: values.tolist() for name, values in table.status.items()}
    num_runs = np.sum([table.status[f"num_{name}"] for name in _ENDS], axis=0).tolist()
    rows = []
    for ranking in rankings:
        parts = zip(ranking.rows.tolist(), _summaries(ranking), _differences(ranking), strict=True)
        for place, (row, summary, difference) in enumerate(parts, start=1):
            rows.append(
                {
                    "configuration": table.numbers[row],
                    "rank": place,
                    "inherited": table.origins[row] is not None,
                    "origin": table.origins[row],
                    "params": table.params[row],
                    "num_runs": num_runs[row],
                    **{name: values[row] for name, values in counts.items()},
                    **summary,
                    "values": table.recorded[row],
                    "test": table.tests[row],
                    "difference_to_leader": difference,
                    "steps_to_target": steps[row],
                    "seconds_to_target": seconds[row],
                    "num_updates": updates[row],
                    "seconds": spent[row],
                    "stopped": table.stopped[row],
                }
            )
    return rows


_ENDS: Final = ("succeeded", "failed", "cancelled", "pending")


def _summaries(ranking: Ranking) -> list[Json]:
    """Return `mean`, `ci95` and `survivors` of each row."""
    found = []
    own = ranking.own
    for num, mean, low, high, group in zip(
        own.num.tolist(), own.mean.tolist(), own.low.tolist(), own.high.tolist(),
        ranking.group.tolist(), strict=True,
    ):  # fmt: skip
        stands = group == STANDING
        found.append(
            {
                "mean": mean if stands else None,
                "ci95": [low, high] if stands and num > 1 else None,
                "survivors": {"num": num, "mean": mean} if num and not stands else None,
            }
        )
    return found


def _differences(ranking: Ranking) -> list[Json | None]:
    """Return each row's differences from the leader, repeat by repeat: `num` of pairs, `mean`,
    `ci95`, `p`, `p_adjusted`, `distinguishable`; what needs two pairs is None with one."""
    d = ranking.differences
    columns: list[Floats] = [d.mean, d.low, d.high, d.p, ranking.p_adjusted]
    return [
        None
        if num == 0
        else {
            "num": num,
            "mean": mean,
            "ci95": [low, high] if num > 1 else None,
            "p": p if num > 1 else None,
            "p_adjusted": p_adjusted if num > 1 else None,
            "distinguishable": distinct if num > 1 else None,
        }
        for num, mean, low, high, p, p_adjusted, distinct in zip(
            d.num.tolist(),
            *(column.tolist() for column in columns),
            ranking.distinguishable.tolist(),
            strict=True,
        )
    ]


def _told(
    table: Table,
    ranking: Ranking,
    study: Json,
    runs: Sequence[RunRecord],
    *,
    complete: bool,
    written: int,
) -> Json:
    """Return leader, winner, reason and minima of one problem."""
    won, reason = verdict(table, ranking, complete=complete)
    leader = ranking.leader
    return {
        "leader": None if leader is None else table.numbers[leader],
        "winner": None if won is None else table.numbers[won],
        "reason": reason,
        "minima": _minima(table, ranking, study, runs, written),
    }


def _minima(
    table: Table, ranking: Ranking, study: Json, runs: Sequence[RunRecord], written: int
) -> Json | None:
    spec = stored_job(applied(study["base"], table.params[int(ranking.rows[0])]), written)
    problem = spec.get("problem") or {}
    if problem.get("kind") != "function":
        return None
    numbers = {table.numbers[row] for row in ranking.rows.tolist()}
    mine = [run for run in runs if run.configuration in numbers]
    return minima(problem, mine, goal_of_stored(spec))
