"""Gradients that are written out, and updates of one row, give the bits of automatic
differentiation and of torch's own optimizers."""

import json
from collections.abc import Iterator
from itertools import product
from typing import Any, Final, get_args

import pytest
import torch
from torch import Tensor, nn

from core.specs.job import JobSpec
from core.specs.losses import Loss
from core.specs.parsing.job import parse_job
from core.specs.validation.limits import Limits
from core.train.devices import exact_kernels
from core.train.optim.build import build_optimizer
from core.train.optim.gradients import gradient_norm
from core.train.optim.in_row import RowOptimizer
from core.train.problems.build import build_problem
from core.train.problems.functions import build_function
from core.train.problems.tape import tape_of
from core.train.state import OptimizationState
from core.train.tensors.packing import one_vector
from tests.core.train.harness import Json

DTYPES: Final = {"float32": torch.float32, "float64": torch.float64}
CPU: Final = torch.device("cpu")


@pytest.fixture(autouse=True)
def kernels() -> Iterator[None]:
    with exact_kernels():
        torch.set_num_threads(1)
        yield


def job(problem: Json, optimizer: Json, **rest: Any) -> JobSpec:
    body = {"problem": problem, "optimizer": optimizer, "device": "cpu", **rest}
    return parse_job(json.dumps({"budget": {"max_steps": 8}, **body}).encode(), Limits())


def classifier(model: Json | None = None, classes: int = 3) -> Json:
    generator = {"kind": "blobs", "num_samples": 53, "num_features": 5, "num_classes": classes}
    return {
        "kind": "supervised",
        "data": {"kind": "synthetic", "generator": generator, "eval_fraction": 0},
        "model": model or {"kind": "mlp", "hidden": [7, 3]},
        "loss": {"kind": "cross_entropy"},
    }


def regression(loss: Json, features: int = 4) -> Json:
    generator = {"kind": "linear_regression", "num_samples": 30, "num_features": features}
    return {
        "kind": "supervised",
        "data": {"kind": "synthetic", "generator": generator, "eval_fraction": 0},
        "model": {"kind": "mlp", "hidden": [6]},
        "loss": loss,
    }


def function(kind: Json, start: Any = None) -> Json:
    spec = {"kind": "function", "function": kind}
    return spec if start is None else spec | {"start": start}


def of_torch(spec: JobSpec) -> Iterator[tuple[Tensor, list[Tensor], list[nn.Parameter], Any]]:
    """The same run with automatic differentiation and an optimizer of all parameters: each row's
    loss and gradients, then the parameters and the optimizer's state after its update."""
    problem = build_problem(spec, CPU, DTYPES[spec.precision or "float32"])
    parameters = problem.parameters()
    optimizer = build_optimizer(spec.optimizer, parameters)
    for step in range(8):
        for parameter in parameters:
            parameter.grad = None
        loss = problem.loss(step)
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [each.grad for each in parameters if each.grad is not None]
        optimizer.step()
        problem.after_update()
        yield loss.detach(), gradients, parameters, optimizer


def assert_same_bits(spec: JobSpec, *, in_row: bool = True) -> None:
    """Every loss, norm, parameter and number of the optimizer's state, in every step; half-way the
    run goes on from its own state."""
    problem = build_problem(spec, CPU, DTYPES[spec.precision or "float32"])
    descent = OptimizationState(spec, problem)
    assert problem.written_out() is not None
    assert (len(descent.optimizer.param_groups[0]["params"]) == 1) or not in_row
    for step, (loss, gradients, parameters, optimizer) in enumerate(of_torch(spec)):
        if step == 4:
            held = descent.moment()
            problem = build_problem(spec, CPU, DTYPES[spec.precision or "float32"])
            descent = OptimizationState(spec, problem)
            descent.go_back_to(held)
        descent.clear_gradients()
        with descent.below_autograd():
            found = descent.loss(step)
            descent.backward(found)
        assert torch.equal(found, loss), step
        assert torch.equal(descent.gradient_norm(), gradient_norm(gradients)), step
        for mine, gradient in zip(descent.parameters, gradients, strict=True):
            assert mine.grad is not None
            assert torch.equal(mine.grad, gradient), step
        with descent.below_autograd():
            descent.update(step, found)
            problem.after_update()
        for mine, its in zip(descent.parameters, parameters, strict=True):
            assert torch.equal(mine, its), step
        states = descent.moment(copied=False).optimizer["state"]
        expected = [optimizer.state[each] for each in parameters if optimizer.state.get(each)]
        assert len(states) == len(expected)
        for number, state in enumerate(expected):
            assert states[number].keys() == state.keys()
            for name, value in state.items():
                same = states[number][name] == value
                assert same.all() if isinstance(same, Tensor) else same, (step, name)


