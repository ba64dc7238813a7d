"""The mistakes of a study's configurations, each said once and laid to its place in the study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from core.errors import FieldError
from core.specs.validation.errors import MAX_ERRORS, shown

Json = dict[str, Any]

_PARAMS_SHOWN: Final = 4


@dataclass
class _Seen:
    number: int
    params: Mapping[str, Any]
    path: str | None
    count: int = 0


class ConfigurationFaults:
    """Collector of what `parse_job` finds in one configuration after the other.

    A mistake at or under a path of the sweep is that path's (`sweep.optimizer.lr`), and so is one
    in an object that is there for the path's sake; any other is the base's (`base.optimizer.eps`).
    The same mistake in many configurations is said once, with the first of them and how many more
    there are.

    Args:
        paths: of the sweep.
        base: of the study.
        numbered: whether they are the study's own, in order, or ones in which mistakes show.
        most: after so many configurations with mistakes the others need not be looked at.
    """

    def __init__(self, paths: Sequence[str], base: Json, *, numbered: bool, most: int) -> None:
        self._base = base
        self._numbered = numbered
        self._most = most
        self._paths = sorted(paths, key=len, reverse=True)
        self._seen: dict[tuple[str, str, str], _Seen] = {}
        self._failing = 0

    def __len__(self) -> int:
        return len(self._seen)

    @property
    def enough(self) -> bool:
        return len(self._seen) > MAX_ERRORS or self._failing >= self._most

    def add(self, number: int, params: Mapping[str, Any], errors: Sequence[FieldError]) -> None:
        """Add the mistakes of configuration `number`; their params are those of a job's spec."""
        self._failing += bool(errors)
        for error in errors:
            key = (error.param, error.code, error.message)
            seen = self._seen.setdefault(key, _Seen(number, params, self._path_of(error.param)))
            seen.count += 1

    def _path_of(self, param: str) -> str | None:
        for path in self._paths:
            if param == path or param.startswith(path + "."):
                return path
        if _stands_in(self._base, param):
            return None
        return next((path for path in self._paths if path.startswith(param + ".")), None)

    def listed(self, num_checked: int) -> list[FieldError]:
        """List the mistakes in the order found. `num_checked`: how many configurations were looked
        at."""
        return [self._said(FieldError(*key), seen, num_checked) for key, seen in self._seen.items()]

    def _said(self, error: FieldError, seen: _Seen, num_checked: int) -> FieldError:
        message = error.message.replace(', or "auto"', "")  # which is for jobs
        where = _where(seen, self._numbered)
        if seen.path is not None:
            hint = ""
            if error.code == "int_type":
                hint = "; sweep whole numbers by integers or values"
            return FieldError(f"sweep.{seen.path}", error.code, f"{message}{hint} ({where})")
        param = f"base.{error.param}".removesuffix(".")
        if error.param and message.startswith(error.param):
            message = f"base.{message}"
        in_all = seen.count == num_checked > 1
        if self._paths and not in_all:
            message += f" ({where})"
        return FieldError(param, error.code, message)


def _stands_in(base: Json, path: str) -> bool:
    """Tell whether the base has an object or list there, rather than nothing or a single value."""
    node: Any = base
    for name in path.split("."):
        if isinstance(node, Mapping):
            node = node.get(name)
        elif isinstance(node, list) and name.isdigit() and int(name) < len(node):
            node = node[int(name)]
        else:
            return False
    return isinstance(node, (Mapping, list))


def _where(seen: _Seen, numbered: bool) -> str:
    params = list(seen.params.items())
    params.sort(key=lambda item: item[0] != seen.path)
    listed = [f"{path} = {_short(value)}" for path, value in params[:_PARAMS_SHOWN]]
    if len(params) > _PARAMS_SHOWN:
        listed.append("…")
    more = f"; so in {seen.count - 1:,} more" if numbered and seen.count > 1 else ""
    which = f"configuration {seen.number}:" if numbered else "with"
    return f"{which} {', '.join(listed)}{more}"


def _short(value: Any) -> str:
    text = shown(value)
    return text if len(text) <= 41 else text[:40] + "…"
