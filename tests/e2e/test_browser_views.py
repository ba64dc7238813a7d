"""Comparison, studies, predictions and the playground on the page, in a real browser."""

from collections.abc import Iterator
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.browser import Reader, needs_browser
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


RACE: Final = "/play?f=saddle&n=60&o=sgd,lr=0.1&o=sgd,lr=0.1,momentum=0.5"
INK: Final = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return data.filter((alpha, at) => at % 4 === 3 && alpha > 0).length;
}"""
"""The number of pixels that something is drawn on."""


def test_two_optimizers_race_and_each_is_a_job(reader: Reader, service: Service) -> None:
    page = reader.page
    known = service.http.get("/v1/jobs", params={"limit": 1}).json()["data"]
    page.goto(RACE)
    contour = page.get_by_role("application")
    expect(contour).to_be_visible()
    paths = page.locator(".contour-paths canvas")
    empty = paths.evaluate(INK)
    assert service.http.get("/v1/jobs", params={"limit": 1}).json()["data"] == known
    contour.press("Enter")
    rows = page.locator(".play-ends tbody tr")
    expect(rows).to_have_count(2)
    for name, row in (("Gradient descent", rows.nth(0)), ("Momentum", rows.nth(1))):
        expect(row).to_contain_text(name)
        expect(row).to_contain_text("saddle point")  # no step leaves the ridge
        expect(row.locator("td").nth(1)).to_have_text("60")
    expect(page.locator(".play-end")).to_contain_text("least −2, largest 2")
    expect(page.locator(".slices path")).to_have_count(2)
    assert paths.evaluate(INK) > empty + 200
    page.get_by_label("Step that is shown").fill("1")
    expect(rows.nth(0).locator("td").nth(2)).to_have_text("1.638")  # (1.6 · 0.8)²
    page.reload()  # the address has the race
    expect(rows.nth(1)).to_contain_text("saddle point")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert list(reader.violations()) == []


def test_the_start_moves_by_keys_and_a_formula_is_checked(reader: Reader) -> None:
    page = reader.page
    page.goto("/play?e=x**2%2By**2&s=1,1")
    contour = page.get_by_role("application")
    contour.press("ArrowRight")
    contour.press("ArrowUp")
    expect(page.get_by_label("Start x")).to_have_value("1.12")
    page.wait_for_url("**s=1.12%2C1.12")
    formula = page.get_by_role("textbox", name="Formula of x and y")
    formula.fill("x**2 + y**")
    expect(page.get_by_role("alert")).to_contain_text("function.expression")
    formula.fill("x**2 + y**4")
    expect(page.get_by_role("alert")).to_have_count(0)
    page.get_by_label("Gradient descent 1: lr").fill("-1")
    page.get_by_label("Gradient descent 1: lr").press("Tab")
    page.get_by_role("button", name="Race").click()
    expect(page.get_by_role("alert")).to_contain_text("optimizer.lr")
    assert "job=" not in page.url
    assert all("422" in each for each in reader.faults)  # the browser notes each refusal
    reader.faults.clear()
