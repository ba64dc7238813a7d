"""What the page shows of numbers, classes and failures, in a real browser."""

from typing import Any, Final

import pytest
from playwright.sync_api import Route, expect

from tests.e2e.browser import Reader, needs_browser
from tests.e2e.client import Service
from tests.e2e.specs import IRIS, VALLEY
from tests.e2e.studies import Studies

pytestmark = [needs_browser, pytest.mark.timeout(900)]
LARGEST_SEED: Final = 2**63 - 1
FITS: Final = """values => values.every(each => {
    const { right } = each.getBoundingClientRect();
    return right <= each.closest("td").getBoundingClientRect().right + 1;
})"""
"""Whether values end within their cells."""


def test_a_spec_is_cloned_to_the_digit_and_told_in_either_language(
    reader: Reader, service: Service
) -> None:
    page = reader.page
    job = service.run({
        "problem": {**VALLEY, "start": [3, -0.0]}, "optimizer": {"kind": "sgd", "lr": 0.06},
        "budget": {"max_steps": 300}, "seed": LARGEST_SEED, "labels": {"numbers": "small"},
    })  # fmt: skip
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/jobs?label=numbers:small")
    values = page.locator(".spark-value")
    expect(values).to_contain_text("e\N{MINUS SIGN}")
    assert values.evaluate_all(FITS)
    page.goto(f"/jobs/{job['id']}")
    legend = page.locator(".legend").first
    expect(legend).to_contain_text("training")
    page.get_by_role("button", name="中文").click()
    expect(legend).to_contain_text("训练")
    expect(page.locator(".code")).to_contain_text(f'"seed": {LARGEST_SEED}')
    page.get_by_role("link", name="复制并编辑").first.click()
    expect(page.locator(".good-text")).to_be_visible()
    page.locator(".editor .primary").click()
    page.wait_for_url(lambda url: "/jobs/job_" in url)
    clone = service.wait(page.url.rsplit("/", 1)[1])
    assert clone["spec"]["seed"] == LARGEST_SEED
    assert clone["spec"] == job["spec"]
    assert str(clone["spec"]["problem"]["start"][1]) == "-0.0"


def test_the_rows_held_back_have_their_metrics_and_their_confusion(
    reader: Reader, service: Service
) -> None:
    page = reader.page
    split = {"kind": "fraction", "eval": 0.2, "test": 0.3}
    data = {"kind": "builtin", "name": "iris", "split": split}
    metrics = [{"kind": "accuracy"}, {"kind": "confusion_matrix"}]
    job = service.run({
        "problem": {**IRIS, "data": data},
        "optimizer": {"kind": "adam", "lr": 0.1}, "budget": {"max_steps": 100},
        "record": {"metrics": metrics},
    })  # fmt: skip
    final = job["result"]["test"]["final"]
    page.goto(f"/jobs/{job['id']}")
    table = page.get_by_role("region", name="Test", exact=True)
    expect(table).to_contain_text("45 rows held out")
    expect(table).to_contain_text(f"{final['accuracy']:.4g}")
    matrix = page.get_by_role("region", name="Confusion matrix: test, final weights")
    assert matrix.locator("tbody th").all_inner_texts() == job["data"]["classes"]
    cells = [int(each) for each in matrix.locator("tbody td").all_inner_texts()]
    assert cells == [n for row in final["confusion_matrix"] for n in row]
    right = sum(row[i] for i, row in enumerate(final["confusion_matrix"]))
    expect(matrix).to_contain_text(f"{right} of 45 right")
    assert list(reader.violations()) == []


def test_configurations_are_told_apart_by_kind_and_by_digit(
    reader: Reader, service: Service
) -> None:
    page = reader.page
    optimizers = [
        {"kind": "adam", "lr": 0.1},
        *({"kind": "sgd", "lr": lr} for lr in (0.1, 0.10001)),
    ]
    study = Studies(service).run({
        "base": {"problem": IRIS, "optimizer": {"kind": "sgd"}, "budget": {"max_steps": 20}},
        "sweep": {"optimizer": {"values": optimizers}}, "metric": {"name": "loss", "at": "final"},
    })  # fmt: skip
    page.goto(f"/studies/{study['id']}")
    names = page.locator("table.compared").first.locator("tbody td:nth-child(2)")
    expect(names).to_have_count(3)
    told = {each.removesuffix("leads").strip() for each in names.all_inner_texts()}
    assert told == {"adam, lr 0.1", "sgd, lr 0.1", "sgd, lr 0.10001"}
    dots = page.locator(".dot-of")
    expect(dots).to_have_count(2)  # of sgd
    dots.first.focus()
    page.keyboard.press("ArrowRight")
    expect(dots.last).to_be_focused()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('.dial') === null")


@pytest.mark.parametrize("path", ["/jobs", "/studies/study_01k00000000000000000000000"])
def test_a_failure_that_stays_can_be_tried_again(reader: Reader, path: str) -> None:
    page = reader.page
    reader.expects_404 = True

    def fail(route: Route) -> None:
        problem: Any = {"title": "Internal error", "status": 500, "detail": "It broke."}
        route.fulfill(status=500, json=problem, content_type="application/problem+json")

    page.route("**/v1/*?**", fail)
    page.route("**/v1/studies/**", fail)
    page.goto(path)
    again = page.get_by_role("button", name="Try again")
    expect(page.get_by_role("alert")).to_contain_text("It broke.")
    again.click()
    expect(again).to_be_visible()  # it broke again
    page.unroute_all()
    again.click()
    expect(again).to_have_count(0)
    expect(page.locator("tbody tr, .empty").first).to_be_visible()
    assert all("500" in each for each in reader.faults)
    reader.faults.clear()
