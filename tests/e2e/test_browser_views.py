"""Comparison, studies, predictions and the playground on the page, in a real browser."""

from collections.abc import Iterator
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.browser import Reader, needs_browser, reading
from tests.e2e.client import Json, Service
from tests.e2e.specs import IRIS
from tests.e2e.studies import Studies
from tests.thalweg_service.running import until

pytestmark = [needs_browser, pytest.mark.timeout(900)]
STUDY: Final = {
    "name": "rates",
    "base": {"problem": IRIS, "optimizer": {"kind": "sgd"}, "budget": {"max_steps": 60}},
    "sweep": {"optimizer.lr": {"log": [1e-5, 1e30], "count": 8}},
    "repeats": 2,
    "metric": {"name": "loss", "at": "final"},
}


@pytest.fixture(params=["light", "dark"])
def reader(browser: Browser, service: Service, request: pytest.FixtureRequest) -> Iterator[Reader]:
    theme: Any = request.param
    with reading(browser, service, color_scheme=theme) as opened:
        yield opened


@pytest.fixture(scope="module")
def study(service: Service) -> str:
    """A study that has ended: some rates crawl, some are good, some diverge."""
    return ended(service, STUDY)


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


def test_with_nothing_marked_the_comparison_says_how_and_asks_nothing(reader: Reader) -> None:
    page = reader.page
    for path in ("/compare", "/compare?job=job_one"):
        page.goto(path)
        expect(page.locator(".empty")).to_contain_text("Mark two jobs or more")
        expect(page.locator(".foot")).to_contain_text("Thalweg 0")  # no request is under way


def test_a_study_says_its_answer_and_its_dial_lights_a_curve(reader: Reader, study: str) -> None:
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
    until(lambda: paths.evaluate(INK) > empty + 200)
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


CURVATURE: Final = 10.0


def ended(service: Service, body: Json) -> str:
    """POST a study and wait for its end; return the path of its page."""
    studies = Studies(service)
    return f"/studies/{studies.wait(studies.post(body))['id']}"


def swept(function: Json, sweep: Json) -> Json:
    """Gradient descent from (3, 2) on a function, some of it swept."""
    problem = {"kind": "function", "function": function, "start": [3.0, 2.0]}
    budget = {"max_steps": 600}
    base = {"problem": problem, "optimizer": {"kind": "sgd", "lr": 0.01}, "budget": budget}
    return {"base": base, "sweep": sweep, "metric": {"name": "loss", "at": "final"}}


@pytest.fixture(scope="module")
def map_of_rates(service: Service) -> str:
    """Rates on both sides of the edge of stability of each momentum."""
    sweep = {
        "optimizer.lr": {"log": [0.05, 0.5], "count": 11},
        "optimizer.momentum": {"linear": [0, 0.9], "count": 4},
    }
    quadratic = {"kind": "quadratic", "eigenvalues": [1, CURVATURE], "rotation_seed": 1}
    return ended(service, swept(quadratic, sweep))


@pytest.fixture(scope="module")
def map_of_starts(service: Service) -> str:
    """Starts on a grid, on a function with a minimum in each quadrant."""
    places = (-4.0, -2.0, 2.0, 4.0)
    starts = [[x, y] for x in places for y in places]
    return ended(service, swept({"kind": "himmelblau"}, {"problem.start": {"values": starts}}))


def number(text: str) -> float:
    return float(text.replace("\N{MINUS SIGN}", "-"))


def table_of(page: Page) -> dict[tuple[float, float], str]:
    """The words of a map's table, by (x, y)."""
    page.get_by_text("As a table").click()
    rows = page.locator(".map-table tr")
    expect(rows.first).to_be_visible()
    cells = [row.locator("th, td").all_inner_texts() for row in rows.all()]
    xs = [number(cell) for cell in cells[0][1:]]
    return {
        (x, number(row[0])): words
        for row in cells[1:]
        for x, words in zip(xs, row[1:], strict=True)
    }


