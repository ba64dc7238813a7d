"""Runs that one cause holds: unscaled data, dead units, labels without a rule, kinks, bounds,
swings of a period above two, steps that are not defined, limits and decay that are too strong."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.core.diagnosis.labelled.case import (
    TOO_LARGE,
    Case,
    Json,
    adam,
    function,
    sgd,
    supervised,
    synthetic,
)

FINE = frozenset({"converged"})
LEARNED_NOTHING = TOO_LARGE | {"saddle_point", "too_slow", "undetermined"}


def within(job: Json, bounds: Any) -> Json:
    """The same job with bounds on its point."""
    return {**job, "problem": {**job["problem"], "bounds": bounds}}


def unscaled() -> Iterator[Case]:
    why = "Features up to a thousand make first outputs and gradients of hundreds: the first steps"
    why += " throw the weights away, and the end is a constant's loss."
    for name, hidden, lr in (
        ("wine", [32], 0.01),
        ("wine", [64, 32], 0.02),
        ("wine", [16], 0.05),
        ("breast_cancer", [32], 0.01),
        ("breast_cancer", [24, 24], 0.02),
        ("breast_cancer", [64], 0.03),
    ):
        data = {"kind": "builtin", "name": name, "standardize": False}
        yield Case(
            f"unscaled: {name}, {hidden}, rate {lr}",
            "unscaled data",
            "plateau",
            why,
            supervised(data, hidden, sgd(lr), 300, batch_size=32),
            TOO_LARGE,
        )


def _inline(kind: str, rows: int, seed: int, positive: float = 0.5) -> Json:
    """Inline rows: `dead` are positive features; `random` have labels drawn apart from them;
    `rare` are two classes, told apart by the first feature."""
    draw = np.random.Generator(np.random.PCG64(seed))
    features = draw.standard_normal((rows, 4))
    if kind == "dead":
        features = np.abs(features) + 0.1
    if kind == "rare":
        labels = (np.arange(rows) % round(1 / positive) == 0).astype(int)
        features[:, 0] += 4.0 * labels
    else:
        labels = draw.integers(0, 2, rows)
    rounded = np.round(features, 4).tolist()
    return {"kind": "inline", "features": rounded, "targets": labels.tolist()}


def learned_nothing() -> Iterator[Case]:
    for value, lr, seed in ((-0.5, 0.1, 1), (-0.2, 0.3, 2), (-1.0, 0.05, 3), (-0.3, 0.2, 4)):
        net: Json = {"kind": "mlp", "hidden": [16], "init": {"kind": "constant", "value": value}}
        data = {**_inline("dead", 120, seed), "standardize": False}
        yield Case(
            f"dead: weights of {value} on positive features",
            "learned nothing",
            "plateau",
            "Every unit's input is negative on every row, so that only the last bias learns.",
            supervised(data, net, sgd(lr), 300, batch_size=32),
            LEARNED_NOTHING,
        )
    for seed, hidden, optimizer, size in (
        (5, [], sgd(0.3), "full"),
        (6, [], sgd(0.05), 64),
        (7, [], adam(0.01), 64),
        (8, [4], adam(1e-3), 64),
    ):
        yield Case(
            f"random labels: {hidden}, {optimizer['kind']} {optimizer['lr']}, {size}",
            "learned nothing",
            "plateau",
            "Labels are drawn apart from the features, and the model is too small to learn 2,000 of"
            " them by heart: the end is a constant's loss.",
            supervised(_inline("random", 2000, seed), hidden, optimizer, 300, batch_size=size),
            LEARNED_NOTHING | {"overfitting"},
        )


def rare() -> Iterator[Case]:
    for seed, share, optimizer, label in (
        (9, 0.02, sgd(1e-4), "too_slow"),
        (10, 0.05, sgd(3e-4), "too_slow"),
        (11, 0.05, adam(0.02), "healthy"),
        (12, 0.02, adam(0.03), "healthy"),
        (13, 0.04, sgd(1.0), "healthy"),
        (14, 0.04, adam(1e-6), "too_slow"),
    ):
        slow = label == "too_slow"
        why = "300 steps of this rate hardly move the weights: no row of the rare class is found."
        if not slow:
            why = "The rare class lies four deviations apart, and the rate is a usual one."
        yield Case(
            f"rare class: {share}, {optimizer['kind']} {optimizer['lr']}",
            "rare classes",
            label,
            why,
            supervised(_inline("rare", 1000, seed, share), [8], optimizer, 300, batch_size=100),
            frozenset({"plateau", "undetermined"}) if slow else FINE,
        )


def kinks() -> Iterator[Case]:
    slope = "The slope is the same all the way, and the loss falls by equal steps along the kink:"
    slope += " a rate ten times larger takes ten times as much off."
    for text, start, lr in (
        ("max(x1, x2)", {"x1": 1.0, "x2": 0.9}, 0.05),
        ("max(abs(x1), abs(x2))", {"x1": 3.0, "x2": 3.0}, 0.02),
        ("max(x1 + x2, max(x1 - x2, -2*x1))", {"x1": 5.0, "x2": 0.0}, 0.03),
        ("max(2*x1 + x2, x1 - 3*x2)", {"x1": 2.0, "x2": 0.4}, 0.02),
        ("abs(x1 - x2) + 0.5*x1", {"x1": 4.0, "x2": 4.0}, 0.01),
        ("max(0, 1 - x1) + max(0, 1 - x1 - x2)", {"x1": -9.0, "x2": -9.0}, 0.02),
    ):
        yield Case(
            f"kink: {text}",
            "kinks",
            "too_slow",
            slope,
            function(text, start, sgd(lr), 150),
            frozenset({"healthy"}),
        )
    for text, start in (
        ("abs(x1) + x2**2", {"x1": 0.0, "x2": 0.9}),
        ("max(0, 1 - x1)**2 + x2**2", {"x1": 1.5, "x2": 0.5}),
        ("max(x1**2, 0.1*x1**2) + x2**2", {"x1": 0.5, "x2": 0.5}),
    ):
        yield Case(
            f"rest at a kink: {text}",
            "kinks",
            "converged",
            "Across the kink the point is at the minimum, and along it there is time to arrive.",
            function(text, start, sgd(0.1), 600),
        )
    yield Case(
        "jumping a kink: max(x1, -2*x1) + x2**2",
        "kinks",
        "oscillating",
        "The slope beside the kink is 1 or 2, so that steps of 0.1 and 0.2 jump it for ever.",
        function("max(x1, -2*x1) + x2**2", {"x1": 0.0, "x2": -0.7}, sgd(0.1), 600),
    )


def bounded() -> Iterator[Case]:
    why = "The function falls out of the box: the point comes to rest on the bound, where the"
    why += " projected gradient is 0, with steps enough."
    point = {"x1": 0.2, "x2": 1.0}
    box = [[0, 1], [-5, 5]]
    for name, job, bounds in (
        ("sphere off 0", function({"kind": "sphere", "dim": 5}, [1.5] * 5, sgd(0.1), 200),
         [1, 2]),
        ("sphere, Adam", function({"kind": "sphere", "dim": 3}, [1.6] * 3, adam(0.05), 400),
         [1, 2]),
        ("a bowl beside", function("(x1-3)**2 + x2**2", point, sgd(0.1), 200), box),
        ("exp, Adam", function("exp(x1) + x2**2", point, adam(0.05), 900), [[-1, 1], [-5, 5]]),
        ("exp, momentum", function("exp(x1) + x2**2", point, sgd(0.05, momentum=0.9), 600),
         [[-1, 1], [-5, 5]]),
        ("a slope", function("2*x1 - x2", {"x1": 0.5, "x2": 0.5}, sgd(0.1), 100), [0, 1]),
        ("log", function("log(x1) + x2**2", point, sgd(0.02), 500), [[0.1, 1], [-5, 5]]),
        ("rotated", function({"kind": "quadratic", "eigenvalues": [1, 5, 9], "rotation_seed": 3,
         "linear": [1, 2, 3]}, [0.5] * 3, sgd(0.05), 400), [0.2, 1]),
    ):  # fmt: skip
        yield Case(f"bound: {name}", "bounds", "converged", why, within(job, bounds))
    for name, job, bounds in (
        ("sphere", function("sphere", [1.5, 1.5], sgd(5e-4), 200), [-5, 5]),
        ("a bowl beside", function("(x1-3)**2 + x2**2", {"x1": 0.99, "x2": 4.0}, sgd(5e-4), 300),
         box),
    ):  # fmt: skip
        yield Case(
            f"bound: slow, {name}",
            "bounds",
            "too_slow",
            "A thousandth of the stable rate, and most of the way to go in a free coordinate.",
            within(job, bounds),
        )


def ringing() -> Iterator[Case]:
    why = "β is so near 1 that the swings keep √β a step: after all steps over a third of them is"
    why += " left, and the run goes through the minimum every few dozen steps."
    pair: Json = {"kind": "quadratic", "eigenvalues": [1.0, 3.0]}
    many: Json = {"kind": "quadratic", "eigenvalues": [1.0 + 0.1 * i for i in range(20)]}
    line = synthetic("linear_regression", 3, num_samples=300, num_features=5)
    runs: list[tuple[str, Json]] = [
        (f"{steps} steps", function(pair, [1.0, 1.0], sgd(0.05, momentum=0.9985), steps))
        for steps in (150, 211, 230, 250, 271)
    ]
    runs += [
        ("0.999", function(pair, [2.0, -1.0], sgd(0.02, momentum=0.999), 400)),
        ("one variable", function("x1**2", {"x1": 3.0}, sgd(0.001, momentum=0.999), 300)),
        ("twenty variables", function(many, [1.0] * 20, sgd(0.05, momentum=0.999), 300)),
        ("log cosh", function("log(cosh(x1)) + x2**2", {"x1": 3.0, "x2": 1.0},
         sgd(0.01, momentum=0.998), 500)),
        ("cosine", function("1 - cos(x1)", {"x1": 1.5}, sgd(0.02, momentum=0.998), 400)),
        ("least squares", supervised(line, [], sgd(0.02, momentum=0.998), 400, batch_size="full")),
        ("mini-batches", supervised(line, [], sgd(0.002, momentum=0.9995), 1500, batch_size=60)),
    ]  # fmt: skip
    for name, job in runs:
        yield Case(f"ringing: {name}", "ringing", "oscillating", why, job)
    for beta, lr in ((0.9, 0.05), (0.95, 0.02), (0.8, 0.1), (0.97, 0.01)):
        yield Case(
            f"swings that die out: {beta}",
            "ringing",
            "healthy",
            "β to the power of half the steps is below a thousandth: the swings are gone.",
            function(pair, [1.0, 1.0], sgd(lr, momentum=beta), 500),
            FINE,
        )


def undefined() -> Iterator[Case]:
    root = "The run comes to a point where the loss is finite and its slope is not."
    eps = "Where a gradient is 0 the method divides 0 by an `eps` that is 0 in this precision."
    flat = {"x1": 3.0, "x2": 1.0}
    runs: list[tuple[str, str, Json]] = [
        ("a cone's tip", root, function("sqrt(x1**2 + x2**2)", {"x1": 3.0, "x2": 0.0}, sgd(1.0),
         50)),
        ("a start on the tip", root, function("sqrt(x1**2 + x2**2)", {"x1": 0.0, "x2": 0.0},
         sgd(0.1), 50)),
        ("a root, Adam", root, function("sqrt(x1**2)", {"x1": 0.0}, adam(0.1), 50)),
        ("Adam, eps 0", eps, function("x1**2 + 0*x2", flat, adam(0.1, eps=0.0), 50)),
        ("RMSprop, eps 0", eps, function("x1**2 + 0*x2", flat,
         {"kind": "rmsprop", "lr": 0.01, "eps": 0.0}, 50)),
        ("AdamW, eps 1e-50 in float32", eps, function("x1**2 + 0*x2", flat,
         {"kind": "adamw", "lr": 0.1, "eps": 1e-50}, 50, precision="float32")),
    ]  # fmt: skip
    for name, why, job in runs:
        yield Case(f"undefined: {name}", "undefined steps", "diverging", why, job)


def held() -> Iterator[Case]:
    for name, job in (
        ("digits", supervised("digits", [32], sgd(0.1), 300,
         gradient_clip={"kind": "norm", "max_norm": 1e-4})),
        ("wine", supervised("wine", [16], sgd(0.05), 200, batch_size=32,
         gradient_clip={"kind": "norm", "max_norm": 1e-3})),
        ("a bowl", function("sphere", [5.0, 5.0], sgd(0.1), 300,
         gradient_clip={"kind": "norm", "max_norm": 1e-3})),
        ("a quartic", function("x1**4 + x2**2", {"x1": 2.0, "x2": 1.0}, sgd(0.01), 300,
         gradient_clip={"kind": "norm", "max_norm": 0.01})),
    ):  # fmt: skip
        yield Case(
            f"held by clipping: {name}",
            "held",
            "too_slow",
            "The steps together are a few per cent as long as the way, whatever the gradient is.",
            job,
        )
    for name, job in (
        ("digits", supervised("digits", [32], {"kind": "adamw", "lr": 0.01, "weight_decay": 50.0},
         300)),
        ("wine", supervised("wine", [16], {"kind": "adamw", "lr": 0.01, "weight_decay": 30.0}, 300,
         batch_size=32)),
        ("a bowl beside", function("(x1-3)**2 + x2**2", {"x1": 0.1, "x2": 1.0},
         {"kind": "adamw", "lr": 0.01, "weight_decay": 20.0}, 600)),
        ("a far bowl", function("(x1-5)**2 + (x2+4)**2", {"x1": 0.1, "x2": 0.1},
         {"kind": "adamw", "lr": 0.02, "weight_decay": 10.0}, 400)),
    ):  # fmt: skip
        yield Case(
            f"held by decay: {name}",
            "held",
            "plateau",
            "Steps of the rate are balanced by weights of 1/decay: they stay near 0.",
            job,
            frozenset({"too_slow"}),
        )
    for value, optimizer in (
        (0.0, sgd(0.1)),
        (0.0, adam(0.01)),
        (0.0, sgd(0.3)),
        (0.0, adam(1e-3)),
    ):
        net: Json = {"kind": "mlp", "hidden": [16], "init": {"kind": "constant", "value": value}}
        data = "wine" if optimizer["kind"] == "sgd" else "digits"
        yield Case(
            f"equal weights on {data}, {optimizer['kind']} {optimizer['lr']}",
            "held",
            "plateau",
            "With ReLU and all weights 0 no weight has a gradient but the last bias.",
            supervised(data, net, optimizer, 300),
            LEARNED_NOTHING,
        )
    for value, activation, data, optimizer in (
        (0.1, "relu", "digits", adam(0.01)),
        (0.5, "tanh", "wine", sgd(0.1)),
        (-0.1, "gelu", "iris", sgd(0.05, momentum=0.9)),
        (0.02, "sigmoid", "digits", adam(3e-3)),
        (0.3, "tanh", "digits", sgd(0.05, momentum=0.9)),
        (0.01, "relu", "wine", adam(0.01)),
    ):
        net = {"kind": "mlp", "hidden": [16, 16], "init": {"kind": "constant", "value": value}}
        yield Case(
            f"equal weights of {value} on {data}, {activation}, {optimizer['kind']}",
            "held",
            "plateau",
            "Equal units have equal gradients: the model stays as narrow as one unit a layer.",
            supervised(data, {**net, "activation": activation}, optimizer, 300),
            LEARNED_NOTHING,
        )


def cases() -> Iterator[Case]:
    yield from unscaled()
    yield from learned_nothing()
    yield from rare()
    yield from kinks()
    yield from bounded()
    yield from ringing()
    yield from undefined()
    yield from held()
