"""Every snippet of README and docs, run in order in one shell, against a service of its own.

A `console` block is run: a line that begins with `$ ` begins a command, which goes on while the
shell finds it unfinished; the lines after it are what it prints, with `…` for what varies. A `json`
block that is a job's spec is validated. A block that cannot be run here says so in the line before
it: `<!-- not run: why -->`. A `python` block is a file, and the line before it says which:
`<!-- file: NAME -->`. Blocks of no language are not for a shell; those of `pycon` are run by
`tests/client/test_examples.py`. A page that makes keys has a service of its own.
"""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.client import Service, serving

pytestmark = pytest.mark.timeout(900)  # the service starts, as slowly as the machine lets it
ROOT: Final = Path(__file__).resolve().parents[2]
FIRST: Final = ("README.md", "docs/users.md")
ALONE: Final = "docs/integrate.md"
"""A page that makes keys, which every call needs from then on."""
PAGES: Final = list(
    dict.fromkeys(
        [*FIRST, *sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/**/*.md"))]
    )
)
"""In the order in which they are read: later ones may use what the guide has defined."""
LANGUAGES: Final = {"", "console", "json", "pycon", "python"}
NOT_RUN: Final = re.compile(r"<!-- not run: \S.* -->")
FILE: Final = re.compile(r"<!-- file: ([a-z]+\.py) -->")
ADDRESS: Final = re.compile(r"(http://)?(localhost|127\.0\.0\.1):8000")
RECEIVER: Final = "8900"
"""Port of a reader's receiver of webhooks."""
# A reply that says no ends the snippet: curl's own status does not.
CURL: Final = 'curl() { command curl --fail-with-body --max-time 90 -S "$@"; }\nset -o pipefail\n'


@dataclass(frozen=True)
class Block:
    """A fenced block: where it begins, its language, its lines, whether it is to be run, and the
    file whose text it is."""

    place: str
    language: str
    lines: list[str]
    run: bool
    file: str | None = None


@dataclass(frozen=True)
class Command:
    """A command, and what the page says that it prints (None: nothing is said)."""

    place: str
    text: str
    printed: str | None


def blocks(name: str) -> Iterator[Block]:
    lines = ["", *(ROOT / name).read_text().splitlines()]
    fences = [number for number, line in enumerate(lines) if line.startswith("```")]
    assert len(fences) % 2 == 0, f"{name} has a block without an end"
    for first, last in list(pairwise(fences))[::2]:
        run = NOT_RUN.fullmatch(lines[first - 1]) is None
        file = FILE.fullmatch(lines[first - 1])
        content = lines[first + 1 : last]
        yield Block(f"{name}:{first}", lines[first][3:], content, run, file and file[1])


def is_whole(text: str) -> bool:
    """Whether the shell takes the text for whole commands."""
    if text.endswith("\\"):
        return False
    checked = subprocess.run(
        ["bash", "-n"], input=text, text=True, capture_output=True, check=False
    )
    return checked.returncode == 0


def commands(block: Block) -> Iterator[Command]:
    lines = list(block.lines)
    while lines:
        line = lines.pop(0)
        assert line.startswith("$ "), f"{block.place}: {line!r} belongs to no command"
        text = line[2:]
        while not is_whole(text):
            assert lines, f"{block.place}: the command has no end: {text}"
            text += "\n" + lines.pop(0)
        printed = []
        while lines and not lines[0].startswith("$ "):
            printed.append(lines.pop(0))
        yield Command(block.place, text, "\n".join(printed) or None)


def looks_like(shown: str, printed: str) -> bool:
    """Whether the output is what the page shows, where `…` stands for anything."""
    pattern = ".*".join(map(re.escape, shown.split("…")))
    return re.fullmatch(pattern, printed, re.DOTALL) is not None


ALL: Final = [block for name in PAGES for block in blocks(name)]
EACH: Final = [
    command
    for block in ALL
    if block.language == "console" and block.run
    for command in commands(block)
]
RUN: Final = [command for command in EACH if not command.place.startswith(ALONE)]
RUN_ALONE: Final = [command for command in EACH if command.place.startswith(ALONE)]


@dataclass(frozen=True)
class Done:
    status: int
    printed: str


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Path]]:
    """A service whose data lie in `.thalweg`, as where a reader starts it, and that folder's."""
    folder = tmp_path_factory.mktemp("reader")
    with serving(folder / ".thalweg") as service:
        yield service, folder


