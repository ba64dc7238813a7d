"""One service for the tests of the client and its command, and one that fails often before it."""

from collections.abc import Iterator

import pytest

from tests.client.flaky import FlakyProxy
from tests.e2e.client import serving
from thalweg import Client


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running service."""
    with serving(tmp_path_factory.mktemp("client-service")) as service:
        yield str(service.http.base_url).rstrip("/")


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client(address) as made:
        yield made


@pytest.fixture
def flaky(address: str) -> Iterator[FlakyProxy]:
    """A way to the same service that drops, refuses and cuts."""
    with FlakyProxy(address) as proxy:
        yield proxy
