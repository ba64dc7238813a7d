"""Remedies are tried before they are offered: what fails at once is withheld."""

import json
import math
from collections.abc import Sequence
from typing import Any

import pytest

from core.diagnosis.remedies.attempt import Attempts
from core.specs.job import JobSpec
from tests.core.diagnosis.labelled.case import Json, adam, function, sgd, supervised
from tests.core.diagnosis.labelled.cases.causes import within
from tests.core.diagnosis.labelled.running import all_cases, child, perform, resolved
from tests.core.diagnosis.runs import digits_job, gd

pytestmark = pytest.mark.filterwarnings("ignore")

WELL: Json = {"first": 2.0, "last": 1.0, "finite": True, "moved": True}


class Seen:
    """Answers every trial the same, and counts the specs it was asked for."""

    def __init__(self, answer: Json | None) -> None:
        self.answer = answer
        self.asked: list[list[float | str]] = []

    def __call__(self, specs: Sequence[JobSpec]) -> Sequence[Json | None]:
        self.asked.append([spec.optimizer.lr for spec in specs])
        return [self.answer for _ in specs]


@pytest.mark.parametrize(
    ("change", "works"),
    [
        ({}, True),
        ({"last": 2.0}, True),
        ({"last": 5.9}, True),
        ({"last": 6.1}, False),  # tripled
        ({"first": -2.0, "last": 1.9}, True),
        ({"first": -2.0, "last": 2.1}, False),
        ({"finite": False}, False),
        ({"last": None}, False),
        ({"last": math.inf}, False),
        ({"moved": False}, False),
        ({"first": None}, True),  # a start that overflows, and steps that come back from there
    ],
)
def test_what_the_first_steps_show_decides(change: Json, works: bool) -> None:
    attempts = Attempts(digits_job(gd(0.1)), Seen({**WELL, **change}))
    assert attempts.works({"optimizer": {"lr": 0.05}}) is works


@pytest.mark.parametrize(("survived", "works"), [(9.9, False), (10.1, True)])
def test_what_the_run_itself_came_back_from_is_no_harm(survived: float, works: bool) -> None:
    attempts = Attempts(digits_job(gd(0.1)), Seen({**WELL, "last": 10.0}), survived)
    assert attempts.works({"optimizer": {"lr": 0.05}}) is works


def test_each_patch_is_tried_once_and_all_in_one_go() -> None:
    seen = Seen(WELL)
    attempts = Attempts(digits_job(gd(0.1)), seen)
    patches: list[Json] = [{"optimizer": {"lr": lr}} for lr in (0.05, 0.02, 0.05)]
    attempts.try_all(patches)
    assert [attempts.works(patch) for patch in patches] == [True] * 3
    assert seen.asked == [[0.05, 0.02]]


def test_a_patch_that_changes_nothing_of_the_start_is_not_tried() -> None:
    seen = Seen({**WELL, "finite": False})
    attempts = Attempts(digits_job(gd(0.1)), seen)
    assert attempts.works({"budget": {"max_steps": 10}}) is None
    assert attempts.works({"stop": {"target_loss": 1.0}}) is None
    assert seen.asked == []


@pytest.mark.parametrize("answer", [None, WELL])
def test_what_is_not_known_or_not_valid(answer: Json | None) -> None:
    attempts = Attempts(digits_job(gd(0.1)), Seen(answer))
    assert attempts.works({"optimizer": {"lr": 0.05}}) is (None if answer is None else True)
    assert attempts.works({"optimizer": {"lr": -1.0}}) is False
    assert Attempts(digits_job(gd(0.1))).works({"optimizer": {"lr": 0.05}}) is None


# --- real ones ---


@pytest.mark.parametrize(
    "job",
    [
        supervised("digits", [64], sgd(3e4), 60),
        supervised("digits", [64, 64], sgd(1e7, momentum=0.9), 60, batch_size="full"),
        supervised("wine", [32], sgd(1e5), 60, precision="float64"),
        supervised("diabetes", [32, 32], sgd(1e3), 60),
        supervised("wine", [32], {"kind": "adamw", "lr": 2.0, "weight_decay": 40.0}, 60),
    ],
    ids=["digits", "digits, full", "wine", "diabetes", "decay"],
)
def test_no_remedy_of_a_run_that_blew_up_blows_up_at_once(job: Json) -> None:
    run = perform(resolved(job), full=False)
    assert run.diagnosis["verdict"] == "diverging"
    assert run.diagnosis["remedies"]
    for index in range(len(run.diagnosis["remedies"])):
        after = child(run, index)
        assert after is not None
        assert after.train["loss"].size > 6


def test_a_rate_that_only_the_decay_had_kept_small_is_not_offered() -> None:
    """Without its decay the same AdamW runs well; plain SGD at a rate of 0.1 did not."""
    case = next(each for each in all_cases() if each.id == "held by decay: wine")
    run = perform(resolved(case.job), full=False)
    for index in range(len(run.diagnosis["remedies"])):
        after = child(run, index)
        assert after is not None
        assert after.ending.outcome != "diverged"


# --- numbers in `expected` ---


def promised(parent: Json, remedy: Json) -> list[tuple[str, float, float]]:
    """What `expected` says of numbers that the patch has too: name, said, in the patch."""
    patch, expected = remedy["patch"], remedy["expected"]
    optimizer = patch.get("optimizer", {})
    known: dict[str, Any] = {
        "momentum": optimizer.get("momentum"),
        "beta1": optimizer.get("betas", [None])[0],
        "final_loss": patch.get("stop", {}).get("target_loss"),
    }
    if "lr" in optimizer and "lr" in parent["optimizer"]:
        known["lr_factor"] = optimizer["lr"] / parent["optimizer"]["lr"]
    if "batch_size" in patch and isinstance(parent["batch_size"], int):
        known["noise_factor"] = (parent["batch_size"] / patch["batch_size"]) ** 0.5
    return [
        (name, expected[name], value)
        for name, value in known.items()
        if value is not None and expected.get(name) is not None
    ]


MOMENTA = [
    function(
        {"kind": "quadratic", "eigenvalues": [1.0, 3.0]}, [1.0, 1.0], sgd(0.05, momentum=beta), 250
    )
    for beta in (0.9985, 0.999)
] + [
    supervised("wine", [16], sgd(0.5, momentum=0.6), 200),
    supervised("wine", [16], sgd(1e3), 60),
    supervised("digits", [16], {**adam(3.0), "betas": [0.99, 0.999]}, 120),
    within(function("sphere", [1.5, 1.5], sgd(5e-4), 200), [-5, 5]),
]


@pytest.mark.parametrize("part", range(8))
def test_what_is_expected_never_contradicts_the_patch(part: int) -> None:
    """Over a part of the labelled set: numbers that stand in both are the same, and a loss that is
    to come out is not above the one that was."""
    jobs = [case.job for case in all_cases() if not case.well][part::24] + MOMENTA[part::8]
    for job in jobs:
        run = perform(resolved(job), full=False)
        parent = json.loads(run.spec.model_dump_json())
        for remedy in run.diagnosis["remedies"]:
            for name, said, value in promised(parent, remedy):
                assert said == pytest.approx(value, rel=1e-3, abs=1e-12), (job, name, remedy)
