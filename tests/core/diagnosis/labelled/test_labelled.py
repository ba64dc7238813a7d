"""The labelled set's floors, on a fixed third of it.

`python -m tests.core.diagnosis.labelled` runs it whole.
"""

import importlib.util
from collections import Counter
from pathlib import Path

import pytest

from tests.core.diagnosis.labelled import scoring
from tests.core.diagnosis.labelled.case import halves
from tests.core.diagnosis.labelled.running import (
    all_cases,
    child,
    find,
    improvement,
    perform,
    resolved,
)
from tests.core.diagnosis.labelled.scoring import Scored

pytestmark = pytest.mark.filterwarnings("ignore")


def test_the_set_is_large_enough_and_half_of_it_is_held_out() -> None:
    cases = all_cases()
    assert len(cases) >= 120
    assert len({case.id for case in cases}) == len(cases)
    assert all(case.why for case in cases)
    sizes = Counter(halves(cases).values())
    assert abs(sizes["tuning"] - sizes["held_out"]) <= len({case.family for case in cases})


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_nine_in_ten_held_out_runs_are_judged_rightly_and_hardly_a_healthy_one_called_sick() -> (
    None
):
    half_of = halves(all_cases())
    third = all_cases()[::3]
    scored = []
    for case in third:
        found = perform(resolved(case.job))
        verdict, confidence = found.diagnosis["verdict"], found.diagnosis["confidence"]
        scored.append(Scored(case, half_of[case.id], verdict, confidence, found.raw))
    held_out = [each for each in scored if each.half == "held_out"]
    wrong = [(each.case.id, each.verdict) for each in held_out if not each.right]
    assert scoring.accuracy(held_out) >= scoring.LEAST_ACCURACY, wrong
    assert scoring.false_alarms(scored) <= scoring.MOST_FALSE_ALARMS


@pytest.mark.parametrize(
    "part",
    ["heavy ball at 1.5 of its threshold, diag", "from wall to wall, diag", "condition number 1e4"],
)
def test_the_first_remedy_makes_the_run_better(part: str) -> None:
    parent = perform(resolved(find(all_cases(), part)[0].job))
    after = child(parent)
    assert after is not None
    assert improvement(parent, after)["verdict"] == "improved"


def test_the_table_of_rules_in_the_docs_is_the_codes() -> None:
    path = Path(__file__).resolve().parents[4] / "scripts/diagnosis_docs.py"
    spec = importlib.util.spec_from_file_location("diagnosis_docs", path)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    page = script.PAGE.read_text()
    assert script.with_rules(page) == page, "run python scripts/diagnosis_docs.py --rules"
