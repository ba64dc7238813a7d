"""Functions with saddles, plateaus, and minima that are not the lowest."""

from collections.abc import Iterator

from tests.core.diagnosis.labelled.case import Case, Json, adam, function, sgd

DOUBLE_WELL = "x1**2 + (x2**2 - 1)**2"


def saddles() -> Iterator[Case]:
    ridge = "On the ridge the gradient across it is exactly 0, so the run goes down to the saddle."
    heavy = sgd(0.05, momentum=0.5)
    runs: list[tuple[str, str, Json, Json, int]] = [
        ("double well, gradient descent", DOUBLE_WELL, {"x1": 1.0, "x2": 0.0}, sgd(0.1), 300),
        ("double well, heavy ball", DOUBLE_WELL, {"x1": 1.0, "x2": 0.0}, heavy, 400),
        ("double well, Adam", DOUBLE_WELL, {"x1": 0.5, "x2": 0.0}, adam(0.02), 1500),
        ("x² − y²", "x1**2 - x2**2", {"x1": 2.0, "x2": 0.0}, sgd(0.1), 300),
        ("quartic cup", "x1**2 - x2**2 + x2**4/4", {"x1": 1.0, "x2": 0.0}, sgd(0.1), 300),
        (
            "four wells and a bowl",
            "(x1**2 - 1)**2 + (x2**2 - 1)**2 + x3**2",
            {"x1": 0.0, "x2": 0.5, "x3": 1.0},
            sgd(0.05),
            500,
        ),
        ("top of a cosine", "cos(x1) + x2**2", {"x1": 0.0, "x2": 1.0}, sgd(0.1), 300),
        ("product", "x1*x2 + 0.1*(x1**4 + x2**4)", {"x1": 1.0, "x2": 1.0}, sgd(0.1), 500),
        (
            "in six variables",
            "x1**2 + 2*x2**2 + 3*x3**2 + x4**2 + x5**2 + (x6**2 - 4)**2",
            {f"x{i}": float(i != 6) for i in range(1, 7)},
            sgd(0.05),
            400,
        ),
        (
            "between two Gaussians",
            "2 - exp(-(x1-2)**2 - x2**2) - exp(-(x1+2)**2 - x2**2) + 0.05*x2**2",
            {"x1": 0.0, "x2": 0.7},
            sgd(0.5),
            800,
        ),
    ]
    for name, text, start, optimizer, steps in runs:
        job = function(text, start, optimizer, steps)
        yield Case(f"saddle: {name}", "saddles", "saddle_point", ridge, job)
    for lr, steps in ((0.05, 2000), (0.1, 3000)):
        yield Case(
            f"monkey saddle at rate {lr}",
            "saddles",
            "saddle_point",
            "On y = 0 the gradient is 3x², so x ~ 1/(3ηk): it creeps up to the saddle, whose"
            " smallest curvature −6x is clearly below 0 beside the largest, 6x.",
            function("x**3 - 3*x*y**2", {"x": 0.5, "y": 0.0}, sgd(lr), steps),
            frozenset({"plateau"}),
        )
    for name, text, start in (
        ("double well", DOUBLE_WELL, {"x1": 1.0, "x2": 0.1}),
        ("quartic cup", "x1**2 - x2**2 + x2**4/4", {"x1": 1.0, "x2": 0.05}),
    ):
        yield Case(
            f"past a saddle: {name}",
            "saddles",
            "converged",
            "A little off the ridge the run leaves the saddle and has time to arrive.",
            function(text, start, sgd(0.1), 600),
        )


def local_minima() -> Iterator[Case]:
    """Starts in the basin of a minimum that is not the lowest, and small rates that stay in it."""
    where = "The start lies in the basin of a higher minimum, and the rate is below 1/L there."
    named: list[tuple[str, list[float], Json, int]] = [
        ("rastrigin", [2.2, 3.1], sgd(0.002), 600),
        ("rastrigin", [-1.1, 0.1], sgd(0.001), 800),
        ("ackley", [5.3, -4.2], sgd(0.01), 2500),
        ("griewank", [12.0, 9.0], sgd(0.5), 2000),
        ("levy", [-6.0, 5.0], sgd(0.02), 1500),
        ("styblinski_tang", [2.0, 2.0], sgd(0.01), 500),
        ("styblinski_tang", [2.5, -2.0], adam(0.02), 1500),
        ("six_hump_camel", [-1.6, 0.6], sgd(0.01), 1500),
        ("three_hump_camel", [1.8, -0.8], sgd(0.02), 1500),
        ("schwefel", [100.0, -250.0], sgd(1.0), 1000),
        ("goldstein_price", [-0.55, -0.45], sgd(1e-5), 4000),
    ]
    for kind, start, optimizer, steps in named:
        yield Case(
            f"{kind} from {start}",
            "local minima",
            "local_minimum",
            where,
            function(kind, start, optimizer, steps),
        )
    texts: list[tuple[str, Json, float, int]] = [
        ("x1**4 - 4*x1**2 + x1", {"x1": 1.0}, 0.02, 500),
        ("sin(3*x1) + 0.1*x1**2", {"x1": 3.6}, 0.05, 500),
        ("(x1**2 - 1)**2 + 0.3*x1 + x2**2", {"x1": 1.0, "x2": 0.5}, 0.05, 500),
        ("cos(2*x1) + cos(2*x2) + 0.05*(x1**2 + x2**2)", {"x1": 4.4, "x2": 1.4}, 0.1, 500),
    ]
    for text, begin, lr, steps in texts:
        yield Case(
            f"local minimum of {text}",
            "local minima",
            "local_minimum",
            where + " Its lowest value is published nowhere; other starts find it.",
            function(text, begin, sgd(lr), steps),
        )


