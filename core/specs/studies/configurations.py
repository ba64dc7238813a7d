"""Construction of a job's resolved spec from a study's base and a configuration's parameters."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from core.errors import InvalidInputError
from core.formats import STORE, stored_job
from core.specs.data import Inline
from core.specs.job import JobSpec, Supervised
from core.specs.parsing.body import MAX_FIELDS, MAX_OBJECTS, read_as
from core.specs.parsing.job import parse_job, resolve
from core.specs.studies.sweep import applied
from core.specs.validation.limits import Limits

Json = dict[str, Any]

_DATA: Final = "problem.data"
_STAND_IN: Final[Json] = {"features": [[0.0], [0.0]], "targets": [0, 1]}
_REQUIRED: Final[Json] = {
    "problem": {"kind": "function", "function": {"kind": "sphere"}},
    "optimizer": {"kind": "adam"},
}
"""Stands in where a part is read by itself: the fields of a spec are checked one by one."""
_MOST_FAILURES: Final = 500
_BYTES_OF_FAILURES: Final = 32 * 2**20


class Jobs:
    """Resolver of one configuration after the other, each as `parse_job` does.

    Only the fields that paths lead into are read anew each time; the others are read once, and all
    specs share them. So are the rows of inline data that no path touches: four megabytes of them
    take a sixth of a second to read. With a mistake anywhere, all is left to `parse_job`.

    Args:
        written: the format in which the study was stored: what a spec lacks is read by it.
    """

    def __init__(
        self, base: Json, paths: Sequence[str], limits: Limits, written: int = STORE
    ) -> None:
        self._base, self._limits, self._written = base, limits, written
        self._data: Inline | None = None
        self._size = 0
        data = _inline(base)
        if data is not None:
            text = json.dumps(data)
            self._size = len(text)
            touched = any(f"{path}.".startswith(f"{_DATA}.") or path == "problem" for path in paths)
            if not touched:
                with contextlib.suppress(ValidationError):  # named with each configuration
                    self._data = Inline.model_validate_json(text)
                    light = {**base["problem"], "data": {**data, **_STAND_IN}}
                    base = {**base, "problem": light}
        own = {path.split(".")[0] for path in paths}
        self._own = [name for name in JobSpec.model_fields if name in own]
        self._varied = {name: part for name, part in base.items() if name in own}
        fixed = {name: part for name, part in base.items() if name not in own}
        text = json.dumps(fixed)
        self._most_objects = MAX_OBJECTS - text.count("{")
        self._most_fields = MAX_FIELDS - text.count(":")
        self._others = {name: part for name, part in _REQUIRED.items() if name in fixed}
        """Of the fields that a spec must have, those that no path leads into."""
        self._shared = self._read(
            {name: part for name, part in _REQUIRED.items() if name in own} | fixed
        )

    @property
    def affordable_failures(self) -> int:
        """The number of configurations with mistakes after which no more need be looked at."""
        return max(4, min(_MOST_FAILURES, _BYTES_OF_FAILURES // (self._size + 1)))

    def resolved(self, params: Mapping[str, Any]) -> JobSpec:
        """Return the spec with the parameters put in.

        Raises:
            InvalidInputError: with every mistake; params are those of a job's spec.
            PathError: a path leads nowhere.
        """
        own = self._read({**self._others, **applied(self._varied, params)})
        if own is None or self._shared is None:
            whole = stored_job(applied(self._base, params), self._written)
            return parse_job(json.dumps(whole).encode(), self._limits)
        parts = {name: getattr(own, name) for name in self._own}
        spec = self._shared.model_copy(update=parts)
        if self._data is not None and isinstance(spec.problem, Supervised):
            problem = spec.problem.model_copy(update={"data": self._data})
            spec = spec.model_copy(update={"problem": problem})
        return resolve(spec, self._limits)

    def _read(self, part: Json) -> JobSpec | None:
        """Return a spec with the fields in `part`; None where one is wrong."""
        try:
            spec, _, _ = read_as(
                JobSpec,
                json.dumps(stored_job(part, self._written)).encode(),
                max_objects=self._most_objects,
                max_fields=self._most_fields,
            )
        except InvalidInputError:
            return None
        return spec


def _inline(base: Json) -> Json | None:
    """Return the inline data of the base."""
    problem = base.get("problem")
    data = problem.get("data") if isinstance(problem, dict) else None
    return data if isinstance(data, dict) and data.get("kind") == "inline" else None
