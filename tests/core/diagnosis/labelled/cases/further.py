"""More of what is hard to tell apart: healthy runs of many kinds, plateaus, overfitting."""

from collections.abc import Iterator
from typing import Any

from tests.core.diagnosis.labelled.case import (
    Case,
    Json,
    adam,
    function,
    sgd,
    supervised,
    synthetic,
)

FINE = frozenset({"converged"})


def healthy() -> Iterator[Case]:
    """Usual choices on usual data, stopped while or after the loss falls well."""
    spirals = synthetic("spirals", 1, num_samples=600, noise=0.05)
    sine = synthetic("sinusoid", 2, num_samples=500, noise=0.05)
    line = synthetic("linear_regression", 3, num_samples=500, num_features=8)
    moons = synthetic("moons", 4, num_samples=500)
    circles = synthetic("circles", 5, num_samples=500)
    friedman = synthetic("friedman1", 6, num_samples=800)
    runs: list[tuple[str, Json | str, Any, Json, int, Json]] = [
        ("wine, Adam", "wine", [16], adam(0.005), 100, {"batch_size": 32}),
        ("iris, SGD", "iris", [16], sgd(0.1), 200, {"batch_size": 32}),
        ("breast cancer, softmax regression", "breast_cancer", [], sgd(0.1), 200, {}),
        ("breast cancer, AdamW", "breast_cancer", [16], {"kind": "adamw", "lr": 2e-3}, 120, {}),
        ("digits, softmax regression", "digits", [], adam(0.01), 300, {}),
        ("digits, momentum", "digits", [64], sgd(0.05, momentum=0.9), 200, {}),
        ("digits, Nesterov", "digits", [64], sgd(0.05, momentum=0.9, nesterov=True), 200, {}),
        ("digits, one cycle", "digits", [64], sgd(0.1, momentum=0.9), 300,
         {"schedule": {"kind": "one_cycle", "max_lr": 0.2, "total_steps": 300}}),
        ("digits, cosine", "digits", [64], adam(3e-3), 300,
         {"schedule": {"kind": "cosine", "T_max": 300}}),
        ("digits, batch norm", "digits",
         {"kind": "mlp", "hidden": [64, 64], "norm": "batch"}, sgd(0.1), 300, {}),
        ("digits, layer norm", "digits",
         {"kind": "mlp", "hidden": [64, 64], "norm": "layer"}, adam(2e-3), 300, {}),
        ("digits, dropout", "digits",
         {"kind": "mlp", "hidden": [64], "dropout": 0.2}, adam(3e-3), 400, {}),
        ("digits, tanh", "digits",
         {"kind": "mlp", "hidden": [64], "activation": "tanh"}, adam(3e-3), 300, {}),
        ("digits, batch 256", "digits", [64], adam(5e-3), 200, {"batch_size": 256}),
        ("digits, all rows, Adam", "digits", [32], adam(5e-3), 200, {"batch_size": "full"}),
        ("spirals, Adam", spirals, [32, 32], adam(0.01), 600, {}),
        ("sine, Adam", sine, [32, 32], adam(0.01), 400, {}),
        ("a line, SGD", line, [], sgd(0.05), 60, {}),
        ("moons, SGD", moons, [16], sgd(0.3), 400, {}),
        ("circles, Adam", circles, [16], adam(0.01), 400, {}),
        ("Friedman, Adam", friedman, [32], adam(0.01), 250, {}),
        ("clipped", "digits", [32], sgd(0.2), 300, {"gradient_clip": {"kind": "norm",
         "max_norm": 5.0}}),
    ]  # fmt: skip
    for name, data, model, optimizer, steps, more in runs:
        yield Case(
            f"fine: {name}",
            "usual choices",
            "healthy",
            "A usual model, optimizer and rate for this data, chosen beforehand.",
            supervised(data, model, optimizer, steps, **more),
            FINE,
        )
    functions: list[tuple[str, Json | list[float], Json, int]] = [
        ("rosenbrock", [-1.2, 1.0], adam(0.05), 600),
        ("beale", [1.0, 1.0], sgd(0.01), 500),
        ("booth", [0.0, 0.0], sgd(0.08), 40),
        ("himmelblau", [0.5, 0.5], adam(0.1), 60),
        ("x1**4 + x2**2", {"x1": 1.0, "x2": 1.0}, sgd(0.1), 80),
        ("log(cosh(x1)) + x2**2", {"x1": 2.0, "x2": 1.0}, sgd(0.4), 20),
    ]
    for which, start, optimizer, steps in functions:
        yield Case(
            f"fine: {which} with {optimizer['kind']}",
            "usual choices",
            "healthy",
            "A rate of about 1/L, and steps enough to cover the distance.",
            function(which, start, optimizer, steps),
            FINE,
        )