def global_minima() -> Iterator[Case]:
    named: list[tuple[str, list[float], Json, int]] = [
        ("rastrigin", [0.2, -0.1], sgd(0.002), 600),
        ("styblinski_tang", [-2.0, -3.0], sgd(0.01), 500),
        ("himmelblau", [1.0, 1.0], sgd(0.01), 500),
        ("himmelblau", [-3.0, -2.0], adam(0.05), 1500),
        ("booth", [0.0, 0.0], sgd(0.05), 1500),
        ("beale", [2.5, 0.4], adam(0.02), 4000),
        ("branin", [3.0, 3.0], sgd(0.02), 800),
        ("six_hump_camel", [0.2, -0.5], sgd(0.02), 600),
        ("sphere", [3.0, 4.0], sgd(0.3), 200),
        ("rosenbrock", [-1.2, 1.0], {"kind": "lbfgs", "line_search_fn": "strong_wolfe"}, 30),
    ]
    for kind, start, optimizer, steps in named:
        yield Case(
            f"{kind} from {start} with {optimizer['kind']}",
            "global minima",
            "converged",
            "The start lies in the lowest minimum's basin and the steps are enough to arrive.",
            function(kind, start, optimizer, steps),
        )
    yield Case(
        "x1**4 - 4*x1**2 + x1 from the left",
        "global minima",
        "converged",
        "The left well is the lower one.",
        function("x1**4 - 4*x1**2 + x1", {"x1": -1.0}, sgd(0.02), 500),
    )


def plateaus() -> Iterator[Case]:
    flat = "Far out the function is flat to thousandths of its usual slope, and 300 steps of this"
    flat += " length go nowhere."
    texts: list[tuple[str, Json, float]] = [
        ("1 - exp(-x1**2)", {"x1": 3.2}, 0.1),
        ("tanh(x1)**2", {"x1": 6.0}, 0.1),
        ("1 - exp(-x1**2 - x2**2)", {"x1": 2.2, "x2": 2.2}, 0.2),
        ("x1**2/(1 + x1**2) + 1/(1 + exp(-x2))", {"x1": 40.0, "x2": 12.0}, 0.1),
        ("log(1 + x1**2/(1 + 0.01*x1**4))", {"x1": 90.0}, 0.01),
        ("1 - 1/(1 + x1**4)", {"x1": 12.0}, 0.5),
        ("sigmoid(x1)*sigmoid(-x1)*(-1) + 1", {"x1": 11.0}, 0.5),
        ("atan(x1)**2 + atan(x2)**2", {"x1": 60.0, "x2": -80.0}, 0.02),
    ]
    for text, start, lr in texts:
        yield Case(
            f"plateau of {text}", "plateaus", "plateau", flat, function(text, start, sgd(lr), 300)
        )


def cycles() -> Iterator[Case]:
    """Bounded, deterministic, and never arriving."""
    runs: list[tuple[str, str | Json, Json, Json, str]] = [
        ("the kink of |x|", "abs(x1)", {"x1": 0.25}, sgd(0.5), "A constant step jumps the kink"),
        (
            "a quartic well",
            "(x1**2 - 1)**2",
            {"x1": 0.9},
            sgd(0.3),
            "At the minimum η·f'' = 2.4 > 2, and far out the quartic drives back: period two",
        ),
        (
            "log cosh",
            "log(cosh(3*x1))",
            {"x1": 1.0},
            sgd(1.0),
            "Curvature 9 at the minimum, slope at most 3: bounded steps to and fro",
        ),
        ("chaos in a quartic", "x1**4/4 - x1**2/2", {"x1": 0.3}, sgd(1.6), "2.2 < 2.6: chaos"),
        ("|x| with momentum", "abs(x1)", {"x1": 0.3}, sgd(0.2, momentum=0.5), "The kink again"),
        (
            "sign steps",
            "abs(x1) + 2*abs(x2)",
            {"x1": 0.33, "x2": 0.77},
            adam(0.5, betas=[0.0, 0.0]),
            "Without averages Adam's step is η·sign(g), whatever the distance",
        ),
    ]
    for name, which, start, optimizer, why in runs:
        yield Case(
            f"cycle: {name}", "cycles", "oscillating", why, function(which, start, optimizer, 400)
        )
    yield Case(
        "cycle: ackley at rate 1",
        "cycles",
        "oscillating",
        "The ripples' slope of about 4 times the rate is longer than they are wide.",
        function("ackley", [5.3, -4.2], sgd(1.0), 400),
    )


def cases() -> Iterator[Case]:
    yield from saddles()
    yield from local_minima()
    yield from global_minima()
    yield from plateaus()
    yield from cycles()
