"""Results that need all runs of a study: the best configuration and the comparison."""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any, Final

from api.http.encoding import strict, to_json
from core.specs.base import Json
from core.store.protocols.api import ApiStore
from core.studies import RunRecord, StudyRecord

_KEPT: Final = 64
_LARGEST_KEPT: Final = 2**20
"""Bytes of a reply; larger ones are made anew each time."""


class ComparisonCache:
    """Looks at the runs, in a thread, and remembers what was found of studies that have ended. One
    for each application."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str, int], Any] = OrderedDict()

    async def best(self, store: ApiStore, study: StudyRecord) -> Json | None:
        """Return the leading configuration: `configuration`, `params`, `metric` (the mean over its
        repeats that have one). None while no run has a value of the metric, and where
        configurations train different problems."""
        if study.result is not None and "best" in study.result:
            return known_best(study)
        found: Json | None = await self._find("best", store, study, best_of)
        return found

    async def comparison(self, store: ApiStore, study: StudyRecord) -> bytes:
        """Return the JSON of the reply."""
        found: bytes = await self._find("comparison", store, study, comparison_bytes)
        return found

    async def compared(self, store: ApiStore, study: StudyRecord) -> Json:
        """Compute the comparison itself anew."""
        return await asyncio.to_thread(comparison_of, study, await _runs(store, study))

    async def _find(
        self,
        what: str,
        store: ApiStore,
        study: StudyRecord,
        look: Callable[[StudyRecord, Sequence[RunRecord]], Any],
    ) -> Any:
        key = (what, study.id, study.version)
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        found = await asyncio.to_thread(look, study, await _runs(store, study))
        if study.terminal and not (isinstance(found, bytes) and len(found) > _LARGEST_KEPT):
            self._known[key] = found
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return found


async def _runs(store: ApiStore, study: StudyRecord) -> Sequence[RunRecord]:
    """Read the runs of a study, those that it inherited among them."""
    runs = await store.studies.runs(study.id)
    if study.spec.get("warm_start_from") is None:
        return runs
    return [*await store.studies.inherited(study.id), *runs]


def known_best(study: StudyRecord) -> Json | None:
    """Return the leading configuration as far as the record alone tells: that of a study that has
    succeeded."""
    best: Json | None = (study.result or {}).get("best")
    return best


def best_of(study: StudyRecord, runs: Sequence[RunRecord]) -> Json | None:
    """Find the leading configuration; see `ComparisonCache.best`."""
    from core.compare.comparison import best_configuration
    from core.compare.table import folded

    runs = folded(study.spec, runs)
    number = best_configuration(study.spec, runs)
    if number is None:
        return None
    of_it = [run for run in runs if run.configuration == number]
    values = [
        run.metric
        for run in of_it
        if run.outcome != "diverged" and run.metric is not None and math.isfinite(run.metric)
    ]
    return {
        "configuration": number,
        "params": of_it[0].params,
        "metric": fmean(values) if values else None,
    }


def comparison_bytes(study: StudyRecord, runs: Sequence[RunRecord]) -> bytes:
    """Write the comparison's reply; see `ComparisonCache.comparison`."""
    return to_json({"study_id": study.id, **strict(comparison_of(study, runs))})


def comparison_of(study: StudyRecord, runs: Sequence[RunRecord]) -> Json:
    """Compare the runs by `core.compare.comparison.compare`; its numbers may be non-finite."""
    from core.compare.comparison import compare

    return compare(study.spec, runs, complete=study.terminal, written=study.format)
