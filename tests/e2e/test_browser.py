"""The page in a real browser, on a whole service."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final

import httpx2
import pytest
from playwright.sync_api import Browser, Locator, Request, Route, expect

from core.ids import rfc3339, utc_now
from core.keys import KeyRecord, Scope, new_key_id
from core.settings import Settings
from core.store.redis.keys import RedisKeys
from tests.e2e.browser import Reader, needs_browser
from tests.e2e.client import Json, Service, serving
from tests.e2e.specs import DIGITS, SPHERE, VALLEY
from tests.thalweg_service.running import until

pytestmark = [needs_browser, pytest.mark.timeout(900)]
CHINESE: Final = r"[\u4e00-\u9fff]"
MARKUP: Final = "<img src=x onerror='window.ran=1'><script>window.ran=1</script>"


class Guarded:
    """A service that wants keys, and a key for each who asks."""

    def __init__(self, service: Service, folder: Path) -> None:
        self.address = str(service.http.base_url)
        self._keys = RedisKeys(f"unix://{folder}/redis/redis.sock", Settings().namespace)

    def key(self, owner: str, *scopes: Scope) -> str:
        allowed = scopes or ("read", "write")
        return self._keys.create(KeyRecord(new_key_id(), owner, allowed, rfc3339(utc_now())))

    def http(self, key: str) -> httpx2.Client:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx2.Client(base_url=self.address, headers=headers, timeout=60)

    def close(self) -> None:
        self._keys.disconnect()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    with serving(folder) as service:
        made = Guarded(service, folder)
        made.key("first")
        yield made
        made.close()


def chart(reader: Reader) -> Locator:
    return reader.page.locator(".chart-canvas").first


def pixels(reader: Reader, colour: str) -> Json:
    """How many pixels of the first chart have the colour of the style sheet; in which columns."""
    found: Json = reader.page.evaluate(
        """(name) => {
            const canvas = document.querySelector(".chart-canvas canvas");
            const { width, height } = canvas;
            const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
            const style = getComputedStyle(document.documentElement);
            const hex = style.getPropertyValue(`--${name}`).trim().slice(1);
            const wanted = [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16));
            const columns = new Set();
            let count = 0;
            for (let i = 0; i < data.length; i += 4) {
                if (wanted.every((value, k) => Math.abs(data[i + k] - value) < 12)) {
                    count++;
                    columns.add((i / 4) % width);
                }
            }
            const [first, last] = [Math.min(...columns), Math.max(...columns)];
            return { count, columns: columns.size, first, last, width };
        }""",
        colour,
    )
    return found


def is_drawn_across(reader: Reader) -> bool:
    """Whether the first chart's line goes from one side to the other."""
    drawn = pixels(reader, "c1")
    return bool(drawn["count"] > 0 and drawn["last"] - drawn["first"] > 0.7 * drawn["width"])


def test_a_newcomer_comes_from_the_empty_list_to_a_proven_remedy(
    browser: Browser, guarded: Guarded
) -> None:
    reader = Reader(browser, guarded.address, locale="en-GB")
    page, key = reader.page, guarded.key("newcomer")
    page.goto("/")
    page.get_by_role("textbox", name="Key").fill("thw_wrong")
    page.get_by_role("button", name="Enter").click()
    expect(page.get_by_text("none that this service knows")).to_be_visible()
    page.get_by_role("textbox", name="Key").fill(key)
    page.get_by_role("button", name="Enter").click()
    page.get_by_role("link", name=re.compile("Too large a rate")).click()
    expect(page.get_by_text("This can be started.")).to_be_visible()
    with guarded.http(key) as http:
        assert http.get("/v1/jobs").json()["data"] == []  # the link has filled a form, no more
        page.get_by_role("button", name="Start the job").click()
        expect(page.locator(".verdict-line .verdict")).to_have_text("oscillating")
        expect(page.locator(".flags")).to_contain_text("Opposing gradients")
        page.get_by_role("button", name="Apply and compare").click()
        expect(page.locator(".verdict-line .verdict").first).to_have_text("improved")
        child, parent = http.get("/v1/jobs").json()["data"]
        assert child["parent_id"] == parent["id"]
    expect(page.locator(".legend")).to_contain_text("before")
    until(lambda: pixels(reader, "c1")["count"] > 300)
    page.get_by_role("link", name="Jobs", exact=True).first.click()
    expect(page.locator("tbody tr")).to_have_count(2)
    assert key not in page.content()
    assert key not in page.url
    assert page.context.cookies() == []
    assert all("401" in fault for fault in reader.faults)
    reader.context.close()


