"""Construction of a job's resolved spec from a study's base and a configuration's parameters; the
mistakes of a study's configurations, each said once and laid to its place in the study."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from core.errors import FieldError, InvalidInputError
from core.formats import STORE, stored_job
from core.specs.base import Json
from core.specs.data import Inline
from core.specs.job import DataProblem, JobSpec
from core.specs.parsing.body import MAX_FIELDS, MAX_OBJECTS, read_as
from core.specs.parsing.job import OF_THE_PROBLEM, Sized, parse_job, resolve
from core.specs.sizes.uploads import UploadFacts, Uploads
from core.specs.studies.sweep import applied, value_at
from core.specs.validation.errors import MAX_ERRORS, shown
from core.specs.validation.limits import Limits

_DATA: Final = "problem.data"
_STAND_IN: Final[Json] = {"features": [[0.0], [0.0]], "targets": [0, 1]}
_REQUIRED: Final[Json] = {
    "problem": {"kind": "function", "function": {"kind": "sphere"}},
    "optimizer": {"kind": "adam"},
}
"""Stands in where a part is read by itself: the fields of a spec are checked one by one."""
_MOST_FAILURES: Final = 500
_BYTES_OF_FAILURES: Final = 32 * 2**20
_PARAMS_SHOWN: Final = 4


UPLOADS: Final = "datasets"
"""Field of a stored study's base: the facts about the data sets that its runs may name, by id. The
service writes it where a sweep leads into the problem, and no reply shows it."""


def uploads_of(base: Json) -> Uploads:
    """Read the facts that a base holds."""
    return {id_: UploadFacts.from_json(facts) for id_, facts in base.get(UPLOADS, {}).items()}


class Jobs:
    """Resolver of one configuration after the other, each as `parse_job` does.

    Only the fields that paths lead into are read anew each time; the others are read once, and all
    specs share them. What follows from the problem is resolved once where no path leads into what
    it follows from. So are the rows of inline data that no path touches: four megabytes of them
    take a sixth of a second to read. With a mistake anywhere, all is left to `parse_job`.

    Args:
        written: the format in which the study was stored: what a spec lacks is read by it.

    Attributes:
        uploads: the data sets that the base names.
    """

    def __init__(
        self, base: Json, paths: Sequence[str], limits: Limits, written: int = STORE
    ) -> None:
        self.uploads = uploads_of(base)
        base = {name: part for name, part in base.items() if name != UPLOADS}
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
        """Fields that a spec must have, and into which no path leads."""
        self._shared = self._read(
            {name: part for name, part in _REQUIRED.items() if name in own} | fixed
        )
        self._one_problem = not own & OF_THE_PROBLEM
        self._resolved: dict[str, Sized] = {}
        """First resolved spec of each kind of optimizer, where all have one problem."""

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
            return parse_job(json.dumps(whole).encode(), self._limits, self.uploads)
        parts = {name: getattr(own, name) for name in self._own}
        spec = self._shared.model_copy(update=parts)
        if self._data is not None and isinstance(spec.problem, DataProblem):
            problem = spec.problem.model_copy(update={"data": self._data})
            spec = spec.model_copy(update={"problem": problem})
        like = self._resolved.get(spec.optimizer.kind) if self._one_problem else None
        sized = resolve(spec, self._limits, self.uploads, like)
        if like is None:
            self._resolved[spec.optimizer.kind] = sized
            self._share(spec, sized.spec)
        return sized.spec

    def _share(self, spec: JobSpec, resolved: JobSpec) -> None:
        """Let those that follow begin with what this one's problem came to, where all have it."""
        problem = spec.problem
        if isinstance(resolved.problem, DataProblem) and self._data is not None:
            found = resolved.problem.data
            if isinstance(found, Inline) and found.targets is self._data.targets:
                self._data = found  # with its short form of a split written out
        if (
            self._shared is not None
            and problem is self._shared.problem
            and isinstance(problem, DataProblem)
            and "problem" not in self._own
        ):
            settled: Json = {"problem": resolved.problem}
            if not {"record", "stop"} & set(self._own):
                settled["record"] = resolved.record
            self._shared = self._shared.model_copy(update=settled)

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


@dataclass
class _Seen:
    message: str
    number: int
    params: Mapping[str, Any]
    path: str | None
    count: int = 0