OPTIMIZERS: Final[dict[str, Json]] = {
    "sgd": {"kind": "sgd", "lr": 0.1},
    "sgd momentum": {"kind": "sgd", "lr": 0.1, "momentum": 0.9, "dampening": 0.2},
    "sgd nesterov": {"kind": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True},
    "sgd decay": {"kind": "sgd", "lr": 0.1, "weight_decay": 0.03, "maximize": True},
    "sgd foreach": {"kind": "sgd", "lr": 0.1, "momentum": 0.5, "foreach": True},
    "adam": {"kind": "adam", "lr": 0.01},
    "adam amsgrad": {"kind": "adam", "amsgrad": True, "weight_decay": 0.1, "betas": [0.5, 0.6]},
    "adam maximize": {"kind": "adam", "maximize": True},
    "adam decoupled": {"kind": "adam", "decoupled_weight_decay": True, "weight_decay": 0.1},
    "adam foreach": {"kind": "adam", "foreach": True},
    "adamw": {"kind": "adamw", "lr": 0.01},
    "adamw coupled": {"kind": "adamw", "decoupled_weight_decay": False},
    "adamax": {"kind": "adamax", "weight_decay": 0.1},
    "nadam": {"kind": "nadam", "weight_decay": 0.1},
    "radam": {"kind": "radam", "weight_decay": 0.1},
    "adagrad": {"kind": "adagrad", "lr_decay": 0.1, "initial_accumulator_value": 0.2},
    "adadelta": {"kind": "adadelta"},
    "rmsprop": {"kind": "rmsprop", "weight_decay": 0.1},
    "rmsprop momentum": {"kind": "rmsprop", "momentum": 0.5, "centered": True},
    "rprop": {"kind": "rprop"},
    "asgd": {"kind": "asgd", "weight_decay": 0.1, "t0": 3.0},
    "sgd decoupled": {"kind": "sgd", "decoupled_weight_decay": True, "weight_decay": 0.1},
    "lion": {"kind": "lion", "lr": 0.01},
    "adopt": {"kind": "adopt"},
    "ademamix": {"kind": "ademamix"},
}


@pytest.mark.parametrize("precision", sorted(DTYPES))
@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_a_row_moves_as_its_parameters_do(name: str, precision: str) -> None:
    assert_same_bits(job(classifier(), OPTIMIZERS[name], batch_size=16, precision=precision))


APART: Final[dict[str, Json]] = {
    "prodigy": {"kind": "prodigy"},
    "schedule-free": {"kind": "schedule_free_adamw"},
    "adafactor": {"kind": "adafactor"},
    "muon": {"kind": "muon"},
    "soap": {"kind": "soap"},
    "shampoo": {"kind": "shampoo"},
    "cautious": {"kind": "adam", "cautious": True},
    "fused": {"kind": "adam", "fused": True},
}


@pytest.mark.parametrize("name", list(APART))
def test_others_move_each_parameter_by_a_gradient_that_is_written_out(name: str) -> None:
    spec = job(classifier(), APART[name], batch_size=16)
    descent = OptimizationState(spec, build_problem(spec, CPU, torch.float32))
    assert len(descent.optimizer.param_groups[0]["params"]) > 1
    if name != "schedule-free":  # whose gradients are of another point than its parameters
        assert_same_bits(spec, in_row=False)


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": {"kind": "lbfgs"}},
        {"optimizer": {"kind": "sgd", "lr": 0.1, "wrap": [{"kind": "sam"}]}},
        {"optimizer": {"kind": "sgd", "lr": 0.1, "groups": [{"match": "*.bias", "lr_scale": 2.0}]}},
        {"precision": "bfloat16"},
        {"accumulate": 4, "batch_size": 16},
    ],
    ids=["lbfgs", "sam", "groups", "bfloat16", "micro batches"],
)
def test_what_is_not_written_out_is_differentiated(options: Json) -> None:
    spec = job(**{"problem": classifier(), "optimizer": {"kind": "adam"}, **options})
    problem = build_problem(spec, CPU, torch.float32)
    descent = OptimizationState(spec, problem)
    descent.clear_gradients()
    loss = descent.loss(0)
    assert loss.requires_grad
    descent.backward(loss)
    assert all(each.grad is not None for each in descent.parameters)


