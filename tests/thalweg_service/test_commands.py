"""The command line: quick, torch-free, and complete about the settings."""

import subprocess
import sys
from pathlib import Path

import pytest

from core.environment.gpus import missing_gpu
from core.settings import Settings

LISTED_WITHOUT_TORCH = """
import sys
sys.argv = ["thalweg", "settings"]
from thalweg.cli import main
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
    assert "(default:" not in done.stdout
    assert done.stderr == ""


def test_the_values_in_force_are_listed_without_a_password() -> None:
    done = run(
        "settings",
        THALWEG_LEASE_S="9",
        THALWEG_RETENTION_COUNT="40",
        THALWEG_REDIS_URL="redis://user:geheim@cache:6379/2",
        THALWEG_RETENTION_AGE="60",
    )
    lines = done.stdout.splitlines()
    assert "THALWEG_LEASE_S=9.0" in lines
    assert "THALWEG_RETENTION_COUNT=40" in lines
    assert "THALWEG_REDIS_URL=redis://user:***@cache:6379/2" in lines
    defaults = [line for line in lines if line.startswith("    (default:")]
    assert defaults == [
        "    (default: redis://127.0.0.1:6379/0)", "    (default: 6.0)", "    (default: none)"
    ]  # fmt: skip
    assert "geheim" not in done.stdout
    assert done.stderr == (
        "thalweg settings: THALWEG_RETENTION_AGE is no setting and has no effect; did you mean"
        " THALWEG_RETENTION_AGE_S?\n"
    )


MISTAKEN = {"THALWEG_LEASE_S": "long", "THALWEG_REDIS_URL": "redis://:geheim@1@cache"}


@pytest.mark.parametrize(
    "command",
    [
        *(["-m", "thalweg_service", name] for name in ("serve", "settings", "api", "worker")),
        *(["-m", "thalweg_service", "health", part] for part in ("api", "worker")),
    ],
    ids=" ".join,
)
def test_every_command_says_in_one_line_which_settings_are_wrong(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-P", *command],
        capture_output=True, text=True, timeout=60, check=False, env=MISTAKEN,
    )  # fmt: skip
    assert done.returncode in {1, 2}
    (line,) = done.stderr.splitlines()
    assert line.startswith("thalweg ")
    assert "THALWEG_LEASE_S='long': Input should be a valid number" in line
    assert "THALWEG_REDIS_URL: a user name or password in it must be percent-encoded" in line
    assert "geheim" not in done.stdout + done.stderr


def test_a_part_says_which_variables_have_no_effect() -> None:
    for part in ("api", "worker"):
        done = run(part, THALWEG_LEASE="9", THALWEG_REDIS_URL="redis://h?socket_timeout=soon")
        first, second = done.stderr.splitlines()
        assert first == (
            f"thalweg {part}: THALWEG_LEASE is no setting and has no effect; did you mean"
            " THALWEG_LEASE_S?"
        )
        assert second.startswith(f"thalweg {part}: THALWEG_REDIS_URL is no address of a Redis: ")


def test_a_worker_without_torch_says_which_extra_it_needs() -> None:
    source = "import sys; sys.modules['torch'] = None; from worker.app import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", source],
        capture_output=True, text=True, timeout=60, check=False, env={},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == (
        "thalweg worker: torch is not installed: a worker needs Thalweg's extra `worker` (pip"
        " install 'thalweg-service[worker]', in a checkout './client' and '.[worker]').\n"
    )


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
    done = run("health", "api", "--live", THALWEG_PORT="1")
    assert done.stderr == "thalweg health: the API is not alive: it does not answer\n"


def test_the_health_of_a_worker_that_is_not_there_is_bad(tmp_path: Path) -> None:
    for flags, said in ([], "reported"), (["--ready"], "reported"), (["--live"], "been alive"):
        done = run("health", "worker", *flags, TMPDIR=str(tmp_path))
        assert done.returncode == 1
        assert f"has {said} within 12 s." in done.stderr


def test_a_worker_without_redis_says_so_in_one_line() -> None:
    done = run("worker", THALWEG_REDIS_URL="redis://user:geh%40eim@127.0.0.1:1/0")
    assert done.returncode == 1
    assert done.stderr.startswith("thalweg worker: No Redis at redis://127.0.0.1:1/0")
    assert "geh" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(missing_gpu("cuda") is None, reason="this machine has a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_gpu_that_is_not_there_is_noticed_before_torch_is_imported(device: str) -> None:
    done = run("worker", "--device", device, THALWEG_REDIS_URL="redis://127.0.0.1:1/0")
    assert done.returncode == 1
    assert done.stderr.startswith(f"thalweg worker: This machine has no device '{device}'")
    assert missing_gpu("cpu") is missing_gpu("auto") is None


@pytest.mark.skipif(missing_gpu("cuda") is None, reason="this machine has a GPU")
@pytest.mark.parametrize(
    ("devices", "words"),
    [
        (("--devices", "cuda:0"), "This machine has no device 'cuda:0', only: cpu."),
        (("--devices", "cuda"), "no GPU that is visible here"),
        (("--devices", "all"), "'all' is no device. Give auto (every GPU), or a list"),
        (("--devices", "cpu,"), "'' is no device"),
        (("--devices", "cpu", "--device", "cpu"), "give --device or --devices, not both"),
        (("--exit-when-idle", "nan"), "--exit-when-idle nan: give seconds, more than 0"),
        (("--exit-when-idle", "0"), "--exit-when-idle 0: give seconds, more than 0"),
        (("--devices", "cpu", "--exit-when-idle", "inf"), "--exit-when-idle inf: give seconds"),
    ],
)
def test_devices_that_cannot_be_given_to_workers_are_told_in_one_line(
    devices: tuple[str, ...], words: str
) -> None:
    done = run("worker", *devices, THALWEG_REDIS_URL="redis://127.0.0.1:1/0")
    assert done.returncode == 1
    assert done.stderr.startswith("thalweg worker: ")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_worker_of_several_that_cannot_start_ends_them_all() -> None:
    done = run("worker", "--devices", "cpu", THALWEG_REDIS_URL="redis://127.0.0.1:1/0")
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert first == "thalweg worker: a worker each for cpu"
    assert second.startswith("thalweg worker: No Redis at redis://127.0.0.1:1/0")
