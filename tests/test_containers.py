"""The images hold every package of the project, and start commands that exist."""

import fnmatch
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from scripts import lock
from tests.containers.engine import API, WORKER, Stack
from thalweg.cli.app import app

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
    assert set(pyproject()["tool"]["importlinter"]["root_packages"]) == packages() | {"thalweg"}


def test_the_wheel_is_built_from_every_package() -> None:
    sources = {source: target for sources, target in copied("code") for source in sources}
    assert sources.pop("requirements/image/build.txt")
    needed = {"pyproject.toml", pyproject()["project"]["license-files"][0]}
    assert set(sources) == packages() | needed | {"client"}
    assert all(sources[name] == name for name in packages() | {"client"})


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
    words = commands()[place][1:]
    done = CliRunner().invoke(app, [*words, "--help"])
    assert done.exit_code == 0, done.output
    known = getattr(get_command(app), "get_command")(None, words[0])  # noqa: B009
    options = {name for parameter in known.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


def test_a_service_is_built_from_a_stage_that_exists() -> None:
    compose: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    targets = {s["build"]["target"] for s in compose["services"].values() if "build" in s}
    assert targets == {"api", "worker"}
    assert targets <= set(stages())


def steps(stage: str, word: str = "RUN") -> list[str]:
    return [line for line in stages()[stage] if line.startswith(f"{word} ")]


def installs() -> dict[str, list[str]]:
    """Each call of pip in the Dockerfile, by its place."""
    found: dict[str, list[str]] = {}
    for stage in stages():
        text = "\n".join(steps(stage))
        calls = re.findall(r"\$INSTALL\b([^;&\n]*)|\bpip (?:install|wheel)\b([^;&\n]*)", text)
        for number, call in enumerate(calls):
            found[f"{stage} {number}"] = shlex.split("".join(call))
    return found


def test_what_an_image_is_made_of_is_checked_by_its_sum() -> None:
    """All but our own code, and the build of torch from the index that somebody names."""
    found = installs()
    assert len(found) == 7, found
    unchecked = {place for place, words in found.items() if "--require-hashes" not in words}
    assert unchecked == {"torch 1", "code 1"}
    assert "--no-index" in found["code 1"]
    assert found["torch 1"][-1].startswith("$(grep")
    assert all(found[place][-2] == "--requirement" for place in found.keys() - unchecked)
    setting = re.search(r'INSTALL="(.*)"', "\n".join(stages()["environment"]))
    assert setting is not None
    assert "--no-deps" in setting[1].split()  # what no lock names does not come


@pytest.mark.parametrize("target", ["api", "worker"])
def test_a_change_of_code_makes_one_small_layer(target: str) -> None:
    """Our code is copied last, alone, and from where nothing else is; nothing is run after it."""
    layers = [line for line in stages()[target] if re.match("(RUN|COPY|ADD) ", line)]
    assert layers[-1] == "COPY --from=code /layer /"
    assert all(line.startswith("COPY --from=") for line in layers)
    reached = {re.findall("--from=([a-z-]+)", line)[0] for line in layers[:-1]}
    assert reached == {"environment", "api-packages"} | (
        {"torch", "worker-packages"} if target == "worker" else set()
    )
    for stage in reached:
        assert [sources for sources, _ in copied(stage)] in (
            [[f"requirements/image/{stage.removesuffix('-packages')}.txt"]],
            [],
        )


def test_the_packages_come_without_their_tests_and_without_pip() -> None:
    for stage in ("api-packages", "worker-packages", "torch"):
        (line,) = steps(stage)
        assert "--root /layer" in line
        assert line.endswith("&& find /layer -type d -name tests -prune -exec rm -r {} +")
    assert steps("environment") == ["RUN python3 -m venv --without-pip /opt/thalweg"]
    (line,) = steps("runtime")
    assert re.search(r"rm -rf .*/pip .*/pip-\* .*bundled.* .*/pip\*$", line)


@pytest.mark.parametrize("target", ["api", "worker"])
def test_an_image_says_what_it_is(target: str) -> None:
    (line,) = steps(target, "LABEL")
    pairs = (word.partition("=") for word in shlex.split(line)[1:])
    labels = {name.removeprefix("org.opencontainers.image."): value for name, _, value in pairs}
    project = pyproject()["project"]
    assert labels["version"] == project["version"]
    assert labels["licenses"] == project["license"]
    assert project["description"].partition(":")[0] in labels["description"]
    assert target in labels["title"].lower()
    assert (labels["revision"], labels["created"]) == ("$REVISION", "$CREATED")
    # Below the layers: another revision must not make them anew.
    assert [each for each in stages()[target] if each][-1] == line


SPOILED = {
    "another version": (r"^numpy==\S+", "numpy==0.0.1"),
    "no sum": (r"(?s)^numpy==(\S+) \\\n.*?(?=^[a-z])", "numpy==\\1\n"),
    "not there": (r"(?s)^numpy==.*?(?=^[a-z])", ""),
    "one too many": (r"^numpy==", "left-pad==1.0 \\\n    --hash=sha256:00\nnumpy=="),
}


@pytest.mark.parametrize("spoiled", ["", *SPOILED])
def test_the_images_have_what_the_lock_has(
    spoiled: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for path in lock.IMAGE.iterdir():
        text = path.read_text()
        if spoiled and path.stem == "api":
            text, count = re.subn(*SPOILED[spoiled], text, flags=re.MULTILINE)
            assert count == 1
        (tmp_path / path.name).write_text(text)
    monkeypatch.setattr(lock, "IMAGE", tmp_path)
    found = list(lock.image_faults())
    assert len(found) == bool(spoiled)
    assert all("numpy" in line or "left-pad" in line for line in found)


def test_the_gpu_image_is_locked_down_to_the_cuda_packages() -> None:
    """Of a build of torch that carries CUDA: its libraries and triton, by version and sum."""
    pins = lock.hashed("torch")
    assert pins["torch"][0] == "2.13.0"
    assert {"triton", "nvidia-cublas", "nvidia-nccl-cu13"} <= pins.keys()
    assert len(pins) == 20
    assert all(version and sums for version, sums in pins.values())
    for path in lock.IMAGE.iterdir():
        assert "://" not in path.read_text()


NO_TESTS = """
import importlib, sys

class NoTests:
    def find_spec(self, name, path=None, target=None):
        if ".tests" in name:
            raise ImportError("the images have no " + name)

sys.meta_path.insert(0, NoTests())
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def test_nothing_asks_for_the_tests_of_a_package() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for package in packages()
        for path in (ROOT / package).rglob("*.py")
        if path.stem not in {"__init__", "__main__", "parent_death", "asgi"}
    ]
    command = [sys.executable, "-P", "-c", NO_TESTS, *sorted(modules)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_engine_that_is_started_by_hand_says_how() -> None:
    """It is run by hand only (docs/containers.md); here it is read, and asked without a folder."""
    script = ROOT / "scripts" / "engine.sh"
    subprocess.run(["bash", "-n", str(script)], check=True)
    done = subprocess.run([str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, "FOLDER" in done.stdout) == (2, True)


def test_what_is_tried_on_an_engine_names_services_that_there_are(tmp_path: Path) -> None:
    Stack(tmp_path)
    named = json.loads((tmp_path / "images.json").read_text())["services"]
    compose: dict[str, Any] = yaml.safe_load((tmp_path / "docker-compose.yml").read_text())
    assert named.keys() < compose["services"].keys()
    assert {settings["image"] for settings in named.values()} == {API, WORKER}
