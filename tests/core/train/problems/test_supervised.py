"""Supervised problems: the same numbers as torch code written by hand, at any step."""

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from core.specs.job import JobSpec, Supervised
from core.specs.sizes import cost
from core.train.data.build import load
from core.train.data.dataset import Dataset
from core.train.determinism import generator, key
from core.train.optim.build import build_optimizer
from core.train.problems.base import Problem
from core.train.problems.build import build_problem

CPU = torch.device("cpu")
DIGITS = {"kind": "builtin", "name": "digits"}


def spec(
    data: dict[str, Any],
    model: dict[str, Any],
    loss: str = "cross_entropy",
    batch_size: int | str | None = 64,
) -> JobSpec:
    body = {
        "problem": {"kind": "supervised", "data": data, "model": model, "loss": {"kind": loss}},
        "optimizer": {"kind": "adam", "lr": 0.01},
        "batch_size": batch_size,
        "seed": 11,
    }
    return JobSpec.model_validate_json(json.dumps(body))


def build(job: JobSpec, dtype: torch.dtype = torch.float32) -> Problem:
    return build_problem(job, CPU, dtype)


def raw(job: JobSpec, dtype: torch.dtype = torch.float32) -> Dataset:
    assert isinstance(job.problem, Supervised)
    return load(job.problem.data, "class_ids", CPU, dtype)


def train(problem: Problem, job: JobSpec, steps: range) -> list[float]:
    optimizer = build_optimizer(job.optimizer, problem.parameters())
    losses: list[float] = []
    for step in steps:
        optimizer.zero_grad()
        loss = problem.loss(step)
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.item())
        optimizer.step()
    return losses


def by_hand(job: JobSpec, problem: Problem, num_steps: int, dropout: float) -> list[float]:
    """The plain loop that a user of torch would write, over the same rows and start."""
    data = raw(job)
    model = nn.Sequential(
        nn.Linear(64, 32, bias=False),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(32, 10),
    )
    model.load_state_dict(dict(zip(model.state_dict(), problem.state().values(), strict=True)))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses: list[float] = []
    per_epoch = -(-len(data.train_features) // 64)
    for step in range(num_steps):
        epoch, index = divmod(step, per_epoch)
        order = torch.randperm(len(data.train_features), generator=generator(11, "order", epoch))
        rows = order[index * 64 : (index + 1) * 64]
        torch.manual_seed(key(11, "dropout", step))
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(data.train_features[rows]), data.train_targets[rows])
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.item())
        optimizer.step()
    return losses


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_training_equals_hand_written_torch_bit_for_bit(dropout: float) -> None:
    job = spec(DIGITS, {"kind": "mlp", "hidden": [32], "norm": "batch", "dropout": dropout})

    expected = by_hand(job, build(job), 30, dropout)

    # Thirty steps of 23 an epoch: into the second epoch, over an incomplete batch.
    assert train(build(job), job, range(30)) == expected


def test_a_step_can_be_computed_at_any_time() -> None:
    job = spec(DIGITS, {"kind": "mlp", "hidden": [16], "dropout": 0.5})
    problem = build(job)
    in_order = [problem.loss(step).item() for step in range(30)]

    torch.manual_seed(99)
    torch.rand(17)
    assert [problem.loss(step).item() for step in (28, 3, 3, 0)] == [
        in_order[step] for step in (28, 3, 3, 0)
    ]
    assert build(job).loss(25).item() == in_order[25]


def test_dropout_draws_anew_each_step() -> None:
    job = spec(DIGITS, {"kind": "mlp", "hidden": [16], "dropout": 0.5}, batch_size="full")
    problem = build(job)

    assert problem.loss(0).item() != problem.loss(1).item()


def evaluated(problem: Problem, data: Dataset) -> tuple[Tensor, Tensor]:
    """Outputs and targets of the evaluation rows, by plain matrix products."""
    assert data.eval_features is not None
    assert data.eval_targets is not None
    weight, bias = problem.state()["output.weight"], problem.state()["output.bias"]
    return data.eval_features @ weight.T + bias, data.eval_targets


def test_evaluation_is_the_mean_over_the_evaluation_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    job = spec(DIGITS, {"kind": "linear"})
    problem, data = build(job, torch.float64), raw(job, torch.float64)
    outputs, targets = evaluated(problem, data)

    # 359 rows in chunks of 100: the last, smaller one must weigh less.
    monkeypatch.setattr(cost, "EVAL_ROWS", 100)
    found = problem.evaluate()

    assert found is not None
    assert list(found) == ["loss", "accuracy"]
    expected = functional.cross_entropy(outputs, targets).item()
    assert found["loss"] == pytest.approx(expected, rel=1e-12)
    assert found["accuracy"] == (outputs.argmax(1) == targets).double().mean().item()


