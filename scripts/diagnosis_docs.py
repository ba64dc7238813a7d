"""Write what docs/diagnosis.md shows of the code: `python scripts/diagnosis_docs.py [--rules]`.

Writes the table of rules between its marks (with `--rules` that alone, which needs no torch), and a
picture of a run for each main verdict and for each rule: its loss, logarithmic where it can be.
"""

import re
import sys
import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np

Json = dict[str, Any]

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = ROOT / "docs" / "pictures"
PAGE: Final = ROOT / "docs" / "diagnosis.md"
BEGIN: Final = "<!-- rules: written by scripts/diagnosis_docs.py -->\n"
END: Final = "<!-- end of rules -->\n"
MOST_BYTES: Final = 60_000

PICTURES: Final = {
    "diverging": "gradient descent at 1.01 of its threshold, diagonal",
    "oscillating": "gradient descent from wall to wall, diagonal",
    "saddle_point": "saddle: double well, gradient descent",
    "local_minimum": "rastrigin from [2.2, 3.1]",
    "converged": "gradient descent at 0.9 of its threshold, diagonal",
    "plateau": "vanishing: 6 sigmoid layers on digits",
    "too_slow": "gradient descent with condition number 1e4",
    "overfitting": "overfitting: noisy moons",
    "noise_limited": "noise: least squares, batch 1",
    "healthy": "healthy: adam on digits",
}


_DIGITS: Final = {"kind": "builtin", "name": "digits"}


def _minimize(eigenvalues: list[float], start: list[float], optimizer: Json, steps: int) -> Json:
    function = {"kind": "quadratic", "eigenvalues": eigenvalues}
    return {
        "problem": {"kind": "function", "function": function, "start": start},
        "optimizer": optimizer,
        "budget": {"max_steps": steps},
    }


def _classify(model: Json, optimizer: Json) -> Json:
    return {
        "problem": {"kind": "supervised", "data": _DIGITS, "model": {"kind": "mlp", **model}},
        "optimizer": optimizer,
        "budget": {"max_steps": 300},
    }


RARE: Final = {
    "no_minimum": _minimize([1.0, -0.1], [1.0, 1.0], {"kind": "sgd", "lr": 0.1}, 60),
    "straight_path": _minimize([1.0, 4.0], [5.0, 5.0], {"kind": "adam", "lr": 0.001}, 300),
    "edge_of_stability": {
        "problem": {"kind": "function", "function": {"kind": "ackley"}, "start": [3.0, 2.0]},
        "optimizer": {"kind": "sgd", "lr": 1.0},
        "budget": {"max_steps": 300},
    },
    "bouncing": _classify({"hidden": [64]}, {"kind": "sgd", "lr": 3.0}),
    "saturated_units": _classify(
        {"hidden": [32], "activation": "tanh", "init": {"kind": "normal", "std": 3.0}},
        {"kind": "sgd", "lr": 0.01},
    ),
}
"""Runs for rules that no case of the labelled set triggers, or shows as well."""


def rules() -> str:
    """The table of rules in Markdown."""
    from core.diagnosis.rules.table import RULES

    lines = ["| rule | triggers when | what it means | source | a run |", "|---|---|---|---|---|"]
    for rule in RULES:
        name = f"rule_{rule.id}.svg"
        run = f"[picture](pictures/{name})" if (FOLDER / name).is_file() else ""
        cells = (f"`{rule.id}`", rule.threshold, rule.why, rule.source, run)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def with_rules(page: str) -> str:
    """The page with the table as it is now."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + rules() + END + after


def main() -> None:
    sys.path.insert(0, str(ROOT))
    if "--rules" not in sys.argv:
        pictures()
        pictures_of_rules()
    PAGE.write_text(with_rules(PAGE.read_text()))


def pictures() -> None:
    """Train and draw."""
    warnings.simplefilter("ignore")
    from tests.core.diagnosis.labelled.running import all_cases, perform, resolved

    by_id = {case.id: case for case in all_cases()}
    FOLDER.mkdir(exist_ok=True)
    for verdict, name in PICTURES.items():
        run = perform(resolved(by_id[name].job))
        assert run.diagnosis["verdict"] == verdict, (name, run.diagnosis["verdict"])
        path = FOLDER / f"diagnosis_{verdict}.svg"
        draw(path, f"{verdict}: {name}", run.train, run.evaluation)
        assert path.stat().st_size <= MOST_BYTES, path


def pictures_of_rules() -> None:
    """Draw for each rule its own run, or the first case of the labelled set that triggers it."""
    from core.diagnosis.rules.table import RULES
    from tests.core.diagnosis.labelled.running import all_cases, perform, resolved

    missing = {rule.id for rule in RULES} - RARE.keys()
    for case in all_cases():
        if not missing:
            break
        run = perform(resolved(case.job))
        found = {
            finding["rule"]
            for finding in run.diagnosis["findings"]
            if finding["status"] == "triggered"
        }
        for rule in sorted(missing & found):
            draw(FOLDER / f"rule_{rule}.svg", f"{rule}: {case.id}", run.train, run.evaluation)
        missing -= found
    for rule, job in RARE.items():
        run = perform(resolved({**job, "diagnose": "full"}))
        draw(FOLDER / f"rule_{rule}.svg", rule.replace("_", " "), run.train, run.evaluation)


def draw(path: Path, title: str, train: dict[str, Any], evaluation: dict[str, Any] | None) -> None:
    """The loss curve, of at most 300 points, as an SVG that is the same on every run."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    with mpl.rc_context({"svg.hashsalt": "thalweg", "svg.fonttype": "none", "font.size": 9}):
        figure, axes = plt.subplots(figsize=(5, 2.4), layout="constrained")
        rows = np.unique(np.linspace(0, len(train["step"]) - 1, 300).astype(int))
        axes.plot(train["step"][rows], train["loss"][rows], lw=1, label="training")
        if evaluation is not None:
            axes.plot(evaluation["step"], evaluation["loss"], lw=1, label="evaluation")
            axes.legend(frameon=False)
        if (train["loss"][rows] > 0).all():
            axes.set_yscale("log")
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("step")
        axes.set_ylabel("loss")
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)
    text = path.read_text()
    path.write_text(re.sub(r"[ \t]+\n", "\n", text))


if __name__ == "__main__":
    main()
