"""From a study's base and a configuration's parameters to the resolved spec of a job."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from core.spec.data import Inline
from core.spec.job import JobSpec, Supervised
from core.spec.limits import Limits
from core.spec.reading import read
from core.spec.resolve import parse_job, resolve
from core.spec.sweep import applied

Json = dict[str, Any]

_DATA: Final = "problem.data"
_STAND_IN: Final[Json] = {"features": [[0.0], [0.0]], "targets": [0, 1]}
_MOST_FAILURES: Final = 500
_BYTES_OF_FAILURES: Final = 32 * 2**20


class Jobs:
    """Resolves one configuration after the other, each as `parse_job` does.

    Inline data that no path touches is read once, and all specs share it: four megabytes of it
    take a sixth of a second to read.
    """

    def __init__(self, base: Json, paths: Sequence[str], limits: Limits) -> None:
        self._base, self._limits = base, limits
        self._light = base
        self._data: Inline | None = None
        data = _inline(base)
        touched = any(f"{path}.".startswith(f"{_DATA}.") or path == "problem" for path in paths)
        self._size = 0
        if data is None:
            return
        text = json.dumps(data)
        self._size = len(text)
        if touched:
            return
        try:
            self._data = Inline.model_validate_json(text)
        except ValidationError:
            return  # it is named with each configuration
        problem = {**base["problem"], "data": {**data, **_STAND_IN}}
        self._light = {**base, "problem": problem}

    @property
    def affordable_failures(self) -> int:
        """After how many configurations with mistakes no more need be looked at."""
        return max(4, min(_MOST_FAILURES, _BYTES_OF_FAILURES // (self._size + 1)))

    def resolved(self, params: Mapping[str, Any]) -> JobSpec:
        """The spec with the parameters put in.

        Raises:
            InvalidInputError: with every mistake; params are those of a job's spec.
            PathError: a path leads nowhere.
        """
        if self._data is not None:
            body = json.dumps(applied(self._light, params)).encode()
            spec, _, _ = read(body)
            if spec is not None and isinstance(spec.problem, Supervised):
                problem = spec.problem.model_copy(update={"data": self._data})
                return resolve(spec.model_copy(update={"problem": problem}), self._limits)
        return parse_job(json.dumps(applied(self._base, params)).encode(), self._limits)


def _inline(base: Json) -> Json | None:
    """The inline data of the base."""
    problem = base.get("problem")
    data = problem.get("data") if isinstance(problem, dict) else None
    return data if isinstance(data, dict) and data.get("kind") == "inline" else None
