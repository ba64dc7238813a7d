"""Points and draws of a sweep, and how they are put into a job's spec.

Plain functions of the spec: the same sweep gives the same configurations on every machine.
"""

import hashlib
import json
import math
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, assert_never

from core.specs.base import Json
from core.specs.study import Sweep, SweepIntegers, SweepLinear, SweepLog, SweepValues
from core.specs.validation.errors import shown

_BITS: Final = 53
_PLACE: Final = re.compile("0|[1-9][0-9]{0,8}")


class PathError(ValueError):
    """A path that leads nowhere in this spec; the text says where it ends and the way out."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path


@dataclass(frozen=True)
class Axis:
    """A path of a sweep, and the values that it takes.

    Attributes:
        base: the study's, for conditions.
        size: how many points it has; None: any number between two.
    """

    path: str
    sweep: Sweep
    base: Json = field(default_factory=dict, compare=False)

    @property
    def size(self) -> int | None:
        match self.sweep:
            case SweepValues():
                return len(self.sweep.values)
            case SweepIntegers():
                low, high = self.sweep.integers
                return high - low + 1
            case SweepLog() | SweepLinear():
                return self.sweep.count
            case _:
                assert_never(self.sweep)

    def holds(self, params: Mapping[str, Any]) -> bool:
        """Tell whether it is varied beside these parameters, by its `when`."""
        when = self.sweep.when
        if when is None:
            return True
        spec = self.beside(params)
        return all(is_among(value_at(spec, path), values) for path, values in when.items())

    def beside(self, params: Mapping[str, Any]) -> Json:
        """Return the parts of the spec beside these parameters that its `when` looks at; paths that
        lead nowhere, which are mistakes of their own, are passed over."""
        parts = {path.split(".")[0] for path in self.sweep.when or ()}
        base = {name: part for name, part in self.base.items() if name in parts}
        own = {path: value for path, value in params.items() if path.split(".")[0] in parts}
        while True:
            try:
                return applied(base, own)
            except PathError as error:
                del own[error.path]

    def leads_nowhere(self, params: Mapping[str, Any]) -> bool:
        """Tell whether one of these parameters has no place in the base."""
        try:
            applied(self.base, params)
        except PathError:
            return True
        return False

    def point(self, index: int) -> Any:
        """Return point number `index` of `size`; the first and the last are the given ends
        exactly, those between them have 14 digits (32, not 31.99999999999999)."""
        match self.sweep:
            case SweepValues():
                return self.sweep.values[index]
            case SweepIntegers():
                return self.sweep.integers[0] + index
            case SweepLog() | SweepLinear():
                assert self.sweep.count is not None
                last = self.sweep.count - 1
                found = self.between(index, last)
                return found if index in (0, last) else _rounded(found, self.sweep)
            case _:
                assert_never(self.sweep)

    def index_of(self, value: Any) -> int:
        """Return the inverse of `point`."""
        if isinstance(self.sweep, SweepValues):
            text = json.dumps(value, sort_keys=True)  # tells 1, 1.0 and true apart
            texts = (json.dumps(each, sort_keys=True) for each in self.sweep.values)
            return next(index for index, each in enumerate(texts) if each == text)
        assert self.size is not None
        found = bisect_left(range(self.size), value, key=self.point)
        near = range(max(0, found - 1), min(found + 1, self.size))
        return min(near, key=lambda index: abs(self.point(index) - value))

    def between(self, part: float, whole: float) -> float:
        """Return the number `part`/`whole` of the way from the first end to the second."""
        match self.sweep:
            case SweepLog(log=(low, high)):
                a, b = math.log10(low), math.log10(high)
                inner: float = 10.0 ** (a + (b - a) * part / whole)
            case SweepLinear(linear=(low, high)):
                inner = low + (high - low) * part / whole
            case SweepValues() | SweepIntegers():
                raise TypeError(f"{self.path} has no numbers in between")
            case _:
                assert_never(self.sweep)
        if part in (0, whole):
            return low if part == 0 else high
        return min(max(inner, low), high)

    def draw(self, u: float) -> Any:
        """Map the number `u` from [0, 1) to a value: each point is as likely as the others, each
        number between two ends as likely on the scale of the sweep."""
        size = self.size
        if size is None:
            return self.between(u, 1.0)
        return self.point(min(int(u * size), size - 1))

    def ends(self) -> list[Any]:
        """Return all values, or for numbers the first and the last: where a sweep can go wrong."""
        if isinstance(self.sweep, SweepValues):
            return list(self.sweep.values)
        size = self.size
        if size is None:
            return [self.between(0, 1), self.between(1, 1)]
        return [self.point(0), self.point(size - 1)] if size > 1 else [self.point(0)]


def _rounded(value: float, sweep: SweepLog | SweepLinear) -> float:
    """Round to 14 digits, in a linear range those of its larger end; it stays between the ends."""
    match sweep:
        case SweepLog(log=(low, high)):
            value = float(f"{value:.14g}")
        case SweepLinear(linear=(low, high)):
            digits = 13 - math.frexp(max(abs(low), abs(high)))[1] * 30103 // 100000
            value = round(value, digits) if digits > 0 else value
        case _:
            assert_never(sweep)
    return min(max(value, low), high)


def axes_of(sweep: Mapping[str, Sweep], base: Json | None = None) -> list[Axis]:
    """Return the axes of a sweep over a base, in its order; one that is varied only where others
    have certain values comes after these."""
    waiting = [Axis(path, part, base or {}) for path, part in sweep.items()]
    found: list[Axis] = []
    while waiting:
        ready = (axis for axis in waiting if not any(depends(axis, other) for other in waiting))
        found.append(next(ready, waiting[0]))  # a circle is a mistake that is told elsewhere
        waiting.remove(found[-1])
    return found


def depends(axis: Axis, other: Axis) -> bool:
    """Tell whether the values of another axis decide where this one is varied."""
    when = axis.sweep.when or {}
    return any(f"{path}.".startswith(f"{other.path}.") for path in when)


def is_place(name: str) -> bool:
    """Tell whether a part of a path is the number of a place in a list, written in one way only."""
    return _PLACE.fullmatch(name) is not None


def value_at(spec: Any, path: str) -> Any:
    """Return the value at a path; None where there is none."""
    for name in path.split("."):
        if isinstance(spec, Mapping):
            spec = spec.get(name)
        elif isinstance(spec, list) and is_place(name) and int(name) < len(spec):
            spec = spec[int(name)]
        else:
            return None
    return spec


def is_among(value: Any, values: Sequence[Any]) -> bool:
    """Tell whether a value is one of these; 1 is 1.0, and not true."""
    return any(
        value == each and isinstance(value, bool) == isinstance(each, bool) for each in values
    )


def kept(axes: Sequence[Axis], params: Mapping[str, Any]) -> Json:
    """Return the parameters without those of axes that are not varied beside the others."""
    found: Json = {}
    for axis in axes:
        if axis.path in params and axis.holds(found):
            found[axis.path] = params[axis.path]
    return found


def num_combinations(axes: Sequence[Axis], most: int) -> int:
    """Count the points of the grid; every axis must have points. With conditions, `most` are
    counted."""
    if all(axis.sweep.when is None for axis in axes):
        return math.prod(axis.size or 1 for axis in axes)
    return sum(1 for _ in islice(grid(axes), most))


def grid(axes: Sequence[Axis]) -> Iterator[Json]:
    """Yield every combination, in the order of an odometer: the last axis runs fastest."""
    yield from _combined(axes, 0, {})


def _combined(axes: Sequence[Axis], place: int, params: Json) -> Iterator[Json]:
    """Yield every combination of the axes from a place on, beside the parameters before."""
    if place == len(axes):
        yield params
        return
    axis = axes[place]
    if not axis.holds(params):
        yield from _combined(axes, place + 1, params)
        return
    for index in range(axis.size or 1):
        yield from _combined(axes, place + 1, {**params, axis.path: axis.point(index)})


def drawn(axes: Sequence[Axis], seed: int, number: int, again: int = 0) -> Json:
    """Draw configuration `number` of a random search: it depends on nothing but its arguments.
    `again`: how often it was drawn before, and was a copy."""
    params = {axis.path: axis.draw(uniform(seed, number, axis.path, again)) for axis in axes}
    return kept(axes, params)


def uniform(seed: int, number: int, path: str, again: int = 0) -> float:
    """Return a number from [0, 1) with 53 bits, by BLAKE2b of the arguments."""
    of = f"{number}.{again}" if again else f"{number}"
    digest = hashlib.blake2b(f"{seed}/sweep/{of}/{path}".encode(), digest_size=8).digest()
    return math.ldexp(int.from_bytes(digest, "little") >> (64 - _BITS), -_BITS)


def applied(base: Json, params: Mapping[str, Any]) -> Json:
    """Return the base with each value at its path, shorter paths first; `base` stays as it is.

    Objects on the way are made where there are none (or null).

    Raises:
        PathError: a path goes through something that is no object, or beyond a list.
    """
    spec: Any = base
    for path in sorted(params, key=lambda path: path.count(".")):
        spec = _put(spec, path.split("."), 0, params[path])
    return dict(spec)


def _put(node: Any, names: list[str], depth: int, value: Any) -> Any:
    if depth == len(names):
        return value
    name = names[depth]
    if isinstance(node, list):
        index = _place(node, names, depth)
        changed = list(node)
        changed[index] = _put(node[index], names, depth + 1, value)
        return changed
    if node is None:
        if is_place(name):
            here = ".".join(names[:depth])
            raise PathError(
                ".".join(names), f"there is no list {here} to find place {name} in; give it in base"
            )
        node = {}
    if not isinstance(node, Mapping):
        here = ".".join(names[:depth])
        raise PathError(
            ".".join(names), f"{here} is {shown(node)}, which has no part {shown(name)}"
        )
    return {**node, name: _put(node.get(name), names, depth + 1, value)}


def _place(items: list[Any], names: list[str], depth: int) -> int:
    here, name = ".".join(names[:depth]), names[depth]
    if not is_place(name):
        raise PathError(
            ".".join(names), f"{here} is a list; name a place in it by its number, from 0"
        )
    if int(name) >= len(items):
        places = f"its places are 0 … {len(items) - 1}" if items else "it is empty"
        raise PathError(".".join(names), f"{here} has no place {name}; {places}")
    return int(name)
