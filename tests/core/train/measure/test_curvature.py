"""Lanczos against the whole Hessian, and what is measured at a run's weights."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from core.artifacts.local import LocalJob
from core.diagnosis.diagnose import diagnose
from core.diagnosis.evidence.measured import Measured
from core.errors import NotFoundError
from core.specs.job import JobSpec
from core.specs.optimizers.kinds import Adam, Adopt, RMSprop
from core.train.loop import run
from core.train.measure import curvature
from core.train.measure.measure import budget_for, measure, measure_checkpoint
from core.train.measure.objective import Objective, build_objective
from core.train.measure.preconditioner import preconditioner, threshold
from core.train.optim.build import build_optimizer
from tests.core.diagnosis.labelled.running import Received
from tests.core.diagnosis.runs import resolved

Json = dict[str, Any]
CPU = torch.device("cpu")


def always() -> bool:
    return True


def never() -> bool:
    return False


def model(name: str, hidden: list[int], activation: str = "tanh", **more: Any) -> JobSpec:
    net = {"kind": "mlp", "hidden": hidden, "activation": activation, **more.pop("model", {})}
    data = {"kind": "builtin", "name": name}
    problem = {"kind": "supervised", "data": data, "model": net}
    return resolved({"problem": problem, "optimizer": {"kind": "adam"}, **more})


def on_function(function: Json, start: Any, **more: Any) -> JobSpec:
    problem = {"kind": "function", "function": function, "start": start}
    return resolved({"problem": problem, "optimizer": {"kind": "sgd", "lr": 0.1}, **more})


def dense(objective: Objective) -> Tensor:
    """The Hessian by torch.autograd.functional, column by column of the parameters' own."""
    product = curvature.hessian_product(objective)
    rows = [product(row) for row in torch.eye(objective.dim, dtype=torch.float64)]
    matrix = torch.stack(rows)
    assert torch.allclose(matrix, matrix.T, atol=1e-9 * float(matrix.abs().max()))
    return matrix


