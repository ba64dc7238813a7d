"""A real browser for the tests of the page: the system's Chromium, driven by Playwright."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from api.page import routes
from scripts import page
from tests.e2e.client import Service

CHROMIUM: Final = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
AXE: Final = page.PACKAGES / "axe-core" / "axe.min.js"
QUIET: Final = (
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-quic", "--no-first-run",
)  # fmt: skip

missing: Final = [
    what
    for what, is_there in (
        ("the system's chromium", CHROMIUM is not None),
        ("the page, built", (routes.BUILT / "index.html").is_file()),
        ("axe-core in web/node_modules", AXE.is_file()),
    )
    if not is_there
]
needs_browser: Final = pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")
expect.set_options(timeout=90_000)


@contextmanager
def browsing(*arguments: str) -> Iterator[Browser]:
    """Start the browser, and end it afterwards."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, *arguments])
        try:
            yield browser
        finally:
            browser.close()


class Reader:
    """Somebody who reads the page in a window of their own. `faults`: what went wrong in it;
    `expects_404`: that a thing is not there is no fault, though the browser notes it."""

    def __init__(self, browser: Browser, address: str, *, key: str = "", **options: Any) -> None:
        self.address = address.rstrip("/")
        self.context = browser.new_context(base_url=self.address, **options)
        self.context.set_default_timeout(90_000)
        if key:
            script = f"sessionStorage.setItem('thalweg.key', '{key}')"
            self.context.add_init_script(script)
        self.page: Page = self.context.new_page()
        self.faults: list[str] = []
        self.expects_404 = False
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", self._note)

    def _note(self, said: ConsoleMessage) -> None:
        is_known = self.expects_404 and "404 (Not Found)" in said.text
        if said.type == "error" and not is_known:
            self.faults.append(said.text)

    def violations(self) -> Sequence[str]:
        """What the accessibility checker finds in the page as it stands."""
        self.page.evaluate(Path(AXE).read_text())
        found = self.page.evaluate("axe.run().then((done) => done.violations)")
        return [
            f"{each['id']}: {', '.join(str(node['target']) for node in each['nodes'])}"
            for each in found
        ]


@contextmanager
def reading(browser: Browser, service: Service, **options: Any) -> Iterator[Reader]:
    """Open a window on the service's page, close it afterwards; nothing may have gone wrong in it.

    Args:
        options: of the browser's context.
    """
    reader = Reader(browser, str(service.http.base_url), **{"locale": "en-GB", **options})
    try:
        yield reader
    finally:
        reader.context.close()
    assert reader.faults == []
