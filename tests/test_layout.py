"""How the code is laid out, in three figures: halves, files of a folder, lines of a function.

    python -m tests.test_layout      prints them, with the halves by folder

A *half* is a file that exactly one other file imports, in its own folder. Counted over the
product's packages without their `__init__.py`. Files that a folder holds as kinds among kinds
(`KINDS`) are left out: their table is meant to be their only reader.
"""

import ast
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGES: Final = ("api", "client/thalweg", "core", "thalweg_service", "worker")
MOST_HALVES: Final = 0.20
MOST_FILES: Final = 14
MOST_LINES: Final = 60

KINDS: Final[dict[str, str]] = {
    "core/artifacts": "stores of artifacts",
    "core/diagnosis/remedies": "cures of verdicts",
    "core/diagnosis/rules": "rules of the diagnosis",
    "core/specs/layers/kinds": "families of layers",
    "core/train/data": "data sources",
    "core/train/optim/rules": "rules of optimizers that torch does not have",
    "core/train/optim/torch_rules": "rules of torch's optimizers",
    "core/uploads/parse": "readers of uploaded files",
    "thalweg_service/doctor": "checks that doctor makes",
}
"""Folders of kinds."""


class Function(NamedTuple):
    lines: int
    place: str


class Layout(NamedTuple):
    """Attributes:
    files: that are counted for halves.
    halves: and the file that imports each.
    folders: how many files each folder holds, kinds included.
    functions: the longest first.
    """

    files: list[str]
    halves: dict[str, str]
    folders: Counter[str]
    functions: list[Function]


def imported(tree: ast.AST) -> Iterator[str]:
    """Modules that the source imports, and `module.name` of each name taken from one."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield module
                yield from (f"{module}.{alias.name}" for alias in names)
            case _:
                pass


def functions_of(place: str, tree: ast.AST) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno is not None
            yield Function(node.end_lineno - node.lineno + 1, f"{place} {node.name}")


def layout_of(
    root: Path, packages: tuple[str, ...] = PACKAGES, kinds: Collection[str] = frozenset(KINDS)
) -> Layout:
    """Read every file of the packages below `root`; those in folders of `kinds` are no halves."""
    paths = sorted(
        path
        for package in packages
        for path in (root / package).rglob("*.py")
        if path.name != "__init__.py"
    )
    trees = {str(path.relative_to(root)): ast.parse(path.read_text()) for path in paths}
    file_of = {
        place.removeprefix("client/").removesuffix(".py").replace("/", "."): place
        for place in trees
    }
    readers: defaultdict[str, set[str]] = defaultdict(set)
    for place, tree in trees.items():
        for module in imported(tree):
            if module in file_of and file_of[module] != place:
                readers[file_of[module]].add(place)
    counted = [place for place in trees if folder_of(place) not in kinds]
    halves = {
        place: reader
        for place in counted
        for reader in readers[place]
        if len(readers[place]) == 1 and folder_of(reader) == folder_of(place)
    }
    functions = sorted(
        (each for place, tree in trees.items() for each in functions_of(place, tree)), reverse=True
    )
    return Layout(counted, halves, Counter(map(folder_of, trees)), functions)


def folder_of(place: str) -> str:
    return place.rpartition("/")[0]


LAYOUT: Final = layout_of(ROOT)


def test_few_files_are_halves() -> None:
    share = len(LAYOUT.halves) / len(LAYOUT.files)
    assert share <= MOST_HALVES, report(LAYOUT)


def test_no_folder_holds_more_files_than_a_glance_takes_in() -> None:
    assert {name: n for name, n in LAYOUT.folders.items() if n > MOST_FILES} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    assert [each for each in LAYOUT.functions if each.lines > MOST_LINES] == []


def test_a_folder_of_kinds_is_one() -> None:
    """Several of its files are read by one table there: the exception is not for nothing."""
    halves = Counter(map(folder_of, layout_of(ROOT, kinds=()).halves))
    assert {name for name in KINDS if halves[name] < 2} == set()


def test_the_counter_counts(tmp_path: Path) -> None:
    for name, text in {
        "room/__init__.py": "from room import read_by_the_face",
        "room/read_by_the_face.py": "",
        "room/half.py": "",
        "room/shared.py": "",
        "room/other.py": "from room.half import x\nfrom room import shared\n\ndef f():\n    pass\n",
        "room/more.py": "def late():\n    import room.shared\n",
        "room/inner/lone.py": "from room.shared import y",
        "room/inner/far.py": "",
        "room/last.py": "import room.inner.far",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = layout_of(tmp_path, ("room",))
    assert found.halves == {"room/half.py": "room/other.py"}
    assert found.folders == {"room": 6, "room/inner": 2}
    assert found.functions == [(2, "room/other.py f"), (2, "room/more.py late")]


def report(found: Layout) -> str:
    """The figures in words."""
    share = len(found.halves) / len(found.files)
    folder, files = found.folders.most_common(1)[0]
    longest = found.functions[0]
    of_files = f"{len(found.halves)} of {len(found.files)} files, {share:.1%}"
    lines = [
        f"halves: {of_files} (at most {MOST_HALVES:.0%})",
        f"largest folder: {folder}, {files} files (at most {MOST_FILES})",
        f"longest function: {longest.place}, {longest.lines} lines (at most {MOST_LINES})",
        "folders of kinds, left out of the halves:",
        *(f"    {name}: {what}, {found.folders[name]} files" for name, what in KINDS.items()),
        "halves, and what reads them:",
        *(f"    {place} <- {reader.rpartition('/')[2]}" for place, reader in found.halves.items()),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(report(LAYOUT))  # noqa: T201
