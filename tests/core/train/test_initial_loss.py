"""L₀, the loss that a run begins at: over many rows where batches are small."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from core.artifacts.local import LocalJob
from core.diagnosis.diagnose import diagnose
from core.specs.job import JobSpec
from core.specs.parsing.job import parse_job
from core.specs.validation.limits import Limits
from core.train.checkpoint.snapshot import decode, encode, fingerprint, resume_points
from core.train.data.build import build_dataset
from core.train.determinism import key
from core.train.fused.events import StackEvent
from core.train.fused.stack.pause import PausedRuns, pause, resume
from core.train.fused.stack.stack import Stack
from core.train.losses import target_form
from core.train.problems.build import build_problem
from core.train.stopping import ended_far_above
from core.train.tensors.tree import from_tree, to_tree
from tests.core.train.fused.harness import Control, train_population
from tests.core.train.harness import (
    Json,
    StopAt,
    Trained,
    blobs_job,
    function_job,
    parabola,
    train,
)

CPU = torch.device("cpu")
Weights = dict[str, np.ndarray[Any, Any]]


def initial_loss(run: Trained) -> float:
    found: float = run.ending.result["initial_loss"]
    return found


def first_rows(spec: JobSpec) -> tuple[torch.Tensor, torch.Tensor]:
    """At most 4,096 training rows, by index."""
    assert spec.problem.kind == "supervised"
    assert spec.problem.loss is not None
    dtype = torch.float64 if spec.precision == "float64" else torch.float32
    data = build_dataset(spec.problem.data, target_form(spec.problem.loss), CPU, dtype)
    return data.train_features[:4096], data.train_targets[:4096]


def by_hand(
    spec: JobSpec, weights: Weights, *, batch_norm: bool = False, dropout: float = 0.0
) -> float:
    """The mean cross entropy of an MLP with one hidden layer, written out."""
    x, targets = first_rows(spec)
    w = {name: torch.from_numpy(value) for name, value in weights.items()}
    z = x @ w["hidden.0.linear.weight"].T
    if "hidden.0.linear.bias" in w:
        z = z + w["hidden.0.linear.bias"]
    if batch_norm:
        z = (z - z.mean(0)) / (z.var(0, unbiased=False) + 1e-5).sqrt()
        z = z * w["hidden.0.norm.weight"] + w["hidden.0.norm.bias"]
    z = z.relu()
    if dropout:
        torch.manual_seed(key(spec.seed, "initial_loss"))
        z = functional.dropout(z, dropout)
    z = z @ w["output.weight"].T + w["output.bias"]
    log_p = z - z.exp().sum(1, keepdim=True).log()
    return float(-log_p[torch.arange(len(z)), targets].mean())


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize(
    ("model", "known"),
    [
        ({"kind": "mlp", "hidden": [6]}, {}),
        ({"kind": "mlp", "hidden": [6], "norm": {"kind": "batch"}}, {"batch_norm": True}),
        ({"kind": "mlp", "hidden": [6], "dropout": 0.4}, {"dropout": 0.4}),
    ],
    ids=["plain", "batch norm", "dropout"],
)
def test_it_is_the_mean_over_the_first_rows_in_training_mode(
    model: Json, known: Json, seed: int, tmp_path: Path
) -> None:
    spec = blobs_job({"kind": "adam", "lr": 0.01}, 5, model=model, seed=seed, batch_size=4)
    run = train(spec, tmp_path)
    wanted = by_hand(spec, run.weights("initial"), **known)
    assert initial_loss(run) == pytest.approx(wanted, rel=1e-5)
    assert initial_loss(run) != run.column("loss")[0]


def test_at_most_4096_rows_count(tmp_path: Path) -> None:
    data = {"kind": "synthetic", "generator": {"kind": "blobs", "num_samples": 6000}}
    problem = {"kind": "supervised", "data": data, "model": {"kind": "mlp", "hidden": [6]}}
    body = {"problem": problem, "optimizer": {"kind": "adam"}, "batch_size": 32,
            "budget": {"max_steps": 2}, "device": "cpu"}  # fmt: skip
    spec = parse_job(json.dumps(body).encode(), Limits())
    x, _ = first_rows(spec)
    assert len(x) == 4096
    run = train(spec, tmp_path)
    assert initial_loss(run) == pytest.approx(by_hand(spec, run.weights("initial")), rel=1e-5)


@pytest.mark.parametrize("batch", ["full", 36, 50, 1])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_batch_of_all_rows_is_its_own_measure(
    batch: int | str, dropout: float, tmp_path: Path
) -> None:
    model = {"kind": "mlp", "hidden": [6], "dropout": dropout}
    run = train(blobs_job(None, 4, batch_size=batch, model=model), tmp_path)  # 36 rows train
    same = initial_loss(run) == run.column("loss")[0]
    assert same == (batch != 1)


def test_a_function_begins_at_its_first_row(tmp_path: Path) -> None:
    assert initial_loss(train(parabola(0.1, 5), tmp_path / "a")) == 100.0
    none = train(parabola(0.1, 5), tmp_path / "b", control=StopAt("cancel", 0))
    assert none.ending.result["initial_loss"] is None
    nan = train(function_job("sqrt(x)", {"x": -1.0}, {"kind": "sgd", "lr": 0.1}), tmp_path / "c")
    assert math.isnan(initial_loss(nan))


MODELS: dict[str, Json] = {
    "plain": {"kind": "mlp", "hidden": [6]},
    "batch norm and dropout": {
        "kind": "mlp", "hidden": [6, 5], "norm": {"kind": "batch"}, "dropout": 0.3,
    },
    "linear": {"kind": "linear"},
}  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
def test_no_bit_of_the_training_knows_of_it(model: str) -> None:
    spec = blobs_job(None, 5, model=MODELS[model], batch_size=4)
    one, other = (build_problem(spec, CPU, torch.float32) for _ in range(2))
    for step in range(3):
        one.initial_loss()
        assert torch.equal(one.loss(step), other.loss(step))
        one.initial_loss()
    for name, value in other.state().items():
        assert torch.equal(one.state()[name], value), name


@pytest.mark.parametrize("model", MODELS)
def test_what_goes_on_has_the_same(model: str, tmp_path: Path) -> None:
    spec = blobs_job(None, 12, model=MODELS[model], batch_size=2, seed=5)
    whole = train(spec, tmp_path / "whole")
    train(spec, tmp_path / "cut", control=StopAt("hand_over", 7))
    again = train(spec, tmp_path / "cut", resume=True)
    assert initial_loss(again) == initial_loss(whole)
    # One that goes on from another's end starts where that one did.
    longer = spec.model_copy(update={"budget": spec.budget.model_copy(update={"max_steps": 20})})
    assert initial_loss(train(longer, tmp_path / "whole", resume=True)) == initial_loss(whole)


def older(artifacts: LocalJob, spec: JobSpec) -> None:
    """Make the latest checkpoint what an older version wrote: row 0's loss, and no other."""
    name = resume_points(artifacts)[0]
    snapshot = decode(artifacts.read(name), spec, "cpu")
    ledger = {k: v for k, v in snapshot.ledger.items() if k != "initial_loss"}
    ledger["trace"] = {**ledger["trace"], "first": 1e-9}
    old = replace(snapshot, ledger=ledger)
    artifacts.write(name, encode(old, fingerprint(spec)))