LAYERED: Final[dict[str, Json]] = {
    "batch norm": {"kind": "mlp", "hidden": [4], "norm": "batch"},
    "gelu": {"kind": "mlp", "hidden": [4], "activation": "gelu"},
    "rnn": {"kind": "rnn", "hidden_size": 5, "dropout": 0.2, "num_layers": 2},
    "lstm": {"kind": "lstm", "hidden_size": 6},
    "gru": {"kind": "gru", "hidden_size": 7, "bidirectional": True},
    "transformer": {"kind": "transformer", "dim": 12, "num_heads": 3, "dropout": 0.1},
    "convolution": {"kind": "layers", "layers": [
        {"kind": "unflatten", "unflattened_size": [1, 5]},
        {"kind": "conv1d", "out_channels": 3, "kernel_size": 3}, {"kind": "batch_norm"},
        {"kind": "relu"}, {"kind": "flatten"}, {"kind": "linear"},
    ]},
}  # fmt: skip


@pytest.mark.parametrize("precision", sorted(DTYPES))
@pytest.mark.parametrize("name", list(LAYERED))
def test_other_models_are_moved_as_a_row_too(name: str, precision: str) -> None:
    """By gradients of automatic differentiation."""
    problem = classifier(LAYERED[name])
    assert_same_bits(job(problem, OPTIMIZERS["adam"], batch_size=16, precision=precision))


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "identity"])
@pytest.mark.parametrize("hidden", [[], [1], [16], [5, 4, 3]], ids=str)
def test_every_perceptron(hidden: list[int], activation: str) -> None:
    dropout = 0.3 if hidden else 0.0
    model = {"kind": "mlp", "hidden": hidden, "activation": activation, "dropout": dropout}
    for batch, precision in product((1, 16, "full"), DTYPES):
        spec = job(classifier(model), {"kind": "adam"}, batch_size=batch, precision=precision)
        assert_same_bits(spec)


LOSSES_OF_VALUES: Final[list[Json]] = [
    *({"kind": kind} for kind in ("mse", "l1", "smooth_l1", "huber")),
    {"kind": "quantile", "quantile": 0.3},
]


@pytest.mark.parametrize("loss", LOSSES_OF_VALUES, ids=lambda loss: str(loss["kind"]))
@pytest.mark.parametrize("features", [1, 4])
def test_every_loss_of_values(loss: Json, features: int) -> None:
    for precision in DTYPES:
        spec = job(regression(loss, features), {"kind": "adam"}, batch_size=8, precision=precision)
        assert_same_bits(spec)


LOSSES_OF_CLASSES: Final[dict[str, Json]] = {
    "cross entropy": {"kind": "cross_entropy"},
    "smoothed": {"kind": "cross_entropy", "label_smoothing": 0.1},
    "weighted": {"kind": "cross_entropy", "class_weights": [1.0, 0.5, 3.0]},
    "balanced": {"kind": "cross_entropy", "class_weights": "balanced"},
    "ignored": {"kind": "cross_entropy", "ignore_index": 1},
    "multi-margin": {"kind": "multi_margin"},
    "binary": {"kind": "binary_cross_entropy"},
    "binary weighted": {"kind": "binary_cross_entropy", "pos_weight": 3.0},
}


@pytest.mark.parametrize("name", list(LOSSES_OF_CLASSES))
def test_every_loss_of_classes(name: str) -> None:
    loss = LOSSES_OF_CLASSES[name]
    problem = classifier(classes=2 if loss["kind"] == "binary_cross_entropy" else 3)
    problem["loss"] = loss
    for batch in (8, 1):
        assert_same_bits(job(problem, {"kind": "adam"}, batch_size=batch))


