"""The files around the code keep their promises to each other."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.trials import TRIALS

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("api", "core", "thalweg_service", "worker")
CLIENT = ROOT / "client"
ELSEWHERE = {"generated", "pandas", "polars", "tensorboard", "IPython"}
"""Modules that `make clients` makes or installs, and a notebook's own."""
LAYERS = ("api", "worker", "dev")
PIN = re.compile(r"[a-z0-9-]+==[0-9][a-z0-9.]*( ; python_full_version < \"[0-9.]+\")?")


def lines(layer: str) -> list[str]:
    text = (ROOT / "requirements" / f"{layer}.txt").read_text()
    return [line for line in text.splitlines() if not line.startswith("#")]


def names(layer: str) -> set[str]:
    return {line.partition("==")[0] for line in lines(layer) if "==" in line}


def project(folder: Path = ROOT) -> dict[str, Any]:
    config: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return config


def compose() -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return config


@pytest.mark.parametrize("layer", LAYERS)
def test_the_lock_holds_exact_versions_and_nothing_else(layer: str) -> None:
    below = {"worker": ["-r api.txt"], "dev": ["-r worker.txt"]}.get(layer, [])
    assert [line for line in lines(layer) if not PIN.fullmatch(line)] == below


def test_the_api_is_locked_without_torch() -> None:
    assert not names("api") & {"torch", "scikit-learn", "scipy"}
    assert "torch==2.13.0" in lines("worker")


def test_every_dependency_of_the_project_is_locked() -> None:
    config = project()
    locked: set[str] = set()
    for layer, asked in (
        ("api", [*config["dependencies"], *project(CLIENT)["dependencies"]]),
        ("worker", config["optional-dependencies"]["worker"]),
        ("dev", [r for name in ("embedded", "dev") for r in config["optional-dependencies"][name]]),
        ("bench", config["optional-dependencies"]["bench"]),
    ):
        locked |= names(layer)
        needed = {canonicalize_name(Requirement(text).name) for text in asked} - {"thalweg"}
        assert needed <= locked


def imported_packages(*rooms: str) -> set[str]:
    """The top-level modules that the rooms' sources import from outside this project."""
    found: set[str] = set()
    for path in (path for room in rooms for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return (
        found
        - sys.stdlib_module_names
        - {"__future__", "benchmarks", "scripts", "tests", "thalweg", *ROOMS}
    )


@pytest.mark.parametrize(
    ("rooms", "extras"),
    [
        (("api", "thalweg_service"), ()),
        (ROOMS, ("worker",)),
        (("scripts", "tests"), ("worker", "dev", "references")),
        (("benchmarks",), ("worker", "bench")),
        (("client/thalweg",), None),
    ],
)
def test_what_is_imported_is_asked_for(
    rooms: tuple[str, ...], extras: tuple[str, ...] | None
) -> None:
    """`extras`: of the service; None for the client, with all of its own."""
    config = project(CLIENT if extras is None else ROOT)
    texts = list(config["dependencies"])
    for extra in config["optional-dependencies"] if extras is None else extras:
        texts += config["optional-dependencies"][extra]
    asked = {str(canonicalize_name(Requirement(text).name)) for text in texts}
    asked.add("pydantic-core")  # pydantic's other half, pinned by it
    providers = packages_distributions()
    for module in imported_packages(*rooms) - ELSEWHERE:
        # What only benchmarks need is not installed for the tests: its modules have its name.
        assert {canonicalize_name(name) for name in providers.get(module, [module])} & asked, module


def copy_of_the_workshop(folder: Path) -> None:
    shutil.copy(ROOT / "Makefile", folder)
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "client").mkdir()
    shutil.copy(CLIENT / "pyproject.toml", folder / "client")
    shutil.copytree(ROOT / "requirements", folder / "requirements")


def test_a_second_install_does_nothing(tmp_path: Path) -> None:
    copy_of_the_workshop(tmp_path)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / ".installed").touch()

    def up_to_date() -> bool:
        command = ["make", "--question", ".venv/.installed"]
        return subprocess.run(command, cwd=tmp_path, check=False).returncode == 0

    assert up_to_date()
    stamp = (tmp_path / ".venv" / ".installed").stat().st_mtime
    os.utime(tmp_path / "requirements" / "api.txt", (stamp + 2, stamp + 2))
    assert not up_to_date()


