"""An expression's text cut into numbers, names and operators."""

import keyword
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final


# The closed list of names that an expression may use, and what they take.
@dataclass(frozen=True, slots=True)
class Binary:
    """An infix operator: the operation's name and how tightly it binds."""

    name: str
    precedence: int


BINARY: Final[dict[str, Binary]] = {
    "or": Binary("or", 1),
    "and": Binary("and", 2),
    "<": Binary("lt", 4),
    "<=": Binary("le", 4),
    ">": Binary("gt", 4),
    ">=": Binary("ge", 4),
    "==": Binary("eq", 4),
    "!=": Binary("ne", 4),
    "+": Binary("add", 5),
    "-": Binary("sub", 5),
    "*": Binary("mul", 6),
    "/": Binary("div", 6),
    "**": Binary("pow", 8),
}

COMPARISONS: Final = frozenset({"<", "<=", ">", ">=", "==", "!="})

CONSTANTS: Final[dict[str, float]] = {"pi": math.pi, "e": math.e, "tau": math.tau}

WORDS: Final = frozenset({"and", "or", "not"})

ARITY: Final[dict[str, int]] = {
    # infix and prefix operations
    "add": 2, "sub": 2, "mul": 2, "div": 2, "pow": 2, "neg": 1,
    # conditions
    "lt": 2, "le": 2, "gt": 2, "ge": 2, "eq": 2, "ne": 2, "and": 2, "or": 2, "not": 1,
    # functions
    "sin": 1, "cos": 1, "tan": 1, "asin": 1, "acos": 1, "atan": 1,
    "sinh": 1, "cosh": 1, "tanh": 1, "asinh": 1, "acosh": 1, "atanh": 1,
    "exp": 1, "expm1": 1, "log": 1, "log2": 1, "log10": 1, "log1p": 1, "sqrt": 1,
    "abs": 1, "sign": 1, "floor": 1, "ceil": 1, "erf": 1,
    "sigmoid": 1, "relu": 1, "softplus": 1,
    "atan2": 2, "hypot": 2, "min": 2, "max": 2, "where": 3,
}  # fmt: skip
"""Every operation and its number of arguments (`min` and `max` take that many or more)."""

_FIRST_FUNCTION = list(ARITY).index("sin")

FUNCTIONS: Final = (*list(ARITY)[_FIRST_FUNCTION:], "pow")
"""The operations that are called by name."""

RESERVED: Final = frozenset(keyword.kwlist)
"""Python's keywords: refused as names of variables, lest a formula look like code."""


class InvalidExpressionError(ValueError):
    """A text that is no expression; `position` is the offset of the fault, from 0."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(f"{message} (at character {position + 1})")
        self.position = position


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    """`number`, `name`, `operator` or `end`."""
    text: str
    position: int


_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z_0-9]*)"
    r"|(?P<operator>\*\*|//|<=|>=|==|!=|<<|>>|:=|[-+*/<>(),]))",
    re.ASCII,
)

_HINTS: Final = {
    "^": "`^` is no operator here; write `**` for a power",
    ".": "attribute access is not allowed",
    "[": "subscripts and lists are not allowed; name variables x1, x2, …",
    "{": "braces are not allowed",
    "'": "strings are not allowed",
    '"': "strings are not allowed",
    "=": "assignment is not allowed; write `==` for a comparison",
    "&": "write `and` instead of `&`",
    "|": "write `or` instead of `|`",
    "!": "write `not` instead of `!`",
    "%": "`%` is not an operator here",
    ":": "`:` is not allowed",
}


def tokens(text: str) -> Iterator[Token]:
    """Yield every token in turn, then one of kind `end`. Raises `InvalidExpressionError`."""
    position, end = 0, len(text.rstrip(" \t\r\n\f\v"))
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            while text[position] in " \t\r\n\f\v":
                position += 1
            character = text[position]
            hint = _HINTS.get(character, f"the character {character!r} is not allowed")
            raise InvalidExpressionError(hint, position)
        yield Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup))
        position = match.end()
    yield Token("end", "", len(text))
