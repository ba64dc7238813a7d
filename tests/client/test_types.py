"""The client's types: fresh, and strict enough that a checker sees a wrong field name."""

import re
import subprocess
import sys
from pathlib import Path

from scripts import client_code

ROOT = Path(__file__).resolve().parents[2]
USER = ROOT / "tests" / "clients" / "typed.py"


def test_what_is_written_by_the_script_is_fresh() -> None:
    stale = [path.name for path in client_code.stale()]
    assert stale == [], "run `make models`"


def test_mypy_sees_every_wrong_field_name_and_no_other_mistake(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary",
         f"--cache-dir={tmp_path}", str(USER)],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=250,
    )  # fmt: skip
    found = {int(line) for line in re.findall(r"typed\.py:(\d+): error", done.stdout)}
    assert found == wrong_lines(), done.stdout


def wrong_lines() -> set[int]:
    lines = USER.read_text().splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# WRONG")}