def trained(spec: JobSpec, steps: int) -> dict[str, Tensor]:
    """Weights after full-batch Adam, so that curvatures of both signs and sizes occur."""
    objective = build_objective(spec, None, CPU)
    optimizer = torch.optim.Adam(objective.parameters, lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        objective.evaluate(None).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return dict(
        zip(objective.names, [p.detach().clone() for p in objective.parameters], strict=True)
    )


SMALL_MODELS: list[tuple[str, list[int], str, int]] = [
    ("iris", [8], "tanh", 0),
    ("iris", [16, 16], "tanh", 60),
    ("wine", [24, 12], "relu", 0),
    ("wine", [40, 20], "relu", 30),
    ("breast_cancer", [40], "gelu", 30),
    ("digits", [24], "sigmoid", 20),
    ("diabetes", [32, 32], "relu", 50),
]
"""Data, hidden units, activation, and steps of training."""


@dataclass(frozen=True)
class SmallModel:
    """One of `SMALL_MODELS` at its weights, and the eigenvalues of its whole Hessian, ascending."""

    spec: JobSpec
    weights: dict[str, Tensor]
    exact: Tensor


@cache
def small_model(number: int) -> SmallModel:
    name, hidden, activation, steps = SMALL_MODELS[number]
    spec = model(name, hidden, activation, batch_size="full")
    weights = trained(spec, steps)
    exact = torch.linalg.eigvalsh(dense(build_objective(spec, weights, CPU)))
    return SmallModel(spec, weights, exact)


NUMBERS = pytest.mark.parametrize(
    "number", range(len(SMALL_MODELS)), ids=["-".join(map(str, each)) for each in SMALL_MODELS]
)


@NUMBERS
def test_both_ends_of_the_spectrum_are_those_of_the_whole_hessian(number: int) -> None:
    small = small_model(number)
    exact = small.exact
    objective = build_objective(small.spec, small.weights, CPU)
    assert 64 < objective.dim <= 2000
    found = curvature.extremes(
        curvature.hessian_product(objective), objective.dim, device=CPU, in_time=always
    )
    assert found is not None
    largest, smallest = float(exact[-1]), float(exact[0])
    assert found.largest.value == pytest.approx(largest, rel=0.01)
    assert abs(found.smallest.value - smallest) <= max(0.02 * abs(smallest), 1e-3 * largest)
    # A residual bounds the distance to some eigenvalue.
    for end in (found.largest, found.smallest):
        assert float((exact - end.value).abs().min()) <= end.bound + 1e-9 * largest


def by_the_whole_hessian(spec: JobSpec, weights: dict[str, Tensor]) -> tuple[float, float]:
    """Its smallest and its largest eigenvalue."""
    exact = torch.linalg.eigvalsh(dense(build_objective(spec, weights, CPU)))
    return float(exact[0]), float(exact[-1])


def assert_sign_is_the_whole_hessians(measured: Measured, smallest: float, largest: float) -> None:
    """Below 0 by more than what counts as 0 (a millionth of the largest), or not."""
    assert measured.edge <= 2e-6 * max(abs(smallest), abs(largest))
    assert measured.sign == ("negative" if smallest < -measured.edge else "not_negative")


@NUMBERS
def test_the_sign_of_the_curvature_is_that_of_the_whole_hessian(number: int) -> None:
    small = small_model(number)
    measured = Measured(measure(small.spec, small.weights, budget_s=60.0))
    assert_sign_is_the_whole_hessians(measured, float(small.exact[0]), float(small.exact[-1]))


def test_products_are_those_of_torchs_own_hessian() -> None:
    spec = on_function({"kind": "rosenbrock", "dim": 5}, [0.3, -0.2, 0.5, 1.0, -1.0])
    objective = build_objective(spec, None, CPU)

    def rosenbrock(x: Tensor) -> Tensor:
        a, b = x[:-1], x[1:]
        return (100 * (b - a**2) ** 2 + (1 - a) ** 2).sum()

    x = objective.parameters[0].detach()
    expected = torch.autograd.functional.hessian(rosenbrock, x)  # type: ignore[no-untyped-call]
    assert torch.allclose(dense(objective), expected, rtol=1e-10)


def test_a_large_rotated_quadratic_has_the_spectrum_that_it_was_given() -> None:
    eigenvalues = np.concatenate([[-3.0], np.linspace(0.1, 10.0, 198), [40.0]]).tolist()
    function = {"kind": "quadratic", "eigenvalues": eigenvalues, "rotation_seed": 3}
    found = Measured(measure(on_function(function, [1.0] * 200), None))
    assert found.largest == pytest.approx(40.0, rel=1e-3)
    assert found.smallest == pytest.approx(-3.0, rel=1e-2)
    assert found.sign == "negative"


def test_an_operator_whose_spaces_are_closed_is_still_searched_through() -> None:
    # Two eigenvalues only: the Krylov space closes after two steps.
    diagonal = torch.tensor([1.0] * 50 + [-2.0] * 50, dtype=torch.float64)
    found = curvature.extremes(lambda v: diagonal * v, 100, device=CPU, in_time=always)
    assert found is not None
    assert found.largest.value == pytest.approx(1.0)
    assert found.smallest.value == pytest.approx(-2.0)


def test_a_search_that_is_out_of_time_says_how_little_it_knows() -> None:
    spec = model("wine", [24, 12])
    objective = build_objective(spec, None, CPU)
    product = curvature.hessian_product(objective)
    found = curvature.extremes(product, objective.dim, device=CPU, in_time=never)
    assert found is not None
    assert not found.settled
    exact = torch.linalg.eigvalsh(dense(objective))
    assert found.smallest.value - found.smallest.bound <= float(exact[-1])


def test_a_bound_that_does_not_separate_the_eigenvalue_from_zero_leaves_its_sign_open() -> None:
    ends = {"largest": {"value": 1.0, "bound": 0.0}, "rounding": 1e-12}
    assert Measured({**ends, "smallest": {"value": 0.01, "bound": 0.1}}).sign is None
    assert Measured({**ends, "smallest": {"value": 0.2, "bound": 0.1}}).sign == "not_negative"
    assert Measured({**ends, "smallest": {"value": -0.01, "bound": 0.1}}).sign == "negative"
    assert Measured({}).sign is None


def test_a_linear_function_has_no_curvature() -> None:
    function = {"kind": "expression", "expression": "2*x1 + x2"}
    found = measure(on_function(function, {"x1": 1.0, "x2": 0.0}), None)
    assert found["largest"]["value"] == found["smallest"]["value"] == 0.0


def test_the_preconditioner_is_adams_own_and_its_threshold_38() -> None:
    spec = on_function({"kind": "quadratic", "eigenvalues": [4.0, 10.0]}, [1.0, 1.0])
    spec = spec.model_copy(update={"optimizer": Adam(kind="adam", lr=0.1)})
    objective = build_objective(spec, None, CPU)
    state = {
        "state": {
            0: {
                "step": torch.tensor(3.0),
                "exp_avg": torch.zeros(2),
                "exp_avg_sq": torch.tensor([0.04, 0.09]),
            }
        }
    }
    found = preconditioner(spec, objective, state, None)
    assert found is not None
    root = (torch.tensor([0.04, 0.09], dtype=torch.float64) / (1 - 0.999**3)).sqrt() + 1e-8
    assert torch.allclose(found.diagonal, (1 - 0.9**3) * root, rtol=1e-6)
    assert found.threshold == pytest.approx(38.0)
    assert threshold(RMSprop(kind="rmsprop", momentum=0.9)) == pytest.approx(3.8)


@pytest.mark.parametrize(("share", "stable"), [(0.97, True), (1.03, False)])
def test_adopt_is_stable_up_to_its_threshold(share: float, stable: bool) -> None:
    """While v is all but constant, on λx²/2 from where its root, the divisor, is λ."""
    optimizer = Adopt(kind="adopt", betas=(0.9, 1 - 1e-15), use_clipping=False)
    spec = on_function({"kind": "quadratic", "eigenvalues": [4.0]}, [1.0])
    rate = share * threshold(optimizer)
    spec = spec.model_copy(update={"optimizer": optimizer.model_copy(update={"lr": rate})})
    x = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    method = build_optimizer(spec.optimizer, [x])
    for _ in range(300):
        x.grad = 4.0 * x.detach()
        method.step()
    assert (abs(x.item()) < 1e-3) == stable
    assert (abs(x.item()) > 10.0) != stable
    state = {"state": {0: method.state[x]}}
    found = preconditioner(spec, build_objective(spec, None, CPU), state, None)
    assert found is not None
    assert found.source == "optimizer_state"
    assert found.threshold == pytest.approx(38.0)
    if stable:
        assert found.diagonal.tolist() == pytest.approx([4.0])
    cautious = optimizer.model_copy(update={"cautious": True})
    other = spec.model_copy(update={"optimizer": cautious})
    assert preconditioner(other, build_objective(spec, None, CPU), state, None) is None


def saddle(hidden: list[int]) -> JobSpec:
    zero = {"init": {"kind": "constant", "value": 0.0}}
    return model("iris", hidden, model=zero, batch_size="full")


def at_rest(spec: JobSpec, measured: Json) -> str:
    """The verdict on a run that has stood at the measured weights from the beginning on."""
    rows = {
        "step": np.arange(50.0),
        "loss": np.full(50, measured["loss"]),
        "lr": np.full(50, 0.1),
        "grad_norm": np.concatenate([[1.0], np.full(49, 1e-9)]),
    }
    measured = {**measured, "initial": {**measured["initial"], "grad_norm": 1.0}}
    found: str = diagnose(spec, "budget_exhausted", None, rows, None, measured)["verdict"]
    return found


def rested(spec: JobSpec, start: dict[str, Tensor] | None) -> dict[str, Tensor]:
    """Weights at which the gradient vanishes: LBFGS from `start`, to rounding, and begun anew as
    long as that leads on (how far the first gets depends on the machine's products)."""
    objective = build_objective(spec, start, CPU)
    for _ in range(5):
        search = torch.optim.LBFGS(
            objective.parameters, max_iter=2000, tolerance_grad=1e-12, tolerance_change=0.0,
            line_search_fn="strong_wolfe",
        )  # fmt: skip

        def closure(search: torch.optim.LBFGS = search) -> Tensor:
            search.zero_grad()
            loss = objective.evaluate(None)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        search.step(closure)  # type: ignore[no-untyped-call]
        if search.state[objective.parameters[0]]["n_iter"] <= 1:
            break
    return dict(
        zip(objective.names, [p.detach().clone() for p in objective.parameters], strict=True)
    )


def synthetic(generator: Json, hidden: list[int], activation: str) -> JobSpec:
    data = {"kind": "synthetic", "generator": generator}
    net = {"kind": "mlp", "hidden": hidden, "activation": activation}
    problem = {"kind": "supervised", "data": data, "model": net}
    return resolved({"problem": problem, "optimizer": {"kind": "adam"}, "batch_size": "full"})


ZERO = {"init": {"kind": "constant", "value": 0.0}}
BLOBS = {"kind": "blobs", "num_samples": 300, "num_features": 6, "num_classes": 3, "std": 5.0}
AT_REST: dict[str, JobSpec] = {
    "diabetes, 2 units": model("diabetes", [2], batch_size="full"),
    "blobs, 2 units": synthetic(BLOBS, [2], "tanh"),
    "blobs, 8 units": synthetic(BLOBS, [8], "tanh"),
    "iris, zero weights": saddle([6]),
    "wine, zero weights": model("wine", [40], model=ZERO, batch_size="full"),
    "wine, zero weights in two layers": model("wine", [40, 20], model=ZERO, batch_size="full"),
    "digits, zero weights": model("digits", [24], model=ZERO, batch_size="full"),
    "diabetes, zero weights": model("diabetes", [32], model=ZERO, batch_size="full"),
}


@pytest.mark.parametrize("name", AT_REST)
def test_at_rest_a_saddle_point_is_where_the_whole_hessian_has_one(name: str) -> None:
    spec = AT_REST[name]
    weights = rested(spec, None)
    found = measure(spec, weights, budget_s=60.0)
    assert found["parameters"] <= 2000
    measured, (smallest, largest) = Measured(found), by_the_whole_hessian(spec, weights)
    assert_sign_is_the_whole_hessians(measured, smallest, largest)
    if smallest < -1e-6 * largest:
        assert at_rest(spec, found) == "saddle_point"
    else:
        assert at_rest(spec, found) in ("local_minimum", "converged")


def test_zero_weights_of_one_hidden_layer_rest_at_a_saddle() -> None:
    spec = saddle([6])
    weights = rested(spec, None)
    objective = build_objective(spec, weights, CPU)
    exact = torch.linalg.eigvalsh(dense(objective))
    assert float(exact[0]) < -1e-3 * float(exact[-1])
    assert at_rest(spec, measure(spec, weights)) == "saddle_point"


def test_dead_units_rest_at_a_local_minimum_because_other_weights_do_better() -> None:
    spec = model("iris", [6], "relu", batch_size="full")
    first = build_objective(spec, None, CPU)
    weights = {
        name: torch.full_like(p, -5.0) if name == "hidden.0.linear.bias" else 0.1 * p.detach()
        for name, p in zip(first.names, first.parameters, strict=True)
    }
    weights = rested(spec, weights)
    objective = build_objective(spec, weights, CPU)
    exact = torch.linalg.eigvalsh(dense(objective))
    assert float(exact[0]) > -1e-12 * float(exact[-1])
    measured = measure(spec, weights)
    assert Measured(measured).dead == 1.0
    assert at_rest(spec, measured) == "local_minimum"


def test_the_digits_mlp_is_measured_within_two_seconds() -> None:
    spec = model("digits", [64], "relu")
    measure(spec, None)
    found = measure(spec, None)
    assert found["settled"]
    assert found["elapsed_s"] < 2.0


def test_a_clock_that_runs_out_leaves_the_rest_unmeasured() -> None:
    ticks = iter([0.0, *[float("inf")] * 10_000])
    found = measure(model("wine", [24, 12]), None, clock=lambda: next(ticks))
    assert "noise" not in found
    assert found["loss"] > 0
    assert found["elapsed_s"] is None


def test_a_kept_checkpoint_is_measured_with_its_optimizers_state(tmp_path: Path) -> None:
    spec = model("wine", [8], batch_size=32, budget={"max_steps": 30})
    artifacts = LocalJob(tmp_path, "job_01k2b3c4d5e6f7g8h9jkmnpqrs")
    received = Received()
    run(spec, artifacts=artifacts, emit=received.emit, control=received, device="cpu")
    found = measure_checkpoint(spec, artifacts)
    assert (found["checkpoint"], found["step"]) == ("final", 30)
    assert found["preconditioned"]["source"] == "optimizer_state"
    assert all("update_to_weight" in layer for layer in found["layers"])
    assert measure_checkpoint(spec, artifacts, "30")["loss"] == found["loss"]
    first = measure_checkpoint(spec, artifacts, "initial")
    assert first["loss"] == pytest.approx(found["initial"]["loss"], rel=1e-6)
    assert first["preconditioned"]["source"] == "reconstructed"
    with pytest.raises(NotFoundError):
        measure_checkpoint(spec, artifacts, "17")
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_full_diagnosis_is_given_a_tenth_of_the_training_time() -> None:
    assert budget_for(1.0) == 0.5
    assert budget_for(100.0) == pytest.approx(10.0)
