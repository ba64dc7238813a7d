"""Run and score the labelled set: `python -m tests.core.diagnosis.labelled`. Tables are printed.

--half tuning|held_out   one half only
--remedies               also apply the first remedy of each sick run, and compare
--fit                    print the table for core/diagnosis/verdict.py (tuning half)
--history                diagnose from the histories alone, without measuring the weights
--errors                 name the runs that were judged wrongly (never tune on the held-out)
"""

import argparse
import sys
import time
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence

import core.diagnosis.verdict as calibrations
from tests.core.diagnosis.labelled import scoring
from tests.core.diagnosis.labelled.case import Case, halves
from tests.core.diagnosis.labelled.running import (
    Run,
    all_cases,
    child,
    improvement,
    perform,
    resolved,
)
from tests.core.diagnosis.labelled.scoring import Scored


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")


def main() -> int:
    """Exit status 0 when the runs at hand keep the floors (`scoring.LEAST_ACCURACY`, ...)."""
    parser = argparse.ArgumentParser(prog="python -m tests.core.diagnosis.labelled")
    parser.add_argument("--half", choices=["tuning", "held_out"])
    parser.add_argument("--remedies", action="store_true")
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--history", action="store_true")
    parser.add_argument("--errors", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    begin = time.perf_counter()
    cases = all_cases()
    half_of = halves(cases)
    chosen = [case for case in cases if options.half in (None, half_of[case.id])]
    scored, compared, costs = [], [], []
    for case in chosen:
        run = perform(resolved(case.job), full=not options.history)
        found = run.diagnosis
        scored.append(
            Scored(case, half_of[case.id], found["verdict"], found["confidence"], run.raw)
        )
        costs.append((run.measured or {}).get("elapsed_s", 0.0))
        if options.remedies and not case.well:
            compared.append((case, *_first_remedy(run)))
    _tell(scored, options.errors)
    if options.remedies:
        _tell_remedies(compared, half_of)
    if options.fit:
        tuning = [each for each in scored if each.half == "tuning"]
        say("\nTABLE =", scoring.fit(tuning), f"  # EDGE = {calibrations.EDGE}")
    say(
        f"\n{len(chosen)} runs in {time.perf_counter() - begin:.0f} s; a measurement took"
        f" {sorted(costs)[len(costs) // 2]:.3f} s (median), {max(costs):.2f} s (most)."
    )
    held_out = [each for each in scored if each.half == "held_out"]
    accurate = not held_out or scoring.accuracy(held_out) >= scoring.LEAST_ACCURACY
    return int(not accurate or scoring.false_alarms(scored) > scoring.MOST_FALSE_ALARMS)


def _first_remedy(run: Run) -> tuple[str, str]:
    after = child(run)
    if after is None:
        return "no remedy", ""
    found = improvement(run, after)
    return found["verdict"], f"{found['reason']} {run.diagnosis['remedies'][0]['patch']}"


def _tell(scored: Sequence[Scored], errors: bool) -> None:
    for half in ("tuning", "held_out"):
        part = [each for each in scored if each.half == half]
        if not part:
            continue
        right, strict = scoring.accuracy(part), sum(x.strictly_right for x in part) / len(part)
        say(f"\n## {half}: {len(part)} runs, {right:.1%} right ({strict:.1%} exact label);")
        say(f"false alarms: {scoring.false_alarms(part):.1%} of the healthy or converged runs\n")
        say(scoring.confusion(part), "\n")
        say(scoring.calibration(part))
        for each in part:
            if errors and not each.right:
                say(f"  {each.case.id}: {each.case.label}, called {each.verdict}")


def _tell_remedies(compared: Sequence[tuple[Case, str, str]], half_of: Mapping[str, str]) -> None:
    say("\n## The first remedy of each sick run, applied\n")
    say("| verdict | improved | no change | worse | no remedy |\n|---|---|---|---|---|")
    seen: dict[str, Counter[str]] = {}
    for case, verdict, _ in compared:
        seen.setdefault(case.label, Counter())[verdict] += 1
        seen.setdefault("all", Counter())[verdict] += 1
    names = ("improved", "no_change", "worse", "no remedy")
    for label in (*scoring.ORDER, "all"):
        if label in seen:
            cells = " | ".join(str(seen[label][name]) for name in names)
            say(f"| {label} | {cells} |")
    for case, verdict, text in compared:
        if verdict != "improved":
            say(f"  {verdict} ({half_of[case.id]}): {case.id}. {text[:300]}")


if __name__ == "__main__":
    sys.exit(main())
