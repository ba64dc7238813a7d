"""The whole service as a user has it: `thalweg serve` with two workers, spoken to over HTTP."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.e2e.browser import Reader, browsing, reading
from tests.e2e.client import Service, serving


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("service"), workers=2) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser that finds this machine under a name of someone else's, too."""
    with browsing("--host-resolver-rules=MAP evil.test 127.0.0.1") as started:
        yield started


@pytest.fixture
def reader(browser: Browser, service: Service) -> Iterator[Reader]:
    with reading(browser, service) as opened:
        yield opened
