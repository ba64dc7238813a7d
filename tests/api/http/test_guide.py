"""The user guide lists every call of the OpenAPI document, and no other."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.api.actors import Json

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "users.md"


def plain(path: str) -> str:
    """The path with `{}` for whatever it is filled with."""
    return re.sub(r"{[^}]*}", "{}", path)


def rows() -> list[list[str]]:
    """The calls of each row of the table: what stands between backticks in its first cell."""
    section = GUIDE.read_text().partition("\n## All endpoints\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`.*?`) \| ", section, re.MULTILINE)
    return [re.findall(r"`([^`]+)`", cell) for cell in cells]


def listed(row: list[str]) -> Iterator[set[tuple[str, str]]]:
    """Each call of a row. `…/name` stands below the path before it, or beside its last part:
    both are given."""
    method, before = "", ""
    for call in row:
        given, _, path = call.rpartition(" ")
        method = given or method
        if path.startswith("…/"):
            rest = path.removeprefix("…")
            yield {
                (method, plain(before + rest)),
                (method, plain(before.rpartition("/")[0] + rest)),
            }
        else:
            before = path
            yield {(method, plain(path))}


def test_the_guide_lists_every_call(document: Json) -> None:
    calls = {
        (method.upper(), plain(path)) for path, item in document["paths"].items() for method in item
    }
    told = [each for row in rows() for each in listed(row)]
    assert calls - set().union(*told) == set()
    assert [each for each in told if not each & calls] == []