def test_mistakes_stand_at_their_lines_while_one_types(reader: Reader, service: Service) -> None:
    page = reader.page
    page.goto("/jobs?new")
    spec = '{\n "problem": {"kind": "function"},\n "optimizer": {"kind": "sgd",\n  "lr": -1}\n}'
    field = page.get_by_role("textbox", name="Spec")
    field.fill(spec)
    expect(page.locator(".mistake")).not_to_have_count(0)
    expect(page.locator(".json-line.wrong")).to_have_text(["2", "4"])
    expect(page.get_by_role("button", name="Start the job")).to_be_disabled()
    field.fill(spec[:-3])
    expect(page.locator(".json-line.wrong")).to_have_count(1)
    reader.faults.clear()  # the browser notes each 422


def test_a_stream_that_is_cut_goes_on_where_it_was(reader: Reader, service: Service) -> None:
    job = service.post({
        "problem": DIGITS, "optimizer": {"kind": "sgd", "lr": 0.01}, "batch_size": 16,
        "budget": {"max_steps": 2_000_000}, "record": {"every": 10},
    })  # fmt: skip
    asked: list[str | None] = []

    def cut(route: Route) -> None:
        """Give the first reader three events with rows, and no more."""
        asked.append(route.request.headers.get("last-event-id"))
        if len(asked) > 1:
            route.continue_()
            return
        body, num_points = "", 0
        url = route.request.url
        with httpx2.Client(timeout=60) as http, http.stream("GET", url) as reply:
            for text in reply.iter_text():
                body += text
                num_points = body.count("event: points")
                if num_points >= 3 and body.endswith("\n\n"):
                    break
        route.fulfill(body=body, content_type="text/event-stream")

    page = reader.page
    page.route("**/events?*", cut)
    page.goto(f"/jobs/{job['id']}")
    expect(page.locator(".live-state")).to_have_text("live")
    page.wait_for_function("() => document.querySelector('.chart-note')?.textContent.length > 0")
    page.get_by_role("button", name="Hold").click()
    expect(page.locator(".live-state")).to_have_text("held")
    page.get_by_role("button", name="Go on").click()
    expect(page.locator(".live-state")).to_have_text("live")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".pill").first).to_have_text("cancelled")
    expect(page.locator(".live-state")).to_have_text("complete")
    total = service.history(job["id"], limit=1)["total"]
    expect(page.locator(".chart-note").first).to_contain_text(f"{total:,}")
    assert asked[0] is None
    assert asked[1] is not None
    assert asked[1].startswith("v")


def test_what_is_not_finite_is_marked_and_the_rest_is_seen(
    reader: Reader, service: Service
) -> None:
    wild = service.run(
        {"problem": VALLEY, "optimizer": {"kind": "sgd", "lr": 1.9}, "budget": {"max_steps": 400}}
    )
    losses = service.series(wild["id"], "loss")
    assert losses[-1] == "Infinity"
    assert max(value for value in losses if isinstance(value, float)) > 1e300
    page = reader.page
    for scale in ("log", "symlog", "linear"):
        page.goto(f"/jobs/{wild['id']}?y={scale}")
        expect(page.locator(".chart-note").first).to_contain_text("infinite or too large")
        until(lambda: is_drawn_across(reader))
    undefined = service.run({
        "problem": {"kind": "function", "start": {"x1": 0.5},
                    "function": {"kind": "expression", "expression": "log(x1)"}},
        "optimizer": {"kind": "sgd", "lr": 0.3}, "on_divergence": {"action": "skip"},
    })  # fmt: skip
    assert service.series(undefined["id"], "loss")[1:] == ["NaN"] * 4
    page.goto(f"/jobs/{undefined['id']}")
    expect(page.locator(".chart-note").first).to_contain_text("4 not a number")
    # A point and four crosses: no line from one to the other.
    until(lambda: pixels(reader, "c1")["columns"] > 10)
    assert pixels(reader, "c1")["columns"] < 80


