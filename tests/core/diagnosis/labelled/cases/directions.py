"""Runs whose rows mislead a rule that reads them plainly: maxima that are climbed to, the jitter of
batch norm on small data, and batches of one to four rows."""

from collections.abc import Iterator

from tests.core.diagnosis.labelled.case import Case, Json, adam, function, sgd, supervised

FINE = frozenset({"converged"})
CLIMBS = frozenset({"healthy"})


def up(job: Json) -> Json:
    """The same job, whose optimizer maximizes."""
    return {**job, "optimizer": {**job["optimizer"], "maximize": True}}


def maximized() -> Iterator[Case]:
    hill = "A hill is climbed to its top, where the gradient is 0 and the value the largest."
    bell = "exp(-x1**2)"
    tops: list[tuple[str, Json]] = [
        ("a bell from its side", function(bell, {"x1": 1.8}, sgd(0.5), 300)),
        ("a bell, Adam", function(bell, {"x1": 1.2}, adam(0.05), 400)),
        ("a dome", function("4 - x1**2 - 2*x2**2", {"x1": 2.0, "x2": -1.0}, sgd(0.1), 300)),
        ("a dome above a million", function("1e6 - x1**2", {"x1": 3.0}, sgd(0.1), 300)),
        ("a cosine", function("cos(x1) + cos(x2)", {"x1": 1.0, "x2": -0.8}, sgd(0.3), 300)),
        ("log likelihood", function("-log(cosh(x1)) - x2**2", {"x1": 2.0, "x2": 1.0},
         sgd(0.3), 300)),
    ]  # fmt: skip
    for name, job in tops:
        yield Case(f"maximize: {name}", "maximize", "converged", hill, up(job), CLIMBS)
    away = "Uphill there is no end: the value grows without bound, as it would fall downhill."
    for name, job in (
        ("steps of four times the distance", function("-(x1**2)", {"x1": 1.0}, sgd(2.5), 100)),
        ("two variables", function("-(x1**2) - 3*x2**2", {"x1": 1.0, "x2": 1.0}, sgd(1.0), 100)),
        ("Adam far too large", function("-(x1**4)", {"x1": 1.0}, sgd(5.0), 60)),
    ):
        yield Case(f"maximize: {name}", "maximize", "diverging", away, up(job))
    slow = "A rate a thousandth of the stable one takes a few per cent of the way."
    for name, job in (
        (
            "a dome, crawling",
            function("-(x1**2) - 2*x2**2", {"x1": 2.0, "x2": 1.0}, sgd(2e-4), 300),
        ),
        ("a parabola, crawling", function("5 - x1**2", {"x1": 3.0}, sgd(1e-4), 400)),
    ):
        yield Case(f"maximize: {name}", "maximize", "too_slow", slow, up(job))


def normalized() -> Iterator[Case]:
    why = "A usual rate on a few hundred rows: the loss jitters with the last, smaller batch, and"
    why += " falls by most of what there is to fall."
    for data, lr, batch in (
        ("wine", 0.05, 32),
        ("wine", 0.1, 16),
        ("iris", 0.05, 16),
        ("iris", 0.1, 32),
        ("breast_cancer", 0.05, 32),
        ("breast_cancer", 0.1, 64),
    ):
        net: Json = {"kind": "mlp", "hidden": [32], "norm": "batch"}
        yield Case(
            f"batch norm: {data}, rate {lr}, batches of {batch}",
            "batch norm on small data",
            "healthy",
            why,
            supervised(data, net, sgd(lr), 400, batch_size=batch),
            FINE | {"overfitting"},
        )


def tiny_batches() -> Iterator[Case]:
    why = "A small rate on data that a linear model or a small network learns well: single rows"
    why += " scatter, and their mean falls far."
    for data, hidden, lr, batch in (
        ("wine", [], 0.01, 1),
        ("wine", [], 0.02, 2),
        ("wine", [16], 0.01, 4),
        ("iris", [], 0.01, 1),
        ("iris", [16], 0.01, 2),
        ("iris", [], 0.02, 4),
        ("breast_cancer", [], 0.005, 1),
        ("breast_cancer", [16], 0.005, 3),
    ):
        yield Case(
            f"batches of {batch}: {data}, {hidden}, rate {lr}",
            "batches of 1 to 4",
            "healthy",
            why,
            supervised(data, list(hidden), sgd(lr), 1500, batch_size=batch),
            FINE | {"overfitting"},
        )


def cases() -> Iterator[Case]:
    yield from maximized()
    yield from normalized()
    yield from tiny_batches()
