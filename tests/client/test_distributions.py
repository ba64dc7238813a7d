"""Two distributions: the wheels of both, each in an environment that holds its needs alone."""

import os
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, Final

import pytest

from scripts import lock

ROOT: Final = Path(__file__).resolve().parents[2]
UNWANTED: Final = ("torch", "celery", "fastapi", "redis", "matplotlib", "sklearn")


def project(folder: str) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
    return found


def run(
    *command: str | Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command away from the checkout, without the checkout's paths."""
    return subprocess.run(
        list(map(str, command)), cwd="/", capture_output=True, text=True, check=False, timeout=250,
        env={"PATH": os.environ["PATH"], "COLUMNS": "200", **(env or {})},
    )  # fmt: skip


def build(folder: Path, target: Path, kind: str = "wheel") -> Path:
    before = set(target.glob("*"))
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", str(target)],
        cwd=folder, capture_output=True, text=True, check=False, timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (made,) = set(target.glob("*")) - before
    return made


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel of each distribution, by its name."""
    target = tmp_path_factory.mktemp("wheels")
    return {project(folder)["name"]: build(ROOT / folder, target) for folder in ("client", ".")}


def environment(folder: Path, name: str, *built: Path) -> Path:
    """A clean environment with the packages that a distribution needs, and with wheels of ours;
    returns its folder of commands. The packages are those of the tests' own environment."""
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for package in lock.closure((), name):
        for path in distribution(package).files or ():
            source = Path(str(path.locate()))
            top = site / path.parts[0]
            if path.parts[0] != ".." and not top.exists():
                top.symlink_to(source.parents[len(path.parts) - 2] if path.parts[1:] else source)
    for wheel in built:
        done = run(
            *(sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install"),
            *("--quiet", "--no-index", "--no-deps", wheel),
        )
        assert done.returncode == 0, done.stderr
    return folder / "bin"


@pytest.fixture(scope="module")
def client(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment(tmp_path_factory.mktemp("client"), "thalweg", wheels["thalweg"])


@pytest.fixture(scope="module")
def service(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment(tmp_path_factory.mktemp("service"), "thalweg-service", *wheels.values())


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name.split("/")[0] for name in archive.namelist()}


def test_a_wheel_holds_its_own_packages_and_no_other(wheels: dict[str, Path]) -> None:
    of = {name: {top for top in names_in(wheel) if ".dist-info" not in top}
          for name, wheel in wheels.items()}  # fmt: skip
    assert of["thalweg"] == {"thalweg"}
    assert of["thalweg-service"] == {"api", "core", "thalweg_service", "worker"}
    with zipfile.ZipFile(wheels["thalweg"]) as archive:
        assert {"thalweg/py.typed", "thalweg/specs.py"} < set(archive.namelist())


def test_the_services_wheel_carries_the_page(wheels: dict[str, Path]) -> None:
    """As it was built: git ignores it, and the wheel must not."""
    built = ROOT / "api" / "page" / "built"
    if not built.is_dir():
        pytest.skip("needs the page, built")
    files = {str(path.relative_to(ROOT)) for path in built.rglob("*") if path.is_file()}
    with zipfile.ZipFile(wheels["thalweg-service"]) as archive:
        assert files <= set(archive.namelist())
        assert not [name for name in archive.namelist() if name.startswith("web/")]


def test_the_service_needs_the_client_of_its_own_version() -> None:
    ours, clients = project("."), project("client")
    assert ours["version"] == clients["version"]
    assert f"thalweg=={ours['version']}" in ours["dependencies"]
    assert clients["scripts"].keys() == {"thalweg"}
    assert "scripts" not in ours
    assert ours["license"] == clients["license"]
    assert (ROOT / "LICENSE").read_bytes() == (ROOT / "client/LICENSE").read_bytes()


def test_a_source_archive_makes_the_same_wheel_and_the_services_has_no_client(
    wheels: dict[str, Path], tmp_path: Path
) -> None:
    for folder, name in (("client", "thalweg"), (".", "thalweg-service")):
        archive = build(ROOT / folder, tmp_path, "sdist")
        run("tar", "-xzf", archive, "-C", tmp_path)
        unpacked = tmp_path / archive.name.removesuffix(".tar.gz")
        again = build(unpacked, unpacked)
        with zipfile.ZipFile(again) as made, zipfile.ZipFile(wheels[name]) as first:
            assert sorted(made.namelist()) == sorted(first.namelist())
    assert not (unpacked / "client").exists()


def test_the_client_alone_brings_nothing_of_the_service(client: Path) -> None:
    source = (
        "import sys, thalweg.cli, importlib.util as u;"
        f"sys.exit(str([n for n in {UNWANTED!r} if u.find_spec(n)]))"
    )
    assert run(client / "python", "-c", source).stderr == "[]\n"


def test_the_client_alone_has_its_command_and_says_where_the_others_are(client: Path) -> None:
    version = project("client")["version"]
    assert run(client / "thalweg", "--version").stdout == f"{version}\n"
    assert " serve " not in run(client / "thalweg", "--help").stdout
    for name in ("serve", "worker", "keys"):
        done = run(client / "thalweg", name)
        assert done.returncode == 2
        assert "which is not installed here: pip install 'thalweg-service[worker," in done.stderr
    assert "No such command 'jab'" in run(client / "thalweg", "jab").stderr


def test_the_service_adds_its_commands(service: Path) -> None:
    listed = run(service / "thalweg", "--help").stdout
    for name in ("serve", "api", "worker", "settings", "health", "repair", "demo", "version"):
        assert f" {name} " in listed
    done = run(service / "thalweg", "settings")
    assert (done.returncode, "THALWEG_PORT=8000" in done.stdout) == (0, True), done.stderr
    assert run(service / "python", "-P", "-c", "import api.app").returncode == 0
    done = run(service / "thalweg", "doctr")
    assert "belongs to the service" not in done.stderr


def test_a_command_of_another_distribution_is_found(client: Path) -> None:
    (site,) = client.parent.glob("lib/python*/site-packages")
    (site / "acme.py").write_text(
        'def hello(name: str = "you") -> None:\n    "Greet."\n    print("hello", name)\n'
    )
    info = site / "acme-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[thalweg.commands]\nhello = acme:hello\n")
    assert run(client / "thalweg", "hello", "--name", "me").stdout == "hello me\n"
    assert "Did you mean 'hello'?" in run(client / "thalweg", "helo").stderr
