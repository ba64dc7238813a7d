"""Quadratics at shares of the stability threshold, and of every condition number."""

from collections.abc import Iterator
from typing import Any

from tests.core.diagnosis.labelled.case import Case, Json, adam, function, sgd

SPECTRA: dict[str, Json] = {
    "diagonal": {"kind": "quadratic", "eigenvalues": [4.0, 10.0]},
    "rotated": {"kind": "quadratic", "eigenvalues": [3.0, 4.0, 5.0, 6.0, 8.0], "rotation_seed": 7},
    "expression": {"kind": "expression", "expression": "2*x1**2 + 5*x2**2"},
}
TOP = {"diagonal": 10.0, "rotated": 8.0, "expression": 10.0}
METHODS: dict[str, tuple[float, Json]] = {
    "gradient descent": (2.0, {}),
    "heavy ball": (3.8, {"momentum": 0.9}),
    "Nesterov": (3.8 / 2.8, {"momentum": 0.9, "nesterov": True}),
}


def start_of(name: str) -> Any:
    if name == "expression":
        return {"x1": 1.0, "x2": -1.0}
    return [1.0, -1.0] if name == "diagonal" else [1.0, -1.0, 0.5, 1.0, -0.5]


def stability() -> Iterator[Case]:
    """Every method on every spectrum, on both sides of its threshold."""
    for name, spectrum in SPECTRA.items():
        for method, (limit, options) in METHODS.items():
            for share, steps, label, also in (
                (0.5, 600, "converged", ()),
                (0.9, 600, "converged", ()),
                (0.99, 3000, "converged", ()),
                (1.01, 200, "diverging", ()),
                (1.5, 60, "diverging", ()),
            ):
                lr = share * limit / TOP[name]
                side = "shrinks" if share < 1 else "grows"
                yield Case(
                    f"{method} at {share} of its threshold, {name}",
                    "stability",
                    label,
                    f"The step's matrix along the top eigenvalue has a spectral radius on which the"
                    f" error {side}; {steps} steps are enough for it to show.",
                    function(spectrum, start_of(name), sgd(lr, **options), steps),
                    frozenset(also),
                )
        yield Case(
            f"gradient descent from wall to wall, {name}",
            "stability",
            "oscillating",
            "At 0.99 of the threshold the error along the top eigenvector changes sign every step"
            " and keeps 98 % of its size, where the best rate keeps under half.",
            function(spectrum, start_of(name), sgd(0.99 * 2.0 / TOP[name]), 60),
        )
        yield Case(
            f"gradient descent at 0.5 of the threshold, on its way, {name}",
            "stability",
            "healthy",
            "η·L = 1: a usual rate; after eight steps most of the loss is gone and some is left.",
            function(spectrum, start_of(name), sgd(1.0 / TOP[name]), 8),
            frozenset({"converged"}),
        )


def adaptive() -> Iterator[Case]:
    """ε dwarfs √v, so that the preconditioner stands still and the threshold is exact."""
    eps, top = 1e6, 10.0
    methods: dict[str, tuple[float, Json]] = {
        "adam": (38.0, {"eps": eps}),
        "adamw": (38.0, {"eps": eps, "weight_decay": 0.0}),
        "adamax": (38.0, {"eps": eps}),
        "rmsprop": (2.0, {"eps": eps}),
        "rmsprop with momentum": (3.8, {"eps": eps, "momentum": 0.9}),
    }
    for name, (limit, options) in methods.items():
        for share in (0.5, 1.5):
            optimizer = {"kind": name.split()[0], "lr": share * limit * eps / top, **options}
            yield Case(
                f"{name} at {share} of its threshold",
                "stability of adaptive methods",
                "converged" if share < 1 else "diverging",
                "P is ε, above all that √v comes to: momentum descent at this share of"
                " (2+2β₁)/(1−β₁), or of 2+2β.",
                function(SPECTRA["diagonal"], [1.0, -1.0], optimizer, 800 if share < 1 else 15),
            )


def conditioned(kappa: float) -> tuple[Json, list[float]]:
    """Five eigenvalues from 1 to κ, and a start with an equal share of the loss in each."""
    lam = [kappa ** (k / 4) for k in range(5)]
    return {"kind": "quadratic", "eigenvalues": lam}, [each**-0.5 for each in lam]


def ill_conditioned() -> Iterator[Case]:
    for power in range(1, 7):
        kappa = 10.0**power
        function_, start = conditioned(kappa)
        far = power >= 3
        yield Case(
            f"gradient descent with condition number 1e{power}",
            "condition number",
            "too_slow" if far else "converged",
            f"η = 1/L leaves a factor of 1 − 1/κ a step along the flattest direction, which holds a"
            f" fifth of the loss; momentum would need √κ = {kappa**0.5:.3g} steps for what takes κ."
            if far
            else "The flattest direction's factor to the power of the steps is nothing.",
            function(function_, start, sgd(1.0 / kappa), 400 if far else 3000),
        )
        if power >= 3:
            yield Case(
                f"2/(L+μ) with condition number 1e{power}",
                "condition number",
                "too_slow",
                "Even the best constant rate has the factor (κ−1)/(κ+1) a step. The top direction"
                " jumps at the same slow factor, so gradients oppose each other too.",
                function(function_, start, sgd(1.6 / (kappa + 1.0)), 400),
            )
        if power >= 5:
            yield Case(
                f"Nesterov with condition number 1e{power}",
                "condition number",
                "too_slow",
                "Momentum 0.9 makes ten steps of one; κ/10 steps are needed and 300 are made.",
                function(function_, start, sgd(1.0 / kappa, momentum=0.9, nesterov=True), 300),
            )
    for kappa in (1e2, 1e4):
        function_, start = conditioned(kappa)
        yield Case(
            f"Adam with condition number {kappa:.0e}",
            "condition number",
            "healthy",
            "Diagonal: every coordinate has a rate of its own, and κ does not matter.",
            function(function_, start, adam(0.02), 300),
            frozenset({"converged"}),
        )
    for share in (1e-5, 1e-4, 1e-3, 1e-2):
        yield Case(
            f"gradient descent at {share:g} of the threshold",
            "condition number",
            "too_slow",
            "A thousandth of the largest stable rate needs a thousand times the steps.",
            function(SPECTRA["diagonal"], [1.0, -1.0], sgd(share * 0.2), 50),
        )


def cases() -> Iterator[Case]:
    yield from stability()
    yield from adaptive()
    yield from ill_conditioned()