@pytest.mark.parametrize("batch", [2, "full"])
def test_a_checkpoint_of_an_older_version_is_gone_on_with(batch: int | str, tmp_path: Path) -> None:
    spec = blobs_job(None, 12, batch_size=batch)
    whole = train(spec, tmp_path / "whole")
    cut = train(spec, tmp_path / "cut", control=StopAt("hand_over", 7))
    older(cut.artifacts, spec)
    again = train(spec, tmp_path / "cut", resume=True, events=cut.events)
    assert again.column("loss") == whole.column("loss")
    # With small batches it is computed anew; else row 0's loss, which was kept, is right.
    assert initial_loss(again) == (1e-9 if batch == "full" else initial_loss(whole))


def stack_specs(model: str) -> list[JobSpec]:
    return [
        blobs_job({"kind": "adam", "lr": lr}, 12, model=MODELS[model], batch_size=2, seed=seed)
        for seed in (0, 1)
        for lr in (0.01, 0.02)
    ]


def nobody(event: StackEvent) -> None:
    """Take a stack's events."""


@pytest.mark.parametrize("model", MODELS)
def test_a_run_among_others_has_the_bits_of_the_run_alone(model: str, tmp_path: Path) -> None:
    specs = stack_specs(model)
    alone = [initial_loss(train(spec, tmp_path / str(n))) for n, spec in enumerate(specs)]
    together = train_population(specs)
    assert all(ending.fused for ending in together.endings.values())
    found = [together.endings[n].ending.result["initial_loss"] for n in range(len(specs))]
    assert found == alone
    assert alone[0] == alone[1] != alone[2]


