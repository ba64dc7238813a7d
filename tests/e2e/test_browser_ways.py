"""Coming to the page, going from it and back, with the service there or not, in a real browser."""

import json
import re
from collections.abc import Iterator
from typing import Final

import pytest
from playwright.sync_api import Browser, Route, ViewportSize, expect

from tests.e2e.browser import Reader, needs_browser
from tests.e2e.client import Json, Service
from tests.e2e.specs import DIGITS, IRIS, SPHERE, VALLEY
from tests.e2e.studies import Studies

pytestmark = [needs_browser, pytest.mark.timeout(900)]
ENDLESS: Final = {
    "problem": IRIS, "optimizer": {"kind": "sgd", "lr": 0.01}, "batch_size": 16,
    "budget": {"max_steps": 5_000_000}, "record": {"every": 10, "eval_every": None},
}  # fmt: skip
DATA_CALLS: Final = "**/v1/**"


@pytest.fixture
def endless(service: Service) -> Iterator[Json]:
    """A job that trains until the test ends."""
    job = service.post(ENDLESS)
    yield job
    service.http.post(f"/v1/jobs/{job['id']}/cancel")
    service.wait(job["id"])


@pytest.fixture(scope="module")
def pair(service: Service) -> list[str]:
    return [
        service.run({
            "problem": problem, "optimizer": {"kind": "sgd", "lr": 0.01}, "name": name,
            "budget": {"max_steps": 20},
        })["id"]
        for name, problem in (("on data", IRIS), ("on a function", SPHERE))
    ]  # fmt: skip


@pytest.fixture(scope="module")
def halved(service: Service) -> str:
    """A study whose stopper has stopped some runs early, and in which others diverged."""
    rates = {"log": [0.001, 30], "count": 9}
    study = Studies(service).run({
        "base": {"problem": DIGITS, "optimizer": {"kind": "sgd"}, "budget": {"max_steps": 300}},
        "sweep": {"optimizer.lr": rates}, "metric": {"name": "eval.loss", "at": "final"},
        "strategy": {"kind": "grid", "stopper": {"kind": "successive_halving"}},
    })  # fmt: skip
    return str(study["id"])


def unreachable(route: Route) -> None:
    route.abort()


def away(reader: Reader) -> None:
    """Let no call of the page reach the service."""
    reader.page.route(DATA_CALLS, unreachable)


def back(reader: Reader) -> None:
    """Let calls through again. The browser notes each that failed."""
    reader.page.unroute(DATA_CALLS, unreachable)
    reader.faults[:] = [each for each in reader.faults if "ERR_FAILED" not in each]


def test_a_view_opened_while_the_service_is_away_is_there_once_it_is_back(
    reader: Reader, service: Service, pair: list[str], halved: str
) -> None:
    page = reader.page
    curve = ".chart-canvas canvas"
    for path, shown in {
        "/jobs": "tbody tr",
        f"/jobs/{pair[0]}": curve,
        f"/studies/{halved}": curve,
        f"/compare?job={pair[0]}&job={pair[1]}": curve,
        f"/play?job={pair[1]}": ".play-ends .verdict",
        "/jobs?new": ".good-text",
    }.items():
        away(reader)
        page.goto(path)
        expect(page.get_by_text("does not answer").first).to_be_visible()
        back(reader)
        expect(page.locator(shown).first).to_be_visible()
        expect(page.get_by_text("does not answer")).to_have_count(0)
    back(reader)


def test_a_comparison_stays_while_the_service_is_away(
    reader: Reader, pair: list[str], endless: Json
) -> None:
    page = reader.page
    page.goto(f"/compare?job={pair[0]}&job={endless['id']}")
    expect(page.locator(".chart-canvas canvas")).to_be_visible()
    expect(page.locator(".live-state")).to_have_text("live")
    away(reader)  # but the stream goes on, and asks for the comparison anew
    banner = page.get_by_role("alert")
    expect(banner).to_contain_text("tried again")
    expect(page.locator(".chart-canvas canvas")).to_be_visible()
    back(reader)
    expect(banner).to_have_count(0)
    expect(page.locator("tbody tr")).to_have_count(2)


def test_a_comparison_that_is_refused_says_what_else_to_ask(
    reader: Reader, pair: list[str]
) -> None:
    page = reader.page
    reader.expects_404 = True
    asked = f"/compare?job={pair[0]}&job={pair[1]}"
    page.goto(f"{asked}&job=job_01k00000000000000000000000&baseline=job_01k00000000000000000000000")
    page.get_by_role("button", name="Take out").click()
    expect(page.get_by_role("heading", name="2 jobs compared")).to_be_visible()
    page.goto(f"{asked}&x=epoch")
    page.get_by_role("button", name="Compare by steps").click()
    expect(page.get_by_role("heading", name="2 jobs compared")).to_be_visible()
    assert all("422" in each for each in reader.faults)  # the browser notes each refusal
    reader.faults.clear()