@pytest.fixture(scope="module")
def done(there: tuple[Service, Path]) -> list[Done]:
    """What came of each command that was begun."""
    return run_all(RUN, *there)


@pytest.fixture(scope="module")
def done_alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Done]]:
    """What came of each command of the page that makes keys."""
    folder = tmp_path_factory.mktemp("integrator")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    for block in ALL:
        if block.file is not None:
            (folder / block.file).write_text("\n".join(block.lines).replace(RECEIVER, port))
    commands = [replace(each, text=each.text.replace(RECEIVER, port)) for each in RUN_ALONE]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THALWEG_WEBHOOK_ALLOW", "127.0.0.1")
        with serving(folder / ".thalweg") as service:
            yield run_all(commands, service, folder)


def run_all(commands: list[Command], service: Service, folder: Path) -> list[Done]:
    address = str(service.http.base_url).rstrip("/")
    script = [CURL]
    for number, command in enumerate(commands):
        script.append(ADDRESS.sub(address, command.text))
        script.append(f"status=$?; printf '\\n@@ {number} %s\\n' $status; exec 2>&1")
        script.append("[ $status = 0 ] || exit 1")
    python = str(Path(sys.executable).parent)
    shell = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        capture_output=True, text=True, check=False, cwd=folder, timeout=300,
        env={**os.environ, "PATH": f"{python}{os.pathsep}{os.environ['PATH']}"},
    )  # fmt: skip
    parts = re.split(r"\n@@ \d+ (\d+)\n", shell.stdout)
    each = zip(parts[:-1:2], parts[1::2], strict=True)
    return [Done(int(status), printed.strip("\n")) for printed, status in each]


def test_all_pages_are_read() -> None:
    assert {ALONE, "docs/comparison.md", "docs/operators.md"} < set(PAGES)
    assert all(block.file for block in ALL if block.language == "python")
    assert {block.language for block in ALL} <= LANGUAGES
    assert len(RUN) > 40
    assert len(RUN_ALONE) > 15
    assert sum(not block.run for block in ALL) <= 17


@pytest.mark.parametrize("number", range(len(RUN)), ids=lambda number: RUN[number].place)
def test_a_snippet_runs_and_prints_what_the_page_shows(number: int, done: list[Done]) -> None:
    check(RUN[number], done[number:])


@pytest.mark.parametrize(
    "number", range(len(RUN_ALONE)), ids=lambda number: RUN_ALONE[number].place
)
def test_a_snippet_of_an_integrator_runs_as_shown(number: int, done_alone: list[Done]) -> None:
    check(RUN_ALONE[number], done_alone[number:])


def check(command: Command, done: list[Done]) -> None:
    assert done, "one before it failed"
    assert done[0].status == 0, f"{command.text}\n{done[0].printed}"
    if command.printed is not None:
        assert looks_like(command.printed, done[0].printed), done[0].printed


def test_a_bad_reply_fails_a_snippet(there: tuple[Service, Path]) -> None:
    service, folder = there
    text = f'{CURL}curl -s "{service.http.base_url}/v1/jobs/job_none" | cat'
    assert subprocess.run(["bash", "-c", text], cwd=folder, check=False).returncode == 22


SPECS: Final = [block for block in ALL if block.language == "json" and block.run]


@pytest.mark.parametrize("block", SPECS, ids=lambda block: block.place)
def test_a_json_block_is_json_and_a_spec_is_taken(
    block: Block, there: tuple[Service, Path]
) -> None:
    value: Any = json.loads("\n".join(block.lines))
    if isinstance(value, dict) and "problem" in value:
        reply = there[0].http.post("/v1/jobs/validate", json=value)
        assert reply.status_code == 200, reply.text


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("[0.99…, 0.99…]", "[0.9951, 0.9902]", True),
        ("a\n…\nc", "a\nb\nc", True),
        ("0.0…", "1.0", False),
        ("200", "2000", False),
    ],
)
def test_what_is_left_out_may_be_anything(shown: str, printed: str, same: bool) -> None:
    assert looks_like(shown, printed) is same


def test_a_command_goes_on_while_it_is_unfinished() -> None:
    text = "$ echo 'a\n  b' \\\n  c\na\n$ pick() { echo x\n}\n$ cat"
    block = Block("page:1", "console", text.splitlines(), run=True)
    assert [(each.text, each.printed) for each in commands(block)] == [
        ("echo 'a\n  b' \\\n  c", "a"), ("pick() { echo x\n}", None), ("cat", None)
    ]  # fmt: skip