def test_values_are_judged_by_the_root_of_their_mean_squared_error() -> None:
    rows = {"features": [[0.0], [1.0], [2.0], [3.0]], "targets": [[1.0, 2.0]] * 4}
    data = {"kind": "inline", **rows, "eval_fraction": 0.5, "standardize": False}
    model = {"kind": "linear", "init": {"kind": "constant"}}

    found = build(spec(data, model, "mse", "full"), torch.float64).evaluate()

    # All outputs are 0: the loss is (1 + 4)/2, the roots are 1 and 2.
    assert found == {"loss": 2.5, "rmse": 1.5}


def test_two_classes_may_be_learned_by_one_logit() -> None:
    job = spec({"kind": "builtin", "name": "breast_cancer"}, {"kind": "linear"},
               "binary_cross_entropy")  # fmt: skip
    problem = build(job)

    losses = train(problem, job, range(60))

    assert problem.state()["output.weight"].shape == (1, 30)
    found = problem.evaluate()
    assert found is not None
    assert losses[-1] < losses[0]
    assert found["accuracy"] > 0.9


def test_without_evaluation_rows_there_is_no_evaluation() -> None:
    assert build(spec({**DIGITS, "eval_fraction": 0.0}, {"kind": "linear"})).evaluate() is None


def test_evaluation_changes_nothing() -> None:
    model = {"kind": "mlp", "hidden": [8], "norm": "batch", "dropout": 0.5}
    problem = build(spec(DIGITS, model))
    before = {name: tensor.clone() for name, tensor in problem.state().items()}
    loss = problem.loss(4).item()
    problem.load_state(before)

    problem.evaluate()

    assert all(torch.equal(tensor, before[name]) for name, tensor in problem.state().items())
    assert problem.loss(4).item() == loss


def test_a_state_is_copied_into_the_very_same_parameters() -> None:
    job = spec(DIGITS, {"kind": "mlp", "hidden": [8], "norm": "batch"})
    first, second = build(job), build(job)
    parameters = second.parameters()
    train(first, job, range(3))

    second.load_state({name: tensor.clone() for name, tensor in first.state().items()})

    assert all(mine is theirs for mine, theirs in zip(second.parameters(), parameters, strict=True))
    assert second.evaluate() == first.evaluate()
    assert second.loss(3).item() == first.loss(3).item()


def test_a_problem_says_what_it_is() -> None:
    problem = build(spec(DIGITS, {"kind": "mlp", "hidden": [64]}))
    metadata = problem.metadata()

    assert problem.num_parameters == 64 * 64 + 64 + 64 * 10 + 10
    assert problem.steps_per_epoch == 23
    assert problem.multiply_adds == 64 * problem.num_parameters
    assert (problem.point(), problem.solution(), problem.value()) == (None, None, None)
    assert json.loads(metadata["class_names"]) == [str(digit) for digit in range(10)]
    assert json.loads(metadata["feature_names"])[0] == "pixel_0_0"
    standardization = json.loads(metadata["standardization"])
    assert len(standardization["mean"]) == len(standardization["scale"]) == 64
    assert json.loads(metadata["spec"])["batch_size"] == 64


def test_an_explicit_order_replaces_the_batch_size() -> None:
    data = {**DIGITS, "order": {"kind": "explicit", "steps": [[5, 6, 7], [8]]}}
    job = spec(data, {"kind": "linear"}, batch_size=None)
    problem, rows = build(job), raw(job)

    weight, bias = problem.state()["output.weight"], problem.state()["output.bias"]
    outputs = functional.linear(rows.train_features[[5, 6, 7]], weight, bias)
    expected = functional.cross_entropy(outputs, rows.train_targets[5:8])
    assert problem.loss(2).item() == expected.item()


def test_the_numbers_do_not_depend_on_what_ran_before() -> None:
    job = spec(DIGITS, {"kind": "mlp", "hidden": [16], "dropout": 0.2})
    expected = train(build(job), job, range(8))

    torch.manual_seed(5)
    other = spec({"kind": "builtin", "name": "wine"}, {"kind": "mlp"}, batch_size=16)
    train(build(other), other, range(3))

    assert train(build(job), job, range(8)) == expected
