"""The tree of a parsed expression, and walks over it that do not recurse."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Number:
    """A literal or a named constant; always finite."""

    value: float


@dataclass(frozen=True, slots=True, eq=False)
class Variable:
    name: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Apply:
    """An operation of `expression_names.ARITY` on its arguments; `+` is `add`, unary `-` is `neg`.

    `min` and `max` of several values arrive as nested pairs, a chained comparison as an `and`.
    """

    operation: str
    arguments: "tuple[Expr, ...]"


Expr = Number | Variable | Apply


def variables(expr: Expr) -> tuple[str, ...]:
    """Return the names of the variables, each once, `x2` before `x10`: the order of the
    coordinates."""
    names = {node.name for node in postorder(expr) if isinstance(node, Variable)}
    return tuple(sorted(names, key=_natural))


def postorder(expr: Expr) -> Iterator[Expr]:
    """Yield every node, arguments before the operation that uses them; not recursive."""
    stack: list[tuple[Expr, bool]] = [(expr, False)]
    while stack:
        node, ready = stack.pop()
        if ready or not isinstance(node, Apply):
            yield node
            continue
        stack.append((node, True))
        stack.extend((argument, False) for argument in reversed(node.arguments))


def fold(
    expr: Expr,
    number: Callable[[float], T],
    variables: Mapping[str, T],
    operations: Mapping[str, Callable[..., T]],
) -> T:
    """Compute the tree's value from its leaves up; not recursive.

    Args:
        number: turns a literal into a value.
        variables: the value of each variable.
        operations: one function for each name in `expression_names.ARITY`, positional arguments.
    """
    values: list[T] = []
    for node in postorder(expr):
        match node:
            case Number():
                values.append(number(node.value))
            case Variable():
                values.append(variables[node.name])
            case Apply():
                count = len(node.arguments)
                arguments = values[-count:]
                del values[-count:]
                values.append(operations[node.operation](*arguments))
    return values[0]


def _natural(name: str) -> list[tuple[int, int | str]]:
    parts = re.split(r"(\d+)", name)
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts if part]
