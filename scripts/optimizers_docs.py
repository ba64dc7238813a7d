"""The comparison of docs/optimizers.md: `make optimizers`, or against a service that runs:

    python scripts/optimizers_docs.py [--url http://127.0.0.1:8000]

One study a problem: each optimizer with its defaults but for the rate, at every rate of one grid,
five seeds each. It writes the figures to docs/optimizers.json, and from them the tables of the page
and what follows from them. `--from-file` writes the page from the figures that are there.
"""

import argparse
import json
import math
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

from thalweg import Client

Json = dict[str, Any]
DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
PAGE: Final = DOCS / "optimizers.md"
FIGURES: Final = DOCS / "optimizers.json"
BEGIN, END = "<!-- written by scripts/optimizers_docs.py -->\n", "<!-- end -->\n"

RATES: Final = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0]
SEEDS: Final = 5
STEPS: Final = 300
FACTORS: Final = (1.0, 1.25, 1.5, 2.0, 4.0)
REFERENCE: Final = "adamw"

KINDS: Final[list[Json]] = [
    {"kind": "sgd", "momentum": 0.9},
    *(
        {"kind": kind}
        for kind in (
            "adam", "adamw", "adamax", "nadam", "radam", "adagrad", "adadelta", "rmsprop", "asgd",
            "adafactor", "muon", "lion", "adopt", "ademamix", "schedule_free_sgd",
            "schedule_free_adamw", "prodigy", "shampoo", "soap",
        )
    ),
]  # fmt: skip
"""All but `lbfgs` and `rprop`, which are made for full batches."""


def supervised(data: Json, hidden: Sequence[int], **more: Any) -> Json:
    model = {"kind": "mlp", "hidden": list(hidden)} if hidden else {"kind": "linear"}
    return {"kind": "supervised", "data": data, "model": model, **more}


def builtin(name: str, **more: Any) -> Json:
    return {"kind": "builtin", "name": name, **more}


def synthetic(kind: str, **more: Any) -> Json:
    return {"kind": "synthetic", "generator": {"kind": kind, **more}}


PROBLEMS: Final[dict[str, tuple[Json, float]]] = {
    "digits": (supervised(builtin("digits"), [32]), 0.15),
    "moons": (supervised(synthetic("moons", noise=0.3), [16]), 0.3),
    "breast cancer, linear": (supervised(builtin("breast_cancer"), []), 0.1),
    "diabetes": (supervised(builtin("diabetes", scale_targets=True), [16]), 0.6),
    "spirals": (supervised(synthetic("spirals"), [32, 32]), 0.2),
    "sinusoid": (supervised(synthetic("sinusoid"), [32]), 0.1),
}
"""Problems by name, each with the evaluation loss that counts as reached."""


