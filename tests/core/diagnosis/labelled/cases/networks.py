"""Deep networks that cannot learn, and healthy runs of every optimizer."""

from collections.abc import Iterator

from tests.core.diagnosis.labelled.case import (
    TOO_LARGE,
    Case,
    Json,
    function,
    sgd,
    supervised,
    synthetic,
)


def deep() -> Iterator[Case]:
    plain = "The slope of a sigmoid is at most 1/4, so the gradient loses a factor of 4 and more a"
    plain += " layer: the lower layers stand still and the loss stays at that of a constant."
    stuck = frozenset({"saddle_point", "local_minimum"})
    small = synthetic("blobs", 1, num_samples=400, num_features=8, num_classes=4)
    for name, data, depth in (
        ("digits", "digits", 6),
        ("blobs", small, 8),
        ("wine", "wine", 10),
    ):
        net: Json = {"kind": "mlp", "hidden": [32] * depth, "activation": "sigmoid"}
        yield Case(
            f"vanishing: {depth} sigmoid layers on {name}",
            "depth",
            "plateau",
            plain,
            supervised(data, {**net, "init": {"kind": "xavier_uniform"}}, sgd(0.1), 400),
            stuck,
        )
    for name, data, std in (("digits", "digits", 0.02), ("blobs", small, 0.01)):
        net = {
            "kind": "mlp",
            "hidden": [32] * 6,
            "activation": "tanh",
            "init": {"kind": "normal", "std": std},
        }
        yield Case(
            f"vanishing: six tanh layers from weights of {std} on {name}",
            "depth",
            "plateau",
            "Each layer scales the signal and the gradient by about a tenth.",
            supervised(data, net, sgd(0.1), 400),
            stuck,
        )
    for name, data, std, depth in (
        ("digits", "digits", 1.0, 5),
        ("blobs", small, 1.0, 6),
        ("wine", "wine", 2.0, 5),
    ):
        net = {
            "kind": "mlp",
            "hidden": [64] * depth,
            "init": {"kind": "normal", "std": std},
        }
        yield Case(
            f"exploding: {depth} layers from weights of {std} on {name}",
            "depth",
            "diverging",
            "Each layer scales the signal by √(64/2) and more: outputs of 10⁴, and gradients too.",
            supervised(data, net, sgd(0.1), 200),
            TOO_LARGE,
        )
    for name, data in (
        ("moons", synthetic("moons", 1, num_samples=200)),
        ("iris", {"kind": "builtin", "name": "iris"}),
        ("wine", {"kind": "builtin", "name": "wine"}),
    ):
        net = {
            "kind": "mlp",
            "hidden": [12],
            "activation": "tanh",
            "init": {"kind": "constant", "value": 0.0},
        }
        yield Case(
            f"zero weights on {name}",
            "depth",
            "saddle_point",
            "With one hidden layer at zero only the output's bias has a gradient; the product of"
            " both layers' weights gives curvatures of both signs: a strict saddle.",
            supervised(data, net, sgd(0.3), 400, batch_size="full"),
        )


def optimizers() -> Iterator[Case]:
    """Every optimizer at a usual rate, on three problems."""
    usual: dict[str, tuple[float, float, float]] = {
        "sgd": (0.2, 0.2, 0.1),
        "adam": (3e-3, 0.01, 0.05),
        "adamw": (3e-3, 0.01, 0.05),
        "adamax": (5e-3, 0.02, 0.1),
        "nadam": (3e-3, 0.01, 0.05),
        "radam": (5e-3, 0.02, 0.1),
        "adagrad": (0.02, 0.05, 0.5),
        "adadelta": (1.0, 1.0, 1.0),
        "rmsprop": (1e-3, 3e-3, 0.05),
        "rprop": (1e-3, 1e-3, 0.01),
        "asgd": (0.2, 0.2, 0.1),
        "adafactor": (0.01, 0.03, 0.05),
        "lbfgs": (0.3, 0.3, 0.5),
    }
    why = "A usual rate for this optimizer, found by training once: the loss falls well."
    blobs = synthetic("blobs", 3, num_samples=500, num_features=6, num_classes=4, std=0.8)
    fine = frozenset({"converged"})
    for kind, (on_digits, on_blobs, on_function) in usual.items():
        whole: Json = {"batch_size": "full"} if kind in ("rprop", "lbfgs") else {}
        steps = 12 if kind == "lbfgs" else 40 if kind == "rprop" else 300
        yield Case(
            f"healthy: {kind} on digits",
            "healthy",
            "healthy",
            why,
            supervised("digits", [32], {"kind": kind, "lr": on_digits}, steps, **whole),
            fine,
        )
        yield Case(
            f"healthy: {kind} on blobs",
            "healthy",
            "healthy",
            why,
            supervised(blobs, [16], {"kind": kind, "lr": on_blobs}, steps, **whole),
            fine,
        )
        if kind == "adadelta":
            continue  # from zero averages its first steps are 1e-3 long: slow, as it is known for
        yield Case(
            f"healthy: {kind} on a bowl",
            "healthy",
            "healthy",
            why,
            function(
                {"kind": "quadratic", "eigenvalues": [1.0, 3.0]},
                [2.0, -1.5],
                {"kind": kind, "lr": on_function},
                8 if kind == "lbfgs" else 120,
            ),
            fine,
        )


def edge_of_stability() -> Iterator[Case]:
    for lr, steps in ((0.3, 400), (0.5, 400)):
        net: Json = {"kind": "mlp", "hidden": [24], "activation": "tanh"}
        yield Case(
            f"edge of stability at rate {lr}",
            "healthy",
            "healthy",
            "Full-batch descent drives the curvature up to 2/η and stays there while the loss falls"
            " (Cohen et al. 2021): normal.",
            supervised("digits", net, sgd(lr), steps, batch_size="full"),
            frozenset({"converged"}),
        )


def cases() -> Iterator[Case]:
    yield from deep()
    yield from optimizers()
    yield from edge_of_stability()
