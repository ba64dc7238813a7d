"""Decision whether there is a winner, and in words why, or why not.

The winner is the leader if it differs from each of the others that were compared with it: if the
95 % interval of every paired difference excludes 0. This claim needs no correction for their
number, since all must hold at once (Berger 1982, Technometrics 24), and that the leader was
picked by the same data is paid for by a two-sided level (Gutmann and Maymin 1987; Hung and Fithian
2019, arXiv 1610.03944; for dependent means of unlike spread: arXiv 2503.01065). For a single row,
`distinguishable` is Hochberg's: it holds for all rows exactly if there is a winner.
docs/comparison.md has how often each errs.
"""

from typing import Final

import numpy as np

from core.compare import parameters
from core.compare.ranking import NOTHING, PARTIAL, STANDING, STOPPED, Ints, Ranking
from core.compare.statistics.multiple_comparisons import MOST_REPEATS, repeats_to_tell
from core.compare.table import State, Table

_MOST_NAMED: Final = 5
_AS_THEY_ARE: Final = "if the differences stay as they are"


def verdict(table: Table, ranking: Ranking, *, complete: bool) -> tuple[int | None, str]:
    """Return the winner (a row of the table) or None, and the reason for either, with how many
    configurations were stopped early."""
    winner, reason = _decided(table, ranking, complete=complete)
    return winner, reason + _stopped(ranking)


def _decided(table: Table, ranking: Ranking, *, complete: bool) -> tuple[int | None, str]:
    waiting = _not_at_the_end(table, ranking, complete=complete)
    if waiting is not None:
        return None, waiting
    leader = ranking.leader
    if leader is None:
        return None, _nothing(table, ranking)
    lead = _names(table, ranking, [0])
    if ranking.group[0] != STANDING:
        return None, (
            f"No configuration went through all its repeats. {lead} lost the fewest runs, but what "
            "is left of them cannot speak for those that diverged or failed."
            if ranking.group[0] == PARTIAL
            else f"No configuration came to its end in all its repeats; {lead} was the last."
        )
    if ranking.rows.size == 1:
        return None, "There is only one configuration, and nothing to compare it with."
    if table.num_repeats == 1:
        return None, _one_repeat(ranking, lead)
    open_ = _unsettled(table, ranking)
    if not open_.size and not ranking.compared.any() and (ranking.group == STOPPED).any():
        return None, (
            f"{lead} is the only one that was trained to its end; being stopped does not say where "
            "the others would have ended."
        )
    if open_.size:
        return None, _tied(table, ranking, open_, lead)
    return leader, _won(table, ranking, lead)


def _not_at_the_end(table: Table, ranking: Ranking, *, complete: bool) -> str | None:
    pending = int(table.count(State.PENDING, State.MISSING)[ranking.rows].sum())
    if not complete or pending:
        more = f": {pending:,} of its runs have not ended" if pending else ""
        return f"The study is not at its end{more}."
    cancelled = int(table.count(State.CANCELLED)[ranking.rows].sum())
    if cancelled:
        return f"{_count(cancelled, 'run was', 'runs were')} cancelled before the end."
    return None


def _nothing(table: Table, ranking: Ranking) -> str:
    diverged = int(table.count(State.DIVERGED)[ranking.rows].sum())
    failed = int(table.count(State.FAILED)[ranking.rows].sum())
    return f"No run ended with a value of the metric: {diverged:,} diverged, {failed:,} failed."


def _one_repeat(ranking: Ranking, lead: str) -> str:
    if not (ranking.group[1:] == STANDING).any():
        return f"{lead} is the only one with a value, and one repeat says nothing about the spread."
    gap = abs(float(ranking.own.mean[1] - ranking.own.mean[0]))
    return f"{lead} leads by {gap:.4g}, but one repeat says nothing about the spread."


def _unsettled(table: Table, ranking: Ranking) -> Ints:
    """Return the places of configurations that may be as good as the leader: not distinguishable
    from it, or with too few values beside failed runs to say so."""
    compared = ranking.compared
    failed = (ranking.group == PARTIAL) & (table.count(State.DIVERGED)[ranking.rows] == 0)
    found = (compared & ~ranking.distinguishable) | (failed & ~compared)
    found[0] = False
    return np.flatnonzero(found)


def _tied(
    table: Table,
    ranking: Ranking,
    open_: Ints,
    lead: str,
) -> str:
    names = _names(table, ranking, open_.tolist())
    text = f"{lead} leads, but is not told apart from {_count(open_.size, 'other')}: {names}."
    needed = _repeats_needed(ranking, open_)
    if needed is None:
        return f"{text} Not even {MOST_REPEATS:,} repeats would settle it, {_AS_THEY_ARE}."
    needed = max(needed, table.num_repeats + 1)
    return f"{text} About {needed:,} repeats might settle it, {_AS_THEY_ARE}."


def _repeats_needed(ranking: Ranking, open_: Ints) -> int | None:
    """Estimate the repeats needed for the difference that is the smallest in terms of its
    spread."""
    mean, deviation = ranking.differences.mean[open_], ranking.differences.deviation[open_]
    with np.errstate(divide="ignore", invalid="ignore"):
        hardest = int(np.nan_to_num(np.abs(mean) / deviation, nan=0.0).argmin())
    return repeats_to_tell(float(mean[hardest]), float(deviation[hardest]))


def _won(table: Table, ranking: Ranking, lead: str) -> str:
    compared = np.flatnonzero(ranking.compared)
    if not compared.size:
        return f"{lead} is the only one that lost none of its runs.{_others(ranking)}"
    d = ranking.differences
    ends = np.minimum(np.abs(d.low[compared]), np.abs(d.high[compared]))
    at = int(compared[np.argmin(ends)])
    nearest = (
        f"the interval nearest to 0 is that of {_names(table, ranking, [at])}: "
        f"{d.mean[at]:.4g} [{d.low[at]:.4g}, {d.high[at]:.4g}]"
    )
    many = _count(compared.size, "other configuration")
    return f"{lead} differs from each of the {many} compared; {nearest}.{_others(ranking)}"


def _others(ranking: Ranking) -> str:
    """Say what was not compared with the leader because runs of it were lost."""
    left = ~ranking.compared
    left[0] = False
    lost = int((left & np.isin(ranking.group, (PARTIAL, NOTHING))).sum())
    return f" {_count(lost, 'other')} lost runs and cannot win." if lost else ""


def _stopped(ranking: Ranking) -> str:
    stopped = int((ranking.group == STOPPED).sum())
    if not stopped:
        return ""
    were = _count(stopped, "configuration was", "configurations were")
    return f" {were} stopped early and not compared at the end."


def _names(table: Table, ranking: Ranking, places: list[int]) -> str:
    rows = [int(ranking.rows[place]) for place in places[:_MOST_NAMED]]
    paths = parameters.varying(table.leaves)
    named = []
    for row in rows:
        words = parameters.label(parameters.pick(table.leaves[row], paths))
        named.append(f"configuration {table.numbers[row]}" + (f" ({words})" if words else ""))
    text = ", ".join(named)
    text = text[0].upper() + text[1:] if places == [0] else text
    more = len(places) - len(rows)
    return text + (f" and {more:,} more" if more else "")


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one}" if number == 1 else f"{number:,} {many or one + 's'}"
