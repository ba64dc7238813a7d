"""Groups of parameters: against torch's own groups, resumed to the bit, around every optimizer."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.errors import InvalidInputError
from core.specs.job import JobSpec
from core.specs.parsing.job import parse_job
from core.specs.sizes.fusing import fusable
from core.specs.unions import members
from core.specs.validation.limits import Limits
from core.specs.validation.wrappers import matches
from core.train.problems.build import build_problem
from tests.core.train.checkpoint.test_resume import AWKWARD, assert_same, interrupted
from tests.core.train.harness import blobs_job, train

Json = dict[str, Any]
MIXED: list[Json] = [
    {"match": "*.bias", "weight_decay": 0.0, "lr_scale": 2.0},
    {"match": "hidden*", "frozen_steps": 5},
]
WITHOUT = {"lbfgs", "prodigy"}


def job(optimizer: Json, steps: int = 12, **more: Any) -> JobSpec:
    spec = blobs_job(optimizer, steps, **more)
    return parse_job(spec.model_dump_json().encode(), Limits())


@pytest.mark.parametrize(("kind", "cls"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_the_bits_are_those_of_torchs_own_groups(kind: str, cls: Any, tmp_path: Path) -> None:
    options: Json = {"lr": 0.05, "weight_decay": 0.1}
    options |= {"momentum": 0.9} if kind == "sgd" else {}
    schedule = {"kind": "exponential", "gamma": 0.9}
    spec = job({"kind": kind, **options, "groups": MIXED}, schedule=schedule)
    problem = build_problem(spec, torch.device("cpu"), torch.float32)
    named = dict(zip(problem.state(), problem.parameters(), strict=True))
    biases = [p for name, p in named.items() if name.endswith("bias")]
    hidden = [named["hidden.0.linear.weight"]]
    others = [named["output.weight"]]
    optimizer = cls(
        [
            {"params": others},
            {"params": biases, "weight_decay": 0.0, "lr": 0.1},
            {"params": hidden},
        ],
        **options,
    )
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    losses, norms = [], []
    for step in range(12):
        optimizer.zero_grad()
        loss = problem.loss(step)
        loss.backward()  # type: ignore[no-untyped-call]
        if step < 5:
            hidden[0].grad = None
        losses.append(loss.item())
        squares = [float((p.grad**2).sum()) for p in named.values() if p.grad is not None]
        norms.append(sum(squares) ** 0.5)
        optimizer.step()
        scheduler.step()
    trained = train(spec, tmp_path)
    assert trained.column("loss") == losses
    assert trained.column("grad_norm") == pytest.approx(norms, rel=1e-5)
    assert trained.column("lr") == pytest.approx([0.05 * 0.9**k for k in range(12)])
    for name, parameter in named.items():
        np.testing.assert_array_equal(trained.weights()[name], parameter.detach().numpy())


@pytest.mark.parametrize("kind", members("optimizer"))
def test_with_every_optimizer_a_resumed_run_has_the_same_bits(kind: str, tmp_path: Path) -> None:
    groups = MIXED
    if kind == "rprop":
        groups = [{**MIXED[0], "weight_decay": None}, MIXED[1]]
    schedule = {"kind": "one_cycle", "max_lr": 0.02, "total_steps": 12}
    options = {"kind": kind, "lr": 0.01, "groups": groups}
    if kind in WITHOUT:
        with pytest.raises(InvalidInputError) as caught:
            job(options)
        assert [(e.param, e.code) for e in caught.value.errors] == [
            ("optimizer.groups", "conflict")
        ]
        return
    spec = job(options, model=AWKWARD, schedule=schedule, record={"gradient_cosine": True})
    assert not fusable(spec)
    whole = train(spec, tmp_path / "whole")
    assert_same(whole, interrupted(spec, tmp_path / "parts", 3, 7))


@pytest.mark.parametrize("kind", [kind for kind in members("optimizer") if kind not in WITHOUT])
def test_what_is_frozen_stays_and_the_rest_moves(kind: str, tmp_path: Path) -> None:
    options = {"kind": kind, "lr": 0.01, "groups": [{"match": "hidden*", "frozen_steps": 12}]}
    trained = train(job(options), tmp_path)
    before, after = trained.weights("initial"), trained.weights()
    for name, values in before.items():
        assert np.array_equal(after[name], values) == name.startswith("hidden"), name


@pytest.mark.parametrize("kind", [kind for kind in members("optimizer") if kind not in WITHOUT])
def test_a_group_of_nothing_special_changes_no_bit(kind: str, tmp_path: Path) -> None:
    plain = train(job({"kind": kind, "lr": 0.01}), tmp_path / "a")
    grouped = train(
        job({"kind": kind, "lr": 0.01, "groups": [{"match": "*.bias"}]}), tmp_path / "b"
    )
    assert grouped.column("loss") == plain.column("loss")
    assert grouped.column("lr") == plain.column("lr")


def test_the_resolved_spec_lists_what_fell_where() -> None:
    spec = job({"kind": "adam", "groups": [
        {"match": "output.*|*.bias"}, {"match": "hidden.?.linear.weight", "lr_scale": 0.5},
    ]})  # fmt: skip
    found = [group.parameters for group in spec.optimizer.groups]
    assert found == [
        ("hidden.0.linear.bias", "output.weight", "output.bias"),
        ("hidden.0.linear.weight",),
    ]
    assert parse_job(spec.model_dump_json().encode(), Limits()) == spec


def test_what_is_given_as_the_names_is_found_anew() -> None:
    spec = job({"kind": "adam", "groups": [{"match": "*.bias", "parameters": ["old"]}]})
    assert spec.optimizer.groups[0].parameters == ("hidden.0.linear.bias", "output.bias")


@pytest.mark.parametrize(
    ("groups", "error"),
    [
        ([{"match": "conv*"}], ("optimizer.groups.0.match", "no_match")),
        ([{"match": "*"}, {"match": "*.bias"}], ("optimizer.groups.1.match", "no_match")),
        ([{"match": "*.BIAS"}], ("optimizer.groups.0.match", "no_match")),
        ([{"match": "[ho]*"}], ("optimizer.groups.0.match", "no_match")),
        ([{"match": "*", "frozen_steps": 1}], ("optimizer.groups", "conflict")),
        ([{"match": "*", "lr_scale": 0.0}], ("optimizer.groups.0.lr_scale", "greater_than")),
        ([{"match": "*", "lr": 0.1}], ("optimizer.groups.0.lr", "unknown_field")),
        ([{}], ("optimizer.groups.0.match", "missing")),
        ([{"match": ""}], ("optimizer.groups.0.match", "string_too_short")),
    ],
)
def test_what_cannot_work_is_refused_by_its_name(
    groups: list[Json], error: tuple[str, str]
) -> None:
    body = json.loads(blobs_job().model_dump_json())
    body["optimizer"] = {"kind": "adam", "groups": groups}
    with pytest.raises(InvalidInputError) as caught:
        parse_job(json.dumps(body).encode(), Limits())
    assert [(e.param, e.code) for e in caught.value.errors] == [error]


def test_of_a_function_there_are_no_groups() -> None:
    body = {
        "problem": {"kind": "function", "function": {"kind": "sphere"}},
        "optimizer": {"kind": "adam", "groups": [{"match": "x"}]},
    }
    with pytest.raises(InvalidInputError) as caught:
        parse_job(json.dumps(body).encode(), Limits())
    assert [e.param for e in caught.value.errors] == ["optimizer.groups"]


@pytest.mark.parametrize(
    ("pattern", "name", "found"),
    [
        ("*", "a.b", True),
        ("a.?", "a.b", True),
        ("a.?", "a.bc", False),
        ("x|a*", "a.b", True),
        ("", "a", False),
        ("*a*a*a*a*a*a*a*a*a*a*a*b", "a" * 80, False),
        ("[a]", "a", False),
        ("[a]", "[a]", True),
    ],
)
def test_a_pattern_knows_stars_question_marks_and_bars_alone(
    pattern: str, name: str, found: bool
) -> None:
    assert matches(pattern, name) == found
