"""Links of README and docs lead somewhere, and the index of docs has every page."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
DOCS: Final = ROOT / "docs"
PAGES: Final = sorted([ROOT / "README.md", ROOT / "client" / "README.md", *DOCS.rglob("*.md")])


def prose(page: Path) -> str:
    """The page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def links(page: Path) -> Iterator[tuple[str, Path, str]]:
    """Each link within the project as it is written, the file that it names, and the heading."""
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" not in link:
            name, _, heading = link.partition("#")
            yield link, (page.parent / name).resolve() if name else page, heading


def headings(page: Path) -> set[str]:
    """The headings as links name them: lower case, dashes for spaces, no other marks."""
    found = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    dead = [
        link
        for link, path, heading in links(page)
        if not path.exists() or (heading and heading not in headings(path))
    ]
    assert dead == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_to_a_decision_tells_its_number(page: Path) -> None:
    told = re.findall(r"\b[Dd]ecision\s\[?(\d+)\]?\((?:decisions/)?0*(\d+)-", prose(page))
    assert [pair for pair in told if pair[0] != pair[1]] == []


@pytest.mark.parametrize("index", [DOCS / "README.md", DOCS / "decisions" / "README.md"])
def test_an_index_has_every_page_beside_it(index: Path) -> None:
    listed = {path for _, path, _ in links(index)}
    assert {path for path in index.parent.glob("*.md") if path != index} <= listed


def test_readme_leads_to_every_page_in_two_steps() -> None:
    first = {path for _, path, _ in links(ROOT / "README.md")}
    second = {path for page in first if page.suffix == ".md" for _, path, _ in links(page)}
    decisions = set((DOCS / "decisions").glob("*.md"))
    assert set(DOCS.rglob("*.md")) - decisions <= first | second
