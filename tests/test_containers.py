"""The images hold every package of the project, and start commands that exist."""

import fnmatch
import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from thalweg_service.commands import app

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text()).splitlines()


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def packages() -> set[str]:
    """What the wheel is made of."""
    return set(pyproject()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])


def stages() -> dict[str, list[str]]:
    """The Dockerfile's instructions by stage, without what they are built on."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in DOCKERFILE:
        if start := re.fullmatch(r"FROM \S+ AS (\S+)", line):
            name = start.group(1)
        found.setdefault(name, []).append(line)
    return found


def copied(stage: str) -> list[tuple[list[str], str]]:
    """Sources and target of each COPY from the folder of the build."""
    lines = [line.split()[1:] for line in stages()[stage] if line.startswith("COPY ")]
    return [(words[:-1], words[-1]) for words in lines if not words[0].startswith("--from=")]


def is_sent_to_the_build(path: str) -> bool:
    """What the last matching line of `.dockerignore` says of a path."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        rule = line.strip()
        if not rule or rule.startswith("#"):
            continue
        pattern = rule.removeprefix("!").removeprefix("**/")
        parts = path.split("/") if "**/" in rule else [path.split("/", maxsplit=1)[0]]
        if any(fnmatch.fnmatch(part, pattern) for part in parts):
            sent = rule.startswith("!")
    return sent


def test_every_package_at_the_top_is_in_the_wheel() -> None:
    """A folder with an `__init__.py` that the product's packages import is one of them."""
    imported = {
        found.group(1)
        for package in packages()
        for path in (ROOT / package).rglob("*.py")
        for found in re.finditer(r"^\s*(?:from|import) (\w+)", path.read_text(), re.MULTILINE)
    }
    at_the_top = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert imported & (at_the_top | packages()) == packages()
    assert set(pyproject()["tool"]["importlinter"]["root_packages"]) == packages()


def test_the_wheel_is_built_from_every_package() -> None:
    sources = {source: target for sources, target in copied("wheel") for source in sources}
    needed = {"pyproject.toml", pyproject()["project"]["license-files"][0]}
    assert set(sources) == packages() | needed
    assert all(sources[name] == name for name in packages())


@pytest.mark.parametrize("stage", stages())
def test_what_is_copied_exists_and_is_sent_to_the_build(stage: str) -> None:
    for sources, _ in copied(stage):
        for source in sources:
            assert (ROOT / source).exists(), source
            assert is_sent_to_the_build(source), source


def test_nothing_else_is_sent_to_the_build() -> None:
    sources = {source.split("/")[0] for name in stages() for froms, _ in copied(name)
               for source in froms}  # fmt: skip
    sent = {path.name for path in ROOT.iterdir() if is_sent_to_the_build(path.name)}
    assert sent == sources
    assert not is_sent_to_the_build("core/__pycache__")
    assert not is_sent_to_the_build("core/specs/__pycache__/x.pyc")


def commands() -> dict[str, list[str]]:
    """Each command line of images and services that starts something of ours, by its place."""
    found: dict[str, list[str]] = {}
    for stage, lines in stages().items():
        for line in lines:
            if given := re.search(r"\bCMD (\[.*\])", line):
                found[f"Dockerfile {stage}: {line[:20]}"] = json.loads(given.group(1))
    compose: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    for name, service in compose["services"].items():
        command = service.get("command", [])
        words = shlex.split(command) if isinstance(command, str) else list(map(str, command))
        found[f"docker-compose.yml {name}"] = words
    return {place: words for place, words in found.items() if words[:1] == ["thalweg"]}


def test_the_commands_are_found() -> None:
    assert len(commands()) >= 5


@pytest.mark.parametrize("place", commands())
def test_a_command_exists_and_takes_its_arguments(place: str) -> None:
    """`--help` at the end: the arguments are read, and nothing is started."""
    assert pyproject()["project"]["scripts"].keys() == {"thalweg"}
    words = commands()[place][1:]
    done = CliRunner().invoke(app, [*words, "--help"])
    assert done.exit_code == 0, done.output
    known = getattr(get_command(app), "commands")[words[0]]  # noqa: B009
    options = {name for parameter in known.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


def test_a_service_is_built_from_a_stage_that_exists() -> None:
    compose: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    targets = {s["build"]["target"] for s in compose["services"].values() if "build" in s}
    assert targets == {"api", "worker"}
    assert targets <= set(stages())