@pytest.mark.parametrize("old", [False, True], ids=["as it is", "of an older version"])
def test_a_stack_goes_on_with_the_same(old: bool) -> None:
    specs = stack_specs("batch norm and dropout")
    first = Stack(specs, range(4), nobody, CPU)
    first.train(Control(), stop_step=5)
    known = first.traces.first.copy()
    state = first.state()
    paused, _ = pause(first)
    if old:
        traces = from_tree(state["parts"]["traces"])
        traces.pop("initial")
        state["parts"]["traces"] = to_tree(traces | {"first": np.zeros(4)})
        columns = {k: v for k, v in paused.columns.items() if k != "traces.initial"}
        paused = PausedRuns(paused.step, paused.runs, columns | {"traces.first": np.zeros(4)})
    loaded, resumed = (Stack(specs, range(4), nobody, CPU) for _ in range(2))
    loaded.load_state(state)
    # Some of the runs paused under an older version, some under this one.
    newer = Stack(specs, range(4), nobody, CPU)
    newer.train(Control(), stop_step=5)
    resume(resumed, [paused.of(0), pause(newer)[0].of(1), paused.of(2), paused.of(3)])
    for stack in (loaded, resumed):
        np.testing.assert_array_equal(stack.traces.first, known)
        stack.train(Control(), stop_step=8)
        np.testing.assert_array_equal(stack.traces.first, known)


# --- batches of a few rows ---


def noisy_jobs(data: str, optimizer: Json, batch: int) -> list[JobSpec]:
    """Runs that learn, on rows whose losses differ by orders of magnitude."""
    problem = {
        "kind": "supervised",
        "data": {"kind": "builtin", "name": data},
        "model": {"kind": "mlp", "hidden": [8]},
    }
    body = {
        "problem": problem, "optimizer": optimizer, "batch_size": batch, "device": "cpu",
        "budget": {"max_steps": 200}, "record": {"eval_every": None},
    }  # fmt: skip
    return [parse_job(json.dumps({**body, "seed": seed}).encode(), Limits()) for seed in range(60)]


@pytest.mark.parametrize(
    ("data", "optimizer", "batch"),
    [
        ("diabetes", {"kind": "sgd", "lr": 1e-5}, 1),
        ("diabetes", {"kind": "adam", "lr": 1e-3}, 2),
        ("wine", {"kind": "sgd", "lr": 0.02}, 1),
        ("iris", {"kind": "sgd", "lr": 0.01}, 2),
        ("wine", {"kind": "sgd", "lr": 0.02}, 4),
    ],
)
def test_runs_that_learn_are_not_called_diverged(data: str, optimizer: Json, batch: int) -> None:
    specs = noisy_jobs(data, optimizer, batch)
    found = train_population(specs)
    by_one_batch = 0
    for number, spec in enumerate(specs):
        result = found.endings[number].ending.result
        assert result["eval"]["loss"] < result["initial_loss"]
        assert found.endings[number].ending.outcome == "budget_exhausted"
        rows = found.received[number].histories["train"]
        columns = {name: np.array([row[name] for row in rows.values()]) for name in rows[0]}
        losses = columns["loss"]
        by_one_batch += ended_far_above(losses[0], losses.min(), losses[-10:].tolist())
        diagnosis = diagnose(spec, "budget_exhausted", result, columns, None)
        assert diagnosis["verdict"] != "diverging"
        assert status(diagnosis, "diverged") == "clear"
        # A record of an older version says how it ended, and not where it began.
        older = diagnose(spec, "budget_exhausted", None, columns, None)
        assert status(older, "diverged") == "clear"
    if batch < 4:
        assert by_one_batch > 0, "the rule on one noisy batch was wrong here"


def status(diagnosis: Json, rule: str) -> str:
    found: str = next(e["status"] for e in diagnosis["findings"] if e["rule"] == rule)
    return found


def test_a_run_that_blows_up_by_and_by_is_called_diverged() -> None:
    """Far above the start of all rows, though one first batch may have been as bad."""
    specs = noisy_jobs("diabetes", {"kind": "sgd", "lr": 3e-3, "momentum": 0.9}, 1)[:8]
    found = train_population(specs)
    outcomes = {ending.ending.outcome for ending in found.endings.values()}
    assert outcomes == {"diverged"}


@pytest.mark.parametrize("batch_size", [2, 16, "full"])
def test_it_is_told_from_the_first_report_on(batch_size: Any, tmp_path: Path) -> None:
    """So that a live diagnosis, and the result of a run that is killed, know it as the end does."""
    done = train(blobs_job(batch_size=batch_size, max_steps=30), tmp_path)
    assert done.events.began_at
    assert set(done.events.began_at) == {done.ending.result["initial_loss"]}
