"""Texts that stand for dates, times or numbers, and are not written as those are read here."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

Meaning = Literal["date", "time", "percent", "money", "number", "quantity"]

FEW: Final = 0.1
"""Share of a column's texts that may mean something else ("unknown") and do not count."""
LEAST: Final = 2
"""Fewest texts that tell what a column's texts mean."""
LEAST_QUANTITIES: Final = 3
"""The same for numbers with a unit: "2D" and "3D" are names."""
MOST_UNITS: Final = 3
"""Most units of a column of quantities; with more they are rather parts of names."""
LONGEST: Final = 40
"""Longest text, in characters, that stands for one of them."""

_SPACES: Final = " \u00a0\u202f"
_NUMBER: Final = (
    r"[+\-\u2212]?(?:\d{1,3}(?:[,.'\u2019" + _SPACES + r"]\d{3})+|\d{1,15})?(?:[.,]\d+)?(?<=\d)"
)
_GAP: Final = f"[{_SPACES}]?"
_SIGN: Final = (
    r"(?:[$\u20ac\u00a3\u00a5\u20b9\u20bd\u20a9]|USD|EUR|GBP|CHF|CNY|RMB|JPY|INR|CAD|AUD)"
)
_CLOCK: Final = r"\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?: ?[ap]\.?m\.?)?"
_MONTH: Final = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?"
_DATES: Final = (
    r"(?P<a>\d{1,2})(?P<s>[./-])(?P<b>\d{1,2})(?P=s)(?:\d{4}|\d{2})",
    r"\d{4}(?P<z>[./-])(?P<c>\d{1,2})(?P=z)(?P<d>\d{1,2})",
    r"\d{4}[./-](?P<e>\d{1,2})",
    r"(?P<f>\d{1,2})[./]\d{4}",
    rf"(?:\d{{1,2}}\.?[ -]?)?{_MONTH},?[ -]?(?:\d{{1,2}}(?:st|nd|rd|th)?,? )?\d{{4}}",
    rf"\d{{1,2}}[ -]{_MONTH}[ -]\d{{2}}",
    r"q[1-4][ -]?\d{4}|\d{4}[ -]?q[1-4]",
    r"\d{4}年\d{1,2}月(?:\d{1,2}日)?",
)
_WRITTEN: Final = re.compile(
    rf"(?P<date>(?:{'|'.join(_DATES)})(?:[T ,]{{1,2}}{_CLOCK}(?:Z|[+-]\d\d:?\d\d)?)?)"
    rf"|(?P<time>{_CLOCK})"
    r"|(?P<plain>[+-]?(?!0\d)\d{1,15}(?P<fraction>\.\d*|(?:\.\d+)?e[+-]?\d+)?)"
    rf"|(?P<percent>{_NUMBER}{_GAP}%)"
    rf"|(?P<money>\(?[+-]?{_SIGN}{_GAP}{_NUMBER}[kmb]?\)?|{_NUMBER}{_GAP}{_SIGN})"
    rf"|(?P<number>(?!0\d){_NUMBER}|\({_NUMBER}\))"
    rf"|(?P<quantity>{_NUMBER}{_GAP}(?P<unit>[a-z\u00b5\u03bc\u00b0\u2126/²³]{{1,10}}))",
    re.IGNORECASE,
)
_READABLE: Final = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ].*)?|[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?")
_NOTHING: Final = re.compile(
    r"[\W_]+|none|nil|unknown|missing|undefined|not (?:available|known)|n[./]? ?a\.?|nul+|inf|nan",
    re.IGNORECASE,
)
"""Texts that say that a value is missing."""
_UNITS_OF_ONE: Final = frozenset("gmshklM°K")
_ORDINALS: Final = frozenset({"st", "nd", "rd", "th"})


class Written(NamedTuple):
    """The meaning of a column's texts.

    Attributes:
        example: one of them.
        readable: that one would be read so if a schema said it.
        odd: the first that stands for nothing; None: all stand for something.
    """

    meaning: Meaning
    example: str
    readable: bool
    odd: str | None = None


def written(texts: Sequence[str]) -> Written | None:
    """Tell what a column's different texts stand for; None: they are names, or whole numbers, which
    may be names unless a sign of a missing one stands among them. A few of the texts may stand for
    nothing (`FEW`, or one of three or more)."""
    allowed = max(len(texts) > LEAST, int(FEW * len(texts)))
    odd: list[str] = []
    counts = dict.fromkeys(_MEANINGS, 0)
    examples: dict[Meaning, str] = {}
    units: set[str] = set()
    whole: str | None = None
    for text in texts:
        meaning, unit = _meaning(text)
        if meaning is None:
            odd.append(text)
            if len(odd) > allowed:
                return None
        elif meaning != "plain":
            counts[meaning] += 1
            examples.setdefault(meaning, text)
        else:
            whole = whole or text
        if unit is not None:
            units.add(unit)
    if not examples and whole is not None and odd and all(map(_NOTHING.fullmatch, odd)):
        examples["number"] = whole
    known = len(texts) - len(odd)
    if known < LEAST or not examples:
        return None
    most = max(examples, key=lambda each: counts[each])
    if "quantity" in examples and not _are_quantities(known, units):
        return None
    if {"date", "time"} & examples.keys() and known > counts[most]:
        return None  # numbers beside dates
    readable = _READABLE.fullmatch(examples[most]) is not None
    return Written(most, examples[most], readable, odd[0] if odd else None)


_MEANINGS: Final[tuple[Meaning, ...]] = ("date", "time", "percent", "money", "number", "quantity")


def _meaning(text: str) -> tuple[Meaning | Literal["plain"] | None, str | None]:
    """Return the meaning of one text, and its unit where it is a quantity."""
    found = None if len(text) > LONGEST else _WRITTEN.fullmatch(text.strip())
    if found is None:
        return None, None
    if found["plain"] is not None:
        return ("number" if found["fraction"] else "plain"), None
    for meaning in _MEANINGS:
        if found[meaning] is None:
            continue
        if meaning == "date" and not _is_date(found):
            return None, None
        if meaning == "quantity" and not _is_unit(found["unit"]):
            return None, None
        return meaning, found["unit"]
    return None, None


def _is_date(found: re.Match[str]) -> bool:
    """Tell whether the numbers of a date may be its day and month."""
    pair = (found["a"], found["b"]) if found["a"] else (found["c"], found["d"])
    if pair[0]:
        numbers = sorted(map(int, pair))
        return 1 <= numbers[0] <= 12 and numbers[1] <= 31
    month = found["e"] or found["f"]
    return month is None or 1 <= int(month) <= 12


def _is_unit(unit: str) -> bool:
    return unit in _UNITS_OF_ONE if len(unit) == 1 else unit.lower() not in _ORDINALS


def _are_quantities(count: int, units: set[str]) -> bool:
    return count >= LEAST_QUANTITIES and len(units) <= min(MOST_UNITS, count - 1)


def alike(texts: Sequence[str]) -> tuple[str, str] | None:
    """Return two texts that differ in blanks, case or the coding of a character alone."""
    seen: dict[str, str] = {}
    for each in texts:
        plain = " ".join(unicodedata.normalize("NFKC", each).casefold().split())
        if plain in seen:
            return seen[plain], each
        seen[plain] = each
    return None
