"""Weights of classes, ignored rows, weights of positive targets: torch's numbers, wherever a loss
is computed: for one run and in a stack, in chunks and micro batches, and in a diagnosis."""

import json
import math
from pathlib import Path
from typing import Any, Final

import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor
from torch.nn import functional

from core.errors import InvalidInputError
from core.specs.base import stored
from core.specs.job import JobSpec, Supervised
from core.specs.losses import BinaryCrossEntropy, CrossEntropy, Loss
from core.specs.parsing.job import parse_job
from core.specs.sizes import cost
from core.specs.validation.limits import Limits
from core.train.fused.models.losses import stacked_loss
from core.train.losses import build_loss, settled_loss, twice_differentiable
from core.train.measure.objective import build_objective
from core.train.problems import supervised
from core.train.problems.build import build_problem
from tests.core.train.fused.harness import compare_with_alone

Json = dict[str, Any]
CPU: Final = torch.device("cpu")
RUNS, ROWS, CLASSES = 3, 20, 4

WEIGHTS: Final = [0.5, 2.0, 0.0, 1.25]
CASES: Final[dict[str, Json]] = {
    "weights": {"class_weights": WEIGHTS},
    "ignored": {"ignore_index": 1},
    "ignored-none-of-them": {"ignore_index": -100},
    "weights-ignored": {"class_weights": WEIGHTS, "ignore_index": 3},
    "weights-smoothed": {"class_weights": WEIGHTS, "label_smoothing": 0.2},
    "ignored-smoothed": {"ignore_index": 0, "label_smoothing": 0.1},
    "all": {"class_weights": WEIGHTS, "ignore_index": -7, "label_smoothing": 0.3},
}


def parsed(kind: str, **options: Any) -> Any:
    return stored(Loss, {"kind": kind, **options})


def outputs_and_ids(ignored: int | None) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(3)
    outputs = torch.randn(RUNS, ROWS, CLASSES, generator=source, dtype=torch.float64)
    ids = torch.randint(0, CLASSES, (ROWS,), generator=source)
    if ignored is not None and ignored < 0:
        ids[::3] = ignored
    return outputs, ids


def by_torch(outputs: Tensor, ids: Tensor, options: Json) -> Tensor:
    weights = options.get("class_weights")
    return functional.cross_entropy(
        outputs,
        ids,
        weight=None if weights is None else torch.tensor(weights, dtype=outputs.dtype),
        ignore_index=options.get("ignore_index", -(10**6)),
        label_smoothing=options.get("label_smoothing", 0.0),
    )


