"""Points and draws of a sweep, and how they are put into a job's spec.

Plain functions of the spec: the same sweep gives the same configurations on every machine.
"""

import hashlib
import json
import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, assert_never

from core.specs.base import Json
from core.specs.study import Sweep, SweepIntegers, SweepLinear, SweepLog, SweepValues
from core.specs.validation.errors import shown

_BITS: Final = 53


class PathError(ValueError):
    """A path that leads nowhere in this spec; the text says where it ends and the way out."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path


@dataclass(frozen=True)
class Axis:
    """A path of a sweep, and the values that it takes.

    Attributes:
        size: how many points it has; None: any number between two.
    """

    path: str
    sweep: Sweep

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


def axes_of(sweep: Mapping[str, Sweep]) -> list[Axis]:
    return [Axis(path, part) for path, part in sweep.items()]


def num_combinations(axes: Sequence[Axis]) -> int:
    """Count the points of the grid; every axis must have points."""
    return math.prod(axis.size or 1 for axis in axes)


def grid(axes: Sequence[Axis]) -> Iterator[Json]:
    """Yield every combination, in the order of an odometer: the last axis runs fastest."""
    sizes = [axis.size or 1 for axis in axes]
    for number in range(math.prod(sizes)):
        params: Json = {}
        rest = number
        for axis, size in zip(reversed(axes), reversed(sizes), strict=True):
            rest, index = divmod(rest, size)
            params[axis.path] = axis.point(index)
        yield {axis.path: params[axis.path] for axis in axes}


def drawn(axes: Sequence[Axis], seed: int, number: int, again: int = 0) -> Json:
    """Draw configuration `number` of a random search: it depends on nothing but its arguments.
    `again`: how often it was drawn before, and was a copy."""
    return {axis.path: axis.draw(uniform(seed, number, axis.path, again)) for axis in axes}


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
        if name.isdigit():
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
    plain = name.isascii() and name.isdigit() and name == str(int(name[:9]))
    if not plain:
        raise PathError(
            ".".join(names), f"{here} is a list; name a place in it by its number, from 0"
        )
    if int(name) >= len(items):
        raise PathError(
            ".".join(names), f"{here} has no place {name}; its places are 0 … {len(items) - 1}"
        )
    return int(name)