def plateaus() -> Iterator[Case]:
    flat = "The slope is below a hundredth of the usual around, and the steps are too few for it."
    texts: list[tuple[str, Json, Json, int]] = [
        ("1 - exp(-0.5*x1**2)", {"x1": 4.2}, sgd(0.2), 400),
        ("tanh(x1 - 1)**2 + tanh(x2)**2", {"x1": 5.5, "x2": -5.0}, sgd(0.2), 300),
        ("1 - exp(-x1**2 - 0.5*x2**2)", {"x1": 2.5, "x2": 1.5}, sgd(0.1, momentum=0.5), 200),
        ("1 - 1/(1 + x1**4 + x2**4)", {"x1": 7.0, "x2": 9.0}, sgd(0.3), 400),
        ("sigmoid(4*x1) + 0.05*x1**2/(1 + x1**2)", {"x1": 3.5}, sgd(0.1), 200),
        ("-cos(x1)*exp(-(x1 - 3.14)**2)", {"x1": 0.6}, sgd(0.1), 20),
        ("x1**2/(1 + x1**2)", {"x1": 15.0}, sgd(0.5), 300),
        ("erf(x1)**2", {"x1": 2.8}, sgd(0.3), 300),
    ]
    for text, start, optimizer, steps in texts:
        job = function(text, start, optimizer, steps)
        yield Case(f"flat: {text}", "flat ground", "plateau", flat, job)
    small = synthetic("blobs", 9, num_samples=400, num_features=6, num_classes=3)
    for depth, data, lr in ((7, "digits", 0.05), (9, small, 0.2), (8, "breast_cancer", 0.05)):
        net = {"kind": "mlp", "hidden": [24] * depth, "activation": "sigmoid"}
        yield Case(
            f"flat: {depth} sigmoid layers, rate {lr}",
            "flat ground",
            "plateau",
            "Each sigmoid layer takes a factor of 4 and more off the gradient.",
            supervised(data, {**net, "init": {"kind": "xavier_normal"}}, sgd(lr), 400),
            frozenset({"saddle_point", "local_minimum"}),
        )


def overfitting() -> Iterator[Case]:
    why = "More weights than rows and labels with noise: the evaluation loss turns, and the steps"
    why += " end before the training loss is at rest."
    runs: list[tuple[str, Json, list[int], Json, int]] = [
        ("blobs in ten features", synthetic("blobs", 11, 0.5, num_samples=160, num_features=10,
         std=8.0), [64], adam(0.005), 500),
        ("moons with much noise", synthetic("moons", 12, 0.5, num_samples=100, noise=0.8), [128],
         adam(0.02), 600),
        ("parity of nine bits", synthetic("parity", 13, 0.4, num_samples=150, length=9), [64],
         adam(0.005), 600),
        ("Friedman with much noise", synthetic("friedman1", 14, 0.5, num_samples=100, noise=5.0),
         [128], adam(0.01), 300),
        ("a fast sine, few rows", synthetic("sinusoid", 15, 0.5, num_samples=40, noise=1.0,
         frequency=1.0), [64, 64], adam(0.01), 500),
        ("spirals with noise", synthetic("spirals", 16, 0.5, num_samples=150, noise=1.0), [64, 64],
         adam(0.01), 500),
        ("diabetes, wide", {"kind": "builtin", "name": "diabetes", "eval_fraction": 0.8}, [256],
         adam(0.01), 1500),
    ]  # fmt: skip
    for name, data, hidden, optimizer, steps in runs:
        yield Case(
            f"by heart: {name}",
            "learning by heart",
            "overfitting",
            why,
            supervised(data, hidden, optimizer, steps, batch_size=16),
        )


def cases() -> Iterator[Case]:
    yield from healthy()
    yield from plateaus()
    yield from overfitting()