def test_markup_in_names_and_labels_is_text(reader: Reader, service: Service) -> None:
    made = service.run({
        "problem": SPHERE, "optimizer": {"kind": "sgd", "lr": 0.1}, "budget": {"max_steps": 9},
        "name": MARKUP, "note": MARKUP, "labels": {"markup": MARKUP[:60]},
    })  # fmt: skip
    page = reader.page
    for path in (f"/jobs?label=markup:{MARKUP[:60]}", f"/jobs/{made['id']}"):
        page.goto(path)
        expect(page.get_by_text(MARKUP).first).to_be_visible()
        assert page.evaluate("window.ran") is None
        assert page.locator("main img").count() == 0


@pytest.mark.parametrize(
    "query",
    [f"spec={MARKUP}", "spec=%7B", "from=job_nothing", "new&status=none", "label=x&since=y"],
)
def test_a_link_starts_nothing_and_any_query_is_borne(
    reader: Reader, service: Service, query: str
) -> None:
    posted: list[str] = []
    page = reader.page

    def note(request: Request) -> None:
        if request.method != "GET":
            posted.append(request.url)

    page.on("request", note)
    reader.expects_404 = True
    page.goto(f"/jobs?{query}")
    expect(page.locator("h1")).to_be_visible()
    assert page.evaluate("window.ran") is None
    assert [url for url in posted if not url.endswith("/validate")] == []