def study_of(
    problem: Json,
    target: float,
    kinds: Sequence[Json] = KINDS,
    rates: Sequence[float] = RATES,
    seeds: int = SEEDS,
    steps: int = STEPS,
) -> Json:
    """Return the study of one problem."""
    return {
        "base": {
            "problem": problem, "batch_size": 64, "budget": {"max_steps": steps},
            "record": {"every": 10, "eval_every": max(1, steps // 30)},
        },
        "sweep": {"optimizer": {"values": list(kinds)}, "optimizer.lr": {"values": list(rates)}},
        "repeats": seeds,
        "metric": {"name": "eval.loss", "at": "best", "target": target},
    }  # fmt: skip


def figures_of(comparison: Json) -> Json:
    """Return of a problem's comparison, by optimizer: the mean loss at each rate (None where a run
    was lost), the best rate with its interval, and the steps to the target of each seed at the rate
    that takes the fewest."""
    found: Json = {}
    rows = comparison["configurations"]
    for kind in sorted({row["params"]["optimizer"]["kind"] for row in rows}):
        own = [row for row in rows if row["params"]["optimizer"]["kind"] == kind]
        standing = [row for row in own if row["mean"] is not None]
        best = min(standing, key=lambda row: row["mean"], default=None)
        quick = min(own, key=lambda row: _middle(row["steps_to_target"]["by_repeat"]))
        found[kind] = {
            "lr": best and best["params"]["optimizer.lr"],
            "mean": best and best["mean"],
            "ci95": best and best["ci95"],
            "by_rate": {repr(row["params"]["optimizer.lr"]): row["mean"] for row in own},
            "steps": quick["steps_to_target"]["by_repeat"],
            "num_lost": sum(row["mean"] is None for row in own),
        }
    return found


def _middle(steps: Sequence[float | None]) -> float:
    return median(math.inf if each is None else each for each in steps)


def measured(client: Client, studies: Mapping[str, Json]) -> Json:
    """Have all studies trained, and return the figures of each by the problem's name."""
    begun = {name: client.studies.create(study) for name, study in studies.items()}  # type: ignore[arg-type]
    found = {}
    for name, study in begun.items():
        study.wait(progress=sys.stderr.isatty())
        found[name] = figures_of(study.comparison())
    return found


# --- what follows from the figures


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(math.fsum(map(math.log, values)) / len(values))


def overall(figures: Json, kind: str) -> float:
    """Return an optimizer's loss over the reference's, each at its best rate: the geometric mean
    over the problems; infinite where it has none."""
    ratios = []
    for of in figures.values():
        if of[kind]["mean"] is None:
            return math.inf
        ratios.append(of[kind]["mean"] / of[REFERENCE]["mean"])
    return geometric_mean(ratios)


def off_by_ten(figures: Json) -> float:
    """Return what a rate ten times too low or too high costs the reference: its loss there over
    that at its best rate, the geometric mean over problems and sides; a lost run counts as 10."""
    ratios = []
    for of in figures.values():
        own = of[REFERENCE]
        for rate in (own["lr"] / 10, own["lr"] * 10):
            near = [lr for lr in own["by_rate"] if math.isclose(float(lr), rate, rel_tol=0.2)]
            if near:
                there = own["by_rate"][near[0]]
                ratios.append(10.0 if there is None else there / own["mean"])
    return geometric_mean(ratios) if ratios else 1.0


def within(figures: Json, kind: str, factor: float) -> float:
    """Return the share of the instances (a problem with a seed) in which an optimizer reached the
    target within `factor` times the steps of the quickest (Dolan and Moré 2002)."""
    hits = total = 0
    for of in figures.values():
        for seed, own in enumerate(of[kind]["steps"]):
            steps = [each["steps"][seed] for each in of.values()]
            fewest = min((each for each in steps if each is not None), default=None)
            total += 1
            hits += fewest is not None and own is not None and own <= factor * max(fewest, 1)
    return hits / total


def sentence(figures: Json) -> str:
    """Say what the figures bear out."""
    kinds = sorted(next(iter(figures.values())))
    others = {kind: overall(figures, kind) for kind in kinds if kind != REFERENCE}
    close = sum(1 / 1.1 <= each <= 1.1 for each in others.values())
    first, best = min(others.items(), key=lambda item: item[1])
    middle, rate = median(others.values()), off_by_ten(figures)
    spread = max(middle, 1 / middle)
    verdict = (
        "Here the rate mattered more than the optimizer"
        if rate > spread
        else "Here the optimizer mattered more than the rate"
    )
    return (
        f"**{verdict}.** Of {len(others)} optimizers beside `{REFERENCE}`, {close} came within 10 %"
        f" of its loss, each at its own best rate (geometric mean over {len(figures)} problems);"
        f" the best, `{first}`, to {best:.2f} times it, and the one in the middle to"
        f" {middle:.2f} times. `{REFERENCE}` itself, at a rate ten times too low or too high, came"
        f" to {rate:.2f} times."
    )


def spreads(figures: Json) -> str:
    """Say by how much the worst loss lies above the best on each problem."""
    found = []
    for name, of in figures.items():
        means = [own["mean"] for own in of.values() if own["mean"] is not None]
        found.append(f"{name} {max(means) / min(means):.2f}")
    return f"The worst of them over the best, problem by problem: {', '.join(found)}."


def rendered(figures: Json) -> str:
    """Write the part of the page that follows from the figures."""
    kinds = sorted(next(iter(figures.values())), key=lambda kind: overall(figures, kind))
    lines = [*textwrap.wrap(f"{sentence(figures)} {spreads(figures)}", 110), ""]
    lines += [
        f"| optimizer | {' | '.join(figures)} | times `{REFERENCE}` |",
        f"|---|{'---|' * len(figures)}---|",
    ]
    for kind in kinds:
        cells = [_cell(of[kind]) for of in figures.values()]
        lines.append(f"| `{kind}` | {' | '.join(cells)} | {_number(overall(figures, kind))} |")
    lines += ["", "Share of the problems and seeds in which the target was reached within τ times"]
    lines += ["the steps of the quickest:", ""]
    lines += [
        f"| optimizer | {' | '.join(f'τ = {factor:g}' for factor in FACTORS)} |",
        f"|---|{'---|' * len(FACTORS)}",
    ]
    by_share = sorted(kinds, key=lambda kind: [-within(figures, kind, each) for each in FACTORS])
    for kind in by_share:
        shares = (f"{within(figures, kind, factor):.2f}" for factor in FACTORS)
        lines.append(f"| `{kind}` | {' | '.join(shares)} |")
    return "\n".join(lines) + "\n"


def _cell(own: Json) -> str:
    if own["mean"] is None:
        return "no rate without lost runs"
    low, high = own["ci95"] or (own["mean"], own["mean"])
    return f"{own['mean']:.3g} ({low:.3g} to {high:.3g}) at {own['lr']:g}"


def _number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "none"


def page_with(text: str, figures: Json) -> str:
    """Return the page with the part between the marks written anew."""
    head, rest = text.split(BEGIN)
    return head + BEGIN + rendered(figures) + END + rest.split(END)[1]


@contextmanager
def service(url: str | None) -> Iterator[Client]:
    """Connect to a service; without an address to one with two workers that ends afterwards."""
    if url is not None:
        with Client(url) as client:
            yield client
        return
    from rich.console import Console

    from thalweg_service import demo

    console = Console(stderr=True)
    with demo.service(console, "--workers", "2") as address, Client(address) as client:
        yield client


def main() -> None:
    """Train, unless the figures are there, and write figures and page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--url", help="a service that runs (default: start one)")
    parser.add_argument("--from-file", action="store_true", help="write the page alone")
    asked = parser.parse_args()
    if not asked.from_file:
        studies = {name: study_of(*of) for name, of in PROBLEMS.items()}
        with service(asked.url) as client:
            figures = measured(client, studies)
        FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
    figures = json.loads(FIGURES.read_text())
    PAGE.write_text(page_with(PAGE.read_text(), figures))
    sys.stdout.write(f"{sentence(figures)}\n")


if __name__ == "__main__":
    main()