def test_the_edge_of_stability_parts_the_runs_of_a_map(reader: Reader, map_of_rates: str) -> None:
    page = reader.page
    page.goto(map_of_rates)
    expect(page.get_by_role("application", name="loss (last) by lr and momentum")).to_be_visible()
    # All in one look: the map is drawn anew as soon as it knows its width.
    width, height, path = page.locator(".map").evaluate(
        """map => [map.querySelector(".map-cells").style.width,
            map.querySelector(".map-cells").style.height,
            map.querySelector(".map-edge").getAttribute("d")]"""
    )
    across, up = (float(size.removesuffix("px")) for size in (width, height))
    expect(page.locator(".map-key")).to_contain_text("= 10")
    # Cells reach half a step beyond the ends: 0.05 · 10^(-1/20) to 0.5 · 10^(1/20), -0.15 to 1.05.
    points = [tuple(map(float, each.split())) for each in path[1:].split("L")]
    assert len(points) > 50
    for x, y in points:
        rate = 0.05 * 10 ** (-0.05 + 1.1 * x / across)
        momentum = 1.05 - 1.2 * y / up
        assert rate == pytest.approx((2 + 2 * momentum) / CURVATURE, rel=0.005)
    words = table_of(page)
    card = page.get_by_role("region", name="Map", exact=True)
    assert card.evaluate("card => card.scrollWidth <= card.clientWidth")  # the table scrolls
    assert len(words) == 44
    assert {told == "diverged" for told in words.values()} == {True, False}
    for (rate, momentum), told in words.items():
        is_beyond = rate > (2 + 2 * momentum) / CURVATURE
        assert (told == "diverged") == is_beyond, (rate, momentum)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert list(reader.violations()) == []


def test_a_cell_of_a_map_lights_its_run_by_keys_and_pointer(
    reader: Reader, map_of_rates: str
) -> None:
    page = reader.page
    page.goto(map_of_rates)
    cells = page.get_by_role("application", name="loss (last) by lr and momentum")
    canvas = page.locator(".map-frame canvas")
    expect(canvas).to_be_visible()
    until(lambda: canvas.evaluate(INK) > 0)
    said = page.locator(".map-words")
    cells.press("ArrowRight")
    expect(said).to_contain_text("lr 0.05, momentum 0:")
    cells.press("ArrowUp")
    expect(said).to_contain_text("lr 0.05, momentum 0.3:")
    expect(page.locator(".map-lit")).to_have_count(1)
    cells.press("Escape")
    expect(page.locator(".map-lit")).to_have_count(0)
    cells.hover(position={"x": 3, "y": 3})
    expect(said).to_contain_text("lr 0.05, momentum 0.9:")
    page.get_by_label("Parameter", exact=True).select_option(label="momentum")
    expect(page.locator(".dot-of")).to_have_count(4)
    assert "dial=optimizer.momentum" in page.url


def test_basins_are_told_by_the_minimum_that_each_start_leads_to(
    reader: Reader, map_of_starts: str
) -> None:
    page = reader.page
    page.goto(map_of_starts)
    expect(page.get_by_role("heading", name="The minimum that each start leads to")).to_be_visible()
    expect(page.locator(".map-mark")).to_have_count(4)
    expect(page.locator(".map-key li")).to_have_count(4)
    words = table_of(page)
    assert len(words) == 16
    for start, minimum in {
        (4.0, 2.0): "(3, 2)",
        (4.0, -2.0): "(3.58, \N{MINUS SIGN}1.85)",
        (-4.0, -4.0): "(\N{MINUS SIGN}3.78, \N{MINUS SIGN}3.28)",
        (-2.0, 4.0): "(\N{MINUS SIGN}2.81, 3.13)",
    }.items():
        assert words[start].endswith(minimum)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert list(reader.violations()) == []