def test_going_back_finds_list_scroll_and_range_as_they_were(
    reader: Reader, service: Service
) -> None:
    page = reader.page
    spec = {"problem": SPHERE, "optimizer": {"kind": "sgd"}, "device": "cuda"}  # they only wait
    label = {"labels": {"back": "yes"}}
    waiting = [service.post({**spec, **label})["id"] for _ in range(60)]
    page.set_viewport_size({"width": 900, "height": 500})
    page.goto("/jobs?label=back:yes")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(50)
    page.get_by_role("button", name="Show more").click()
    expect(rows).to_have_count(60)
    rows.nth(55).scroll_into_view_if_needed()
    page.wait_for_function("() => history.state?.scroll === Math.round(scrollY)")
    scrolled = page.evaluate("scrollY")
    assert scrolled > 1000
    for leave in (lambda: rows.nth(55).locator(".row-link").click(), page.go_forward):
        leave()
        expect(page.locator("article.job")).to_be_visible()
        page.go_back()
        expect(rows).to_have_count(60)
        page.wait_for_function(f"() => scrollY === {scrolled}")
    for job_id in waiting:
        service.http.post(f"/v1/jobs/{job_id}/cancel")

    long = service.run({
        "problem": SPHERE, "optimizer": {"kind": "sgd", "lr": 1e-4}, "budget": {"max_steps": 9_000},
    })  # fmt: skip
    page.goto(f"/jobs/{long['id']}")
    note = page.locator(".chart-note").first
    expect(note).to_contain_text("of 9,000 points")
    page.locator(".chart-canvas").first.press("+")
    expect(note).to_contain_text("Every point of this range")
    page.get_by_role("link", name="Jobs", exact=True).first.click()
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
    page.go_back()
    expect(note).to_contain_text("Every point of this range")
    page.reload()
    expect(note).to_contain_text("Every point of this range")


def test_a_draft_is_there_after_a_start_and_a_reload(reader: Reader) -> None:
    page = reader.page
    page.goto("/jobs?new")
    field = page.get_by_role("textbox", name="Spec")
    problem = {"kind": "function", "function": {"kind": "booth"}, "start": [1, 1]}
    optimizer = {"kind": "sgd", "lr": 0.0123}
    field.fill(json.dumps({"problem": problem, "optimizer": optimizer, "budget": {"max_steps": 3}}))
    page.get_by_role("button", name="Start the job").click()
    expect(page.locator("article.job")).to_be_visible()
    page.go_back()
    for _ in range(2):
        expect(field).to_have_value(re.compile(r"0\.0123"))
        page.reload()


def test_a_range_stays_exact_while_the_job_trains(
    reader: Reader, service: Service, endless: Json
) -> None:
    page = reader.page
    while service.history(endless["id"], limit=1)["total"] < 4_500:
        pass  # more rows than the first view has
    page.goto(f"/jobs/{endless['id']}")
    note = page.locator(".chart-note").first
    expect(note).to_contain_text("extremes kept")
    page.locator(".chart-canvas").first.press("+")
    expect(note).to_contain_text("Every point of this range")
    before = note.inner_text()
    page.wait_for_function(
        "(before) => document.querySelector('.chart-note').textContent.trim() !== before.trim()",
        arg=before,
    )
    expect(note).to_contain_text("Every point of this range")


def test_a_key_that_is_wanted_in_mid_run_is_asked_for_until_it_is_given(
    reader: Reader, endless: Json
) -> None:
    page = reader.page

    def refuse(route: Route) -> None:
        body = '{"title": "Unauthorized", "status": 401, "detail": "Say who asks.", "code": "key"}'
        route.fulfill(status=401, body=body, content_type="application/problem+json")

    page.goto(f"/jobs/{endless['id']}")
    expect(page.locator(".live-state")).to_have_text("live")
    page.get_by_role("button", name="Hold").click()
    page.route(DATA_CALLS, refuse)
    page.get_by_role("button", name="Go on").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    expect(page.locator(".live-state")).to_have_text("refused by the service")
    for _ in range(3):
        page.keyboard.press("Escape")
    expect(dialog).to_be_visible()
    page.unroute(DATA_CALLS, refuse)
    page.get_by_role("textbox", name="Key").fill("thw_any")
    page.get_by_role("button", name="Enter").click()
    expect(page.locator(".live-state")).to_have_text("live")
    assert all("401" in fault for fault in reader.faults)
    reader.faults.clear()


