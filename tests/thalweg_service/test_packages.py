"""`api`, `core` and `worker` are general names: nothing starts on another's packages."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from thalweg_service.packages import NAMES, foreign

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = (
    *(["-m", "thalweg_service", name] for name in ("serve", "api", "worker", "settings")),
    ["-m", "thalweg_service", "health", "api"],
    ["-m", "thalweg_service", "health", "worker"],
    ["-m", "api"],
    ["-m", "worker"],
    ["-m", "worker", "--check"],
)
SERVE = COMMANDS[0]
REPORT = "from thalweg_service.packages import foreign; print(foreign() or '')"


def python(*arguments: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Run Python with this folder first on its path."""
    environment = {**os.environ, "PYTHONPATH": str(path)}
    return subprocess.run(
        [sys.executable, "-P", *arguments],
        capture_output=True, text=True, timeout=60, check=False, env=environment,
    )  # fmt: skip


def package(folder: Path, name: str, text: str = "raise SystemExit('a stranger was run')") -> None:
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / "__init__.py").write_text(text)


def install(folder: Path, name: str, files: Mapping[str, str]) -> None:
    """Write the files of a distribution, and its record of them, as pip does."""
    rows = []
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
        rows.append(f"{path},sha256=x,{len(text)}")
    noted = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    noted.mkdir()
    (noted / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (noted / "RECORD").write_text("\n".join([*rows, f"{noted.name}/RECORD,,"]) + "\n")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site-packages with Thalweg's names, a line of text each, and this package as it is."""
    files = [f"{name}/{file}" for name in NAMES for file in ("__init__.py", "app.py")]
    install(tmp_path, "thalweg-service", {path: f"# {path}\n" for path in files})
    shutil.copytree(ROOT / "thalweg_service", tmp_path / "thalweg_service")
    return tmp_path


def report(path: Path) -> str:
    done = python("-c", REPORT, path=path)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_these_packages_are_our_own() -> None:
    assert foreign() is None


@pytest.mark.parametrize(
    ("command", "name"),
    [*((command, "core") for command in COMMANDS), *(([*SERVE], name) for name in NAMES)],
    ids=str,
)
def test_nothing_starts_where_another_package_comes_first(
    command: list[str], name: str, tmp_path: Path
) -> None:
    package(tmp_path, name)
    done = python(*command, path=tmp_path)
    assert done.returncode in {1, 2}
    (line,) = done.stderr.splitlines()
    assert f"The package {name!r} that Python finds ({tmp_path / name})" in line
    assert "is not Thalweg's own. Give Thalweg an environment of its own" in line
    assert line.startswith("thalweg ")


def test_a_distribution_of_that_name_is_named(tmp_path: Path) -> None:
    install(tmp_path, "acme-core", {"core/__init__.py": "", "core/settings.py": ""})
    assert f"'core' that Python finds ({tmp_path / 'core'}) belongs to acme-core 1.0." in report(
        tmp_path
    )


def test_a_module_of_that_name_is_as_bad(tmp_path: Path) -> None:
    install(tmp_path, "acme", {"worker.py": ""})
    assert f"({tmp_path / 'worker.py'}) belongs to acme 1.0." in report(tmp_path)


def test_a_whole_installation_is_taken(site: Path) -> None:
    assert report(site) == ""


def test_a_distribution_that_has_written_over_ours_is_named(site: Path) -> None:
    install(site, "acme", {"core/__init__.py": "# another\n", "core/acme.py": ""})
    said = report(site)
    assert f"'core' that Python finds ({site / 'core/__init__.py'}) belongs to acme 1.0." in said
    assert "Give Thalweg an environment of its own" in said


def test_another_that_ours_has_written_over_is_not_in_our_way(site: Path) -> None:
    install(site, "acme", {"core/acme.py": ""})
    assert report(site) == ""


def test_a_file_that_was_changed_by_hand_is_our_own(site: Path) -> None:
    (site / "core" / "__init__.py").write_text("# mended in a hurry\n")
    assert report(site) == ""


def test_a_file_that_is_gone_is_missed(site: Path) -> None:
    (site / "api" / "app.py").unlink()
    assert report(site).startswith("The package 'api' is not there, or not whole: install Thalweg")