class Foreign(BaseHTTPRequestHandler):
    """A page of another site."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<iframe></iframe>")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


def test_a_foreign_page_can_neither_post_nor_frame(browser: Browser, service: Service) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Foreign)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    ours = str(service.http.base_url).rstrip("/")
    count = len(service.http.get("/v1/jobs?limit=200").json()["data"])
    try:
        with browser.new_context() as other:
            page = other.new_page()
            page.goto(f"http://evil.test:{server.server_address[1]}/")
            for mode, media_type in (("cors", "application/json"), ("no-cors", "text/plain")):
                page.evaluate(
                    """([url, mode, type]) => fetch(url, {method: "POST", mode, body: "{}",
                        headers: {"Content-Type": type}}).catch(() => 0)""",
                    [f"{ours}/v1/jobs", mode, media_type],
                )
            with page.expect_event("console", lambda said: "frame-ancestors" in said.text):
                page.evaluate("(url) => { document.querySelector('iframe').src = url }", f"{ours}/")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert len(service.http.get("/v1/jobs?limit=200").json()["data"]) == count


def test_a_key_that_only_reads_bars_what_it_cannot_do_and_says_why(
    browser: Browser, guarded: Guarded
) -> None:
    spec = {"problem": VALLEY, "optimizer": {"kind": "sgd", "lr": 0.07}, "device": "cuda"}
    with guarded.http(guarded.key("reads")) as http:
        waiting = http.post("/v1/jobs", json=spec).json()["id"]
    reader = Reader(browser, guarded.address, key=guarded.key("reads", "read"), locale="en-GB")
    page = reader.page
    barred = {f"/jobs/{waiting}": "Cancel", "/play": "Race", "/jobs?new": "Start the job"}
    for path, name in barred.items():
        page.goto(path)
        button = page.get_by_role("button", name=name, exact=True)
        expect(button).to_be_disabled()
        expect(button).to_have_attribute("title", re.compile("may only read"))
        expect(page.locator(".read-only")).to_be_visible()
    assert list(reader.violations()) == []
    assert reader.faults == []
    reader.context.close()


def test_a_thousand_jobs_are_listed_and_followed(browser: Browser, guarded: Guarded) -> None:
    key = guarded.key("many")
    spec = {"problem": SPHERE, "optimizer": {"kind": "sgd"}, "device": "cuda"}  # they only wait
    with guarded.http(key) as http, ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: http.post("/v1/jobs", json=spec), range(1000)))
        assert {reply.status_code for reply in made} == {202}
        reader = Reader(browser, guarded.address, key=key, locale="en-GB")
        page = reader.page
        page.goto("/jobs?status=queued")
        rows = page.locator("tbody tr")
        expect(rows).to_have_count(50)
        page.get_by_role("button", name="Show more").click()
        expect(rows).to_have_count(100)
        newest = http.get("/v1/jobs?limit=1").json()["data"][0]["id"]
        expect(page.locator(f"a[href='/jobs/{newest}']")).to_be_visible()
        http.post(f"/v1/jobs/{newest}/cancel")
        expect(page.locator(f"a[href='/jobs/{newest}']")).to_have_count(0)
        http.post("/v1/jobs", json={**spec, "name": "the last one"})
        expect(rows.first).to_contain_text("the last one")
    assert reader.faults == []
    reader.context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_accessibility_checker_finds_nothing(
    browser: Browser, service: Service, theme: Any
) -> None:
    done = service.run({
        "problem": VALLEY, "optimizer": {"kind": "sgd", "lr": 0.0665}, "name": "checked",
        "budget": {"max_steps": 300}, "labels": {"team": "a"},
    })  # fmt: skip
    reader = Reader(browser, str(service.http.base_url), locale="zh-CN", color_scheme=theme)
    page = reader.page
    for path in ("/jobs?label=team:a", f"/jobs/{done['id']}", "/jobs?new", "/jobs?label=no:ne"):
        page.goto(path)
        expect(page.locator("h1")).to_be_visible()
        if "new" in path:
            expect(page.locator(".good-text")).to_be_visible()
        if done["id"] in path:
            expect(chart(reader).locator("canvas")).to_be_visible()
        assert list(reader.violations()) == [], path
    assert page.evaluate("document.documentElement.lang") == "zh-Hans"
    reader.context.close()


def test_a_diagnosis_is_told_in_chinese_with_its_numbers(
    browser: Browser, service: Service
) -> None:
    problem = {**VALLEY, "function": {"kind": "quadratic", "eigenvalues": [1, 100]}}
    runs = [
        {"problem": problem, "optimizer": {"kind": "sgd", "lr": 0.03}},  # diverges
        {"problem": VALLEY, "optimizer": {"kind": "sgd", "lr": 0.0665}},  # goes from wall to wall
        {"problem": DIGITS, "optimizer": {"kind": "adam", "lr": 0.01}},
    ]
    reader = Reader(browser, str(service.http.base_url), locale="zh-CN")
    page = reader.page
    for run in runs:
        done = service.run({**run, "budget": {"max_steps": 300}, "diagnose": "full"})
        page.goto(f"/jobs/{done['id']}")
        page.get_by_text("检查过的其他").click()
        findings = page.locator(".finding")
        expect(findings).to_have_count(len(done["diagnosis"]["findings"]))
        for said in page.locator(".finding h3 + p, .remedy > p").all_inner_texts():
            assert re.search(CHINESE, said), said
        # Updates are told of weights, by the weights' own names.
        of_rules = page.locator(".finding", has_not_text="更新过大").locator(".evidence dt")
        for name in of_rules.all_inner_texts():
            assert re.search(CHINESE, name), name
        if done["outcome"] == "diverged":
            told = "学习率乘最大曲率为 3，是此方法阈值 2 的 1.5 倍"
            expect(page.locator(".finding", has_text=told)).to_have_count(1)
    reader.context.close()


def test_the_keyboard_reads_a_curve_and_a_phone_needs_no_scrolling_aside(
    browser: Browser, service: Service
) -> None:
    done = service.run(
        {"problem": VALLEY, "optimizer": {"kind": "sgd", "lr": 0.06}, "budget": {"max_steps": 50}}
    )
    viewport: Any = {"width": 390, "height": 800}
    reader = Reader(browser, str(service.http.base_url), locale="en-GB", viewport=viewport)
    page = reader.page
    page.goto(f"/jobs/{done['id']}")
    expect(chart(reader).locator("canvas")).to_be_visible()
    chart(reader).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    loss = service.series(done["id"], "loss")[1]
    expect(page.locator("[aria-live=polite].hidden").first).to_contain_text(f"{loss:.4g}")
    page.keyboard.press("+")
    expect(page.get_by_role("button", name="Whole range")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Whole range")).to_have_count(0)
    for path in (f"/jobs/{done['id']}", "/jobs", "/jobs?new"):
        page.goto(path)
        expect(page.locator("h1")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
    reader.context.close()


def test_the_documentation_opens_under_its_policy(reader: Reader) -> None:
    reader.page.goto("/docs")
    expect(reader.page.locator("#operations-jobs-create_job")).to_be_visible()
