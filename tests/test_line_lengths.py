"""Lines of README, docs and changelog are as long as an editor shows without scrolling."""

from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
PAGES: Final = sorted(
    [*ROOT.glob("*.md"), ROOT / "client" / "README.md", *(ROOT / "docs").rglob("*.md")]
)
LONGEST: Final = 120


def long_lines(text: str) -> list[str]:
    """Lines of prose that are too long. Code, rows of tables and pictures cannot be broken."""
    found, in_code = [], False
    for line in text.splitlines():
        in_code ^= line.lstrip().startswith("```")
        if len(line) > LONGEST and not in_code and not line.startswith(("|", "![")):
            found.append(line)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_line_of_prose_is_too_long(page: Path) -> None:
    assert long_lines(page.read_text()) == []


def test_prose_alone_is_counted() -> None:
    long = "x" * (LONGEST + 1)
    text = f"{long}\n```\n{long}\n```\n| {long} |\n![{long}](x.png)\n{long[1:]}\n- {long}\n"
    assert long_lines(text) == [long, f"- {long}"]