def test_runs_that_were_stopped_early_are_not_told_as_diverged(
    browser: Browser, service: Service, halved: str
) -> None:
    told = service.http.get(f"/v1/studies/{halved}/comparison").json()["configurations"]
    num_stopped = sum(each["num_stopped"] for each in told)
    num_diverged = sum(each["num_diverged"] for each in told)
    assert num_stopped > 0
    assert num_diverged > 0
    phone: ViewportSize = {"width": 390, "height": 844}
    reader = Reader(browser, str(service.http.base_url), locale="en-GB", viewport=phone)
    page = reader.page
    page.goto(f"/studies/{halved}")
    dots = page.locator(".dial .dot-of")
    expect(dots).to_have_count(9)
    words = [dot.get_attribute("aria-label") or "" for dot in dots.all()]
    assert sum("stopped early" in each for each in words) == num_stopped
    assert sum("diverged" in each for each in words) == num_diverged
    assert not any(zone in each for each in words for zone in ("crawls", "edge") if "early" in each)
    runs = page.get_by_role("region", name="Runs")
    expect(runs.get_by_text("stopped early")).to_have_count(num_stopped)
    heads = page.locator(".study-pictures h2")
    page.set_viewport_size({"width": 1400, "height": 900})
    tops = heads.evaluate_all("all => all.map(each => each.getBoundingClientRect().bottom)")
    assert len(tops) == 2
    assert abs(tops[0] - tops[1]) <= 1, tops
    page.set_viewport_size(phone)
    assert list(reader.violations()) == []
    assert reader.faults == []
    reader.context.close()


def test_a_divergence_is_marked_once(reader: Reader, service: Service) -> None:
    job = service.run(
        {"problem": VALLEY, "optimizer": {"kind": "sgd", "lr": 0.07}, "budget": {"max_steps": 100}}
    )
    page = reader.page
    page.goto(f"/jobs/{job['id']}")
    flags = page.locator(".flags")
    expect(flags).to_contain_text("Diverged")
    assert flags.inner_text().lower().count("diverged") == 1


def test_a_list_is_looked_through_by_verdict_and_says_how_far(
    reader: Reader, service: Service
) -> None:
    page = reader.page
    labels = {"labels": {"verdict": "tried"}}
    for lr in (0.01, 0.07):
        service.run({
            "problem": VALLEY, "optimizer": {"kind": "sgd", "lr": lr}, **labels,
            "budget": {"max_steps": 100},
        })  # fmt: skip
    page.goto("/jobs?label=verdict:tried")
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_label("Verdict").select_option("diverging")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.get_by_text("1 of the 2 jobs that are loaded")).to_be_visible()
    assert "verdict=diverging" in page.url
    page.reload()
    expect(page.locator("tbody tr")).to_have_count(1)


def test_a_study_that_begins_is_listed_by_itself_and_older_ones_on_demand(
    reader: Reader, service: Service, halved: str
) -> None:
    page, studies = reader.page, Studies(service)
    base = {"problem": SPHERE, "optimizer": {"kind": "sgd"}, "budget": {"max_steps": 5}}
    small = {"base": base, "sweep": {"optimizer.lr": {"values": [0.1, 0.2]}}}
    for i in range(5):
        studies.run({**small, "name": f"study {i}"})
    page.goto("/jobs")
    listed = page.get_by_role("region", name="Studies").get_by_role("listitem")
    expect(listed).to_have_count(5)
    studies.run({**small, "name": "begun meanwhile"})
    expect(listed.first).to_contain_text("begun meanwhile")
    expect(listed.first).to_contain_text("2 of 2 runs")
    page.get_by_role("button", name="Show more studies").click()
    expect(page.locator(f"a[href='/studies/{halved}']")).to_be_visible()


def test_the_first_tab_leads_past_the_head(reader: Reader) -> None:
    page = reader.page
    page.goto("/jobs")
    expect(page.locator("h1")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


@pytest.mark.parametrize(
    ("formula", "told"),
    [
        ("x**2", "two variables, such as x and y; this one has x."),
        ("x*y + z", "this one has x, y, z."),
        ("x**2 + y**", "function.expression"),
    ],
)
def test_a_formula_that_cannot_be_raced_says_why_once(
    reader: Reader, formula: str, told: str
) -> None:
    page = reader.page
    page.goto("/play?e=x*y&o=sgd,lr=0.01&o=adam,lr=0.1")
    page.get_by_role("textbox", name="Formula of x and y").fill(formula)
    expect(page.get_by_role("alert")).to_contain_text(told)
    with page.expect_response("**/validate"):
        page.get_by_role("button", name="Race").click()
    expect(page.get_by_role("button", name="Race")).to_be_enabled()
    expect(page.get_by_role("alert")).to_have_count(1)
    assert all("422" in each for each in reader.faults)  # the browser notes each refusal
    reader.faults.clear()


def test_a_formula_of_any_two_variables_is_raced(reader: Reader) -> None:
    page = reader.page
    page.goto("/play?e=a**2%2B3*b**2&s=1,1&n=20&o=sgd,lr=0.1")
    page.get_by_role("button", name="Race").click()
    expect(page.locator(".play-ends .verdict")).to_have_count(1)
