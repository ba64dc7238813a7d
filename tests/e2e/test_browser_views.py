"""Comparison, studies and predictions on the page, in a real browser."""

from collections.abc import Iterator
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.browser import Reader, browsing, needs_browser
from tests.e2e.client import Json, Service

pytestmark = [needs_browser, pytest.mark.timeout(900)]
IRIS: Final = {
    "kind": "supervised",
    "data": {"kind": "builtin", "name": "iris"},
    "model": {"kind": "linear"},
}
STUDY: Final = {
    "name": "rates",
    "base": {"problem": IRIS, "optimizer": {"kind": "sgd"}, "budget": {"max_steps": 60}},
    "sweep": {"optimizer.lr": {"log": [1e-5, 1e30], "count": 8}},
    "repeats": 2,
    "metric": {"name": "loss", "at": "final"},
}
expect.set_options(timeout=90_000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as started:
        yield started


@pytest.fixture(params=["light", "dark"])
def reader(browser: Browser, service: Service, request: pytest.FixtureRequest) -> Iterator[Reader]:
    theme: Any = request.param
    made = Reader(browser, str(service.http.base_url), locale="en-GB", color_scheme=theme)
    yield made
    made.context.close()
    assert made.faults == []


@pytest.fixture(scope="module")
def study(service: Service) -> Json:
    """A study that has ended: some rates crawl, some are good, some diverge."""
    reply = service.http.post("/v1/studies", json=STUDY)
    assert reply.status_code == 202, reply.text
    path = f"/v1/studies/{reply.json()['id']}"
    while (found := service.http.get(path, params={"wait": 30}).json())["finished_at"] is None:
        pass
    return dict(found)


@pytest.fixture(scope="module")
def jobs(service: Service) -> list[str]:
    """Two jobs that differ by their rate."""
    found = []
    for lr in (0.01, 0.1):
        job = {"problem": IRIS, "optimizer": {"kind": "sgd", "lr": lr}, "name": f"rate {lr}"}
        found.append(service.run({**job, "budget": {"max_steps": 40}})["id"])
    return found


def test_marked_jobs_are_compared_and_one_is_the_baseline(reader: Reader, jobs: list[str]) -> None:
    page = reader.page
    page.goto("/jobs")
    for lr in (0.01, 0.1):
        page.get_by_label(f"Compare rate {lr}").first.check()
    page.get_by_role("link", name="Compare").last.click()
    expect(page.get_by_role("heading", name="2 jobs compared")).to_be_visible()
    expect(page.locator(".chart-canvas canvas")).to_be_visible()
    table = page.locator("table.compared")
    expect(table).to_contain_text("optimizer.lr")
    page.get_by_label("Compare the others with rate 0.01").check()
    expect(table.locator(".change").first).to_contain_text("%")
    assert f"baseline={jobs[0]}" in page.url
    with page.expect_download() as saved:
        page.get_by_role("button", name="CSV").click()
    lines = saved.value.path().read_text().splitlines()
    assert sorted(lines[0].split(",")) == sorted(["step", *jobs])
    assert len(lines) == 42  # names, 40 steps, and the weights at the end
    assert list(reader.violations()) == []


def test_a_study_says_its_answer_and_its_dial_lights_a_curve(reader: Reader, study: Json) -> None:
    page = reader.page
    page.goto("/jobs")
    page.get_by_role("link", name="rates").first.click()
    expect(page.locator(".answer-word")).to_be_visible()
    dots = page.locator(".dot-of")
    expect(dots).to_have_count(8)
    zones = [dots.nth(n).get_attribute("class") or "" for n in range(8)]
    assert "zone-crawl" in zones[0]
    assert "zone-diverge" in zones[-1]
    assert any("zone-good" in each for each in zones)
    dots.nth(2).focus()
    expect(page.locator(".dot-of.is-lit")).to_have_count(1)
    expect(page.locator("table.compared").first).to_contain_text("leads")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert list(reader.violations()) == []


def test_pasted_rows_are_predicted_and_mistakes_are_told(reader: Reader, jobs: list[str]) -> None:
    page = reader.page
    page.goto(f"/jobs/{jobs[1]}")
    rows = page.get_by_label("Rows to predict")
    rows.fill("5.1,3.5\n6.7")
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_role("alert")).to_contain_text("line 2: 1 cells, not 2")
    rows.fill("5.1,3.5,1.4,0.2\n6.7,3.0,5.2,2.3")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".predict table")).to_contain_text("setosa")
    expect(page.locator(".predict table tbody tr")).to_have_count(2)
    assert list(reader.violations()) == []
