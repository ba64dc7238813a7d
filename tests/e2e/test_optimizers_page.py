"""The page that compares optimizers says what its command found, and the command finds what the
service's comparison says."""

import importlib.util
import json
import math
from pathlib import Path
from types import ModuleType

import pytest

from tests.e2e.client import Service
from thalweg import Client

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/optimizers_docs.py"


@pytest.fixture(scope="module")
def docs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("optimizers_docs", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_written_from_its_figures(docs: ModuleType) -> None:
    figures = json.loads(docs.FIGURES.read_text())
    page = docs.PAGE.read_text()
    assert docs.page_with(page, figures) == page, "run python scripts/optimizers_docs.py"
    assert figures.keys() == docs.PROBLEMS.keys()
    for of in figures.values():
        assert of.keys() == {kind["kind"] for kind in docs.KINDS}
        for own in of.values():
            assert sorted(map(float, own["by_rate"])) == docs.RATES
            assert own["lr"] is None or own["by_rate"][repr(own["lr"])] == own["mean"]


def test_a_small_case_says_what_its_studies_say(docs: ModuleType, service: Service) -> None:
    kinds = [kind for kind in docs.KINDS if kind["kind"] in {"sgd", "adamw"}]
    study = docs.study_of(*docs.PROBLEMS["moons"], kinds, [0.01, 0.1], 1, 20)
    with Client(str(service.http.base_url)) as client:
        figures = docs.measured(client, {"moons": study})
    best: dict[str, float] = {}
    for kind in kinds:
        name = kind["kind"]
        for lr in (0.01, 0.1):
            job = service.run({**study["base"], "optimizer": {**kind, "lr": lr}})
            loss = job["best"]["loss"]
            assert figures["moons"][name]["by_rate"][repr(lr)] == pytest.approx(loss, rel=1e-4)
            best[name] = min(loss, best.get(name, math.inf))
    ratio = best["sgd"] / best["adamw"]
    assert docs.overall(figures, "sgd") == pytest.approx(ratio, rel=1e-4)
    assert f"| {ratio:.2f} |" in docs.rendered(figures)
    assert f"to {ratio:.2f} times it" in docs.sentence(figures)
    assert f"moons {max(ratio, 1 / ratio):.2f}." in docs.spreads(figures)


def test_shares_and_costs_of_the_rate_by_hand(docs: ModuleType) -> None:
    def own(lr: float, by_rate: dict[float, float | None], steps: list[int | None]) -> object:
        rates = {repr(rate): mean for rate, mean in by_rate.items()}
        return {"lr": lr, "mean": by_rate[lr], "ci95": None, "by_rate": rates, "steps": steps}

    figures = {
        "a": {
            "adamw": own(0.1, {0.01: 4.0, 0.1: 2.0, 1.0: None}, [10, 30]),
            "sgd": own(1.0, {0.1: 3.0, 1.0: 1.0}, [20, None]),
        }
    }
    assert docs.overall(figures, "sgd") == 0.5
    assert docs.off_by_ten(figures) == pytest.approx(math.sqrt(2 * 10))
    shares = {
        kind: [docs.within(figures, kind, tau) for tau in (1, 2)] for kind in ("sgd", "adamw")
    }
    assert shares == {"sgd": [0.0, 0.5], "adamw": [1.0, 1.0]}
    assert "the rate mattered more" in docs.sentence(figures)