def gradient(loss: Tensor, of: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(loss, of)
    return found


@pytest.mark.parametrize("name", sorted(CASES))
def test_weighted_cross_entropy_is_torchs(name: str) -> None:
    outputs, ids = outputs_and_ids(CASES[name].get("ignore_index"))
    spec = parsed("cross_entropy", **CASES[name])
    for build in (build_loss, twice_differentiable):
        z = outputs[0].clone().requires_grad_()
        found, wanted = build(spec)(z, ids), by_torch(z, ids, CASES[name])
        assert found.item() == pytest.approx(wanted.item(), rel=1e-12)
        torch.testing.assert_close(gradient(found, z), gradient(wanted, z), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_stack_has_each_runs_weighted_cross_entropy(name: str) -> None:
    outputs, ids = outputs_and_ids(CASES[name].get("ignore_index"))
    z = outputs.transpose(1, 2).contiguous().requires_grad_()

    found = stacked_loss(parsed("cross_entropy", **CASES[name]))(z, ids.expand(RUNS, -1))

    for run in range(RUNS):
        own = outputs[run].clone().requires_grad_()
        wanted = by_torch(own, ids, CASES[name])
        assert found[run].item() == pytest.approx(wanted.item(), rel=1e-12)
        mine = gradient(found[run].clone(), z) if run == RUNS - 1 else None
        if mine is not None:
            torch.testing.assert_close(mine[run].T, gradient(wanted, own), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("weight", [3.0, [0.5, 2.0, 4.0]], ids=["number", "labels"])
def test_positive_targets_are_weighted_as_by_torch(weight: Any) -> None:
    source = torch.Generator().manual_seed(5)
    outputs = torch.randn(RUNS, ROWS, 3, generator=source, dtype=torch.float64)
    labels = torch.randint(0, 2, (ROWS, 3), generator=source).double()
    spec = parsed("binary_cross_entropy", pos_weight=weight)
    wanted = [
        functional.binary_cross_entropy_with_logits(
            of_run, labels, pos_weight=torch.tensor(weight, dtype=torch.float64)
        ).item()
        for of_run in outputs
    ]

    assert build_loss(spec)(outputs[0], labels).item() == wanted[0]
    found = stacked_loss(spec)(outputs.transpose(1, 2), labels.expand(RUNS, -1, -1))
    assert found.tolist() == pytest.approx(wanted, rel=1e-12)


def test_a_batch_of_rows_without_weight_has_no_loss_and_no_gradient() -> None:
    for options in ({"ignore_index": 1}, {"class_weights": [1.0, 0.0]}):
        z = torch.randn(4, 2, requires_grad=True)
        loss = build_loss(parsed("cross_entropy", **options))(z, torch.ones(4, dtype=torch.int64))

        assert loss.item() == 0.0
        assert gradient(loss, z).tolist() == [[0.0, 0.0]] * 4


def test_balanced_weights_are_scikit_learns() -> None:
    targets = torch.tensor([0, 0, 0, 1, 2, 2, 0])
    settled = settled_loss(parsed("cross_entropy", class_weights="balanced"), targets, 3)

    assert isinstance(settled, CrossEntropy)
    wanted = compute_class_weight("balanced", classes=torch.arange(3).numpy(), y=targets.numpy())
    assert settled.class_weights == pytest.approx(tuple(wanted), rel=1e-15)


def test_a_class_without_a_training_row_counts_as_if_it_had_one() -> None:
    targets = torch.tensor([0, 0, 1, -1, -1])
    settled = settled_loss(
        parsed("cross_entropy", class_weights="balanced", ignore_index=-1), targets, 3
    )

    assert isinstance(settled, CrossEntropy)
    assert settled.class_weights == (0.5, 1.0, 1.0)


INLINE: Final[Json] = {
    "kind": "inline",
    "features": [[(7 * i % 11) / 5 - 1, (i * i % 13) / 6 - 1] for i in range(40)],
    "eval_fraction": 0.5,
}
IDS: Final = [(i * i + i // 3) % 3 for i in range(40)]
PROBLEMS: Final[dict[str, tuple[Any, Json]]] = {
    "balanced": (IDS, {"kind": "cross_entropy", "class_weights": "balanced"}),
    "weights": (IDS, {"kind": "cross_entropy", "class_weights": [0.5, 3, 1]}),
    "ignored": (
        [-1 if i % 4 == 0 else each for i, each in enumerate(IDS)],
        {"kind": "cross_entropy", "ignore_index": -1, "label_smoothing": 0.1},
    ),
    "pos-weight": ([each % 2 for each in IDS], {"kind": "binary_cross_entropy", "pos_weight": 4}),
    "labels": (
        [[each % 2, (each + i) % 2] for i, each in enumerate(IDS)],
        {"kind": "binary_cross_entropy", "pos_weight": [2, 0.5]},
    ),
    "quantile": (
        [[i / 40, -i / 20] for i in range(40)], {"kind": "quantile", "quantile": 0.9}
    ),
}  # fmt: skip


def job(name: str, **rest: Any) -> JobSpec:
    targets, loss = PROBLEMS[name]
    model = {"kind": "mlp", "hidden": [4], "activation": "tanh"}
    data = {**INLINE, "targets": targets}
    body = {
        "problem": {"kind": "supervised", "data": data, "loss": loss, "model": model},
        "optimizer": {"kind": "sgd", "lr": 0.1},
        "precision": "float64",
        "batch_size": 6,
        "budget": {"max_steps": 6},
        "record": {"eval_every": 2},
        **rest,
    }
    return parse_job(json.dumps(body).encode(), Limits())


@pytest.mark.parametrize("name", sorted(PROBLEMS))
def test_runs_of_a_stack_are_those_alone(name: str, tmp_path: Path) -> None:
    specs = [job(name, optimizer={"kind": "sgd", "lr": lr}) for lr in (0.1, 0.5)]

    compare_with_alone(specs, tmp_path)


@pytest.mark.parametrize("name", sorted(PROBLEMS))
def test_chunks_and_micro_batches_have_the_loss_of_all_rows(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = build_problem(job(name), CPU, torch.float64)
    parts = build_problem(job(name, accumulate=3), CPU, torch.float64)
    known = whole.evaluate()
    assert known is not None
    monkeypatch.setattr(cost, "EVAL_ROWS", 7)

    found = parts.evaluate()

    assert found == pytest.approx(known, rel=1e-12)
    for step in range(3):
        assert parts.loss(step).item() == pytest.approx(whole.loss(step).item(), rel=1e-12)


@pytest.mark.parametrize("name", sorted(PROBLEMS))
def test_a_diagnosis_has_the_loss_that_the_run_descends(name: str) -> None:
    spec = job(name, batch_size="full")
    problem = build_problem(spec, CPU, torch.float64)

    objective = build_objective(spec, problem.state(), CPU)

    assert objective.evaluate(None).item() == pytest.approx(problem.loss(0).item(), rel=1e-12)


def test_metrics_leave_ignored_rows_out() -> None:
    problem = build_problem(
        job("ignored", record={"metrics": ["accuracy", "f1"]}), CPU, torch.float64
    )
    assert isinstance(problem, supervised.SupervisedProblem)
    rows = problem._dataset.rows("eval")
    assert rows is not None
    chosen = problem._forward(rows[0]).argmax(1)
    kept = rows[1] >= 0
    found = problem.evaluate()
    assert found is not None
    assert found["accuracy"] == (chosen == rows[1])[kept].double().mean().item()
    assert 0 < int(kept.sum()) < len(kept)


REFUSED: list[tuple[Any, Json, str, str]] = [
    (IDS, {"class_weights": [1, 2]}, "problem.loss.class_weights", "length_mismatch"),
    (IDS, {"class_weights": [0, 0, 0]}, "problem.loss.class_weights", "all_zero"),
    (IDS, {"class_weights": [1, -2, 1]}, "problem.loss.class_weights.1", "greater_than_equal"),
    (IDS, {"class_weights": "even"}, "problem.loss.class_weights", "unknown_value"),
    (IDS, {"ignore_index": 3}, "problem.loss.ignore_index", "unknown_class"),
    (IDS, {"ignore_index": 1.5}, "problem.loss.ignore_index", "int_type"),
    ([-1, *IDS[1:]], {}, "problem.data.targets", "class_id_out_of_range"),
    ([-1, -2, *IDS[2:]], {"ignore_index": -1}, "problem.data.targets", "class_id_out_of_range"),
]


@pytest.mark.parametrize(
    ("targets", "options", "param", "code"),
    REFUSED,
    ids=[f"{number}-{case[2]}" for number, case in enumerate(REFUSED)],
)
def test_weights_that_do_not_fit_are_named(
    targets: Any, options: Json, param: str, code: str
) -> None:
    loss = {"kind": "cross_entropy", **options}
    refused(targets, loss, param, code)


def refused(targets: Any, loss: Json, param: str, code: str) -> None:
    data = {**INLINE, "targets": targets}
    body = {
        "problem": {"kind": "supervised", "data": data, "loss": loss, "model": {"kind": "linear"}},
        "optimizer": {"kind": "sgd"},
    }
    with pytest.raises(InvalidInputError) as caught:
        parse_job(json.dumps(body).encode(), Limits())
    (found,) = caught.value.errors
    assert (found.param, found.code) == (param, code)


def test_labels_that_do_not_fit_are_named() -> None:
    labels = [[0, 1]] * 39
    loss = {"kind": "binary_cross_entropy"}
    refused([*labels, [0, 0.5]], loss, "problem.data.targets.39", "loss_does_not_fit")
    refused(
        [*labels, [0, 1]], {**loss, "pos_weight": [1]}, "problem.loss.pos_weight", "length_mismatch"
    )
    refused([*labels, [0, 1]], {**loss, "pos_weight": 0}, "problem.loss.pos_weight", "greater_than")


def test_several_labels_have_an_output_each() -> None:
    spec = job("labels")
    assert isinstance(spec.problem, Supervised)
    assert isinstance(spec.problem.loss, BinaryCrossEntropy)
    problem = build_problem(spec, CPU, torch.float64)
    assert isinstance(problem, supervised.SupervisedProblem)
    assert problem._forward(problem._dataset.train_features).shape[1] == 2
    found = problem.evaluate()
    assert found is not None
    assert math.isfinite(found["accuracy"])
