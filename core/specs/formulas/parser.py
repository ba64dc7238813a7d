"""Formulas such as `0.1*x1**2 + 2*x2**2`, read by a whitelist: what is not listed here is refused.

Grammar, loosest first: `or`, `and`, `not`, comparisons (also chained), `+ -`, `* /`, unary `+ -`,
`**` (to the right), then numbers, names, calls and parentheses. Conditions (comparisons, `and`,
`or`, `not`) may stand only as the first argument of `where`. All arithmetic is in float64.

The parser is a tokenizer and a precedence climber; it recurses only into brackets, signs and
powers, at most `MAX_DEPTH` deep. The tree may be deeper (a long sum leans to the left), so walk it
with `fold`, which does not recurse.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NoReturn

from core.specs.formulas.tokens import (
    ARITY,
    BINARY,
    COMPARISONS,
    CONSTANTS,
    FUNCTIONS,
    RESERVED,
    WORDS,
    InvalidExpressionError,
    Token,
    tokens,
)
from core.specs.formulas.tree import Apply, Expr, Number, Variable, variables

MAX_LENGTH: Final = 10_000
MAX_DEPTH: Final = 100
MAX_NODES: Final = 5_000
MAX_VARIABLES: Final = 1_000
MAX_NUMBER_LENGTH: Final = 100
MAX_NAME_LENGTH: Final = 64


@lru_cache(maxsize=64)
def parse(text: str) -> Expr:
    """Read one expression. (Remembered: a spec's rules, size and value ask for the same one.)

    Raises:
        InvalidExpressionError: not in the grammar, or beyond one of the limits of this module.
    """
    if len(text) > MAX_LENGTH:
        raise InvalidExpressionError(
            f"the expression has {len(text):,} characters; at most {MAX_LENGTH:,} are allowed",
            MAX_LENGTH,
        )
    tree = _Parser(text).whole()
    if len(variables(tree)) > MAX_VARIABLES:
        raise InvalidExpressionError(f"more than {MAX_VARIABLES:,} different variables", 0)
    return tree


@dataclass(frozen=True, slots=True)
class _Piece:
    """A parsed part, and whether it is a condition (true or false) rather than a value."""

    expr: Expr
    condition: bool
    position: int


_NOT, _COMPARISON, _SIGN = 3, 4, 7


class _Parser:
    """Precedence climbing over the tokens of one text."""

    def __init__(self, text: str) -> None:
        self._tokens = tokens(text)
        self._next = next(self._tokens)
        self._depth = 0
        self._nodes = 0

    def whole(self) -> Expr:
        if self._next.kind == "end":
            self._refuse("the expression is empty")
        piece = self._value(self._expression(0))
        if self._next.kind != "end":
            self._unexpected()
        return piece

    def _expression(self, floor: int) -> _Piece:
        """Parse on while operators bind at least as tightly as `floor`."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._refuse(f"nested deeper than {MAX_DEPTH} levels")
        left = self._prefix()
        while True:
            token = self._next
            binding = BINARY.get(token.text)
            if binding is None or binding.precedence < floor:
                break
            left = self._infix(left, token, binding.name, binding.precedence)
        self._depth -= 1
        return left

    def _infix(self, left: _Piece, token: Token, name: str, precedence: int) -> _Piece:
        if token.text in COMPARISONS:
            return self._comparison(left)
        self._advance()
        if token.text == "**":
            # The exponent may carry a sign, and `**` groups to the right: 2**-x**2 is 2**(-(x**2)).
            right = self._expression(_SIGN)
            return self._apply(name, [self._value(left), self._value(right)], left.position)
        right = self._expression(precedence + 1)
        if token.text in ("and", "or"):
            both = [self._condition(left), self._condition(right)]
            return self._apply(name, both, left.position, condition=True)
        return self._apply(name, [self._value(left), self._value(right)], left.position)

    def _comparison(self, left: _Piece) -> _Piece:
        """Parse a chain of comparisons: `a < b <= c` means `a < b and b <= c`, as in mathematics
        and Python."""
        chain: _Piece | None = None
        while self._next.text in COMPARISONS:
            name = BINARY[self._next.text].name
            self._advance()
            right = self._expression(_COMPARISON + 1)
            link = self._apply(
                name, [self._value(left), self._value(right)], left.position, condition=True
            )
            both = None if chain is None else [chain.expr, link.expr]
            chain = link if both is None else self._apply("and", both, left.position, True)
            left = right
        assert chain is not None
        return chain

    def _prefix(self) -> _Piece:
        token = self._next
        self._advance()
        if token.text in ("+", "-"):
            operand = self._expression(_SIGN)
            if token.text == "+":
                return _Piece(self._value(operand), False, token.position)
            return self._apply("neg", [self._value(operand)], token.position)
        if token.text == "not":
            operand = self._expression(_NOT)
            return self._apply("not", [self._condition(operand)], token.position, condition=True)
        if token.text == "(":
            inner = self._expression(0)
            self._expect(")")
            return inner
        if token.kind == "number":
            return self._piece(Number(self._number(token)), token.position)
        if token.kind == "name":
            return self._name(token)
        return self._unexpected(token)

    def _number(self, token: Token) -> float:
        if len(token.text) > MAX_NUMBER_LENGTH:
            self._refuse(
                f"a number of {len(token.text):,} characters; at most {MAX_NUMBER_LENGTH} are"
                " allowed",
                token,
            )
        value = float(token.text)
        if not math.isfinite(value):
            self._refuse(f"{token.text} is too large for float64 (at most about 1.8e308)", token)
        return value

    def _name(self, token: Token) -> _Piece:
        name = token.text
        if self._next.text == "(":
            return self._call(token)
        if name in CONSTANTS:
            return self._piece(Number(CONSTANTS[name]), token.position)
        if name in FUNCTIONS or name in RESERVED or name in WORDS:
            called = name in FUNCTIONS
            needs = "needs its arguments in parentheses" if called else "is a reserved word"
            self._refuse(f"`{name}` {needs}", token)
        if name.startswith("_") or len(name) > MAX_NAME_LENGTH:
            self._refuse(
                f"`{name[:80]}` cannot name a variable: use a letter, then at most"
                f" {MAX_NAME_LENGTH - 1} letters, digits and underscores",
                token,
            )
        return self._piece(Variable(name), token.position)

    def _call(self, token: Token) -> _Piece:
        name = token.text
        if name not in FUNCTIONS:
            self._refuse(f"`{name[:80]}` is not a listed function ({', '.join(FUNCTIONS)})", token)
        self._expect("(")
        pieces: list[_Piece] = []
        while self._next.text != ")":
            pieces.append(self._expression(0))
            if self._next.text != ")":
                self._expect(",")
        self._expect(")")
        self._check_count(name, len(pieces), token)
        if name == "where":
            branches = [self._value(piece) for piece in pieces[1:]]
            return self._apply(name, [self._condition(pieces[0]), *branches], token.position)
        values = [self._value(piece) for piece in pieces]
        if name not in ("min", "max"):
            return self._apply(name, values, token.position)
        result = _Piece(values[0], False, token.position)
        for value in values[1:]:
            result = self._apply(name, [result.expr, value], token.position)
        return result

    def _check_count(self, name: str, count: int, token: Token) -> None:
        wanted = ARITY[name]
        if name in ("min", "max"):
            if count < wanted:
                self._refuse(f"`{name}` takes two arguments or more, not {count}", token)
        elif count != wanted:
            plural = "" if wanted == 1 else "s"
            self._refuse(f"`{name}` takes {wanted} argument{plural}, not {count}", token)

    def _apply(
        self, name: str, arguments: Sequence[Expr], position: int, condition: bool = False
    ) -> _Piece:
        return self._piece(Apply(name, tuple(arguments)), position, condition)

    def _piece(self, expr: Expr, position: int, condition: bool = False) -> _Piece:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise InvalidExpressionError(
                f"more than {MAX_NODES:,} operations and operands", position
            )
        return _Piece(expr, condition, position)

    def _value(self, piece: _Piece) -> Expr:
        if piece.condition:
            raise InvalidExpressionError(
                "a condition stands where a number is needed; conditions are allowed only as the"
                " first argument of `where(condition, a, b)`",
                piece.position,
            )
        return piece.expr

    def _condition(self, piece: _Piece) -> Expr:
        if not piece.condition:
            raise InvalidExpressionError(
                "a number stands where a condition is needed, such as `x1 < 0`", piece.position
            )
        return piece.expr

    def _advance(self) -> None:
        if self._next.kind != "end":
            self._next = next(self._tokens)

    def _expect(self, text: str) -> None:
        if self._next.text != text:
            self._unexpected(wanted=text)
        self._advance()

    def _unexpected(self, token: Token | None = None, wanted: str | None = None) -> NoReturn:
        token = token or self._next
        found = "the end" if token.kind == "end" else f"`{token.text[:80]}`"
        if token.text in ("//", "<<", ">>", ":="):
            self._refuse(f"{found} is not an operator here", token)
        missing = f"; `{wanted}` was expected" if wanted else ""
        word = token.text in RESERVED
        factor = token.kind in ("name", "number") and not word
        hint = "; write `*` between factors" if factor else ""
        self._refuse(f"{found} is unexpected{missing}{hint}", token)

    def _refuse(self, message: str, token: Token | None = None) -> NoReturn:
        raise InvalidExpressionError(message, (token or self._next).position)
