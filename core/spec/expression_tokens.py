"""An expression's text cut into numbers, names and operators."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final


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
    """Every token in turn, then one of kind `end`. Raises `InvalidExpressionError`."""
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
