"""The command line: quick, torch-free, and complete about the settings."""

import subprocess
import sys

from core.settings import Settings

LISTED_WITHOUT_TORCH = """
import sys
sys.argv = ["thalweg", "settings"]
from thalweg_service.commands import main
try:
    main()
finally:
    assert not {"torch", "celery", "fastapi", "sklearn"} & set(sys.modules)
"""


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "thalweg_service", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment or None,
    )


def test_every_setting_is_listed_with_its_default_and_meaning() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LISTED_WITHOUT_TORCH],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={},
    )
    for name, field in Settings.model_fields.items():
        assert f"THALWEG_{name.upper()}=" in done.stdout
        assert field.description, name
    assert "THALWEG_LEASE_S=6.0\n" in done.stdout


def test_the_version_is_printed() -> None:
    assert run("version").stdout == "0.1.0\n"
    assert run("--version").stdout == "0.1.0\n"


def test_help_has_a_short_form_for_every_command() -> None:
    assert "serve" in run("-h").stdout
    for command in ("serve", "api", "worker", "settings", "health", "version"):
        done = run(command, "-h")
        assert done.returncode == 0, done.stderr
        assert f"thalweg {command} [OPTIONS]" in done.stdout


def test_the_health_of_an_api_that_is_not_there_is_bad() -> None:
    done = run("health", "api", THALWEG_PORT="1")
    assert done.returncode == 1
    assert done.stderr == "thalweg health: the API is not ready: it does not answer\n"


def test_a_worker_without_redis_says_so_in_one_line() -> None:
    done = run("worker", THALWEG_REDIS_URL="redis://127.0.0.1:1/0")
    assert done.returncode == 1
    assert done.stderr.startswith("thalweg worker: No Redis at redis://127.0.0.1:1/0")
    assert len(done.stderr.splitlines()) == 1
