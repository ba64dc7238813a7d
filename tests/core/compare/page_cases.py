"""Comparisons with their reasons, for the test of what the page says of them in Chinese.

`python -m tests.core.compare.page_cases` writes `web/test/reasons.json`.
"""

import json
import math
from pathlib import Path
from typing import Any, Final

from core.compare.comparison import compare
from core.studies import RunRecord
from tests.core.compare.studies import run, runs, study

NAN: Final = math.nan
FILE: Final = Path(__file__).parents[3] / "web" / "test" / "reasons.json"
SHOWN: Final = ("complete", "leader", "winner", "reason", "problems")
OF_A_ROW: Final = (
    *("configuration", "params", "num_diverged", "num_failed", "num_cancelled", "num_stopped"),
    *("num_pending", "mean", "values", "survivors", "difference_to_leader"),
)


def _stopped(configuration: int, repeats: int) -> list[RunRecord]:
    at = {"step": 10, "place": configuration, "of": 9}
    return [
        run(configuration, repeat, repeats=repeats, status="cancelled", metric=9.0, stopped=at)
        for repeat in range(repeats)
    ]


def cases() -> dict[str, Any]:
    """Return each comparison, cut down to what the page looks at."""
    made: dict[str, tuple[list[RunRecord], bool]] = {
        "won": (runs([[3.0, 3.1, 3.2], [1.0, 1.1, 1.0], [2.0, 2.2, 2.1]]), True),
        "won, others lost runs": (runs([[1.0, 1.1, 1.2], [0.1, 0.1, NAN], [5.0, 5.1, 5.3]]), True),
        "won by what was lost": (runs([[1.0, 1.1], [NAN, 1.0], [NAN, NAN]]), True),
        "tied": (runs([[1.0, 1.2, 1.4], [1.1, 1.1, 1.6], [9.0, 9.0, 9.1]]), True),
        "tied with what failed": (
            runs([[1.0, 1.1, 1.2], [4.0, None, None], [5.0, 5.1, 5.3]]), True,
        ),
        "one repeat": (runs([[2.0], [1.5], [7.0]]), True),
        "one repeat, one value": (runs([[2.0], [NAN]]), True),
        "one configuration": (runs([[1.0, 2.0]]), True),
        "losses everywhere": (runs([[1.0, NAN], [2.0, NAN]]), True),
        "nothing": (runs([[NAN, None]]), True),
        "under way": (
            [*runs([[1.0, 1.1], [3.0, 3.1]])[:3], run(1, 1, repeats=2, status="running")], False,
        ),
        "no run yet": ([], False),
        "cancelled": (
            [
                *runs([[1.0, 1.1], [3.0, 3.1]])[:3],
                run(1, 1, repeats=2, status="cancelled", outcome=None, result=None),
            ],
            True,
        ),
        "stopped, won": ([*runs([[1.0, 1.1], [3.0, 3.1]]), *_stopped(2, 2)], True),
        "stopped, alone": ([*runs([[1.0, 1.1]]), *_stopped(1, 2), *_stopped(2, 2)], True),
        "stopped, all": ([*_stopped(0, 2), *_stopped(1, 2)], True),
    }  # fmt: skip
    found: dict[str, Any] = {}
    for name, (records, complete) in made.items():
        repeats = max((each.repeat for each in records), default=0) + 1
        body = compare(study(repeats=repeats), records, complete=complete)
        rows = [{key: row[key] for key in OF_A_ROW} for row in body["configurations"]]
        found[name] = {**{key: body[key] for key in SHOWN}, "configurations": rows}
    return found


def text() -> str:
    """Return the file's text: as replies have it, what is not finite is a word. Numbers have as
    many digits as are the same on every processor."""
    return json.dumps(_strict(cases()), indent=1, ensure_ascii=False) + "\n"


def _strict(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    if isinstance(value, float):
        return float(f"{value:.12g}")
    if isinstance(value, dict):
        return {name: _strict(each) for name, each in value.items()}
    return [_strict(each) for each in value] if isinstance(value, list | tuple) else value


if __name__ == "__main__":
    FILE.write_text(text())