def test_every_kind_of_loss_is_tried() -> None:
    tried = {each["kind"] for each in (*LOSSES_OF_VALUES, *LOSSES_OF_CLASSES.values())}
    kinds = get_args(get_args(Loss)[0])
    assert tried == {get_args(kind.model_fields["kind"].annotation)[0] for kind in kinds}


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("order", ["shuffled", "sequential"])
@pytest.mark.parametrize("batch", [16, 7])
def test_every_order_of_rows(batch: int, order: str, drop_last: bool) -> None:
    problem = classifier()
    problem["data"] |= {"order": {"kind": order}, "drop_last": drop_last}
    problem["data"]["generator"] |= {"num_features": 16}
    assert_same_bits(job(problem, {"kind": "adam"}, batch_size=batch))


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_batches_of_many_sizes(dropout: float) -> None:
    problem = classifier({"kind": "mlp", "hidden": [7, 3], "dropout": dropout})
    steps = [[1, 2, 3], [4], [5, 6], list(range(20)), [7], [8, 9, 10]]
    problem["data"] |= {"order": {"kind": "explicit", "steps": steps}}
    assert_same_bits(job(problem, {"kind": "adam"}))


@pytest.mark.parametrize("batch", [16, "full"])
def test_batches_that_are_changed(batch: int | str) -> None:
    problem = classifier()
    problem["data"] |= {"augment": [{"kind": "noise", "std": 0.5}]}
    assert_same_bits(job(problem, {"kind": "adam"}, batch_size=batch))


def row_and_its_parameter(
    spec: JobSpec,
) -> tuple[RowOptimizer, nn.Parameter, torch.optim.Optimizer]:
    """A row of three numbers, and a parameter with the same that torch moves."""
    start = torch.tensor([1.0, -2.0, 3.0])
    parameter = nn.Parameter(start.clone())
    parameter.grad = torch.zeros(3)
    row = RowOptimizer(spec.optimizer, start.clone(), torch.zeros(3), one_vector(3))
    return row, parameter, build_optimizer(spec.optimizer, [parameter])


CHANGES: Final[dict[str, list[Any]]] = {
    "lr": [0.1, 0.1, 0.02],
    "betas": [(0.9, 0.99), (0.8, 0.99), (0.8, 0.95)],
    "eps": [1e-8, 1e-3, 1e-3],
    "weight_decay": [0.1, 0.0, 0.2],
    "momentum": [0.9, 0.5, 0.5],
    "alpha": [0.99, 0.9, 0.5],
}
"""What a schedule may change of a group from step to step."""


@pytest.mark.parametrize(
    "name", ["sgd momentum", "adam", "adam decoupled", "adamw", "rmsprop momentum"]
)
def test_a_row_heeds_what_a_schedule_changes(name: str) -> None:
    row, parameter, torchs = row_and_its_parameter(job(classifier(), OPTIMIZERS[name]))
    source = torch.Generator().manual_seed(1)
    for step in range(9):
        for group in (*row.optimizer.param_groups, *torchs.param_groups):
            for changed in CHANGES.keys() & group.keys():
                group[changed] = CHANGES[changed][step % 3]
        drawn = torch.randn(3, generator=source)
        row.gradient.copy_(drawn)
        assert parameter.grad is not None
        parameter.grad.copy_(drawn)
        row.step()
        torchs.step()
        assert torch.equal(row.row, parameter), step


def test_updates_are_counted_as_far_as_torch_counts() -> None:
    row, parameter, torchs = row_and_its_parameter(job(classifier(), {"kind": "adam"}))
    row.step()
    torchs.step()
    for state in (row.own, torchs.state[parameter]):
        state["step"].fill_(2.0**24 - 2)
    row.load_state(row.state())
    for _ in range(4):
        row.step()
        torchs.step()
        assert row.state()[0]["step"] == torchs.state[parameter]["step"]


