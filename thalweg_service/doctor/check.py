"""An answer of the doctor's, and what several questions compare."""

from dataclasses import dataclass
from typing import Final, Literal

Status = Literal["ok", "warning", "failed", "skipped"]

CLOCKS_S: Final = 2.0
"""Difference of two clocks from which on times in records mislead. Leases do not: they follow the
store's clock alone."""


@dataclass(frozen=True)
class Check:
    """The answer to one question. `words` say what was found and, unless all is well, the way
    out."""

    name: str
    status: Status
    words: str


def difference(whose: str, seconds: float) -> tuple[Status, str]:
    """Judge by how many seconds a clock is ahead of this machine's."""
    words = f"{whose} is {abs(seconds):.1f} s {'ahead of' if seconds > 0 else 'behind'} this one's"
    if abs(seconds) > CLOCKS_S:
        return "warning", f"{words}: times in records mislead; synchronize them (NTP)"
    return "ok", words
