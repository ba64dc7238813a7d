"""Numbers in sentences that compare them: rounded, they still say what the sentence says."""

import math
from typing import Final

_MOST_DIGITS: Final = 17


def apart(*values: float, digits: int) -> list[str]:
    """Write numbers with so many significant digits, and with as many more as it takes for those
    that differ to read differently."""
    texts = [_text(value, digits) for value in values]
    more = digits if all(map(math.isfinite, values)) else _MOST_DIGITS
    while len(set(texts)) < len(set(values)) and more < _MOST_DIGITS:
        more += 1
        texts = [_text(value, more) for value in values]
    return texts


def as_factor(value: float, digits: int) -> str:
    """Write a factor, never as 1 where it is another."""
    return apart(value, 1.0, digits=digits)[0]


def percent(value: float, decimals: int = 0) -> str:
    """Write a share in percent; what rounds to 0 has no sign."""
    text = f"{value:.{decimals}%}"
    return text[1:] if text[0] == "-" and not text.strip("-0.%") else text


def taken_off(value: float, decimals: int) -> str:
    """Say which share of itself something takes off the loss, or adds to it."""
    if value < 0.0 and (rise := percent(-value, decimals)) != percent(0.0, decimals):
        return f"adds {rise} to the loss"
    return f"takes {percent(max(0.0, value), decimals)} off the loss"


def gone(value: float, decimals: int, of: str) -> str:
    """Say which share of `of` is gone; of one that has grown, by how much."""
    if value < 0.0 and (rise := percent(-value, decimals)) != percent(0.0, decimals):
        return f"{of} has grown by {rise}"
    return f"{percent(max(0.0, value), decimals)} of {of} is gone"


def _text(value: float, digits: int) -> str:
    text = f"{value:.{digits}g}"
    return text.removeprefix("-") if value == 0.0 else text
