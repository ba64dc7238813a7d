"""The job files of examples/: each is accepted as it stands, begins to train, and is told of."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from core.specs.parsing.job import parse_job
from core.specs.studies.parse import parse_study
from core.specs.validation.limits import Limits
from tests.core.train.harness import train

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
FILES = sorted(EXAMPLES.glob("*.yaml"))
STEPS = 25


def body_of(path: Path) -> dict[str, Any]:
    body: dict[str, Any] = yaml.safe_load(path.read_text())
    return body


JOBS = [path for path in FILES if "base" not in body_of(path)]


def test_there_are_ten_job_files_at_least() -> None:
    assert len(JOBS) >= 10
    kinds = {body_of(path)["problem"]["kind"] for path in JOBS}
    assert kinds == {"function", "supervised", "reconstruction", "language_model", "forecast"}


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_a_job_file_is_accepted_and_begins_to_train(path: Path, tmp_path: Path) -> None:
    body = body_of(path)
    assert path.read_text().startswith("# "), "it says what it shows"
    assert body["name"]
    parse_job(json.dumps(body).encode(), Limits())
    body["budget"] = {"max_steps": STEPS}
    trained = train(parse_job(json.dumps(body).encode(), Limits()), tmp_path)
    losses = trained.column("loss")
    assert trained.ending.outcome == ("budget_exhausted" if len(losses) == STEPS else "converged")
    assert np.isfinite(losses).all()


@pytest.mark.parametrize(
    "path", [path for path in FILES if path not in JOBS], ids=lambda path: path.stem
)
def test_a_file_of_a_study_is_accepted(path: Path) -> None:
    assert parse_study(json.dumps(body_of(path)).encode(), Limits()).num_runs > 1


def test_each_file_is_named_in_the_docs() -> None:
    page = (EXAMPLES.parent / "docs" / "users.md").read_text()
    assert [path.name for path in FILES if path.name not in page] == []