def test_a_machine_without_a_usable_python_is_told_so_in_one_line(tmp_path: Path) -> None:
    copy_of_the_workshop(tmp_path)
    done = subprocess.run(
        ["make", "install", "PYTHON=/nowhere/python3"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert done.returncode != 0
    assert len(said) == 1
    assert said[0].startswith("Thalweg needs Python >= 3.11")


UNSEEN = {
    "fastapi-offline": "the files of the pages at /docs, served as they lie in it",
    "uvloop": "uvicorn runs on it",
    "thalweg": "the command, which finds the service's",
}
"""Dependencies that no source imports by name, and what they are for."""


def test_what_is_asked_for_is_used() -> None:
    asked = {str(canonicalize_name(Requirement(text).name)) for text in project()["dependencies"]}
    providers = packages_distributions()
    used = {
        str(canonicalize_name(name))
        for module in imported_packages(*ROOMS)
        for name in providers.get(module, [module])
    }
    assert asked - used == set(UNSEEN)
    texts = project(CLIENT)["dependencies"]
    modules = imported_packages("client/thalweg")
    used = {canonicalize_name(name) for module in modules for name in providers.get(module, ())}
    assert {canonicalize_name(Requirement(text).name) for text in texts} <= used


def test_ci_runs_what_a_developer_runs() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert [line for line in script.read_text().splitlines() if line.startswith("make")] == [
        "make lint",
        "make test",
        "make clients",
    ]


def test_every_target_is_in_the_help_and_every_trial_once() -> None:
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    for line in (ROOT / "Makefile").read_text().splitlines():
        if line.startswith(".PHONY:"):
            for target in set(line.split()[1:]) - {"help"}:
                assert f"make {target} " in said.stdout
    told = re.findall(r"^ {19}(\S+) +\S.* (\d+) min$", said.stdout, re.MULTILINE)
    assert told == [(name, str(trial.minutes)) for name, trial in TRIALS.items()]


def test_every_trial_is_on_the_developers_page_once() -> None:
    page = (ROOT / "docs" / "developers.md").read_text()
    told = re.findall(r"^\| `(\S+)` \| .+ \| (\d+) \|$", page, re.MULTILINE)
    assert told == [(name, str(trial.minutes)) for name, trial in TRIALS.items()]


def test_the_images_do_not_run_as_root_and_report_their_health() -> None:
    stages: dict[str, list[str]] = {}
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if found := re.match(r"FROM (\S+) AS (\S+)", line):
            base, stage = found.groups()
            stages[stage] = [*stages.get(base, []), line]
        elif stages:
            stages[stage].append(line)

    for image in ("api", "worker"):
        users = [line for line in stages[image] if line.startswith("USER ")]
        assert users
        assert users[-1] == "USER 10001:10001"
        assert any(line.startswith("HEALTHCHECK ") for line in stages[image])
    made_of = [line for line in stages["api"] if line.startswith(("COPY ", "RUN "))]
    assert not any("worker" in line or "torch" in line for line in made_of)


def test_acknowledged_jobs_survive_the_servers_restart() -> None:
    config = compose()
    redis = config["services"]["redis"]
    command = " ".join(redis["command"])
    options = ("appendonly yes", "appendfsync always", "maxmemory-policy noeviction")
    for option in (*options, "protected-mode no"):  # the last: other containers must reach it
        assert f"--{option}" in command
    mounts = dict(mount.split(":") for mount in redis["volumes"])
    assert mounts == {"redis": "/data"}
    assert "redis" in config["volumes"]


def test_nothing_listens_beyond_this_machine_by_default() -> None:
    for service in compose()["services"].values():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:")
        assert "network_mode" not in service


def test_containers_are_limited_and_do_not_restart_for_ever() -> None:
    services = compose()["services"]
    for name, service in services.items():
        assert re.fullmatch(r"on-failure:\d+", service["restart"]), name
        assert service["pids_limit"] > 0, name
        assert {"max-size", "max-file"} <= service["logging"]["options"].keys(), name
    for name in services.keys() - {"redis"}:
        part = services[name]
        assert part["read_only"], name
        assert part["tmpfs"] == ["/tmp"], name
        assert "mem_limit" in part, name
        assert part["env_file"] == [{"path": "thalweg.env", "required": False}], name


def test_each_kind_of_worker_can_have_its_own_build_of_torch() -> None:
    services = compose()["services"]
    found = {name: services[name]["build"]["args"]["TORCH_INDEX"]
             for name in ("worker-cpu", "worker-gpu")}  # fmt: skip
    assert found == {"worker-cpu": "${TORCH_CPU_INDEX:-}", "worker-gpu": "${TORCH_INDEX:-}"}


def test_the_gpu_worker_waits_for_its_profile() -> None:
    services = compose()["services"]
    assert services["worker-gpu"]["profiles"] == ["gpu"]
    assert services["worker-gpu"]["command"][-2:] == ["--devices", "auto"]
    # With it `auto` never means the CPU (`core.environment.gpus.parts_of`).
    assert services["worker-gpu"]["environment"]["NVIDIA_VISIBLE_DEVICES"] == "all"
    [device] = services["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert "gpu" in device["capabilities"]
    assert "profiles" not in services["worker-cpu"]