ANY_DIMENSION: Final = (
    "sphere", "sum_squares", "rosenbrock", "rastrigin", "ackley", "griewank", "levy",
    "styblinski_tang", "schwefel", "zakharov", "dixon_price",
)  # fmt: skip
OF_TWO: Final = (
    "himmelblau", "beale", "booth", "matyas", "three_hump_camel", "six_hump_camel",
    "goldstein_price", "branin",
)  # fmt: skip
QUADRATICS: Final[dict[str, Json]] = {
    "diagonal": {"eigenvalues": [1.0, 10.0]},
    "one": {"matrix": [[3.0]]},
    "rotated": {"eigenvalues": [1.0, 10.0, 3.0], "rotation_seed": 3},
    "matrix": {"matrix": [[2.0, 1.0], [1.0, 3.0]], "linear": [1.0, -2.0], "constant": 3.0},
}
EXPRESSIONS: Final = (
    "x**2", "0.1*x**2 + 2*y**2", "(1-x)**2 + 100*(y-x**2)**2", "x*y*z + x*x*x - y", "5 - x",
    "sin(x)*exp(-x**2) + y/x", "1/x + 2/y**3", "sqrt(x**2+y**2) + abs(x)", "log(x**2+1)",
    "x+x+x+y*x", "-x*(-y)", "(x+1)/(y-3)*x", "cosh(0.5*x)", "sinh(x)/x", "tanh(x) + sigmoid(y)",
    "x*cos(0.15*3.14*x)", "x**1", "x**0.5", "x**-1", "x**3 - x**4",
)  # fmt: skip
FUNCTIONS: Final[dict[str, Json]] = (
    {f"{kind} {dim}": {"kind": kind, "dim": dim} for kind in ANY_DIMENSION for dim in (2, 5)}
    | {kind: {"kind": kind} for kind in OF_TWO}
    | {f"quadratic {name}": {"kind": "quadratic", **each} for name, each in QUADRATICS.items()}
    | {text: {"kind": "expression", "expression": text} for text in EXPRESSIONS}
)


def start_of(kind: Json) -> Any:
    if kind["kind"] == "expression":
        return {name: 1.5 + n for n, name in enumerate("xyz") if name in names_in(kind)}
    return {"kind": "uniform", "low": -2.0, "high": 2.0}


def names_in(kind: Json) -> set[str]:
    text = kind["expression"]
    for word in ("exp", "sqrt", "log", "sigmoid", "tanh", "cosh", "sinh", "cos", "sin", "abs"):
        text = text.replace(word, "")
    return set(text)


@pytest.mark.parametrize("precision", sorted(DTYPES))
@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_every_function(name: str, precision: str) -> None:
    """Near and far from its minimum: the value and the gradient of many points."""
    kind = FUNCTIONS[name]
    spec = job(function(kind, start_of(kind)), {"kind": "adam"}, precision=precision)
    problem = build_problem(spec, CPU, DTYPES[precision])
    (x,) = problem.parameters()
    assert_same_bits(spec)
    assert spec.problem.kind == "function"
    f = build_function(spec.problem.function, CPU, x.dtype)
    gradient = torch.zeros_like(x.detach())
    tape = tape_of(f, x.detach(), gradient)
    assert tape is not None
    source = torch.Generator().manual_seed(5)
    for size in (1e-3, 0.1, 1.0, 30.0):
        for _ in range(5):
            with torch.no_grad():
                x.copy_(torch.randn(x.shape, generator=source) * size)
            value = f(x)
            (expected,) = torch.autograd.grad(value, x)
            assert torch.equal(tape.value().nan_to_num(), value.detach().nan_to_num())
            tape.backward()
            assert torch.equal(gradient.nan_to_num(), expected.nan_to_num())


@pytest.mark.parametrize("text", ["x**y", "2**x", "where(x > 1, x, -x)", "min(x, 2)"])
def test_formulas_without_a_rule_are_differentiated(text: str) -> None:
    names = {name: 1.5 for name in "xy" if name in text}
    kind = {"kind": "expression", "expression": text}
    spec = job(function(kind, names), {"kind": "sgd", "lr": 0.01})
    problem = build_problem(spec, CPU, torch.float64)
    assert problem.written_out() is None
    descent = OptimizationState(spec, problem)
    assert descent.loss(0).requires_grad


def test_bounds_clamp_the_point_that_the_tape_reads() -> None:
    kind = {"kind": "sphere", "dim": 2}
    problem = function(kind, [1.0, 1.0]) | {"bounds": [0.5, 2.0]}
    assert_same_bits(job(problem, {"kind": "sgd", "lr": 0.4}))
