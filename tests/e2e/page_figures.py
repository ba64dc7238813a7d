"""How fast the page is, in the system's Chromium: `python -m tests.e2e.page_figures`.

First paint and the first job that can be clicked; the time from a row's writing to its pixels; the
frames of a comparison of 50 jobs with 100,000 rows each that is zoomed; the memory of a page that
has followed 1,000,000 rows. Rows are written by the trial as a worker writes them. Ends with status
0 when all hold. The times are the machine's.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path
from uuid import uuid4

from playwright.sync_api import CDPSession, Page

from tests.api.actors import rosenbrock
from tests.api.events.conftest import Live, running
from tests.e2e.browser import browsing, missing
from thalweg_service.embedded_redis import EmbeddedServer

FIRST_PAINT_MS = 500
INTERACTIVE_MS = 1_000
TO_PIXEL_MS = 400
MEMORY_MB = 300
OPENED = 5
WRITTEN = 40
FRAME_MS = 50
CURVES = 50
CURVE_ROWS = 100_000
ZOOMS = 20
ROWS = 1_000_001
BLOCK = 10_000

PAINTED = """() => performance.getEntriesByName("first-contentful-paint")[0].startTime"""
# Samples the curve in every frame, and notes the time of each change.
WATCH = """() => {
    const canvas = document.querySelector(".chart-canvas canvas");
    const { width, height } = canvas;
    const context = canvas.getContext("2d");
    window.changes = [];
    let before = "";
    const look = () => {
        const data = context.getImageData(0, 0, width, height).data;
        let sum = 0;
        for (let i = 0; i < data.length; i += 4) sum = (sum * 31 + data[i]) | 0;
        if (before !== sum) window.changes.push(Date.now());
        before = sum;
        requestAnimationFrame(look);
    };
    look();
}"""


# Zooms by a key; tells the longest time between two frames until the picture stands, and whether it
# is another one.
ZOOM = """async (key) => {
    const chart = document.querySelector(".chart-canvas");
    const picture = () => chart.querySelector("canvas").toDataURL();
    const shown = picture();
    const gaps = [];
    let before = await new Promise(requestAnimationFrame);
    chart.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    while (gaps.length < 15) {
        const now = await new Promise(requestAnimationFrame);
        gaps.push(now - before);
        before = now;
    }
    return [Math.max(...gaps), picture() !== shown];
}"""


def opening(page: Page, address: str) -> bool:
    """Open the list, again and again; tell the medians."""
    paints: list[float] = []
    ready: list[float] = []
    for _ in range(OPENED):
        page.goto(f"{address}/jobs")
        page.locator(".row-link").first.wait_for()
        ready.append(page.evaluate("performance.now()"))
        paints.append(page.evaluate(PAINTED))
    paint, interactive = statistics.median(paints), statistics.median(ready)
    print(f"first paint {paint:.0f} ms, first job there {interactive:.0f} ms (medians of {OPENED})")
    return paint < FIRST_PAINT_MS and interactive < INTERACTIVE_MS


def to_pixels(live: Live, page: Page) -> bool:
    """Write rows one by one; tell how long after each the curve changed."""
    job = live.post(rosenbrock(budget={"max_steps": 2 * ROWS}))
    claim = live.worker.claim()
    live.rows(claim, 0, 10)
    page.goto(f"{live.process.address}/jobs/{job['id']}")
    page.locator(".chart-canvas canvas").wait_for()
    page.evaluate(WATCH)
    delays: list[float] = []
    for number in range(WRITTEN):
        page.evaluate("window.changes.length = 0")
        began = time.time()
        live.rows(claim, 10 + number, 1)
        page.wait_for_function("() => window.changes.length > 0", polling=5)
        delays.append(page.evaluate("window.changes[0]") - 1000 * began)
    median, worst = statistics.median(delays), max(delays)
    print(f"from a row to its pixels: median {median:.0f} ms, worst {worst:.0f} ms of {WRITTEN}")
    return median < TO_PIXEL_MS


def frames(live: Live, page: Page) -> bool:
    """Compare many long jobs; tell how long a frame takes while one zooms in and out."""
    jobs = []
    for number in range(CURVES):
        jobs.append(live.post(rosenbrock(budget={"max_steps": CURVE_ROWS}, seed=number))["id"])
        claim = live.worker.claim()
        for first in range(0, CURVE_ROWS, BLOCK):
            live.rows(claim, first, BLOCK, shift=1_000.0 * number)
        live.worker.close(claim)
    page.goto(f"{live.process.address}/compare?job={'&job='.join(jobs)}")
    page.locator(".chart-canvas canvas").wait_for()
    keys = ["+", "+", "+", "-", "Escape"] * (ZOOMS // 5)
    zoomed: list[tuple[float, bool]] = [tuple(page.evaluate(ZOOM, key)) for key in keys]
    assert all(is_other for _, is_other in zoomed)
    longest = [time_ms for time_ms, _ in zoomed]
    median, worst = statistics.median(longest), max(longest)
    print(
        f"{CURVES} curves of {CURVE_ROWS:,} rows, zoomed {ZOOMS} times: longest frame of each"
        f" {median:.0f} ms in the median, {worst:.0f} ms at worst"
    )
    return median < FRAME_MS


def memory(live: Live, page: Page, session: CDPSession) -> bool:
    """Follow a million rows; tell what the page holds then."""
    job = live.post(rosenbrock(budget={"max_steps": 2 * ROWS}))
    claim = live.worker.claim()
    live.rows(claim, 0, 10)
    page.goto(f"{live.process.address}/jobs/{job['id']}")
    page.locator(".chart-canvas canvas").wait_for()
    began = time.monotonic()
    for first in range(10, ROWS, BLOCK):
        live.rows(claim, first, min(BLOCK, ROWS - first))
    page.get_by_text(f"({ROWS:,})").wait_for(timeout=600_000)
    session.send("HeapProfiler.collectGarbage")
    used = session.send("Runtime.getHeapUsage")
    held = (float(used["usedSize"]) + float(used["backingStorageSize"])) / 1e6
    took = time.monotonic() - began
    print(f"{ROWS:,} rows followed in {took:.0f} s: {held:.0f} MB held (arrays included)")
    return held < MEMORY_MB


def main() -> int:
    """Run all parts; return 0 when they hold."""
    if missing:
        print(f"needs {', '.join(missing)}")
        return 1
    folder = Path(tempfile.mkdtemp(prefix="thw-"))
    with (
        EmbeddedServer(folder / "redis", fsync=False) as server,
        running(server.url, f"trial-{uuid4().hex[:8]}", folder) as live,
        browsing() as browser,
    ):
        live.post()
        live.worker.claim()
        page = browser.new_page(locale="en-GB")
        session = page.context.new_cdp_session(page)
        held = [
            opening(page, live.process.address),
            to_pixels(live, page),
            frames(live, page),
            memory(live, page, session),
        ]
    return int(not all(held))


if __name__ == "__main__":
    sys.exit(main())
