"""What the page writes: code in the service's sentences, names of racers, and a list on paper."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.browser import Reader, needs_browser, reading
from tests.e2e.client import Service
from tests.e2e.specs import SPHERE

pytestmark = [needs_browser, pytest.mark.timeout(900)]


@pytest.fixture
def reader(browser: Browser, service: Service) -> Iterator[Reader]:
    with reading(browser, service) as opened:
        yield opened


def test_names_of_fields_in_a_sentence_are_code(reader: Reader, service: Service) -> None:
    done = service.run({
        "problem": SPHERE, "optimizer": {"kind": "sgd", "lr": 0.1},
        "budget": {"max_steps": 200}, "stop": {"gradient_norm": 1e-3},
    })  # fmt: skip
    coded = [each for each in done["diagnosis"]["findings"] if "`" in each["explanation"]]
    assert "A criterion of `stop` held." in [each["explanation"] for each in coded]
    page = reader.page
    page.goto(f"/jobs/{done['id']}")
    page.locator(".verdict-card summary").click()
    found = page.locator(".finding p")
    expect(found.get_by_text("A criterion of stop held.", exact=True)).to_be_visible()
    expect(found.locator("code", has_text="stop")).to_have_count(1)
    assert "`" not in page.locator(".verdict-card").inner_text()
    assert list(reader.violations()) == []


def test_racers_of_one_kind_have_names_of_their_own(reader: Reader) -> None:
    page = reader.page
    page.goto("/play?f=saddle&n=20&o=sgd,lr=0.1&o=adam,lr=0.1&o=sgd,lr=0.2")
    racers = page.locator(".racer-head b")
    expect(racers).to_have_text(["Gradient descent 1", "Adam", "Gradient descent 2"])
    page.get_by_role("application").press("Enter")
    rows = page.locator(".play-ends tbody th")
    expect(rows).to_have_text(["Gradient descent 1", "Adam", "Gradient descent 2"])
    page.get_by_label("Remove Gradient descent 1").click()
    expect(racers).to_have_text(["Adam", "Gradient descent"])


def test_a_list_on_paper_has_the_curves_of_rows_that_nobody_saw(
    reader: Reader, service: Service
) -> None:
    job = {"problem": SPHERE, "optimizer": {"kind": "sgd"}, "budget": {"max_steps": 5},
           "diagnose": "off", "labels": {"list": "paper"}}  # fmt: skip
    for each in [service.post(job)["id"] for _ in range(45)]:
        assert service.wait(each)["status"] == "succeeded"
    page = reader.page
    page.goto("/jobs?label=list:paper")
    expect(page.locator("tbody tr")).to_have_count(45)
    last = page.locator("tbody tr").last
    expect(last).not_to_be_in_viewport()
    page.emulate_media(media="print")
    expect(page.locator("tbody svg.spark")).to_have_count(45)
    expect(last).not_to_be_in_viewport()
