"""Optima and figures that others have published or computed, found again.

The optima are unique, and were computed apart from this code: softmax regression with ½λ‖θ‖²,
λ = 0.01, of weights and biases, least squares, and what NIST certifies. The figures are those of
scikit-learn's page
"Compare Stochastic learning strategies for MLPClassifier", from its own first weights and batches.
"""

import json
from typing import Any, Final

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import MinMaxScaler
from torch import Tensor

from core.specs.job import JobSpec
from core.specs.parsing.job import parse_job
from core.specs.validation.limits import Limits
from core.train.loop import descend
from core.train.problems.build import build_problem
from core.train.state import OptimizationState

Json = dict[str, Any]
CPU: Final = torch.device("cpu")


class Losses:
    """Takes the losses of all rows; ends at none, unless the gradient is as good as 0."""

    def __init__(self, gradient: float = 0.0) -> None:
        self.all: list[float] = []
        self._gradient = gradient

    @property
    def loss(self) -> float:
        return self.all[-1]

    def ends_at_loss(self, step: int, loss: Tensor) -> bool:
        self.all.append(loss.item())
        return False

    def ends_at_row(self, norm: Tensor, cosine: Tensor | None) -> bool:
        return norm.item() < self._gradient


def job(data: Json, optimizer: Json, **changes: Any) -> JobSpec:
    model = changes.pop("model", {"kind": "linear"})
    problem = {"kind": "supervised", "data": {"eval_fraction": 0.0, **data}, "model": model}
    if "loss" in changes:
        problem["loss"] = changes.pop("loss")
    body = {
        "problem": problem,
        "optimizer": optimizer,
        "precision": "float64",
        "device": "cpu",
        **changes,
    }
    return parse_job(json.dumps(body).encode(), Limits())


def descended(spec: JobSpec, steps: int, weights: dict[str, Tensor] | None = None) -> list[float]:
    """The losses of so many steps, from these weights on."""
    problem = build_problem(spec, CPU, torch.float64)
    if weights is not None:
        problem.load_state(weights)
    losses = Losses()
    descend(OptimizationState(spec, problem), range(steps), losses)  # type: ignore[arg-type]
    return losses.all


@pytest.mark.parametrize(
    ("name", "lr", "optimum"),
    [("breast_cancer", 0.3, 0.0630492539), ("digits", 0.3, 0.1432014725)],
)
def test_softmax_regression_finds_its_optimum(name: str, lr: float, optimum: float) -> None:
    optimizer = {
        "kind": "sgd", "lr": lr, "momentum": 0.95, "nesterov": True, "weight_decay": 0.01,
    }  # fmt: skip
    spec = job({"kind": "builtin", "name": name}, optimizer, batch_size="full")
    assert descended(spec, 1500)[-1] == pytest.approx(optimum, abs=1e-9)


def test_a_line_through_diabetes_finds_the_least_squares() -> None:
    spec = job({"kind": "builtin", "name": "diabetes"}, {"kind": "lbfgs"}, batch_size="full")
    assert descended(spec, 40)[-1] == pytest.approx(2859.69634759, abs=1e-8)


# --- Reddi, Kale and Kumar 2018 (arXiv 1904.09237), theorem 1 and section 4

C: Final = 4.0
"""Every third loss is C·w, the two between are −w: a period's is (C − 2)·w, least where w is."""


def drifted(periods: int, **options: Any) -> float:
    """Train one weight by the absolute error to a target far above, whose gradient is the feature
    with its sign turned, one row a step; return where it came to from 0."""
    spec = job(
        {
            "kind": "inline", "features": [[-C], [1.0], [1.0]], "targets": [1e6] * 3,
            "standardize": False, "order": {"kind": "sequential"},
        },
        {"kind": "adam", "lr": 0.01, **options},
        batch_size=1,
        loss={"kind": "l1"},
        model={"kind": "layers",
               "layers": [{"kind": "linear", "out_features": 1, "bias": False}]},
    )  # fmt: skip
    problem = build_problem(spec, CPU, torch.float64)
    (name,) = problem.state()
    problem.load_state({name: torch.zeros(1, 1, dtype=torch.float64)})
    descend(
        OptimizationState(spec, problem), range(3 * periods), Losses()  # type: ignore[arg-type]
    )  # fmt: skip
    return float(problem.state()[name].item())


def test_adam_goes_the_wrong_way_where_reddi_kale_and_kumar_say_and_amsgrad_does_not() -> None:
    options = {"betas": [0.0, 1 / (1 + C**2)], "eps": 1e-30}
    assert drifted(1000, **options) > 1.0
    assert drifted(1000, **options, amsgrad=True) < -1.0


def test_a_period_of_reddis_example_by_hand() -> None:
    beta, lr = 1 / (1 + C**2), 0.01
    weight = second = 0.0
    for step in range(1, 31):
        gradient = C if step % 3 == 1 else -1.0
        second = beta * second + (1 - beta) * gradient**2
        weight -= lr * gradient / np.sqrt(second / (1 - beta**step))
    assert drifted(10, betas=[0.0, beta], eps=0.0) == pytest.approx(weight, rel=1e-12)


# --- NIST's nonlinear regressions (www.itl.nist.gov/div898/strd)

