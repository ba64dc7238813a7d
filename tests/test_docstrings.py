"""Docstrings of the product begin with a verb or with the noun that they define.

ruff's D401 holds the mood of functions; here are the words with which no docstring begins, since
the noun that they belong to would stand elsewhere: "Of one claim.", "Those to make."
"""

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
ROOMS: Final = ("api", "benchmarks", "client", "core", "scripts", "thalweg_service", "worker")

PREPOSITIONS: Final = """
about above across after against along among around as at before behind below beneath beside between
beyond but by despite down during except for from in inside into like near of off on onto out
outside over past per since through throughout till to toward towards under until up upon
with within without
"""
PRONOUNS: Final = """
another both each either everybody everyone he her his it its itself many more most much neither no
nobody none nothing one ones other others same several she some somebody someone such that their
them these they this those we what whatever which whichever who whoever whom whose you your
"""
CONJUNCTIONS: Final = """
again also although and because here how however if instead lest nor not now once only or so then
there though thus together unless when whenever where wherever whether while why yet
"""
BARE_VERBS: Final = "asks called enters wants"
RIDDLES: Final = frozenset(f"{PREPOSITIONS} {PRONOUNS} {CONJUNCTIONS} {BARE_VERBS}".split())
"""Words with which a docstring does not begin, in lower case."""

EXCUSED: Final = {
    "Each": "a noun follows: `Each job's …`",
    "Most": "`Most bytes of …` defines a maximum",
    "One": "`One process that …` names the thing",
}
"""Words among `RIDDLES` that may begin a docstring when more than three words follow."""


class Docstring(NamedTuple):
    """The first paragraph of a docstring, and the place where it stands."""

    place: str
    text: str


def in_source(source: str, path: str = "") -> list[Docstring]:
    """List the docstrings of modules, classes, functions, constants, fields and attributes."""
    found = list[Docstring]()
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                found.append(Docstring(f"{path}:{node.body[0].lineno}", text))
            found += _of_assignments(node.body, path)
    return [Docstring(place, " ".join(text.split("\n\n")[0].split())) for place, text in found]


def _of_assignments(body: list[ast.stmt], path: str) -> Iterator[Docstring]:
    for assignment, after in pairwise(body):
        if (
            isinstance(assignment, ast.Assign | ast.AnnAssign)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
            and isinstance(after.value.value, str)
        ):
            yield Docstring(f"{path}:{after.lineno}", after.value.value)


def is_riddle(text: str) -> bool:
    """Tell whether a docstring begins with a word that leaves its noun out."""
    first = text.split(maxsplit=1)[0].strip(".,:;()")
    if first in EXCUSED and len(text.split()) > 4:
        return False
    return first.lower() in RIDDLES and not first.isupper()


def files() -> list[str]:
    paths = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    # The words of the client's `specs.py` are the document's.
    return sorted(path.relative_to(ROOT).as_posix() for path in paths if path.stem != "specs")


def test_a_docstring_begins_with_a_verb_or_the_noun_that_it_defines() -> None:
    checked = [each for name in files() for each in in_source((ROOT / name).read_text(), name)]
    assert len(checked) > 1000
    assert [f"{each.place}: {each.text}" for each in checked if is_riddle(each.text)] == []


@pytest.mark.parametrize(
    ("text", "riddle"),
    [
        ("Those to make.", True),
        ("Wants all.", True),
        ("Of one claim.", True),
        ("What work in the trainer is done with.", True),
        ("With what work begins; the trainer and a shutdown write to its mailbox.", True),
        ("Both questions at once, for a row whose numbers are known.", True),
        ("In words that show no path.", True),
        ("As far as it is known.", True),
        ("One of the runs.", True),
        ("Claim the next job that this worker can run; None when there is none.", False),
        ("The end of one run of a race.", False),
        ("Settings of the service, from the environment.", False),
        ("Most bytes that a history may take.", False),
    ],
)
def test_a_riddle_is_told_by_its_first_word(text: str, riddle: bool) -> None:
    assert is_riddle(text) == riddle


def test_all_places_of_docstrings_are_looked_at() -> None:
    source = '''"""Module."""

LIMIT = 1
"""Constant."""


class Thing:
    """Class."""

    size: int = 0
    """Field."""

    def __init__(self) -> None:
        self.age = 0
        """Attribute."""

    def grow(self) -> None:
        """Function.

        Further paragraphs are free.
        """
'''
    found = [each.text for each in in_source(source)]
    assert sorted(found) == ["Attribute.", "Class.", "Constant.", "Field.", "Function.", "Module."]
