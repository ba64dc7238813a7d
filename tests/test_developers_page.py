"""The developers' page names files and functions that exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "developers.md").read_text()
ROOMS = (
    "api",
    "core",
    "worker",
    "thalweg_service",
    "client",
    "tests",
    "benchmarks",
    "docs",
    "scripts",
)
WALKS = (
    "Where a spec is refused",
    "Where a step is taken",
    "How a row reaches the store",
    "Where a verdict is decided",
)
PATH = re.compile(rf"(?:{'|'.join(ROOMS)})/[\w./]*")


def words(text: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`\n]+)`", text)


def walks() -> dict[str, list[str]]:
    """The lines of each walk, by its title."""
    section = PAGE.partition("## Four walks\n")[2].partition("\n## ")[0]
    parts = re.split(r"^\*\*(.+?)\*\*", section, flags=re.MULTILINE)[1:]
    return {
        title: re.findall(r"^\d\. .*$", text, re.MULTILINE)
        for title, text in zip(parts[::2], parts[1::2], strict=True)
    }


def defined(path: Path) -> set[str]:
    """Functions, methods, classes and constants of a source."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.add(node.name)
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                found.add(name)
            case _:
                pass
    return found


def test_the_four_walks_have_five_lines_each() -> None:
    assert {title: len(lines) for title, lines in walks().items()} == dict.fromkeys(WALKS, 5)


@pytest.mark.parametrize("title", WALKS)
def test_a_walk_leads_through_files_and_functions_that_exist(title: str) -> None:
    for line in walks()[title]:
        path: Path | None = None
        for word in words(line):
            if PATH.fullmatch(word):
                path = ROOT / word
                assert path.is_file(), word
            else:
                assert path is not None, line
                assert word.removesuffix("()") in defined(path), f"{word} in {path}"
        assert path is not None, line


@pytest.mark.parametrize("title", WALKS)
def test_a_folder_leads_to_each_walk(title: str) -> None:
    """The folder that the title names holds most of what the walk reads."""
    heading = re.search(rf"^\*\*{title}\*\*: (.*)$", PAGE, re.MULTILINE)
    assert heading is not None
    folders = words(heading[1])
    assert folders
    assert all((ROOT / folder).is_dir() for folder in folders)
    inside = [line for line in walks()[title] if any(f"`{folder}" in line for folder in folders)]
    assert len(inside) >= 3


def test_every_path_on_the_page_exists() -> None:
    named = [word for word in words(PAGE) if PATH.fullmatch(word)]
    assert len(named) > 50
    assert [word for word in named if not (ROOT / word).exists()] == []