BOXBOD: Final = ((1, 2, 3, 5, 7, 10), (109, 149, 149, 191, 213, 224))
MISRA1A: Final = (
    (77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1, 689.1,
     760.0),
    (10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40, 75.47,
     81.78),
)  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "scales", "start", "residual", "solution"),
    [
        (BOXBOD, (100, 1), (1, 1), 1168.0088766, (213.80940889, 0.54723748542)),
        (BOXBOD, (100, 1), (100, 0.75), 1168.0088766, (213.80940889, 0.54723748542)),
        (MISRA1A, (250, 5e-4), (500, 1e-4), 0.12455138894, (238.94212918, 5.5015643181e-4)),
        (MISRA1A, (250, 5e-4), (250, 5e-4), 0.12455138894, (238.94212918, 5.5015643181e-4)),
    ],
)
def test_the_regressions_that_nist_certifies_end_at_their_figures(
    rows: tuple[Any, Any], scales: Any, start: Any, residual: float, solution: Any
) -> None:
    """From both certified starts; the variables are of the size of 1."""
    terms = [
        f"({y} - {scales[0]}*c1*(1 - exp(-{scales[1]}*c2*{x})))**2"
        for x, y in zip(*rows, strict=True)
    ]
    function = {"kind": "expression", "expression": " + ".join(terms)}
    at = {name: each / scale for name, each, scale in zip(("c1", "c2"), start, scales, strict=True)}
    body = {
        "problem": {"kind": "function", "function": function, "start": at},
        "optimizer": {
            "kind": "lbfgs", "line_search_fn": "strong_wolfe", "tolerance_grad": 1e-12,
            "tolerance_change": 1e-15,
        },
        "device": "cpu",
    }  # fmt: skip
    spec = parse_job(json.dumps(body).encode(), Limits())
    problem = build_problem(spec, CPU, torch.float64)
    losses = Losses()
    descend(OptimizationState(spec, problem), range(60), losses)  # type: ignore[arg-type]
    assert losses.loss == pytest.approx(residual, rel=1e-9)
    (point,) = problem.state().values()
    assert (point * torch.tensor(scales, dtype=torch.float64)).tolist() == pytest.approx(
        list(solution), rel=1e-9
    )


# --- scikit-learn's page

BATCH: Final = 200
EPOCHS: Final = 15
ALPHA: Final = 1e-4


def scikit_learns_start(rows: int) -> tuple[dict[str, Tensor], list[list[int]]]:
    """The weights and batches that MLPClassifier draws with `random_state=0`."""
    source = np.random.RandomState(0)
    weights = {}
    for name, shape in (("hidden.0.linear", (64, 100)), ("output", (100, 10))):
        bound = np.sqrt(6.0 / sum(shape))
        coefficients = source.uniform(-bound, bound, shape)
        weights[f"{name}.weight"] = torch.from_numpy(coefficients.T.copy())
        weights[f"{name}.bias"] = torch.from_numpy(source.uniform(-bound, bound, shape[1]))
    order, batches = np.arange(rows), []
    for _ in range(EPOCHS):
        order = order[source.permutation(rows)]
        batches += [order[at : at + BATCH].tolist() for at in range(0, rows, BATCH)]
    return weights, batches


PAGE: Final[dict[str, tuple[Json, float]]] = {
    "constant": ({"momentum": 0.0}, 0.243802),
    "momentum": ({"momentum": 0.9}, 0.041297),
    "nesterov": ({"momentum": 0.9, "nesterov": True}, 0.042898),
}


@pytest.fixture(scope="module")
def digits() -> tuple[Any, Any]:
    x, y = load_digits(return_X_y=True)
    return MinMaxScaler().fit_transform(x), y


@pytest.mark.parametrize("name", PAGE)
def test_the_figures_of_scikit_learns_page(name: str, digits: tuple[Any, Any]) -> None:
    options, figure = PAGE[name]
    x, y = digits
    weights, batches = scikit_learns_start(len(x))
    # What it adds is ½·alpha·‖W‖² of the weights over a batch's rows.
    groups = [{"match": "*.weight", "weight_decay": ALPHA / BATCH}]
    spec = job(
        {
            "kind": "inline", "features": x.tolist(), "targets": y.tolist(), "standardize": False,
            "order": {"kind": "explicit", "steps": batches},
        },
        {"kind": "sgd", "lr": 0.2, "groups": groups, **options},
        model={"kind": "mlp", "hidden": [100]},
    )  # fmt: skip
    losses = descended(spec, len(batches), weights)
    last = slice(len(batches) - len(batches) // EPOCHS, None)
    sizes = [len(rows) for rows in batches[last]]
    loss = np.average(losses[last], weights=sizes)
    theirs = MLPClassifier(
        random_state=0, max_iter=EPOCHS, alpha=ALPHA, solver="sgd", learning_rate_init=0.2,
        momentum=options["momentum"], nesterovs_momentum=options.get("nesterov", False), tol=0.0,
    )  # fmt: skip
    with pytest.warns(ConvergenceWarning):
        theirs.fit(x, y)
    decay = 0.5 * ALPHA * sum((each**2).sum() for each in theirs.coefs_) / BATCH
    assert theirs.loss_ == pytest.approx(figure, abs=1e-6)
    assert loss + decay == pytest.approx(figure, abs=5e-6)