class ConfigurationFaults:
    """Gathers what `parse_job` finds in one configuration after the other: mistakes, or what is
    allowed and doubtful.

    A mistake at or under a path of the sweep is that path's (`sweep.optimizer.lr`), and so is one
    in an object that is there for the path's sake; any other is the base's (`base.optimizer.eps`).
    The same mistake in many configurations is said once, with the first of them and how many more
    there are.

    Args:
        paths: of the sweep.
        base: of the study.
        numbered: whether they are the study's own, in order, or ones in which mistakes show.
        most: after so many configurations with mistakes the others need not be looked at (0: all
            are, whatever is found).
        by_message: otherwise what has one code and one place is one, whatever its numbers.
    """

    def __init__(
        self,
        paths: Sequence[str],
        base: Json,
        *,
        numbered: bool,
        most: int,
        by_message: bool = True,
    ) -> None:
        self._base = base
        self._numbered = numbered
        self._most = most
        self._by_message = by_message
        self._paths = sorted(paths, key=len, reverse=True)
        self._seen: dict[tuple[str, str, str], _Seen] = {}
        self._failing = 0

    def __len__(self) -> int:
        return len(self._seen)

    @property
    def enough(self) -> bool:
        return len(self._seen) > MAX_ERRORS or 0 < self._most <= self._failing

    def add(self, number: int, params: Mapping[str, Any], errors: Sequence[FieldError]) -> None:
        """Add the mistakes of configuration `number`; their params are those of a job's spec."""
        self._failing += bool(errors)
        for error in errors:
            # A name that no kind has is one mistake, though each kind has other fields to offer.
            is_one = error.code == "unknown_field" or not self._by_message
            distinct = "" if is_one else error.message
            path = self._path_of(error.param)
            seen = self._seen.setdefault(
                (error.param, error.code, distinct), _Seen(error.message, number, params, path)
            )
            seen.count += 1

    def _path_of(self, param: str) -> str | None:
        for path in self._paths:
            if param == path or param.startswith(path + "."):
                return path
        if _stands_in(self._base, param):
            return None
        return next((path for path in self._paths if path.startswith(param + ".")), None)

    def listed(self, num_checked: int) -> list[FieldError]:
        """List the mistakes in the order found. `num_checked`: configurations that were read."""
        return [
            self._said(FieldError(param, code, seen.message), seen, num_checked)
            for (param, code, _), seen in self._seen.items()
        ]

    def _said(self, error: FieldError, seen: _Seen, num_checked: int) -> FieldError:
        message = error.message.replace(', or "auto"', "")  # which is for jobs
        where = _where(seen, self._numbered, is_all=not self.enough)
        kind = self._kind_of(error) if seen.count < num_checked else None
        if seen.path is not None:
            hint = ""
            if error.code == "int_type":
                hint = "; sweep whole numbers by integers or values"
            if kind is not None:
                hint = f'; vary it only where it is one, by "when": {{"{kind}": […]}}'
            return FieldError(f"sweep.{seen.path}", error.code, f"{message}{hint} ({where})")
        param = f"base.{error.param}".removesuffix(".")
        if error.param and message.startswith(error.param):
            message = f"base.{message}"
        if kind is not None:
            value = _short(value_at(self._base, error.param))
            message += (
                f"; take it out of base, and sweep it where it is one:"
                f' {{"values": [{value}], "when": {{"{kind}": […]}}}}'
            )
        in_all = seen.count == num_checked > 1
        if self._paths and not in_all:
            message += f" ({where})"
        return FieldError(param, error.code, message)

    def _kind_of(self, error: FieldError) -> str | None:
        """Return the path of the kind that decides on a field which the configuration's kind lacks,
        where a sweep sets it."""
        kind = f"{error.param.rpartition('.')[0]}.kind"
        is_varied = any(f"{kind}.".startswith(f"{path}.") for path in self._paths)
        return kind if error.code == "unknown_field" and is_varied else None


def _stands_in(base: Json, path: str) -> bool:
    """Tell whether the base has an object or list there, rather than nothing or a single value."""
    return isinstance(value_at(base, path), (Mapping, list))


def _where(seen: _Seen, numbered: bool, *, is_all: bool) -> str:
    """Name the first configuration that has it, and how many more do. `is_all`: otherwise the rest
    was not looked at."""
    params = list(seen.params.items())
    params.sort(key=lambda item: item[0] != seen.path)
    listed = [f"{path} = {_short(value)}" for path, value in params[:_PARAMS_SHOWN]]
    if len(params) > _PARAMS_SHOWN:
        listed.append("…")
    least = "" if is_all else "at least "
    more = f"; so in {least}{seen.count - 1:,} more" if numbered and seen.count > 1 else ""
    which = f"configuration {seen.number}:" if numbered else "with"
    return f"{which} {', '.join(listed)}{more}"


def _short(value: Any) -> str:
    text = shown(value)
    return text if len(text) <= 41 else text[:40] + "…"
